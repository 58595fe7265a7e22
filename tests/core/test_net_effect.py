"""What a chain of layout nodes does as a whole."""

from __future__ import annotations

import pytest

from irkit import parse_model
from irkit.checks.net_effect import Chain, chain_of
from irkit.linter import Subject
from irkit.target import load_target


def chain(given: str, *steps: str) -> Chain | None:
    """The chain of these steps, `view 1,4,4` or `turn 0,2,1`, on a tensor of this shape; asked of its first node."""
    constants, nodes = [], []
    for index, step in enumerate(steps):
        kind, numbers = step.split()
        source = "%x" if index == 0 else f"%v{index - 1}"
        if kind == "view":
            constants.append(f"%s{index}: int64[{numbers.count(',') + 1}] = [{numbers}]")
            nodes.append(f"%v{index} = Reshape({source}, %s{index}) @n{index}")
        else:
            nodes.append(f"%v{index} = Transpose({source}) {{perm=[{numbers}]}} @n{index}")
    body = "\n".join((*constants, *nodes, f"%y = Relu(%v{len(steps) - 1}) @relu"))
    subject = Subject(parse_model(f"graph(%x: float32[{given}]) -> (%y) {{ {body} }}"), load_target("hailo8"))
    return chain_of(subject, next(node for node in subject.nodes if node.name == "n0"))


@pytest.mark.parametrize(
    ("given", "steps", "effect"),
    [
        ("1,64,8,8", ["view 1,64,64", "turn 0,2,1"], "permutes NCHW to N(HW)C, merges H and W"),
        ("1,64,8,8", ["turn 0,2,3,1", "view 1,64,64"], "permutes NCHW to N(HW)C, merges H and W"),
        ("1,64,8,4", ["view 1,64,32"], "merges H and W"),
        ("1,6,16", ["view 1,6,4,4", "turn 0,2,1,3"], "splits Y into 4 x 4, permutes NXY to NY1XY2"),
        (
            "1,64,80,80",
            ["view 1,4,16,6400", "turn 0,2,1,3"],
            "splits C into 4 x 16, permutes NCHW to NC2C1(HW), merges H and W",
        ),
        (
            "1,4,8,8",
            ["view 1,2,2,8,8", "turn 0,2,1,3,4", "view 1,4,8,8"],
            "splits C into 2 x 2, permutes NCHW to N(C2C1)HW, merges C2 and C1",
        ),
        ("1,4,8,8", ["view 1,4,64", "view 1,4,8,8"], "leaves the tensor as it was"),
        ("1,4,8,8", ["view 4,8,8"], "only adds or drops axes of size 1"),
        ("1,4,8,8", ["turn 1,2,3,0"], "only adds or drops axes of size 1"),
        ("2,3,4,5", ["turn 1,0,2,3"], "permutes NCHW to CNHW"),
        ("2,3,5", ["view 2,5,3"], ""),  # no product of parts of 3 and 5
        ("6,4", ["view 8,3"], ""),
        ("8,4", ["view 4,8"], "splits A into 4 x 2, merges A2 and B"),
        ("2,2,2,2,2,2", ["view 2,2,16"], "merges C and D and E and F"),
    ],
)
def test_the_net_effect(given: str, steps: list[str], effect: str) -> None:
    found = chain(given, *steps)
    assert found is not None
    assert found.effect == effect
    assert [node.name for node in found.nodes] == [f"n{index}" for index in range(len(steps))]
    assert found.before == tuple(int(size) for size in given.split(","))


def test_a_chain_ends_where_others_read_too() -> None:
    text = """graph(%x: float32[1,4,8,8]) -> (%y, %z) {
      %t = Transpose(%x) {perm=[0,2,3,1]} @first
      %y = Transpose(%t) {perm=[0,2,3,1]} @second
      %z = Relu(%t) @relu
    }"""
    subject = Subject(parse_model(text), load_target("hailo8"))
    found = [chain_of(subject, node) for node in subject.nodes if node.op == "Transpose"]
    assert [len(item.nodes) for item in found if item is not None] == [1, 1]


def test_nothing_is_known_without_shapes() -> None:
    assert chain("1,4,H,W", "turn 0,2,3,1") is None
