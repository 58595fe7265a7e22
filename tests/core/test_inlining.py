"""Putting function bodies in the place of calls: what is refused, what stays, and that it can be undone."""

from __future__ import annotations

import pytest

from irkit import Context, Model, ModelError, called_functions, inline_call, parse_model, print_model
from irkit.library import get_pass
from irkit.verifier import verify

HEAD = "opset 17 opset my.domain 1 "
PAIR = """
    function my.domain::Outer(%a) -> (%b) { %c = Relu(%a) @r %b = my.domain::Inner(%c) @i }
    function my.domain::Inner(%a) -> (%b) { %b = Neg(%a) @n }
"""


def inlined(text: str) -> Model:
    model = parse_model(HEAD + text)
    get_pass("inline-functions").run(model, Context(pass_name="inline-functions"))
    verify(model)
    return model


CIRCLES = {
    "itself": "function my.domain::F(%a) -> (%b) { %b = my.domain::F(%a) }",
    "each other": """
        function my.domain::F(%a) -> (%b) { %b = my.domain::G(%a) }
        function my.domain::G(%a) -> (%b) { %b = my.domain::F(%a) }""",
    "in a nested graph": """
        function my.domain::F(%a) -> (%b) {
          %b = If(%a) {
            then_branch=graph() -> (%t) { %t = my.domain::F(%a) },
            else_branch=graph() -> (%e) { %e = Not(%a) }
          }
        }""",
}


@pytest.mark.parametrize("functions", CIRCLES.values(), ids=list(CIRCLES))
def test_functions_that_call_themselves_are_an_error(functions: str) -> None:
    with pytest.raises(ModelError, match="calls itself"):
        inlined(functions + "graph(%x: bool[]) -> (%y) { %y = my.domain::F(%x) @call }")


def test_recursion_that_nothing_calls_is_no_error() -> None:
    model = inlined(
        "function my.domain::F(%a) -> (%b) { %b = my.domain::F(%a) } graph(%x: bool[]) -> (%y) { %y = Not(%x) }"
    )
    assert not model.functions


@pytest.mark.parametrize("call", ["%y = my.domain::F(%x, %x, %x)", "%y, %z = my.domain::F(%x)"])
def test_a_call_that_does_not_fit_is_an_error(call: str) -> None:
    with pytest.raises(ModelError, match="node 'call' calls function 'F' with"):
        inlined(
            "function my.domain::F(%a, %b) -> (%c) { %c = Add(%a, %b) } graph(%x: float32[2]) -> (%y) {"
            + call
            + " @call }"
        )


def test_callers_come_before_what_they_call() -> None:
    model = parse_model(HEAD + PAIR + "graph(%x: float32[2]) -> (%y) { %y = my.domain::Outer(%x) }")
    assert [function.name for function in called_functions(model, model.graph)] == ["Outer", "Inner"]


def test_names_of_calls_lead_to_names_inside() -> None:
    model = inlined(PAIR + "graph(%x: float32[2]) -> (%y) { %y = my.domain::Outer(%x) @call }")
    assert [node.name for node in model.graph] == ["call/r", "call/i/n"]
    assert [node.origin for node in model.graph] == [("call", "call/r"), ("call", "call/i", "call/i/n")]
    assert [node.output.name for node in model.graph] == ["call/c", "y"]


def test_names_that_are_taken_are_left_alone() -> None:
    model = inlined(
        PAIR + "graph(%x: float32[2]) -> (%y, %z) { %call/c = Abs(%x) @call/r %y = my.domain::Outer(%call/c) @call"
        " %z = my.domain::Outer(%y) @call }"
    )
    assert len({node.name for node in model.graph}) == len(model.graph)


def test_unused_functions_and_their_domain_go() -> None:
    model = inlined(PAIR + "graph(%x: float32[2]) -> (%y) { %y = my.domain::Inner(%x) }")
    assert not model.functions
    assert dict(model.opset_imports) == {"": 17}


def test_a_domain_that_nodes_still_use_stays() -> None:
    model = inlined(PAIR + "graph(%x: float32[2]) -> (%y) { %z = my.domain::Inner(%x) %y = my.domain::Other(%z) }")
    assert model.opset_imports["my.domain"] == 1


def test_what_a_body_imports_is_imported() -> None:
    model = inlined(
        "function my.domain::F(%a) -> (%b) !opset 17 !opset com.example 3 { %b = com.example::Thing(%a) }"
        "graph(%x: float32[2]) -> (%y) { %y = my.domain::F(%x) }"
    )
    assert dict(model.opset_imports) == {"": 17, "com.example": 3}


def test_inlining_is_undone_by_the_journal() -> None:
    text = HEAD + PAIR + "graph(%x: float32[2]) -> (%y, %z) { %y = my.domain::Outer(%x) @call %z = Abs(%y) }"
    model = parse_model(text)
    before = print_model(model)
    mark = model.journal.position
    get_pass("inline-functions").run(model, Context(pass_name="inline-functions"))
    after = print_model(model)
    model.journal.undo_to(mark)
    verify(model)
    assert print_model(model) == before
    assert after != before


def test_a_call_that_was_proven_wrong_is_not_inlined_again() -> None:
    model = parse_model(HEAD + PAIR + "graph(%x: float32[2]) -> (%y) { %y = my.domain::Inner(%x) @call }")
    context = Context(pass_name="inline-functions", banned={("call of Inner", "call")})
    get_pass("inline-functions").run(model, context)
    assert [node.op for node in model.graph] == ["Inner"]
    assert [function.name for function in model.functions.values()] == ["Inner"]


def test_new_nodes_are_returned() -> None:
    model = parse_model(HEAD + PAIR + "graph(%x: float32[2]) -> (%y) { %y = my.domain::Outer(%x) @call }")
    nodes = inline_call(model.graph.node("call"), model.functions["my.domain", "Outer", ""])
    assert [node.op for node in nodes] == ["Relu", "Inner"]
