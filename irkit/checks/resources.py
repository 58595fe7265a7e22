"""HAI4xx: what the network takes of the chip."""

from __future__ import annotations

from collections.abc import Iterator

from irkit.channels.cost import LAYERS
from irkit.diagnostics import Severity
from irkit.ir import Node, Value
from irkit.linter import Found, Subject, rule


@rule("HAI401", "several-contexts", Severity.INFO, facts=("single_context_parameters",))
def several_contexts(subject: Subject) -> Iterator[Found]:
    """More weights than any network that is known to stay on the chip as a whole.

    Why: a network that does not fit is split in contexts, whose weights are loaded in turn: several times slower.
    Fix: a smaller network, or batches, which spread the loading over several frames.
    """
    fact = subject.target.facts.single_context_parameters
    if fact is None:
        return
    read = {value for node in subject.nodes for value in node.inputs if value is not None}
    count = sum(_parameters(value) for value in read)
    if count > fact.value:
        known = f"none above {fact.value / 1e6:.1f} million is known to run without loading weights in turn"
        yield Found(f"the network has {count / 1e6:.1f} million parameters; {known}", advice=fact.advice)


@rule("HAI402", "unaligned-channels", Severity.INFO, facts=("channel_multiple",))
def unaligned_channels(subject: Subject) -> Iterator[Found]:
    """A layer whose number of output channels is no multiple of the target's (8).

    Why: users and common advice ask for it; that it makes a Hailo-8 faster is not publicly known, and padding costs
    weights and multiply-accumulates.
    Fix: irkit optimize pads channels with the function unchanged, and tells the cost; --skip align-channels does not.
    """
    fact = subject.target.facts.channel_multiple
    if fact is None:
        return
    unaligned = list(_unaligned(subject, fact.value))
    if not unaligned or subject.invalid:  # how channels flow through an invalid node is not known
        return
    from irkit.channels.plan import plan_channels  # several times the work of all other rules together

    barriers = plan_channels(subject.model.graph, fact.value, opset=subject.model.opset).barriers
    for node, axis, size in unaligned:
        barrier = barriers.get((node.output, axis))
        message = f"output channels should be a multiple of {fact.value}; found {size}"
        if barrier is not None:
            yield Found(f"{message}, and they cannot be padded: {barrier}", node)
        else:
            yield Found(message, node, fixable=subject.runs("align-channels"))


def _unaligned(subject: Subject, multiple: int) -> Iterator[tuple[Node, int, int]]:
    """Layers inside the network with output channels that are no multiple: with channel axis and number of channels."""
    for node in subject.of(*LAYERS):
        shape = subject.shape(node.output) or ()
        suspects = shape[-2:] if node.op == "MatMul" else shape[1:2]
        if node.output.is_graph_output or not any(isinstance(dim, int) and dim % multiple for dim in suspects):
            continue
        from irkit.channels.operators import channel_axis

        axis = channel_axis(node)
        size = shape[axis] if axis is not None else None
        if axis is not None and isinstance(size, int) and size % multiple:
            yield node, axis, size


def _parameters(value: Value) -> int:
    """Numbers of a constant that is no scalar; 0 for anything else."""
    data = value.constant
    return data.size if data is not None and data.rank > 0 and data.dtype.is_float else 0
