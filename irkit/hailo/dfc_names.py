"""Finds the nodes that Hailo's Dataflow Compiler speaks of, in the model that it was given."""

from __future__ import annotations

import re
from collections.abc import Iterable, Set as AbstractSet

from irkit.ir import Node

_LAYER_OPS: dict[str, AbstractSet[str]] = {
    "argmax": {"ArgMax"},
    "avgpool": {"AveragePool", "GlobalAveragePool", "ReduceMean"},
    "batch_norm": {"BatchNormalization"},
    "concat": {"Concat"},
    "conv": {"Conv", "Gemm", "MatMul"},
    "deconv": {"ConvTranspose"},
    "depth_to_space": {"DepthToSpace"},
    "dw": {"Conv"},
    "ew_add": {"Add"},
    "ew_div": {"Div"},
    "ew_mult": {"Mul"},
    "ew_sub": {"Sub"},
    "external_pad": {"Pad"},
    "fc": {"Gemm", "MatMul"},
    "feature_splitter": {"Split"},
    "layer_normalization": {"LayerNormalization"},
    "matmul": {"MatMul"},
    "maxpool": {"MaxPool"},
    "reduce_max": {"ReduceMax"},
    "reduce_sum": {"ReduceSum"},
    "resize": {"Resize", "Upsample"},
    "slice": {"Slice"},
    "softmax": {"Softmax"},
}
"""Operators that become layers of that kind. The compiler numbers the layers of a kind in an order of its own."""


class NodeNames:
    """Names of a model's nodes, as the compiler may spell them.

    It strips slashes in front, puts the name of the network before them, takes names of tensors with `:0` behind; a
    terminal breaks them in two. A spelling that fits several nodes fits none.
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes = tuple(nodes)
        self._exact = {node.name: node for node in self.nodes if node.name}
        self._spellings: dict[str, set[Node]] = {}
        for node in self.nodes:
            for name in (node.name, *(value.name for value in node.outputs)):
                if name:
                    self._spellings.setdefault(_plain(name), set()).add(node)

    def find(self, name: str) -> Node | None:
        """The node of that name; None where there is none, or more than one."""
        if name in self._exact:
            return self._exact[name]
        plain = _plain(name)
        for spelling in (plain, re.sub(r"_output_\d+$", "", plain), plain.partition("/")[2], plain.partition(";")[0]):
            found = self._spellings.get(spelling, set()) if spelling else set()
            if len(found) == 1:
                return next(iter(found))
        return self._by_end(plain)

    def _by_end(self, plain: str) -> Node | None:
        """The one node whose name ends as this one does, from a slash on."""
        if "/" not in plain:
            return None
        ends = {
            node
            for spelling, nodes in self._spellings.items()
            if spelling.endswith("/" + plain) or ("/" in spelling and plain.endswith("/" + spelling))
            for node in nodes
        }
        return next(iter(ends)) if len(ends) == 1 else None

    def of_layer(self, layer: str) -> Node | None:
        """The node that became that layer, where the model has one only that can have: `softmax1` of one Softmax."""
        kind = re.sub(r"\d+$", "", layer.rpartition("/")[2])
        ops = _LAYER_OPS.get(kind, set())
        found = [node for node in self.nodes if node.op in ops and not node.domain]
        return found[0] if len(found) == 1 else None


def _plain(name: str) -> str:
    """A name without what the compiler and terminals add or drop."""
    return re.sub(r":\d+$", "", re.sub(r"\s+", "", name)).strip("/'\"")
