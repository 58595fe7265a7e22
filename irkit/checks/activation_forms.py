"""Activations that are spelled with several operators: SiLU, the forms of GELU, HardSwish, softmax."""

from __future__ import annotations

import math

from irkit.checks.reading import (
    computed_operand,
    is_number,
    is_op,
    made_by,
    only_user,
    other_than,
    reduces_last,
    same,
    users,
)
from irkit.ir import Node
from irkit.linter import Subject


def activations(subject: Subject) -> dict[Node, str]:
    """The nodes of activations, by the name of the pattern."""
    found: dict[Node, str] = {}
    for sigmoid in subject.of("Sigmoid"):
        found.update(_gate(subject, sigmoid))
    for erf in subject.of("Erf"):
        name = _gelu(subject, erf)
        if name:
            found[erf] = name
    for tanh in subject.of("Tanh"):
        found.update(dict.fromkeys(_gelu_tanh(subject, tanh), "gelu-tanh"))
    for bounds in subject.of("HardSigmoid", "Clip"):
        found.update(dict.fromkeys(_hard_swish(subject, bounds), "hard-swish"))
    for exponential in subject.of("Exp"):
        found.update(dict.fromkeys(_softmax(subject, exponential), "softmax"))
    return found


def _gate(subject: Subject, sigmoid: Node) -> dict[Node, str]:
    """SiLU, x * sigmoid(x), and its relative x * sigmoid(1.702 x)."""
    product = next(iter(users(subject, sigmoid.output)), None)
    if product is None or not is_op(product, "Mul") or only_user(subject, sigmoid, "Mul") is None:
        return {}
    others = [value for value in product.inputs if not same(subject, value, sigmoid.output)]
    if len(others) != 1:
        return {}
    if same(subject, others[0], sigmoid.input(0)):
        return dict.fromkeys((sigmoid, product), "silu")
    scaled = made_by(subject, sigmoid.input(0), "Mul")
    if scaled is not None and same(subject, other_than(subject, scaled, 1.702), others[0]):
        return dict.fromkeys((scaled, sigmoid, product), "quick-gelu")
    return {}


def _gelu(subject: Subject, erf: Node) -> str:
    """The spelling of the GELU around an Erf; empty where there is none.

    `gelu-erf` is what TorchScript exports: x / sqrt(2) first, then the product with x, * 0.5 last. Keras halves x
    before the product.
    """
    scaled = made_by(subject, erf.input(0), "Div", "Mul")
    shifted = only_user(subject, erf, "Add")
    if scaled is None or shifted is None:
        return ""
    x = other_than(subject, scaled, math.sqrt(2) if scaled.op == "Div" else math.sqrt(0.5))
    product = only_user(subject, shifted, "Mul")
    if x is None or product is None or other_than(subject, shifted, 1.0) is None:
        return ""
    last = only_user(subject, product, "Mul")
    if any(same(subject, value, x) for value in product.inputs):
        halved = last is not None and other_than(subject, last, 0.5) is not None
        return "" if not halved else "gelu-erf" if scaled.op == "Div" else "gelu-erf-reordered"
    if other_than(subject, product, 0.5) is not None:
        closes = last is not None and any(same(subject, value, x) for value in last.inputs)
        return "gelu-erf-reordered" if closes else ""
    halves = [made_by(subject, value, "Mul") for value in product.inputs]
    is_half = any(half is not None and same(subject, other_than(subject, half, 0.5), x) for half in halves)
    return "" if not is_half else "gelu-erf-halved-first" if scaled.op == "Div" else "gelu-erf-reordered"


def _gelu_tanh(subject: Subject, tanh: Node) -> list[Node]:
    """GELU as x * 0.5 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))): the nodes from the cube to the last product."""
    scaled = made_by(subject, tanh.input(0), "Mul")
    inner = other_than(subject, scaled, math.sqrt(2 / math.pi)) if scaled is not None else None
    summed = made_by(subject, inner, "Add")
    shifted = only_user(subject, tanh, "Add")
    if scaled is None or summed is None or shifted is None or other_than(subject, shifted, 1.0) is None:
        return []
    cubes = [made_by(subject, value, "Mul") for value in summed.inputs]
    weighed = next((node for node in cubes if node is not None and other_than(subject, node, 0.044715)), None)
    product = only_user(subject, shifted, "Mul")
    if weighed is None or product is None:
        return []
    cube = made_by(subject, other_than(subject, weighed, 0.044715), "Pow", "Mul")
    last = only_user(subject, product, "Mul")
    return [node for node in (cube, weighed, summed, scaled, tanh, shifted, product, last) if node is not None]


def _hard_swish(subject: Subject, bounds: Node) -> list[Node]:
    """HardSwish as x * hardsigmoid(x), or as x * relu6(x + 3) / 6."""
    x = bounds.input(0)
    if bounds.op == "Clip":
        shifted = made_by(subject, x, "Add")
        is_relu6 = is_number(subject, bounds.input(1), 0.0) and is_number(subject, bounds.input(2), 6.0)
        x = other_than(subject, shifted, 3.0) if shifted is not None and is_relu6 else None
        members = [node for node in (shifted, bounds) if node is not None]
    else:
        members = [bounds]
    product = only_user(subject, bounds, "Mul")
    if x is None or product is None or not any(same(subject, value, x) for value in product.inputs):
        return []
    scaled = only_user(subject, product, "Div", "Mul")
    if bounds.op == "HardSigmoid":
        return [*members, product]
    is_sixth = scaled is not None and other_than(subject, scaled, 6.0 if scaled.op == "Div" else 1 / 6) is not None
    return [*members, product, scaled] if scaled is not None and is_sixth else []


def _softmax(subject: Subject, exponential: Node) -> list[Node]:
    """exp(x - max(x)) / sum(exp(x - max(x))) over one axis."""
    total = next((node for node in users(subject, exponential.output) if node.op == "ReduceSum"), None)
    quotient = next((node for node in users(subject, exponential.output) if node.op == "Div"), None)
    if total is None or quotient is None or not reduces_last(subject, total, "ReduceSum"):
        return []
    if not same(subject, quotient.input(1), total.output):
        return []
    shifted = made_by(subject, exponential.input(0), "Sub")
    largest = made_by(subject, shifted.input(1), "ReduceMax") if shifted is not None else None
    if shifted is None or largest is None or computed_operand(subject, shifted) is not None:
        return [exponential, total, quotient]
    return [largest, shifted, exponential, total, quotient]
