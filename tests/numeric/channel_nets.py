"""Random convolutional networks with odd channel counts, drawn by a seeded generator.

Branches, concats of odd widths, groups, two consumers with different group counts, shuffles, squeeze-excite, residuals,
splits, slices, flatten, and operators under which a zero does not stay zero (Log, Div, Exp, Sigmoid).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from irkit import DType, Graph, Model, Node, Tensor, TensorType, Value

WIDTHS = (1, 3, 4, 6, 10, 12, 15, 18, 20, 24)


class Net:
    """Builds one network; every method appends operators and returns their result, with its type."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = Graph("net")
        self.pool: list[Value] = []

    def channels(self, x: Value) -> int:
        return self.size(x)[1]

    def weight(self, *shape: int, low: float | None = None) -> Value:
        data = self.rng.standard_normal(shape) / math.sqrt(max(1, math.prod(shape[1:])))
        if low is not None:
            data = np.abs(data) + low
        return self.graph.add_initializer(self.graph.fresh_name("w"), Tensor.of(data.astype(np.float32)))

    def ints(self, *numbers: int) -> Value:
        return self.graph.add_initializer(self.graph.fresh_name("n"), Tensor.of(np.asarray(numbers, np.int64)))

    def scalar(self, number: float) -> Value:
        return self.graph.add_initializer(self.graph.fresh_name("v"), Tensor.of(np.float32(number)))

    def op(self, op: str, inputs: list[Value | None], shape: tuple[int, ...], **attrs: object) -> Value:
        name = self.graph.fresh_name(op.lower())
        node = Node(op, inputs, attrs, [name], name=name, types=[TensorType(DType.FLOAT32, shape)])
        return self.graph.append(node).output

    def like(self, op: str, x: Value, *more: Value, **attrs: object) -> Value:
        assert x.shape is not None
        return self.op(op, [x, *more], tuple(dim for dim in x.shape if isinstance(dim, int)), **attrs)

    def size(self, x: Value) -> tuple[int, ...]:
        assert x.shape is not None
        return tuple(dim for dim in x.shape if isinstance(dim, int))

    # --- blocks ---

    def conv(self, x: Value, width: int, groups: int = 1) -> Value:
        n, c, h, w = self.size(x)
        kernel = int(self.rng.choice([1, 3])) if min(h, w) > 1 else 1
        bias = [self.weight(width)] if self.rng.random() < 0.7 else []
        weights = self.weight(width, c // groups, kernel, kernel)
        pad = kernel // 2
        return self.op(
            "Conv", [x, weights, *bias], (n, width, h, w), group=groups, kernel_shape=[kernel] * 2, pads=[pad] * 4
        )

    def transposed(self, x: Value, width: int, groups: int = 1) -> Value:
        n, c, h, w = self.size(x)
        return self.op(
            "ConvTranspose",
            [x, self.weight(c, width // groups, 1, 1)],
            (n, width, h, w),
            group=groups,
            kernel_shape=[1, 1],
        )

    def batch_norm(self, x: Value) -> Value:
        c = self.channels(x)
        return self.like(
            "BatchNormalization", x, self.weight(c), self.weight(c), self.weight(c), self.weight(c, low=0.3)
        )

    def concat(self, parts: list[Value]) -> Value:
        n, _, h, w = self.size(parts[0])
        return self.op("Concat", list(parts), (n, sum(map(self.channels, parts)), h, w), axis=1)

    def split(self, x: Value) -> list[Value]:
        n, c, h, w = self.size(x)
        at = int(self.rng.integers(1, c))
        if self.rng.random() < 0.4:  # as TorchScript writes `chunk`
            return [self.cut(x, 0, at), self.cut(x, at, c)]
        first = self.graph.fresh_name("part")
        names = [first, f"{first}_rest"]
        types = [TensorType(DType.FLOAT32, (n, size, h, w)) for size in (at, c - at)]
        node = Node("Split", [x, self.ints(at, c - at)], {"axis": 1}, names, name=names[0], types=types)
        return list(self.graph.append(node).outputs)

    def slice(self, x: Value) -> Value:
        c = self.channels(x)
        start = int(self.rng.integers(0, c))
        return self.cut(x, start, int(self.rng.integers(start + 1, c + 1)))

    def cut(self, x: Value, start: int, stop: int) -> Value:
        n, c, h, w = self.size(x)
        if self.rng.random() < 0.3:  # counted from the end
            first, last = start - c, stop - c if stop < c else np.iinfo(np.int64).max
        else:
            first, last = start, stop
        return self.op("Slice", [x, self.ints(first), self.ints(last), self.ints(1)], (n, stop - start, h, w))

    def shuffle(self, x: Value) -> Value:
        n, c, h, w = self.size(x)
        groups = next(g for g in (3, 2, 5, 1) if c % g == 0)
        split = self.op("Reshape", [x, self.ints(n, groups, c // groups, h, w)], (n, groups, c // groups, h, w))
        turned = self.op("Transpose", [split], (n, c // groups, groups, h, w), perm=[0, 2, 1, 3, 4])
        return self.op("Reshape", [turned, self.ints(n, -1, h, w)], (n, c, h, w))

    def squeeze_excite(self, x: Value) -> Value:
        n, c, _, _ = self.size(x)
        mean = self.op("GlobalAveragePool", [x], (n, c, 1, 1))
        inner = self.like("Relu", self.conv(mean, 5))
        return self.like("Mul", x, self.like("Sigmoid", self.conv(inner, c)))

    def norm(self, x: Value) -> Value:
        n, _, h, w = self.size(x)
        length = self.op("ReduceL2", [x], (n, 1, h, w), axes=[1])
        return self.like("Div", x, self.like("Add", length, self.weight(1, low=0.5)))

    def depthwise(self, x: Value) -> Value:
        c = self.channels(x)
        return self.conv(x, c * int(self.rng.choice([1, 1, 2])), groups=c)

    def pad(self, x: Value) -> Value:
        n, c, h, w = self.size(x)
        value = self.graph.add_initializer(
            self.graph.fresh_name("v"), Tensor.of(np.float32(self.rng.choice([0.0, 0.5])))
        )
        wide = self.op("Pad", [x, self.ints(0, 0, 1, 1, 0, 0, 1, 1), value], (n, c, h + 2, w + 2))
        return self.op("AveragePool", [wide], (n, c, h, w), kernel_shape=[3, 3], strides=[1, 1])

    def positive(self, x: Value) -> Value:
        return self.like("Add", self.like("Abs", x), self.weight(1, low=0.2))

    def depth_space(self, x: Value) -> Value:
        n, _, h, w = self.size(x)
        mode = str(self.rng.choice(["DCR", "CRD"]))
        wide = self.conv(x, 4 * int(self.rng.choice([1, 3, 5])))
        out = self.op("DepthToSpace", [wide], (n, self.channels(wide) // 4, 2 * h, 2 * w), blocksize=2, mode=mode)
        return self.op("SpaceToDepth", [out], (n, self.channels(wide), h, w), blocksize=2)

    def softmax(self, x: Value) -> Value:
        return self.like("Softmax", x, axis=1)

    def flatten_head(self, x: Value) -> Value:
        n, c, h, w = self.size(x)
        flat = self.op("Flatten", [x], (n, c * h * w), axis=1)
        return self.op("Gemm", [flat, self.weight(7, c * h * w), self.weight(7)], (n, 7), transB=1)


def random_net(seed: int, steps: int = 9) -> Model:
    """The network of that seed: input (1, 3, 4, 5), one or two outputs."""
    net = Net(seed)
    rng = net.rng
    x = net.graph.add_input("x", TensorType(DType.FLOAT32, (1, 3, 4, 5)))
    net.pool = [net.conv(x, int(rng.choice(WIDTHS)))]
    blocks = _blocks(net)
    for _ in range(steps):
        source = net.pool[int(rng.integers(max(0, len(net.pool) - 3), len(net.pool)))]
        net.pool.append(blocks[int(rng.integers(len(blocks)))](source))
    outputs = [net.flatten_head(net.pool[-1]) if rng.random() < 0.5 else net.conv(net.pool[-1], 5)]
    if rng.random() < 0.3:
        extra = net.pool[int(rng.integers(len(net.pool)))]
        outputs += [extra] if extra.producer is not None else []
    net.graph.set_outputs(outputs)
    for node in reversed(list(net.graph)):
        if not any(value.use_count for value in node.outputs):
            net.graph.remove(node)
    return Model(net.graph, opset_imports={"": 17}, ir_version=8)


def _blocks(net: Net) -> list[Callable[[Value], Value]]:
    rng = net.rng

    def width() -> int:
        return int(rng.choice(WIDTHS))

    def grouped(x: Value) -> Value:
        groups = next((g for g in rng.permutation([2, 3, 4, 5]) if net.channels(x) % g == 0), 1)
        maker = net.conv if rng.random() < 0.7 else net.transposed
        return maker(x, int(groups) * int(rng.integers(1, 6)), int(groups))

    def two_groups(x: Value) -> Value:
        return net.concat([grouped(x), grouped(x)])

    def residual(x: Value) -> Value:
        op = str(rng.choice(["Add", "Mul", "Sub", "Max"]))
        return net.like(op, x, net.conv(net.like("Relu", net.conv(x, width())), net.channels(x)))

    def other(x: Value) -> Value:
        same = [value for value in net.pool if value is not x and value.shape == x.shape]
        return net.like("Add", x, same[0]) if same else net.like("Relu", x)

    def halves(x: Value) -> Value:
        if net.channels(x) < 2:
            return x
        first, second = net.split(x)
        return (
            net.concat([second, net.conv(first, width())])
            if rng.random() < 0.5
            else net.concat([first, net.like("Tanh", second)])
        )

    def mean_gate(x: Value) -> Value:
        n, _, h, w = net.size(x)
        return net.like("Mul", x, net.like("Sigmoid", net.op("ReduceMean", [x], (n, 1, h, w), axes=[1])))

    return [
        lambda x: net.conv(x, width()),
        lambda x: net.like("Relu", net.batch_norm(net.conv(x, width()))),
        grouped, two_groups, residual, residual, other, halves, halves, mean_gate,
        net.shuffle, net.shuffle, net.squeeze_excite, net.norm, net.depthwise, net.pad, net.depth_space, net.slice,
        lambda x: net.concat([x, net.conv(x, width())]),
        lambda x: net.concat([net.like("Sigmoid", x), net.like("Exp", net.like("Tanh", x))]),
        lambda x: net.like("Log", net.positive(x)),
        lambda x: net.like("Div", net.conv(x, net.channels(x)), net.positive(x)),
        lambda x: net.like("PRelu", x, net.weight(net.channels(x), 1, 1)),
        lambda x: net.like("Mul", x, net.weight(net.channels(x), 1, 1)),
        lambda x: net.like("Add", x, net.weight(1, net.channels(x), 1, 1)),
        net.softmax,
        lambda x: net.like("Clip", x, net.scalar(0.1)),
    ]  # fmt: skip
