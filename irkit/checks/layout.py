"""HAI203: changes of layout that the compiler does not recognise."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from irkit.checks.heads import advice_to_cut
from irkit.checks.net_effect import Chain, chain_of
from irkit.checks.telling import told
from irkit.diagnostics import Severity
from irkit.ir import Node
from irkit.linter import Found, Subject, rule
from irkit.types import format_shape


@rule("HAI203", "layout-change", Severity.WARNING)
def layout_change(subject: Subject) -> Iterator[Found]:
    """A Reshape, Transpose, Flatten, Squeeze or Unsqueeze outside of the groups that the compiler recognises.

    Why: the chip keeps its own layout, and the compiler must find a layer that does the same; "Failed to determine
    type of layer to create in node" is the most frequent of its refusals.
    Example: `x.view(b, 4, 16, h * w).transpose(1, 2)`.
    Fix: look at what the whole chain does, which the finding spells out. Known to pass: flatten before a dense layer,
    channel and pixel shuffle, the heads of attention, a feature map to tokens and back. A dense layer on a flattened
    map is a convolution with a kernel of 1; else cut before it.
    """
    for found in told(subject, "layout-change", advice=advice_to_cut):
        chain = chain_of(subject, found.node) if found.node is not None else None
        yield dataclasses.replace(found, message=f"{found.message}{_as_a_whole(chain)}") if chain is not None else found


def _as_a_whole(chain: Chain) -> str:
    """What the chain does: `; found that it permutes NCHW to N(HW)C, merges H and W: [1,64,8,8] to [1,64,64]`."""
    who = "it" if len(chain.nodes) == 1 else f"the chain {_operators(chain.nodes)}"
    shapes = f"{format_shape(chain.before)} to {format_shape(chain.after)}"
    return f"; found that {who} {chain.effect}: {shapes}" if chain.effect else f"; found that {who} turns {shapes}"


def _operators(nodes: tuple[Node, ...]) -> str:
    return ", ".join(node.op for node in nodes)
