"""HAI4xx: what the network takes of the chip."""

from __future__ import annotations

from collections.abc import Iterator

from irkit.diagnostics import Severity
from irkit.ir import Value
from irkit.linter import Found, Subject, rule


@rule("HAI401", "several-contexts", Severity.INFO)
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


def _parameters(value: Value) -> int:
    """Numbers of a constant that is no scalar; 0 for anything else."""
    data = value.constant
    return data.size if data is not None and data.rank > 0 and data.dtype.is_float else 0
