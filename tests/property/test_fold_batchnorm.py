"""Random linear layers with random affine maps around them: folding keeps the function, and leaves nothing foldable."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from irkit import Model, Tensor, parse_model, print_model
from irkit.library import get_pass
from irkit.testing import different, run_pass
from irkit.verifier import verify

pytest.importorskip("onnxruntime", reason="models are run in ONNX Runtime")


@dataclass
class Net:
    """The text of a model that grows node by node."""

    constants: list[str] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    value: str = "x"

    def constant(self, shape: list[int], low: float = -1.0, high: float = 1.0) -> str:
        name = f"c{len(self.constants)}"
        text = ",".join(map(str, shape))
        seed = len(self.constants) + 1
        self.constants.append(f"%{name}: float32[{text}] = random(seed={seed}, low={low}, high={high})")
        return name

    def add(self, op: str, *operands: str, attrs: str = "") -> None:
        name = f"v{len(self.nodes)}"
        self.nodes.append(f"%{name} = {op}({', '.join(f'%{item}' for item in operands)}) {attrs} @{name}")
        self.value = name

    def batchnorm(self, channels: int, *, shifts: bool = True) -> None:
        reach = 1.0 if shifts else 0.0
        params = [self.constant([channels], 0.5, 1.5), *(self.constant([channels], -reach, reach) for _ in range(2))]
        self.add("BatchNormalization", self.value, *params, self.constant([channels], 0.5, 2.0))

    def arithmetic(self, op: str, channels: int, rank: int, full: bool) -> None:
        shape = [1, channels, *[1] * (rank - 2)] if full else [channels, *[1] * (rank - 2)]
        constant = self.constant(shape, 0.5, 1.5)
        self.add(op, *((constant, self.value) if op in ("Add", "Mul") and full else (self.value, constant)))

    def model(self, shape: list[int]) -> Model:
        dims = ",".join(map(str, shape))
        return parse_model(
            f"graph(%x: float32[{dims}]) -> (%{self.value}) {{ {' '.join(self.constants + self.nodes)} }}"
        )


@st.composite
def affine_maps(draw: st.DrawFn, net: Net, channels: int, rank: int) -> None:
    for _ in range(draw(st.integers(0, 3))):
        op = draw(st.sampled_from(["BatchNormalization", "Add", "Sub", "Mul", "Div"]))
        if op == "BatchNormalization":
            net.batchnorm(channels)
        else:
            net.arithmetic(op, channels, rank, draw(st.booleans()))


@st.composite
def convolutions(draw: st.DrawFn) -> Model:
    net, groups, dims = Net(), draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([1, 2, 3]))
    into, out = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    kernel = draw(st.lists(st.integers(1, 3), min_size=dims, max_size=dims))
    pads = draw(st.sampled_from([0, 0, 1]))
    if draw(st.booleans()):
        net.batchnorm(into, shifts=draw(st.booleans()))
    op = draw(st.sampled_from(["Conv", "ConvTranspose"]))
    shape = [out, into // groups] if op == "Conv" else [into, out // groups]
    operands = [net.value, net.constant([*shape, *kernel])] + ([net.constant([out])] if draw(st.booleans()) else [])
    strides = draw(st.lists(st.integers(1, 2), min_size=dims, max_size=dims))
    net.add(op, *operands, attrs=f"{{group={groups}, strides={strides}, pads={[pads] * dims * 2}}}")
    draw(affine_maps(net, out, dims + 2))
    net.add("Neg", net.value)
    return net.model([1, into, *[5] * dims])


@st.composite
def matrices(draw: st.DrawFn) -> Model:
    net, into, out = Net(), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    if draw(st.booleans()):
        net.batchnorm(into)
    if draw(st.booleans()):
        net.add("MatMul", net.value, net.constant([into, out]))
    else:
        transposed = draw(st.integers(0, 1))
        weight = net.constant([out, into] if transposed else [into, out])
        bias = [net.constant(draw(st.sampled_from([[out], [1, out], [1]])))] if draw(st.booleans()) else []
        alpha, beta = (draw(st.sampled_from([1.0, 0.5, -2.0])) for _ in range(2))
        net.add("Gemm", net.value, weight, *bias, attrs=f"{{alpha={alpha}, beta={beta}, transB={transposed}}}")
    draw(affine_maps(net, out, 2))
    net.add("Neg", net.value)
    return net.model([3, into])


def check(model: Model) -> None:
    before = model
    after = parse_model(print_all(model))
    context = run_pass(get_pass("fold-batchnorm"), after)
    verify(after)
    assert different(before, after) == ""
    left = [node for node in after.graph if node.op == "BatchNormalization"]
    assert all(context.refusals[node.name] for node in left)
    # Only one before a convolution stays: where a shift would miss the padded border.
    assert [node.output.users[0].op for node in left if node.output.users[0].op not in ("Conv", "ConvTranspose")] == []


def print_all(model: Model) -> str:
    return print_model(model, weights="all")


@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_convolutions(model: Model) -> None:
    check(model)


@settings(max_examples=40, deadline=None)
@given(matrices())
def test_matrices(model: Model) -> None:
    check(model)


@settings(max_examples=15, deadline=None)
@given(convolutions())
def test_the_check_sees_one_wrong_channel(model: Model) -> None:
    wrong = parse_model(print_all(model))
    run_pass(get_pass("fold-batchnorm"), wrong)
    conv = next(node for node in wrong.graph if node.op in ("Conv", "ConvTranspose"))
    weight = conv.inputs[1]
    assert weight is not None
    assert weight.constant is not None
    data = np.array(weight.constant.numpy())
    data[-1] *= np.float32(0.9)
    weight.set_initializer(Tensor.of(data))
    assert different(model, wrong) != ""
