"""Random small models that ONNX Runtime runs: a hypothesis strategy for tests of anything that takes a model.

    @given(irkit.testing.models())
    def test_something(model: irkit.Model) -> None: ...

The graphs are like those exporters write: layers with stored weights, branches that meet again, shape arithmetic,
nodes that do nothing or are not read, equal nodes, a nested graph, several outputs, a batch with or without a name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import note, strategies as st

from irkit.model import Model
from irkit.text import parse_model

Shape = tuple[int, ...]
"""Shape of a value without its batch."""

_UNARY = ["Relu", "Neg", "Identity", "Dropout", "Sigmoid", "Tanh", "Abs", "Erf", "HardSwish", "Softplus"]
_BINARY = ["Add", "Sub", "Mul"]


@dataclass
class _Net:
    """The text of a model that grows step by step; `made` are the values so far with their shapes."""

    draw: st.DrawFn
    batch: int = 2
    constants: list[str] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    made: dict[str, Shape] = field(default_factory=dict)

    def constant(self, type: str, data: str) -> str:
        self.constants.append(f"%c{len(self.constants)}: {type} = {data}")
        return f"c{len(self.constants) - 1}"

    def weights(self, *shape: int, low: float = -1.0, high: float = 1.0) -> str:
        data = f"random(seed={len(self.constants) + 1}, low={low}, high={high})"
        return self.constant(f"float32[{','.join(map(str, shape))}]", data)

    def ints(self, *numbers: int) -> str:
        return self.constant(f"int64[{len(numbers)}]", str(list(numbers)))

    def node(self, op: str, *inputs: str, attrs: str = "", outputs: int = 1) -> list[str]:
        index = len(self.nodes)
        names = [f"v{index}" if not i else f"v{index}_{i}" for i in range(outputs)]
        reads = ", ".join(f"%{name}" if name else "_" for name in inputs)
        self.nodes.append(f"{', '.join(f'%{name}' for name in names)} = {op}({reads}) {attrs} @n{index}")
        return names

    def then(self, shape: Shape, op: str, *inputs: str, attrs: str = "") -> None:
        (name,) = self.node(op, *inputs, attrs=attrs)
        self.made[name] = shape

    def pick(self, rank: int | None = None) -> str | None:
        """A value so far: mostly the last one, so that chains grow."""
        fitting = [name for name, shape in self.made.items() if rank is None or len(shape) == rank]
        if not fitting:
            return None
        return fitting[-1] if self.draw(st.integers(0, 3)) else self.draw(st.sampled_from(fitting))


def _convolution(net: _Net) -> None:
    x = net.pick(3)
    if x is None:
        return
    channels, *size = net.made[x]
    kernel, depthwise, bias = net.draw(st.sampled_from([1, 3])), net.draw(st.booleans()), net.draw(st.booleans())
    out, groups = (channels, channels) if depthwise else (net.draw(st.sampled_from([2, 4])), 1)
    inputs = [x, net.weights(out, channels // groups, kernel, kernel), *([net.weights(out)] if bias else [])]
    pads = [kernel // 2] * 4
    net.then((out, *size), "Conv", *inputs, attrs=f"{{pads={pads}, group={groups}}}")


def _batch_norm(net: _Net) -> None:
    x = net.pick(3)
    if x is not None:
        channels = net.made[x][0]
        parameters = [net.weights(channels, low=0.5, high=1.5), *(net.weights(channels) for _ in range(2))]
        variance = net.weights(channels, low=0.5, high=2)
        net.then(net.made[x], "BatchNormalization", x, *parameters, variance, attrs="{epsilon=0.1}")


def _layer(net: _Net) -> None:
    """Convolution, batch norm and activation in a row, as most networks have them."""
    _convolution(net)
    _batch_norm(net)
    _unary(net)


def _unary(net: _Net) -> None:
    x = net.pick()
    assert x is not None
    net.then(net.made[x], net.draw(st.sampled_from(_UNARY)), x)


def _binary(net: _Net) -> None:
    x = net.pick()
    assert x is not None
    shape = net.made[x]
    others = [name for name, other in net.made.items() if other == shape]
    other = net.draw(st.sampled_from([*others, ""])) or net.draw(
        st.sampled_from([net.weights(), net.weights(shape[0], *[1] * (len(shape) - 1))])
    )
    inputs = net.draw(st.permutations([x, other]))
    net.then(shape, net.draw(st.sampled_from(_BINARY)), *inputs)


def _gelu(net: _Net) -> None:
    x = net.pick()
    assert x is not None
    (divided,) = net.node("Div", x, net.constant("float32[]", "1.4142135"))
    (erf,) = net.node("Erf", divided)
    (shifted,) = net.node("Add", erf, net.constant("float32[]", "1.0"))
    (product,) = net.node("Mul", x, shifted)
    net.then(net.made[x], "Mul", product, net.constant("float32[]", "0.5"))


def _concat_and_split(net: _Net) -> None:
    x = net.pick(3)
    if x is None:
        return
    channels, *size = net.made[x]
    others = [name for name, shape in net.made.items() if shape[1:] == tuple(size) and len(shape) == 3]
    if net.draw(st.booleans()) or channels < 2:
        other = net.draw(st.sampled_from(others))
        net.then((channels + net.made[other][0], *size), "Concat", x, other, attrs="{axis=1}")
        return
    names = net.node("Split", x, net.ints(1, channels - 1), attrs="{axis=1}", outputs=2)
    net.made.update(zip(names, [(1, *size), (channels - 1, *size)], strict=True))


def _transpose(net: _Net) -> None:
    x = net.pick(3)
    if x is None:
        return
    channels, height, width = net.made[x]
    (moved,) = net.node("Transpose", x, attrs="{perm=[0,2,3,1]}")
    if net.draw(st.booleans()):
        net.made[moved] = (height, width, channels)
    else:
        net.then((channels, height, width), "Transpose", moved, attrs="{perm=[0,3,1,2]}")


def _flatten(net: _Net) -> None:
    """To rank 2, by a constant shape, an attribute, or a shape that is computed from the input's."""
    x = net.pick(3)
    if x is None:
        return
    features = net.made[x][0] * net.made[x][1] * net.made[x][2]
    how = net.draw(st.sampled_from(["constant", "attribute", "computed"]))
    if how == "constant":
        net.then((features,), "Reshape", x, net.ints(-1, features))
    elif how == "attribute":
        net.then((features,), "Flatten", x)
    else:
        (shape,) = net.node("Shape", x)
        (batch,) = net.node("Gather", shape, net.ints(0))
        (target,) = net.node("Concat", batch, net.ints(-1), attrs="{axis=0}")
        net.then((features,), "Reshape", x, target)


def _linear(net: _Net) -> None:
    x = net.pick(1)
    if x is None:
        return
    (features,) = net.made[x]
    out = net.draw(st.sampled_from([1, 3]))
    if net.draw(st.booleans()):
        net.then((out,), "MatMul", x, net.weights(features, out))
    else:
        attrs = net.draw(st.sampled_from(["{transB=1}", "{transB=1, alpha=0.5, beta=2.0}"]))
        net.then((out,), "Gemm", x, net.weights(out, features), net.weights(out), attrs=attrs)


def _pooling(net: _Net) -> None:
    x = net.pick(3)
    if x is not None:
        shape = (net.made[x][0], 1, 1)
        if net.draw(st.booleans()):
            net.then(shape, "GlobalAveragePool", x)
        else:
            net.then(shape, "ReduceMean", x, attrs="{axes=[2,3]}")


def _nothing(net: _Net) -> None:
    """Nodes that change nothing."""
    x = net.pick(3)
    if x is None:
        return
    shape = net.made[x]
    kind = net.draw(st.sampled_from(["Cast", "Pad", "Slice", "Reshape", "Concat", "Transpose"]))
    inputs = {
        "Pad": [x, net.ints(*[0] * 8)],
        "Slice": [x, net.ints(0), net.ints(2**40), net.ints(2)],
        "Reshape": [x, net.ints(0, *shape)],
    }.get(kind, [x])
    attrs = {"Cast": "{to=1}", "Concat": "{axis=1}", "Transpose": "{perm=[0,1,2,3]}"}.get(kind, "")
    net.then(shape, kind, *inputs, attrs=attrs)


def _twice(net: _Net) -> None:
    """Two equal nodes with equal weights, both read."""
    x = net.pick(3)
    if x is None:
        return
    shape = net.made[x]
    data = f"random(seed={len(net.constants)})"
    pair = [net.node("Mul", x, net.constant(f"float32[{shape[0]},1,1]", data))[0] for _ in range(2)]
    net.then(shape, "Add", *pair)


def _constant_arithmetic(net: _Net) -> None:
    x = net.pick()
    assert x is not None
    number = net.draw(st.sampled_from(["0.5", "-2.0", "0.0", "1.0"]))
    (made,) = net.node("Constant", attrs=f"{{value=float32[] {number}}}")
    (squared,) = net.node("Mul", made, made)
    net.then(net.made[x], "Add", x, squared)


def _branches(net: _Net) -> None:
    """An If, on a constant or on a value, whose branches read outer values."""
    x = net.pick()
    assert x is not None
    if net.draw(st.booleans()):
        condition = net.constant("bool[]", net.draw(st.sampled_from(["true", "false"])))
    else:
        (total,) = net.node("ReduceSum", x, attrs="{keepdims=0}")
        (condition,) = net.node("Greater", total, net.constant("float32[]", "0.0"))
    index, weight = len(net.nodes), net.weights()
    then = f"graph() -> (%t{index}) {{ %t{index} = Mul(%{x}, %{weight}) @t{index} }}"
    other = f"%d{index} = Identity(%{x}) @d{index} %e{index} = Neg(%d{index}) @e{index}"
    attrs = f"{{then_branch={then}, else_branch=graph() -> (%e{index}) {{ {other} }}}}"
    net.then(net.made[x], "If", condition, attrs=attrs)


_STEPS: list[Callable[[_Net], None]] = [
    _layer, _layer, _layer, _convolution, _batch_norm, _unary, _unary, _binary, _gelu, _concat_and_split, _transpose,
    _flatten, _linear, _pooling, _nothing, _twice, _constant_arithmetic, _branches,
]  # fmt: skip


@st.composite
def models(draw: st.DrawFn, min_steps: int = 1, max_steps: int = 12) -> Model:
    """A random model of opset 17 with named nodes; inputs `x` and sometimes `z`, up to three outputs.

    Args:
        draw: given by hypothesis.
        min_steps: how many parts, of one to a few nodes each, a model is made of at least.
        max_steps: and at most.
    """
    net = _Net(draw)
    channels, size = draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from([1, 3, 4]))
    net.made["x"] = (channels, size, size)
    batch = draw(st.sampled_from(["2", "N"]))
    inputs = [f"%x: float32[{batch},{channels},{size},{size}]"]
    if draw(st.booleans()):
        net.made["z"] = (channels, size, size)
        inputs.append(inputs[0].replace("%x", "%z"))
    fed = list(net.made)
    for step in draw(st.lists(st.sampled_from(_STEPS), min_size=min_steps, max_size=max_steps)):
        step(net)
    outputs = _outputs(net, fed)
    made = ", ".join(f"%{name}: float32[{','.join([batch, *map(str, net.made[name])])}]" for name in outputs)
    text = f"graph({', '.join(inputs)}) -> ({made}) {{\n" + "\n".join(net.constants + net.nodes) + "\n}"
    note(text)
    return parse_model(text)


def _outputs(net: _Net, fed: list[str]) -> list[str]:
    """The last value, and some others, read or not."""
    made = [name for name in net.made if name not in fed]
    if not made:
        net.then(net.made["x"], "Relu", "x")
        made = [next(reversed(net.made))]
    others = net.draw(st.lists(st.sampled_from(made), max_size=2, unique=True))
    return list(dict.fromkeys([made[-1], *others]))
