"""HAI124 to HAI129: activations and attention in spellings that the compiler does not recognise."""

from __future__ import annotations

from collections.abc import Iterator

from irkit.checks.repeats import repeated_heads
from irkit.checks.telling import told
from irkit.diagnostics import Severity
from irkit.ir import Node, Value
from irkit.linter import Found, Subject, rule
from irkit.types import Shape, format_shape


@rule("HAI124", "erf-outside-gelu", Severity.ERROR)
def erf_outside_gelu(subject: Subject) -> Iterator[Found]:
    """An Erf that is not part of a GELU as PyTorch's TorchScript exporter spells it.

    Why: the compiler has no layer for Erf; it recognises x * 0.5 * (1 + erf(x / sqrt(2))) by its order of operations,
    and refused the same function multiplied in another order.
    Example: the GELU of a Keras or dynamo export, `torch.erf(x)` by itself.
    Fix: irkit optimize replaces GELU by Relu; else spell it in the order above, or train with Relu or SiLU.
    """
    yield from told(subject, "erf-outside-gelu")


@rule("HAI125", "repeated-heads", Severity.ERROR)
def repeated_key_heads(subject: Subject) -> Iterator[Found]:
    """Key and value heads that are repeated for groups of queries (grouped-query attention).

    Why: repeating is spelled with Expand, for which the compiler has no layer.
    Example: `repeat_kv` of the attention in LLaMA, Qwen and their relatives.
    Fix: repeat the rows of the key's and the value's weights once, before exporting, so that there are as many key
    heads as query heads.
    """
    yield from told(subject, "repeated-heads", detail=_repeat_words)


def _repeat_words(subject: Subject, node: Node) -> str:
    repeat = subject.once(repeated_heads).get(node)
    return f"{repeat.heads} heads, each {repeat.times} times" if repeat is not None else ""


@rule("HAI126", "attention-product", Severity.WARNING)
def attention_product(subject: Subject) -> Iterator[Found]:
    """A product of two tensors in a shape that attention does not have.

    Why: products of activations are known as those of attention, of rank 4 with the heads as axis 1; a constant is
    known as the second factor only.
    Example: `x @ x.transpose(1, 2)` of rank 5, `weights @ x` with weights on the left.
    Fix: give both factors the shape (1, heads, tokens, width); turn a product with the constant on the left round:
    (x^T W^T)^T, or write it as a convolution with a kernel of 1.
    """
    yield from told(subject, "attention-product", detail=_factors)


def _factors(subject: Subject, node: Node) -> str:
    return " times ".join(_described(subject, value) for value in node.inputs if value is not None)


def _described(subject: Subject, value: Value) -> str:
    shape = _shape(subject, value)
    constant = "constant " if subject.is_constant(value) else ""
    return f"{constant}{format_shape(shape) if shape is not None else value.name}"


@rule("HAI127", "masking-by-where", Severity.ERROR)
def masking_by_where(subject: Subject) -> Iterator[Found]:
    """A Where that depends on what flows through the network.

    Why: the compiler has no layer that chooses; in attention it refused the Where that puts the mask in.
    Example: `scores.masked_fill(mask == 0, -1e9)`.
    Fix: add a mask of 0 and large negative numbers to the scores (as an input of the network, or a constant), or
    multiply by a mask of 0 and 1.
    """
    yield from told(subject, "masking-by-where", advice=_mask_advice)


def _mask_advice(subject: Subject, node: Node) -> str:
    """Where a softmax follows, the mask can be added."""
    users = [user for user in node.successors if user in subject.nodes]
    if not any(user.op == "Softmax" or any(later.op == "Softmax" for later in user.successors) for user in users):
        return ""
    return "it masks the scores of a softmax: add a mask of 0 and large negative numbers in its place"


@rule("HAI128", "clip-bounds", Severity.WARNING)
def clip_bounds(subject: Subject) -> Iterator[Found]:
    """A Clip, Min or Max with bounds that are not those of ReLU6.

    Why: the compiler takes Clip as an activation; 0 and 6 are known, a lower bound of 0 alone is read as Relu, and
    bounds that are computed leave it nothing to fold.
    Example: `x.clamp(-1, 1)`, `torch.minimum(a, b)`.
    Fix: use ReLU6, Relu, HardSigmoid or HardSwish where the training allows it.
    """
    yield from told(subject, "clip-bounds", detail=_bounds)


def _bounds(subject: Subject, node: Node) -> str:
    if node.op != "Clip":
        return " and ".join(_described(subject, value) for value in node.inputs if value is not None)
    texts = []
    for slot, name in ((1, "min"), (2, "max")):
        value = node.input(slot)
        data = subject.tensor(value) if value is not None else None
        given = node.attr(name) if value is None else data.item() if data is not None and data.size == 1 else None
        if isinstance(given, (int, float)):
            texts.append(f"{name} {given:g}")
        elif value is not None:
            texts.append(f"{name} computed")
    return ", ".join(texts)


@rule("HAI129", "operand-ranks", Severity.WARNING)
def operand_ranks(subject: Subject) -> Iterator[Found]:
    """Two operands that do not go together in the compiler's order of axes.

    Why: ONNX fills up the shorter shape with ones on the left; the compiler has the channels last, so that this is
    another axis there: implicit filling failed, and constants did not broadcast ("constant shape (1, 2, 8400) not
    broadcastable to [1, 8400, 2]").
    Example: `(1, 64, 8, 8) * (64, 1, 1)` where both are computed; a map times a constant of shape (1, 1, 8, 8).
    Fix: give both operands a rank of 4 (`unsqueeze`, `keepdim=True`), and constants one number a channel or the shape
    of the map.
    """
    yield from told(subject, "operand-ranks")


def _shape(subject: Subject, value: Value | None) -> Shape | None:
    return subject.shape(value) if value is not None else None
