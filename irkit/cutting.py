"""Cutting a model by node names: what comes before the chip, what runs on it, what comes after.

    pre       graph inputs to the inputs of the start nodes
    device    up to and with the end nodes
    host      from the outputs of the end nodes to the outputs of the graph

Each part is a model of its own, so that no pass sees across a cut. Run in a row they are the whole, which is shown by
running both.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from irkit.editing import between, outer_reads
from irkit.errors import ExecutionError, GraphError, MissingDependencyError, ModelError, OptionError
from irkit.executor import open_row, open_session, run_row
from irkit.extracting import extract
from irkit.inputs import draw, fed_inputs, input_specs
from irkit.ir import Node, Value
from irkit.model import Model
from irkit.numerics import compare

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

Samples: TypeAlias = "Callable[[Model], Mapping[str, Array] | None]"
_INPUTS = 4


@dataclass(frozen=True)
class CutProof:
    """That the parts in a row give what the whole gives.

    Attributes: `inputs` it was shown on; `worst`, the largest difference relative to an output's scale; `reason`: why
    it was not shown, "" where it was.
    """

    inputs: int = 0
    worst: float = 0.0
    reason: str = ""


@dataclass
class Parts:
    """A model in parts. `pre` and `host` are None where there is nothing before, or after.

    Attributes: `ends`: names of the end nodes; `starts`: of the start nodes; `results`: outputs of the whole, in order.
    """

    whole: Model
    pre: Model | None
    device: Model
    host: Model | None
    ends: tuple[str, ...]
    starts: tuple[str, ...]
    results: tuple[str, ...]
    proof: CutProof = field(default_factory=CutProof)

    def samples_behind(self, samples: Samples | None) -> Samples | None:
        """What gives samples of the device part, where `samples` gives those of the whole."""
        pre = self.pre
        if samples is None or pre is None:
            return samples

        def behind(device: Model) -> Mapping[str, Array] | None:
            given = samples(self.whole)
            values = run_row([pre], given) if given else {}
            names = [value.name for value in fed_inputs(device)]
            return {name: values[name] for name in names} if set(names) <= set(values) else None

        return behind


def cut_values(model: Model, ends: Sequence[str], starts: Sequence[str]) -> frozenset[str]:
    """Names of the values at the cuts. Raises `OptionError` where a name is no node of the main graph."""
    values = [*_end_values(_nodes(model, ends, "--cut")), *_start_values(_nodes(model, starts, "--start"))]
    return frozenset(value.name for value in values)


def cut_model(model: Model, at: Iterable[str], ends: Sequence[str], starts: Sequence[str]) -> Parts:
    """Cut a model at the values that `cut_values` named before it was prepared. The model is not changed.

    Args:
        model: the whole, with static shapes.
        at: names of the values at the cuts.
        ends: names of nodes as the user gave them; where none are given, the chip's part goes to the end.
        starts: likewise; where none are given, it begins at the inputs.

    Raises `OptionError` where the parts would need more of each other than the cut hands over.
    """
    graph = model.graph
    missing = [name for name in at if name not in graph.values]
    if missing:
        raise OptionError(f"the cut at `{missing[0]}` cannot be made: preparing the model folded it away")
    end_nodes, start_nodes = _nodes(model, ends, "--cut"), _nodes(model, starts, "--start")
    end_values = _end_values(end_nodes) or list(graph.outputs)
    start_values = _start_values(start_nodes)
    fed = fed_inputs(model)
    try:
        device_nodes = set(between([*start_values, *fed], end_values))
        pre_values = [value for value in start_values if not value.is_graph_input]
        pre_nodes = set(between(fed, pre_values)) if pre_values else set()
    except GraphError as error:
        raise OptionError(f"the model cannot be cut there: {error}") from error
    _check_apart(device_nodes & pre_nodes, "--start", "is before the start and within the chip's part")
    host_values = [value for value in graph.outputs if value not in end_values]
    host_nodes = _needed(host_values, {*end_values, *start_values, *fed})
    _check_host(host_nodes & device_nodes, device_nodes)
    device_inputs = _read(device_nodes, graph.walk()) if start_values else _read_inputs(device_nodes, fed)
    pre = extract(model, [v for v in fed if v in _reads(pre_nodes)], pre_values) if pre_nodes else None
    device = extract(model, device_inputs, end_values)
    host = extract(model, _read(host_nodes, graph.walk()), host_values) if host_nodes else None
    names = tuple(node.name for node in _makers(end_values))
    parts = Parts(
        model, pre, device, host, names, tuple(node.name for node in start_nodes), tuple(v.name for v in graph.outputs)
    )
    parts.proof = _prove(parts)
    return parts


def _nodes(model: Model, names: Sequence[str], flag: str) -> list[Node]:
    """The nodes of these names; the name of a value stands for the node that makes it."""
    by_name = {node.name: node for node in model.graph if node.name}
    found = []
    for name in names:
        value = model.graph.values.get(name)
        node = by_name.get(name) or (value.producer if value is not None else None)
        if node is None:
            near = difflib.get_close_matches(name, by_name, 1)
            hint = f" (did you mean {near[0]}?)" if near else "; irkit show lists them"
            raise OptionError(f"{flag} {name}: the model has no node of that name{hint}")
        found.append(node)
    return list(dict.fromkeys(found))


def _end_values(nodes: Sequence[Node]) -> list[Value]:
    return [value for node in nodes for value in node.outputs if value.is_used]


def _start_values(nodes: Sequence[Node]) -> list[Value]:
    """What start nodes read and another node or the user makes."""
    chosen = set(nodes)
    reads = [value for node in nodes for value in outer_reads(node)]
    return list(
        dict.fromkeys(v for v in reads if v.constant is None and v.producer not in chosen and not v.is_initializer)
    )


def _makers(values: Sequence[Value]) -> list[Node]:
    return list(dict.fromkeys(value.producer for value in values if value.producer is not None))


def _needed(values: Sequence[Value], known: set[Value]) -> set[Node]:
    """Nodes that make these values out of the known ones and constants."""
    found: set[Node] = set()
    stack = list(values)
    while stack:
        value = stack.pop()
        node = value.producer
        if value in known or node is None or node in found:
            continue
        found.add(node)
        stack += outer_reads(node)
    return found


def _reads(nodes: set[Node]) -> set[Value]:
    return {value for node in nodes for value in outer_reads(node)}


def _read(nodes: set[Node], order: Iterable[Node]) -> list[Value]:
    """What nodes read that they do not make, constants excepted; graph inputs first, then in the order it is made."""
    made = {value for node in nodes for value in node.outputs}
    outer = {v for v in _reads(nodes) if v not in made and v.constant is None and not v.is_initializer}
    ordered = [value for node in order for value in node.outputs if value in outer]
    inputs = [value for value in next(iter(nodes)).graph.inputs if value in outer] if nodes else []  # type: ignore[union-attr]
    return [*inputs, *(value for value in ordered if value not in inputs)]


def _read_inputs(nodes: set[Node], fed: Sequence[Value]) -> list[Value]:
    read = _reads(nodes)
    return [value for value in fed if value in read]


def _check_apart(both: set[Node], flag: str, what: str) -> None:
    if both:
        node = min(both, key=lambda node: node.name)
        raise OptionError(f"`{node.name}` ({node.op_id}) {what}: give more nodes by {flag}, so that every way is cut")


def _check_host(both: set[Node], device: set[Node]) -> None:
    """What comes after the chip may read nothing from within its part but what is handed over."""
    if not both:
        return
    crossing = [
        node.name for node in both for value in node.outputs
        if value.is_graph_output or any(user not in device for user in value.users)
    ]  # fmt: skip
    names = ",".join(dict.fromkeys(sorted(crossing)))
    raise OptionError(f"what comes after the cut also needs nodes of the chip's part: add them: --cut {names}")


def _prove(parts: Parts) -> CutProof:
    """Run the whole and the parts in a row. Raises `ModelError` where they differ."""
    try:
        whole = open_session(parts.whole)
        in_a_row = open_row(part for part in (parts.pre, parts.device, parts.host) if part is not None)
        specs = input_specs(parts.whole, {})
        worst = 0.0
        for seed in range(_INPUTS):
            feed = draw(specs, seed)
            expected, values = whole.run(feed), in_a_row(feed)
            for name in parts.results:
                found = compare(expected[name], values[name])
                if not found.same:
                    raise ModelError(f"the parts do not give what the whole gives: `{name}`: {found.reason}")
                worst = max(worst, found.error)
    except (ExecutionError, MissingDependencyError) as error:
        return CutProof(reason=str(error))
    return CutProof(_INPUTS, worst)
