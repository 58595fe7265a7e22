"""HAI404 to HAI410: forms that cost the chip more than they look, or that no compiled network is known to have."""

from __future__ import annotations

import math
from collections.abc import Iterator

from irkit.checks.conditions import worked_axes
from irkit.checks.cuts import is_layer, producer
from irkit.checks.reading import integers, shape_in
from irkit.checks.telling import grounds
from irkit.diagnostics import Severity
from irkit.ir import Node, Value
from irkit.linter import Found, Subject, rule
from irkit.table import Fact, NumbersFact
from irkit.types import format_shape

_GATES = frozenset({"Sigmoid", "HardSigmoid", "Clip", "Relu", "HardSwish", "Tanh", "Add", "Mul", "Div"})
_LAYOUT = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
_GATE_STEPS = 12
"""Nodes between the gate and the average of a squeeze-and-excite block, at most."""


@rule("HAI404", "wide-concat", Severity.WARNING, facts=("concat_inputs",))
def wide_concat(subject: Subject) -> Iterator[Found]:
    """A Concat of more tensors than any that is known to be compiled.

    Why: all of them must be on the chip at the same time, and wide joins are where mapping failed.
    Example: the dense blocks of DenseNet, `torch.cat(list_of_twelve, dim=1)`.
    Fix: join in steps, or leave the parts as outputs of their own, also because one scale then serves all of them.
    """
    fact = subject.target.facts.concat_inputs
    if fact is None:
        return
    for node in subject.of("Concat"):
        count = len(node.inputs)
        if count > fact.value:
            text = f"Concat should be of at most {fact.value} tensors; found {count} {_grounds(fact)}"
            yield Found(text, node, advice=fact.advice)


@rule("HAI405", "large-pool", Severity.WARNING, facts=("pool_area",))
def large_pool(subject: Subject) -> Iterator[Found]:
    """An average, or an instance norm, over a large map.

    Why: the sum over the map leaves the range that the chip shifts numbers in ("shift delta exceeds the limit"), so
    that quantization fails. Hailo's own model scripts divide the largest averages.
    Example: `torch.nn.AdaptiveAvgPool2d(1)` on 128 x 240 pixels, the first squeeze-and-excite block of an EfficientNet.
    Fix: have the compiler split it by a command of the model script, or pool in two steps.
    """
    fact = subject.target.facts.pool_area
    if fact is None:
        return
    for node in subject.of("GlobalAveragePool", "ReduceMean", "AveragePool", "InstanceNormalization"):
        area = _pooled_area(subject, node)
        if area is not None and area > fact.value:
            text = f"{node.op} should average over at most {fact.value} pixels; found {area} {_grounds(fact)}"
            yield Found(text, node, advice=fact.advice)


def _pooled_area(subject: Subject, node: Node) -> int | None:
    shape = shape_in(subject, node)
    if shape is None or len(shape) != 4:
        return None
    if node.op == "AveragePool":
        return math.prod(integers(node, "kernel_shape") or (0,))
    axes = worked_axes(node) if node.op == "ReduceMean" else (2, 3)
    if axes is None or {axis % 4 for axis in axes} != {2, 3}:
        return None
    height, width = shape[2:]
    return height * width if isinstance(height, int) and isinstance(width, int) else None


@rule("HAI406", "squeeze-and-excite", Severity.INFO)
def squeeze_and_excite(subject: Subject) -> Iterator[Found]:
    """Channels are scaled by what is computed of their averages over the whole map.

    Why: nothing behind the block can start before the last row of the map has come in, so that the whole map waits on
    the chip. It is taken; small networks with many such blocks are among those that do not stay in one context.
    Example: the blocks of MobileNetV3, EfficientNet, RegNetY.
    Fix: nothing has to be done. Variants without (EfficientNet-Lite, RegNetX) run faster; Hailo's scripts for CAS-ViT
    have pre_quantization_optimization(se_optimization, method=tse, ...).
    """
    blocks = [node for node in subject.of("Mul") if _is_excited(subject, node)]
    if blocks:
        yield Found(f"the network has squeeze-and-excite blocks; found {len(blocks)}", blocks[0])


def _is_excited(subject: Subject, product: Node) -> bool:
    """Whether one operand is a map and the other one number a channel, computed of averages of the map."""
    if len(product.inputs) != 2:
        return False
    for slot in (0, 1):
        feature, gate = product.inputs[slot], product.inputs[1 - slot]
        shape, gates = _shape(subject, feature), _shape(subject, gate)
        if shape is None or gates is None or len(shape) != 4 or len(gates) != 4 or gates[2:] != (1, 1):
            continue
        if shape[2:] != (1, 1) and producer(subject, feature) in _averaged(subject, gate):
            return True
    return False


def _averaged(subject: Subject, gate: Value | None) -> list[Node | None]:
    """What the average was taken of that a gate is computed of."""
    node = producer(subject, gate)
    for _ in range(_GATE_STEPS):
        if node is None:
            return []
        if node.op in ("GlobalAveragePool", "ReduceMean", "AveragePool"):
            return [producer(subject, node.input(0))]
        if not is_layer(subject, node) and node.op not in _GATES | _LAYOUT:
            return []
        node = next((source for value in node.inputs if (source := producer(subject, value)) is not None), None)
    return []


@rule("HAI407", "unusual-kernel", Severity.INFO, facts=("conv_kernels",))
def unusual_kernel(subject: Subject) -> Iterator[Found]:
    """A convolution with a kernel of a size that no compiled network is known to have.

    Why: the limits are not public; what was seen is safe. Patches, whose kernel is as large as its stride, become
    another layer and are not meant. A kernel above 16, larger than that of any patch, is a warning.
    Example: `torch.nn.Conv2d(64, 64, 31, groups=64)`.
    Fix: two smaller kernels one after the other, or a dilated one.
    """
    for node, kernel, _ in _convolutions(subject):
        yield from _outside(node, "kernel sizes", kernel, subject.target.facts.conv_kernels, _LARGEST_PATCH)


@rule("HAI408", "unusual-stride", Severity.INFO, facts=("conv_strides",))
def unusual_stride(subject: Subject) -> Iterator[Found]:
    """A convolution with a stride that no compiled network is known to have.

    Why: the limits are not public; what was seen is safe. A stride above 16 is a warning.
    Example: `torch.nn.Conv2d(64, 128, 5, stride=3)`.
    Fix: a stride of 1, 2 or 4, or a pooling behind the convolution.
    """
    for node, _, strides in _convolutions(subject):
        yield from _outside(node, "strides", strides, subject.target.facts.conv_strides, _LARGEST_PATCH)


_LARGEST_PATCH = 16
"""No network is known to have a larger kernel or stride, patches included: beyond, a form is doubted."""


def _outside(node: Node, what: str, found: tuple[int, ...], known: NumbersFact | None, largest: int) -> Iterator[Found]:
    """Numbers of a convolution that are not among the known ones."""
    if known is not None and not set(found) <= set(known.value):
        text = f"{node.op}: {what} should be {_range(known.value)}; found {_by(found)} {_grounds(known)}"
        yield Found(text, node, Severity.WARNING if max(found) > largest else None, advice=known.advice)


@rule("HAI409", "uneven-padding", Severity.INFO, facts=("conv_pad_differences",))
def uneven_padding(subject: Subject) -> Iterator[Found]:
    """A convolution that pads one side otherwise than compiled networks do.

    Why: even padding, and one more at the end, are known; other padding becomes a layer of its own at best.
    Example: causal convolutions, `F.pad(x, (4, 0))` before a kernel of 5.
    Fix: pad both sides evenly and cut off the end.
    """
    fact = subject.target.facts.conv_pad_differences
    if fact is None:
        return
    for node, kernel, _ in _convolutions(subject):
        pads = integers(node, "pads")
        begin, end = pads[: len(kernel)], pads[len(kernel) :]
        if any(after - before not in fact.value for before, after in zip(begin, end, strict=False)):
            text = f"{node.op}: padding should be even, or one more at the end; found {_by(begin)} before"
            yield Found(f"{text} and {_by(end)} behind {_grounds(fact)}", node, advice=fact.advice)


@rule("HAI410", "large-activation", Severity.WARNING, facts=("activation_size",))
def large_activation(subject: Subject) -> Iterator[Found]:
    """A tensor of more elements than any in a network that is known to be compiled.

    Why: rows wait on the chip until the layers that need them are done; a network whose maps do not fit is split into
    contexts, or not compiled.
    Example: 64 channels at 4000 x 3000 pixels.
    Fix: a smaller input (crops, tiles), or a stride in the first layer.
    """
    fact = subject.target.facts.activation_size
    if fact is None:
        return
    sizes = {node: _elements(subject, node) for node in subject.nodes if node.outputs}
    largest = max(sizes, key=lambda node: sizes[node], default=None)
    if largest is not None and sizes[largest] > fact.value:
        shape = subject.shape(largest.output)
        text = f"tensors should be of at most {fact.value} elements; the largest has {sizes[largest]}"
        yield Found(f"{text}, {format_shape(shape)} {_grounds(fact)}", largest, advice=fact.advice)


def _elements(subject: Subject, node: Node) -> int:
    shape = subject.shape(node.output)
    return math.prod(dim for dim in shape if isinstance(dim, int)) if shape is not None else 0


def _convolutions(subject: Subject) -> Iterator[tuple[Node, tuple[int, ...], tuple[int, ...]]]:
    """The 2-D convolutions that are no patches, with kernel and strides."""
    for node in subject.of("Conv"):
        weight = _shape(subject, node.input(1))
        sizes = integers(node, "kernel_shape") or (weight[2:] if weight is not None else ())
        kernel = tuple(size for size in sizes if isinstance(size, int))
        strides = integers(node, "strides") or (1,) * len(kernel)
        is_patch = kernel == strides and max(kernel, default=1) > 1
        if len(kernel) == len(sizes) == 2 and not is_patch:
            yield node, kernel, strides


def _shape(subject: Subject, value: Value | None) -> tuple[int | str | None, ...] | None:
    return subject.shape(value) if value is not None else None


def _grounds(fact: Fact) -> str:
    return grounds(fact.confidence, fact.evidence)


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in sizes)


def _range(sizes: tuple[int, ...]) -> str:
    """`1..7`, or `1, 2 or 4` where there are gaps."""
    ordered = sorted(sizes)
    if ordered == list(range(ordered[0], ordered[-1] + 1)) and len(ordered) > 2:
        return f"{ordered[0]}..{ordered[-1]}"
    return f"{', '.join(map(str, ordered[:-1]))} or {ordered[-1]}" if len(ordered) > 1 else str(ordered[0])
