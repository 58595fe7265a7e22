"""GELU, however it is written, becomes Relu.

    x * Phi(x)                                        erf:    Phi(x) = (1 + erf(x / sqrt(2))) / 2
    x * (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2    tanh
    x * sigmoid(1.702 x)                              quick

A GELU in small operators is found by what it computes: every elementwise region with one input around an Erf, Tanh,
Sigmoid or Exp is evaluated on a grid and held against these functions. So the order of operands, the way constants are
stored or factored and casts in between do not matter, and what only looks like a GELU stays. SiLU (x sigmoid(x)) and
HardSwish (x clip(x/6 + 1/2, 0, 1)) become Relu only where `also` names them.

Not: where a value inside is read elsewhere or is a graph output. The function changes: fine-tune with ReLU, in the
modules that the report lists, or accept the drift.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import irkit
from irkit import Builder, Match, Node, Pattern, PatternOps, Value

_GRID = np.concatenate([np.linspace(-8.0, 8.0, 81), [-0.01, 0.013, 0.7, 1.37]])
_TOLERANCE = 3e-4
_HALF_TOLERANCE = 2e-3  # constants rounded to float16
_HALF = {irkit.DType.FLOAT16, irkit.DType.BFLOAT16}
_WHOLE = ("Gelu", "HardSwish")
_DEPTH = 6  # steps from the core to the result
_ROOTS = 12  # nodes that may be the result
_CUTS = 3  # values the function may be one of


def _sigmoid(x: Any) -> Any:
    return 0.5 * (1 + np.tanh(0.5 * x))


_FUNCTIONS: dict[str, list[Callable[[Any], Any]]] = {
    "gelu": [
        lambda x: 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
        lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        lambda x: x * _sigmoid(1.702 * x),
    ],
    "silu": [lambda x: x * _sigmoid(x)],
    "hardswish": [lambda x: x * np.clip(x / 6 + 0.5, 0, 1)],
}
_CORES = {
    "gelu": ("Gelu", "Erf", "Tanh", "Sigmoid", "Exp"),
    "silu": ("Sigmoid", "Exp", "Tanh"),
    "hardswish": ("HardSwish", "HardSigmoid", "Clip"),
}
_VALUES = {kind: [function(_GRID) for function in functions] for kind, functions in _FUNCTIONS.items()}


class ByFunction(irkit.Rule):
    """A region of small operators that computes one of the functions."""

    def start(self, model: irkit.Model, context: irkit.Context) -> None:
        self.root_ops = frozenset(("", op) for kind in self.options.kinds for op in _CORES[kind])
        super().start(model, context)

    def match(self, root: Node) -> Match | None:
        found = None
        for top in _below(root):
            if found is None or (top.op == "Cast" and found.output in top.inputs):  # casts around it go with it
                around = (region for region in irkit.regions(top) if root in region.nodes)
                chosen = (region for region in itertools.islice(around, _CUTS) if self.is_wanted(region, root))
                found = next(chosen, found)
        return None if found is None else Match((found.output,), found.nodes, {"x": found.x})

    def is_wanted(self, region: irkit.Region, core: Node) -> bool:
        """Whether the region computes one of the functions, which no mere chain of small operators does."""
        if not region.keeps_type or not (region.joins or core.op in _WHOLE):
            return False
        dtypes = {value.dtype for node in region.nodes for value in node.inputs if value is not None}
        return self.distance(region) <= (_HALF_TOLERANCE if dtypes & _HALF else _TOLERANCE)

    def distance(self, region: irkit.Region) -> float:
        """The largest difference from the nearest of the functions."""
        values = region.evaluate(_GRID)
        wanted = [function for kind in self.options.kinds for function in _VALUES[kind]]
        return math.inf if values is None else min(float(np.abs(values - other).max()) for other in wanted)

    def explain(self, node: Node) -> str:
        around = (region for top in _below(node) for region in irkit.regions(top) if node in region.nodes)
        found = min(((self.distance(region), region.output.name) for region in around), default=(math.inf, ""))
        what = f"`{found[1]}` differs from {' and '.join(self.options.kinds)} of one input by up to {found[0]:.2g}"
        return what if math.isfinite(found[0]) else ""

    def replace(self, op: Builder, x: Value, match: Match) -> Value:
        self.options.report(self.context, match)
        return op.Relu(x)


def _below(core: Node) -> Iterator[Node]:
    """The elementwise nodes a few steps below, nearest first."""
    seen, layer = {core: None}, [core]
    for _ in range(_DEPTH):
        yield from layer
        below = dict.fromkeys(user for node in layer for user in node.successors)
        layer = [node for node in below if node not in seen and node.graph is core.graph and irkit.is_elementwise(node)]
        layer = layer[: _ROOTS - len(seen)]
        seen.update(dict.fromkeys(layer))


class Contributed(irkit.Rule):
    """ONNX Runtime's own operators, some of which add a bias first."""

    def pattern(self, op: PatternOps, x: Pattern, bias: Pattern) -> Pattern:
        microsoft = op.domain("com.microsoft")
        quick = microsoft.QuickGelu(x).such_that(self.is_wanted_alpha, "has the alpha of another function")
        return op.any_of(microsoft.any_op("Gelu", "FastGelu", "BiasGelu")(x, op.maybe(bias)), quick)

    def is_wanted_alpha(self, node: Node) -> bool:
        """QuickGelu is x sigmoid(alpha x)."""
        alpha = node.attr("alpha", 1.702)
        return math.isclose(alpha, 1.702, rel_tol=1e-3) or (alpha == 1.0 and "silu" in self.options.also)

    def replace(self, op: Builder, x: Value, bias: Value | None, match: Match) -> Value:
        self.options.report(self.context, match)
        return op.Relu(x if bias is None else op.Add(x, bias))


@irkit.define_pass("gelu-to-relu", effect="retrain")
class GeluToRelu(irkit.RewritePass):
    """Replace every GELU by Relu: the function changes, so fine-tune or accept the drift."""

    also: tuple[str, ...] = ()
    rules = (ByFunction, Contributed)

    def __post_init__(self) -> None:
        for kind in self.also:
            if kind not in _FUNCTIONS:
                raise irkit.OptionError(f"gelu-to-relu: `also` takes silu and hardswish; found {kind!r}")

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the functions to replace."""
        return ("gelu", *self.also)

    def report(self, context: irkit.Context, match: Match) -> None:
        """List a replaced GELU, with the module that it came from."""
        modules = [irkit.Location.of(node).module for node in match.nodes]
        module = next((name for name in modules if name), "")
        names = ", ".join(node.name for node in reversed(match.nodes))
        context.note(f"{module or 'module not recorded'}: {names}")
