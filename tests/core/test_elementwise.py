"""Elementwise regions: which there are, and what they compute."""

from __future__ import annotations

import numpy as np
import pytest

from irkit import Model, Node, Region, parse_model, regions
from irkit.elementwise import is_elementwise


def model(body: str, inputs: str = "%x: float32[2,3]", opset: int = 20) -> Model:
    return parse_model(f"opset {opset} graph({inputs}) -> (%y) {{ {body} }}")


def root(text: Model) -> Node:
    node = text.graph.values["y"].producer
    assert node is not None
    return node


def inputs_of(text: Model) -> list[str]:
    return [region.x.name for region in regions(root(text))]


CONSTANTS = "%two: float32[] = 2.0 %row: float32[3] = [1, 2, 3]"


def test_regions_end_where_one_value_is_all_that_is_read() -> None:
    text = model(f"{CONSTANTS} %a = Neg(%x) %b = Mul(%a, %two) %c = Tanh(%a) %y = Add(%b, %c)")
    assert inputs_of(text) == ["a", "x"]


def test_regions_stop_at_two_inputs_varying_constants_and_other_operators() -> None:
    assert inputs_of(model("%a = Neg(%x) %y = Add(%a, %z)", "%x: float32[2,3], %z: float32[2,3]")) == []
    assert inputs_of(model(f"{CONSTANTS} %a = Mul(%x, %row) %y = Neg(%a)")) == ["a"]
    assert inputs_of(model("%a = Softmax(%x) %y = Neg(%a)")) == ["a"]
    assert not is_elementwise(root(model("%y = Softmax(%x)")))
    assert not is_elementwise(root(model("%y = com.microsoft::Gelu(%x)")))


def test_regions_are_limited() -> None:
    nodes = " ".join(f"%n{i + 1} = Neg(%{f'n{i}' if i else 'x'})" for i in range(40))
    text = model(f"{nodes} %y = Neg(%n40)")
    assert len(list(regions(root(text), limit=10))) == 10


def test_the_function_of_a_region() -> None:
    text = model(f"{CONSTANTS} %a = Pow(%x, %two) %b = Sub(%a, %x) %c = Cast(%b) {{to=10}} %y = Div(%c, %two)")
    *_, region = regions(root(text))
    points = np.array([-2.0, 0.5, 3.0])
    values = region.evaluate(points)
    assert values is not None
    assert np.allclose(values, (points**2 - points) / 2, rtol=1e-12)  # casts between floats count as none


def test_a_region_without_a_known_function() -> None:
    *_, region = regions(root(model("%a = Cast(%x) {to=9} %y = Not(%a)", "%x: float32[3]")))
    assert region.evaluate(np.zeros(3)) is None


@pytest.mark.parametrize(
    ("inputs", "constant", "keeps"),
    [
        ("%x: float32[2,3]", "float32[1,1] = [2]", True),
        ("%x: float32[2,3]", "float32[2,3] = splat(2.0)", True),
        ("%x: float32[2,3]", "float32[1,1,1] = [2]", False),
        ("%x: float32[1,3]", "float32[2,3] = splat(2.0)", False),
        ("%x: float32[N,3]", "float32[1] = [2]", True),
        ("%x: float32[*]", "float32[] = 2.0", True),
        ("%x: float32[*]", "float32[1] = [2]", False),
    ],
)
def test_constants_may_make_the_result_larger(inputs: str, constant: str, keeps: bool) -> None:
    text = model(f"%c: {constant} %y: float32[*] = Mul(%x, %c)", inputs)
    (region,) = regions(root(text))
    assert isinstance(region, Region)
    assert region.keeps_type == keeps


def test_a_cast_changes_the_type() -> None:
    (region,) = regions(root(model("%y: float16[3] = Cast(%x) {to=10}", "%x: float32[3]")))
    assert not region.keeps_type
