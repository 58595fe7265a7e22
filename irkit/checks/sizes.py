"""HAI403 and HAI411 to HAI413: layers larger than those that are known to be compiled."""

from __future__ import annotations

import math
from collections.abc import Iterator

from irkit.checks.conditions import worked_axes
from irkit.checks.constant_operands import has_channels_first
from irkit.checks.cuts import is_layer, producer, sources, weights_of
from irkit.checks.reading import integers, is_op, shape_in
from irkit.checks.telling import grounds
from irkit.diagnostics import Severity
from irkit.ir import Node
from irkit.linter import Found, Subject, rule, severity_of
from irkit.table import NumberFact

_MOST_STEPS = 6
"""Nodes between a softmax and the product that it normalizes, at most."""

_LEAST_PATCH = 8
"""Convolutions with a kernel as large as their stride from this size on make patches, not maps."""


_WIDTHS = ("layer_outputs", "layer_outputs_refused", "layer_inputs", "layer_inputs_refused", "layer_weights")


@rule("HAI403", "wide-layer", Severity.ERROR, facts=_WIDTHS)
def wide_layer(subject: Subject) -> Iterator[Found]:
    """A layer with more outputs, inputs or weights than any that is known to be compiled.

    Why: a layer must fit on the chip as a whole; the product with a large vocabulary was too big for it.
    Example: `torch.nn.Linear(384, 51865)` at the end of a speech decoder.
    Fix: split the layer into several of fewer outputs, and join what they make on the host; split one of many inputs
    into several that are added.
    """
    facts = subject.target.facts
    for node in subject.of("Conv", "ConvTranspose", "Gemm", "MatMul"):
        yield from _too_large(
            node, "output features", _outputs(subject, node), facts.layer_outputs, facts.layer_outputs_refused
        )
        yield from _too_large(
            node, "input features", _inputs(subject, node), facts.layer_inputs, facts.layer_inputs_refused
        )
        weights = weights_of(subject, node) if is_layer(subject, node) else 0
        yield from _too_large(node, "weights", weights, facts.layer_weights, None)


def _outputs(subject: Subject, node: Node) -> int:
    """Output features of a layer with weights; 0 where they are not known."""
    shape = subject.shape(node.output)
    if shape is None or len(shape) < 2 or not is_layer(subject, node):
        return 0
    width = shape[-1 if node.op == "MatMul" else 1]
    return width if isinstance(width, int) else 0


def _inputs(subject: Subject, node: Node) -> int:
    """Input features of a layer on tokens; 0 of others: a dense layer on a whole map is a convolution of that size."""
    shape = shape_in(subject, node)
    if node.op != "MatMul" or shape is None or len(shape) < 3 or not is_layer(subject, node):
        return 0
    return shape[-1] if isinstance(shape[-1], int) else 0


@rule("HAI411", "wide-row", Severity.WARNING, facts=("row_size",))
def wide_row(subject: Subject) -> Iterator[Found]:
    """A layer on rows of more numbers (columns times channels) than any that is known to be compiled.

    Why: the chip streams maps row by row, and a row waits in its memory; sequences laid along the width make one long
    row. 256 channels over 2000 columns could not be placed ("Agent infeasible"), over 256 columns they could.
    Example: a convolution of 256 channels on (1, 256, 1, 2000).
    Fix: fold a long sequence into several rows, or cut it into windows; fewer channels there.
    """
    fact = subject.target.facts.row_size
    if fact is None:
        return
    for node in subject.nodes:
        size = max(_row(shape_in(subject, node)), _row(subject.shape(node.output)))
        if size > fact.value and (is_op(node, "Conv", "ConvTranspose") or has_channels_first(subject, node.output)):
            text = f"{node.op}: a row should be of at most {fact.value} numbers; found {size}"
            found = f"{text} {grounds(fact.confidence, fact.evidence)}"
            yield Found(found, node, severity_of(fact.confidence), advice=fact.advice)


def _row(shape: tuple[int | str | None, ...] | None) -> int:
    """Columns times channels of a map; 0 where they are not known."""
    if shape is None or len(shape) != 4:
        return 0
    channels, width = shape[1], shape[3]
    return channels * width if isinstance(channels, int) and isinstance(width, int) else 0


@rule("HAI412", "many-patches", Severity.WARNING, facts=("patches", "patches_refused"))
def many_patches(subject: Subject) -> Iterator[Found]:
    """A network that takes an image apart into more patches than any that is known to be compiled.

    Why: each patch becomes a token, and attention compares each with each: four times the pixels are sixteen times the
    work. At 960 pixels the compiler found no layout for the patches themselves; the Slice that cuts the class token
    from 2305 failed as well.
    Example: a ViT-B/16 on 960 x 960 pixels: 3600 patches; on 224 x 224 there are 196.
    Fix: a smaller image, or larger patches.
    """
    facts = subject.target.facts
    for node in subject.of("Conv"):
        kernel, strides = integers(node, "kernel_shape"), integers(node, "strides")
        shape = subject.shape(node.output)
        if kernel != strides or min(kernel, default=0) < _LEAST_PATCH or shape is None or len(shape) != 4:
            continue
        height, width = shape[2:]
        if isinstance(height, int) and isinstance(width, int):
            yield from _too_large(node, "patches", height * width, facts.patches, facts.patches_refused)
    for node in subject.of("Slice"):
        tokens = shape_in(subject, node) or ()
        if len(tokens) == 3 and isinstance(tokens[1], int) and worked_axes(node) in ((1,), (-2,)):
            yield from _too_large(node, "tokens to cut from", tokens[1], facts.patches, None)


_ATTENTION = ("attention_scores", "attention_scores_refused", "attention_sum")


@rule("HAI413", "large-attention", Severity.ERROR, facts=_ATTENTION)
def large_attention(subject: Subject) -> Iterator[Found]:
    """An attention that compares more queries and keys, or sums over more positions, than any known to be compiled.

    Why: each query has a score for each key in each head, and the softmax over them must be placed on the chip: "No
    successful assignments" at that of six heads over 2305 tokens.
    Example: a ViT with six heads on 48 x 48 patches.
    Fix: fewer tokens: a smaller image, larger patches, windows as in Swin, or keys of a pooled map.
    """
    facts = subject.target.facts
    for node in subject.of("Softmax"):
        sizes = [dim for dim in shape_in(subject, node) or () if isinstance(dim, int)]
        if len(sizes) >= 3 and _is_of_products(subject, node):
            count = math.prod(sizes)
            yield from _too_large(
                node, "scores of an attention", count, facts.attention_scores, facts.attention_scores_refused
            )
    for node in subject.of("MatMul"):
        last = (shape_in(subject, node) or (0,))[-1]
        if isinstance(last, int) and not any(subject.is_constant(value) for value in node.reads()):
            yield from _too_large(node, "positions that a product sums over", last, facts.attention_sum, None)


def _is_of_products(subject: Subject, softmax: Node) -> bool:
    """Whether it normalizes products of two activations, scaled, masked or not."""
    node = producer(subject, softmax.input(0))
    for _ in range(_MOST_STEPS):
        if node is None or not is_op(node, "Mul", "Div", "Add", "Reshape"):
            break
        node = next(sources(subject, node), None)
    return is_op(node, "MatMul")


def _too_large(
    node: Node, what: str, found: int, known: NumberFact | None, refused: NumberFact | None
) -> Iterator[Found]:
    """What is as large as something that was refused, or larger than all that is known."""
    if refused is not None and found >= refused.value:
        text = f"{node.op}: {refused.value} {what} are too many"
        because, severity = refused, severity_of(refused.confidence)
    elif known is not None and found > known.value:
        text = f"{node.op}: {what} should be at most {known.value}"
        because, severity = known, Severity.WARNING
    else:
        return
    text = f"{text}; found {found} {grounds(because.confidence, because.evidence)}"
    yield Found(text, node, severity, advice=because.advice)
