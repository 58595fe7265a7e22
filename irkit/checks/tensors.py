"""HAI206 to HAI208: tensors of a size or rank that the compiler cannot lay out, outputs that nothing computes."""

from __future__ import annotations

from collections.abc import Iterator

from irkit.checks.judge import verdicts
from irkit.checks.reading import shape_in
from irkit.diagnostics import Severity
from irkit.ir import Node
from irkit.linter import Found, Subject, rule, severity_of
from irkit.table import Status
from irkit.types import format_shape

_LAYOUT = frozenset({"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Cast", "Split"})
"""What says only how numbers lie, or passes them on."""


@rule("HAI206", "tensor-rank", Severity.WARNING, facts=("tensor_ranks",))
def tensor_rank(subject: Subject) -> Iterator[Found]:
    """Something is computed of tensors of a rank that no known network has there.

    Why: the compiler works on (height, width, channels); single numbers, rows without a batch and tensors of six axes
    are known between Reshapes at most.
    Example: `x.mean() * 2`, `x.view(b, h, p, w, q, c).relu()`.
    Fix: compute it at rank 4, before the Reshape or behind the next one.
    """
    fact = subject.target.facts.tensor_ranks
    if fact is None:
        return
    ranks = ", ".join(str(rank) for rank in fact.value)
    for node, verdict in subject.once(verdicts):
        shape = shape_in(subject, node)
        is_taken = verdict.status is Status.SUPPORTED and not verdict.pattern and node.op not in _LAYOUT
        if is_taken and shape is not None and len(shape) not in fact.value and _is_computed(subject, node):
            message = f"{node.op_id} must compute on one of the ranks {ranks}; found {format_shape(shape)}"
            yield Found(message, node, severity_of(fact.confidence), advice=fact.advice)


def _is_computed(subject: Subject, node: Node) -> bool:
    """Whether its first operand is made by a node: HAI201 tells of inputs."""
    value = node.input(0)
    return value is not None and value.producer is not None and not subject.is_constant(value)


@rule("HAI207", "empty-tensor", Severity.WARNING)
def empty_tensor(subject: Subject) -> Iterator[Found]:
    """A tensor without elements.

    Why: there is nothing to lay out, and the compiler refused a key cache of length 0: "Unexpected zero dimension in
    shape".
    Example: a language model exported with an empty cache of keys and values, a Split with a part of size 0.
    Fix: export it with the tensor left out, or with the size it has when it runs.
    """
    for node in subject.nodes:
        for value in (*node.inputs, *node.outputs):
            shape = subject.shape(value) if value is not None else None
            if value is not None and shape is not None and 0 in shape and not subject.is_constant(value):
                message = f"{node.op_id} must not read or make an empty tensor; found {format_shape(shape)}"
                yield Found(f"{message} of `{value.name}`", node, Severity.WARNING)
                break


@rule("HAI208", "output-without-layer", Severity.WARNING)
def output_without_layer(subject: Subject) -> Iterator[Found]:
    """An output of the network that is one of its inputs in another layout.

    Why: the compiler makes layers of operators; where nothing is computed no layer is left that could be the output
    ("end_node_names is missing in the HN").
    Example: `return self.net(x), x.permute(0, 2, 3, 1)`.
    Fix: leave it to the host, which has the input.
    """
    for value in subject.model.graph.outputs:
        node = value.producer
        if node is not None and node in subject.nodes and _only_moves(subject, node):
            text = f"output `{value.name}` must be computed by a layer; it is an input in another layout"
            yield Found(text, node, Severity.WARNING)


def _only_moves(subject: Subject, node: Node | None) -> bool:
    """Whether a node and those before it only change the layout of an input."""
    while node is not None:
        if node.domain or node.op not in _LAYOUT or not node.inputs or node.inputs[0] is None:
            return False
        value = node.inputs[0]
        if subject.is_constant(value):
            return False
        node = value.producer
    return True
