"""GELU in random spellings is found; with another constant in it, it is not."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from hypothesis import given, settings, strategies as st

from irkit import Model, parse_model
from irkit.library import get_pass
from irkit.testing import run_pass


@dataclass
class Writer:
    """Writes expressions as nodes, with operands in random order and constants in random form.

    Attributes: `error` is a factor put on one constant, the one numbered `wrong`.
    """

    draw: st.DrawFn
    wrong: int = -1
    error: float = 1.0
    constants: list[str] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    count: int = 0

    def number(self, value: float) -> str:
        name = f"c{self.count}"
        value *= self.error if self.count == self.wrong else 1.0
        self.count += 1
        form = self.draw(st.sampled_from(["node", "scalar", "vector", "full"]))
        if form == "node":
            self.nodes.append(f"%{name} = Constant() {{value_float={value!r}}}")
        else:
            shape = {"scalar": "[]", "vector": "[1]", "full": "[2,3]"}[form]
            self.constants.append(f"%{name}: float32{shape} = splat({value!r})")
        return name

    def call(self, op: str, *operands: str) -> str:
        if op in ("Add", "Mul"):
            operands = tuple(self.draw(st.permutations(operands)))
        name = f"v{len(self.nodes)}"
        self.nodes.append(f"%{name} = {op}({', '.join(f'%{item}' for item in operands)})")
        return name

    def product(self, *factors: str) -> str:
        left = list(self.draw(st.permutations(factors)))
        while len(left) > 1:
            left = [self.call("Mul", left[0], left[1]), *left[2:]]
        return left[0]

    def times(self, x: str, factor: float) -> str:
        if self.draw(st.booleans()):
            return self.call("Mul", x, self.number(factor))
        return self.call("Div", x, self.number(1 / factor))


def gate(write: Writer, x: str) -> str:
    """Twice the gate of a GELU: 1 + erf(...), 1 + tanh(...) or 2 sigmoid(...)."""
    kind = write.draw(st.sampled_from(["erf", "tanh", "sigmoid"]))
    if kind == "sigmoid":
        return write.times(write.call("Sigmoid", write.times(x, 1.702)), 2.0)
    if kind == "erf":
        inner = write.call("Erf", write.times(x, math.sqrt(0.5)))
    else:
        if write.draw(st.booleans()):
            cube = write.call("Pow", x, write.number(3.0)) if write.draw(st.booleans()) else write.product(x, x, x)
            sum_ = write.call("Add", x, write.times(cube, 0.044715))
        else:
            square = write.call("Add", write.number(1.0), write.times(write.product(x, x), 0.044715))
            sum_ = write.call("Mul", x, square)
        inner = write.call("Tanh", write.times(sum_, math.sqrt(2 / math.pi)))
    return write.call("Add", inner, write.number(1.0))


@st.composite
def spellings(draw: st.DrawFn, wrong: bool = False) -> Model:
    write = Writer(draw)
    if wrong:
        write.wrong = draw(st.integers(0, 1))  # every spelling has at least two constants
        write.error = draw(st.sampled_from([0.7, 0.85, 1.2, 1.5, -1.0]))
    write.call("Floor", "x")  # elementwise, but no part of any GELU
    x = "v0"
    form = draw(st.sampled_from(["product", "halved", "sum"]))
    if form == "product":
        out = write.product(x, gate(write, x), write.number(0.5))
    elif form == "halved":
        out = write.times(write.product(x, gate(write, x)), 0.5)
    else:
        half = write.times(x, 0.5)
        out = write.call("Mul", half, gate(write, x))
    write.nodes.append(f"%y = Floor(%{out})")
    return parse_model(f"graph(%x: float32[2,3]) -> (%y) {{ {' '.join(write.constants + write.nodes)} }}")


@settings(max_examples=80, deadline=None)
@given(spellings())
def test_every_spelling_is_found(model: Model) -> None:
    run_pass(get_pass("gelu-to-relu"), model)
    assert [node.op for node in model.graph if node.op != "Constant"] == ["Floor", "Relu", "Floor"]


@settings(max_examples=80, deadline=None)
@given(spellings(wrong=True))
def test_with_another_constant_it_is_another_function(model: Model) -> None:
    run_pass(get_pass("gelu-to-relu"), model)
    assert "Relu" not in [node.op for node in model.graph]
