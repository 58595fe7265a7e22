"""Compute the same thing once.

Two nodes of a graph are duplicates where operator, attributes and inputs are the same (inputs in any order, if the
operator commutes); two stored constants where type, shape and every bit are. The first one stays. Random operators,
operators irkit has no schema of, and nodes with nested graphs are never merged, nor are two graph outputs.
"""

from __future__ import annotations

import struct
from collections.abc import Hashable
from typing import Any

import irkit

_SAMPLES = 32


@irkit.define_pass("merge-duplicates", effect="exact")
class MergeDuplicates(irkit.Pass):
    """Merge nodes that compute the same, and stored constants that hold the same."""

    def run(self, model: irkit.Model, context: irkit.Context) -> None:
        for graph in list(model.graph.walk_graphs()):
            _merge_constants(model, context, graph)
            _merge_nodes(model, context, graph)


def _merge_constants(model: irkit.Model, context: irkit.Context, graph: irkit.Graph) -> None:
    """Compare within buckets of the same type, shape and a few sampled elements; most weights are never read whole."""
    buckets: dict[Hashable, list[irkit.Value]] = {}
    for value in list(graph.initializers.values()):
        data = value.constant
        if data is None or value.is_graph_output:
            continue
        bucket = buckets.setdefault((data.dtype, data.shape, _sample(data)), [])
        first = next((other for other in bucket if other.constant == data), None)
        if first is None:
            bucket.append(value)
        elif value.name not in context.protected:
            with context.rewriting(model, "duplicate data", value.name) as allowed:
                if allowed:
                    value.replace_all_uses(first)
                    graph.remove_initializer(value)


def _merge_nodes(model: irkit.Model, context: irkit.Context, graph: irkit.Graph) -> None:
    """One sweep from inputs to outputs: what a node reads is merged before the node is looked at."""
    seen: dict[Hashable, irkit.Node] = {}
    for node in graph:
        key = _key(node)
        first = seen.setdefault(key, node) if key is not None else node
        if first is node or not _may_merge(first, node, context.protected):
            continue
        with context.rewriting(model, "duplicate node", node.name) as allowed:
            if allowed:
                for old, new in zip(node.outputs, first.outputs, strict=True):
                    graph.replace_value(old, new)
                graph.remove(node)
                first.set_origin([first, node])


def _may_merge(first: irkit.Node, node: irkit.Node, protected: frozenset[str]) -> bool:
    for new, old in zip(first.outputs, node.outputs, strict=True):
        if old.name in protected:
            return False
        if old.is_graph_output and (new.is_graph_output or new.name in protected):
            return False
    return True


def _key(node: irkit.Node) -> Hashable:
    """What the node computes, or None where it must not be merged."""
    if node.subgraphs or not node.outputs or not irkit.is_deterministic(node):
        return None
    inputs = [id(value) for value in node.inputs]
    if irkit.is_commutative(node):
        inputs.sort()
    attrs = frozenset(_attr_key(attr) for attr in node.attrs.values())
    outputs = tuple(bool(value.name) for value in node.outputs)
    return node.op_id, tuple(inputs), attrs, outputs


def _attr_key(attr: irkit.Attr) -> Hashable:
    return attr.name, attr.kind, attr.ref, _canonical(attr.value)


def _canonical(value: Any) -> Hashable:
    """Something that is equal where the values are the same bit for bit."""
    if isinstance(value, tuple):
        return tuple(_canonical(item) for item in value)
    if isinstance(value, irkit.Tensor):
        return value.dtype, value.shape, value.digest()
    if isinstance(value, irkit.SparseTensor):
        return value.shape, _canonical(value.values), _canonical(value.indices)
    return struct.pack("<d", value) if isinstance(value, float) else value


def _sample(data: irkit.Tensor) -> bytes:
    """Some of its elements, which cost little to read and tell most tensors apart."""
    if data.is_splat or data.dtype == irkit.DType.STRING:
        return b""
    flat = data.numpy().reshape(-1)
    return bytes(flat[:: max(1, flat.size // _SAMPLES)].tobytes())
