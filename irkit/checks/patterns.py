"""Groups of operators that the compiler takes, or refuses, as one, recognised by their structure.

The names are those of `[pattern.NAME]` in the rule tables. A node is a member of one pattern at most: what stands
later here counts.
"""

from __future__ import annotations

from irkit.checks.activation_forms import activations
from irkit.checks.attention_form import attentions
from irkit.checks.heads import head_nodes
from irkit.checks.layout_forms import layouts
from irkit.checks.misfits import misfits
from irkit.checks.norm_forms import norms, squeeze_excite
from irkit.checks.repeats import repeated_heads
from irkit.ir import Node
from irkit.linter import Subject


def memberships(subject: Subject) -> dict[Node, str]:
    """The patterns that nodes are part of, by name."""
    found: dict[Node, str] = {}
    for recognised in (squeeze_excite, activations, norms, layouts, attentions, misfits):
        found.update(recognised(subject))
    found.update(dict.fromkeys(head_nodes(subject), "yolo-head"))
    found.update(dict.fromkeys(subject.once(repeated_heads), "repeat-heads"))
    return found
