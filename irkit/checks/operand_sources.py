"""HAI209 to HAI211: operands that the compiler does not find where it looks for them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from irkit.checks.reading import behind_idle, made_by
from irkit.checks.telling import first_few
from irkit.diagnostics import Severity
from irkit.inputs import fed_inputs
from irkit.ir import Node, Value
from irkit.linter import Found, Subject, rule
from irkit.style import plural
from irkit.types import Shape, format_shape, is_static

_PARTS = ("Slice", "Split", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Expand")
_ELEMENTWISE = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min")


@rule("HAI209", "unfolded-operand", Severity.WARNING)
def unfolded_operand(subject: Subject) -> Iterator[Found]:
    """Something that is always the same, but is computed by nodes in the place of being stored.

    Why: the parser reads stored constants. A factor that a Sqrt made of another constant was not there for it ("ew
    mult layer expects 2 inputs but found 1"), a Transpose of a weight crashed it, and so did chains that compute the
    shape of a Reshape.
    Example: `F.scaled_dot_product_attention` exported by TorchScript, which computes its scale from a shape.
    Fix: irkit optimize computes such constants and stores them; any ONNX simplifier does too.
    """
    shapes: list[Node] = []
    for maker, readers in subject.once(_computed_operands).items():
        if _is_of_floats(maker):
            found = f"found `{maker.output.name}`, computed by {maker.op}"
            text = f"the constant operand of {readers[0].op} should be stored; {found}"
            yield Found(text, maker, fixable=subject.runs("fold-constants"), also=(*_chain(subject, [maker]), *readers))
        else:
            shapes.append(maker)
    if shapes:
        chain = _chain(subject, shapes)
        listed = first_few(dict.fromkeys(node.op_id for node in chain))
        text = f"shapes should be stored; found {len(shapes)} computed, by {plural(len(chain), 'node')} ({listed})"
        yield Found(text, shapes[0], fixable=subject.runs("fold-constants"), also=chain)


def _computed_operands(subject: Subject) -> dict[Node, list[Node]]:
    """The nodes that compute constants, with the nodes of the network that read them."""
    found: dict[Node, list[Node]] = {}
    for node in subject.nodes:
        for value in node.inputs:
            source = behind_idle(subject, value)
            if source is not None and source.producer is not None and source.producer in subject.folded:
                found.setdefault(source.producer, []).append(node)
    return found


def _chain(subject: Subject, nodes: Iterable[Node]) -> tuple[Node, ...]:
    """These nodes and those that compute constants for them, in the order of the graph."""
    found: set[Node] = set()
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if node in subject.folded and node not in found:
            found.add(node)
            pending += [value.producer for value in node.reads() if value.producer is not None]
    return tuple(node for node in subject.model.graph if node in found)


def _is_of_floats(node: Node) -> bool:
    dtype = node.output.dtype
    return dtype is not None and dtype.is_float


@rule("HAI210", "stretched-input", Severity.WARNING)
def stretched_input(subject: Subject) -> Iterator[Found]:
    """An input of the network that is stretched over another tensor, such as the mask of an attention.

    Why: an input has a layout of its own on the chip, with its last axis as the columns of one channel. One of shape
    (1, 1, 1, 128), added to the scores of an attention, failed when its format was converted.
    Example: `scores + attention_mask` with a mask of (batch, 1, 1, tokens).
    Fix: leave the mask out where every token counts, or feed it as large as what it is added to.
    """
    inputs = set(fed_inputs(subject.model))
    for node in subject.of(*_ELEMENTWISE):
        whole = subject.shape(node.output)
        for value in node.inputs:
            source = _input_of(subject, value)
            if source is None or source not in inputs or len(node.inputs) < 2:
                continue
            shape, met = subject.shape(source), format_shape(whole)
            if source is behind_idle(subject, value) and _is_smaller(shape, whole):
                text = f"input `{source.name}` should be as large as what it meets"
                yield Found(f"{text}; found {format_shape(shape)} for {met}", node)
            elif source is not behind_idle(subject, value) and _meets_scores(subject, node, value):
                text = f"scores of an attention should not meet a part of input `{source.name}`"
                yield Found(f"{text}; found {format_shape(shape)} for {met}", node)


def _input_of(subject: Subject, value: Value | None) -> Value | None:
    """The input of the network that a value is, or is a part of in another layout."""
    value = behind_idle(subject, value)
    while (maker := made_by(subject, value, *_PARTS)) is not None:
        value = behind_idle(subject, maker.input(0))
    return value


def _meets_scores(subject: Subject, node: Node, value: Value | None) -> bool:
    """Whether the other operand is a product of queries and keys, scaled or taken apart by heads."""
    other = next((operand for operand in node.inputs if operand is not value), None)
    while (maker := made_by(subject, other, "Mul", "Div", *_PARTS)) is not None:
        other = maker.input(0)
    return made_by(subject, other, "MatMul") is not None


def _is_smaller(shape: Shape | None, whole: Shape | None) -> bool:
    return is_static(shape) and is_static(whole) and _count(shape) < _count(whole)


def _count(shape: Shape | None) -> int:
    return math.prod(dim for dim in shape or () if isinstance(dim, int))


@rule("HAI211", "redundant-slice", Severity.WARNING)
def redundant_slice(subject: Subject) -> Iterator[Found]:
    """A Slice that takes everything.

    Why: the compiler removes it while it fuses layers, and crashed where what reads it had no shape for it.
    Example: `x[:, :, :]` of a tensor that is no longer, `x[:, :length]` with the length it has.
    Fix: irkit optimize removes it; any ONNX simplifier does too.
    """
    slices = [node for node in subject.idle if node.op == "Slice" and node in subject.live]
    if slices:
        text = (
            f"a Slice should take a part; found {len(slices)} that {'takes' if len(slices) == 1 else 'take'} everything"
        )
        yield Found(text, slices[0], fixable=subject.runs("remove-identity"), also=tuple(slices))
