"""IRK001 to IRK003, HAI201, HAI202 and HAI205: shapes that the compiler must know, and those it takes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from irkit.checks.judge import verdicts
from irkit.checks.telling import first_few
from irkit.diagnostics import Severity
from irkit.inputs import fed_inputs
from irkit.ir import Node, Value
from irkit.linter import Found, Subject, rule, severity_of
from irkit.table import Status
from irkit.types import DType, Shape, TensorType, format_shape


@rule("IRK001", "dynamic-shape", Severity.ERROR, facts=("static_shapes",))
def dynamic_shape(subject: Subject) -> Iterator[Found]:
    """An input of the model with dimensions that are no numbers.

    Why: the compiler lays out memory for one size, and Shape and Reshape chains of a dynamic export stop its parser.
    Fix: irkit optimize makes the batch 1 by itself; bind every other dimension (`--bind NAME=NUMBER`,
    `--shape INPUT=1,3,224,224`), or export with fixed sizes.
    """
    fact = subject.target.facts.static_shapes
    if fact is None or not fact.value:
        return
    for value in fed_inputs(subject.model):
        found = _dynamic_input(subject, value)
        if found is not None:
            message, fixable, advice = found
            yield Found(message, severity=severity_of(fact.confidence), fixable=fixable, advice=advice)


_NAME = re.compile(r"[A-Za-z_][\w.-]*")
"""Names of dimensions that `--bind` is good for; Paddle calls each of them `?`."""


def _dynamic_input(subject: Subject, value: Value) -> tuple[str, bool, str] | None:
    """Message, whether it is repaired unasked, and advice, about one input; None where its shape is static."""
    if not isinstance(value.type, TensorType):
        return f"input `{value.name}` must be a tensor; found {value.type or 'no type'}", False, ""
    shape = value.type.shape
    if shape is None:
        message = f"input `{value.name}` must have a static shape; its rank is not known"
        return message, False, f"irkit optimize --shape {value.name}=1,..."
    free = [axis for axis, dim in enumerate(shape) if not isinstance(dim, int)]
    if not free:
        return None
    listed = ", ".join(f"{shape[axis] or '?'} (axis {axis}{', the batch' if axis == 0 else ''})" for axis in free)
    message = f"input `{value.name}` must have a static shape; found {format_shape(shape)}: {listed}"
    others = [axis for axis in free if axis > 0]
    if not others:
        return message, subject.runs("static-shapes"), "irkit optimize makes it 1"
    names = dict.fromkeys(str(shape[axis] or "?") for axis in others)
    if all(map(_NAME.fullmatch, names)):
        return message, False, "irkit optimize " + " ".join(f"--bind {name}=NUMBER" for name in names)
    return message, False, f"irkit optimize --shape {value.name}={_sizes((1, *shape[1:]))}"


def _sizes(shape: Shape) -> str:
    """A shape as `--shape` takes it, with NUMBER for what the user has to say."""
    return ",".join(str(dim) if isinstance(dim, int) else "NUMBER" for dim in shape)


@rule("IRK002", "data-dependent-shape", Severity.ERROR, facts=("static_shapes",))
def data_dependent_shape(subject: Subject) -> Iterator[Found]:
    """A tensor whose shape depends on the values that flow through the network.

    Why: no binding of input dimensions makes it static, and the compiler takes static shapes only.
    Fix: export with fixed sizes at that place, or cut the graph before it.
    """
    fact = subject.target.facts.static_shapes
    if fact is None or not fact.value:
        return
    for node, cause in subject.shaped_by_data.items():
        text = f"the shape of `{node.output.name}` must not depend on data; {cause}"
        yield Found(text, node, severity_of(fact.confidence))


@rule("IRK003", "batch-size", Severity.ERROR, facts=("batch",))
def batch_size(subject: Subject) -> Iterator[Found]:
    """An input with a first dimension that is not the batch size the compiler takes.

    Why: the compiler builds the network for one frame; HailoRT makes batches of frames by itself.
    Fix: export with batch 1, or try `irkit optimize --shape INPUT=1,...`, which works where no constant has it.
    """
    fact = subject.target.facts.batch
    if fact is None:
        return
    for value in fed_inputs(subject.model):
        shape = value.shape
        if shape is None or len(shape) < 2 or not isinstance(shape[0], int) or shape[0] == fact.value:
            continue
        message = f"the batch (axis 0) of input `{value.name}` must be {fact.value}; found {format_shape(shape)}"
        sizes = _sizes((fact.value, *shape[1:]))
        advice = f"export with batch {fact.value}, or irkit optimize --shape {value.name}={sizes}"
        yield Found(message, severity=severity_of(fact.confidence), advice=advice)


@rule("HAI201", "input-rank", Severity.WARNING, facts=("input_ranks",))
def input_rank(subject: Subject) -> Iterator[Found]:
    """An input whose rank the compiler is not known to take.

    Why: it works on (height, width, channels); tensors of rank 1 or 2 at the input crashed its parser.
    Fix: give the input the shape (1, channels, height, width), with sizes of 1 where there is nothing.
    """
    fact = subject.target.facts.input_ranks
    if fact is None:
        return
    ranks = ", ".join(str(rank) for rank in fact.value)
    for value in fed_inputs(subject.model):
        shape = value.shape
        if shape is None:
            continue
        if len(shape) not in fact.value:
            message = f"input `{value.name}` must have one of the ranks {ranks}; found {format_shape(shape)}"
        elif _is_volume_of_no_layer(value):
            message = f"input `{value.name}` of rank 5 must be read by a 3-D convolution; found {format_shape(shape)}"
        else:
            continue
        yield Found(message, severity=severity_of(fact.confidence), advice=fact.advice)


def _is_volume_of_no_layer(value: Value) -> bool:
    """Whether a tensor of rank 5 is read by no 3-D layer: clips are known as what a convolution reads."""
    return len(value.shape or ()) == 5 and not any(user.op in ("Conv", "MaxPool") for user in value.users)


@rule("HAI202", "input-type", Severity.WARNING, facts=("input_types",))
def input_type(subject: Subject) -> Iterator[Found]:
    """An input of an element type that the compiler is not known to take.

    Why: it quantizes floats by itself; tokens, indices and half-precision floats are no input for it.
    Fix: export a float32 model, and leave lookups of tokens and indices to the host.
    """
    fact = subject.target.facts.input_types
    if fact is None:
        return
    for value in fed_inputs(subject.model):
        if value.dtype is not None and value.dtype.label not in fact.value:
            message = (
                f"the element type of input `{value.name}` must be {' or '.join(fact.value)}; found {value.dtype.label}"
            )
            yield Found(message, severity=severity_of(fact.confidence), advice=fact.advice)


@rule("HAI205", "non-float-compute", Severity.WARNING, facts=("input_types",))
def non_float_compute(subject: Subject) -> Iterator[Found]:
    """Operators that compute on numbers of a type that the compiler is not known to take.

    Why: it quantizes floats by itself; integers, half and double precision and complex numbers were refused or misread.
    Example: `mask.long().cumsum(1)`, a model exported in half precision.
    Fix: export a float32 model; compute indices and masks on the host, or when exporting.
    """
    fact = subject.target.facts.input_types
    if fact is None:
        return
    told = {value.dtype for value in fed_inputs(subject.model)}
    for dtype, nodes in _computing(subject).items():
        if dtype.label not in fact.value and not (dtype.is_float and dtype in told):
            listed = first_few(f"{count} {op}" for op, count in sorted(Counter(node.op_id for node in nodes).items()))
            message = f"the network should compute in {' or '.join(fact.value)}; found {dtype.label} in {listed}"
            yield Found(message, nodes[0], severity_of(fact.confidence), advice=fact.advice)


def _computing(subject: Subject) -> Mapping[DType, Sequence[Node]]:
    """The nodes that are not refused for themselves, by the type of the data they work on."""
    found: dict[DType, list[Node]] = {}
    for node, verdict in subject.once(verdicts):
        value = node.input(0)
        dtype = value.dtype if value is not None and not subject.is_constant(value) else None
        refused = verdict.status in (Status.UNSUPPORTED, Status.CONSTANT_ONLY)
        if dtype is not None and dtype is not DType.BOOL and node.op != "Cast" and not refused:
            found.setdefault(dtype, []).append(node)
    return found
