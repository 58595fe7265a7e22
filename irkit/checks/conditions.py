"""Conditions of a rule table, tested on a node.

A test holds, fails, or cannot be told (None) where a fact such as a shape is not known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from irkit import ops
from irkit.checks.constant_operands import fits, has_channels_first, operand_shapes
from irkit.identities import constant_integers, is_given, permutation
from irkit.ir import Node, Value
from irkit.linter import Subject
from irkit.table import AttributeTest, Condition, NumberTest
from irkit.types import Shape, format_shape, is_static


class Outcome(NamedTuple):
    """How a test went: `holds` is None where it cannot be told; `text` says what must be, and what was found."""

    holds: bool | None
    text: str


class Case(NamedTuple):
    """A node to test."""

    subject: Subject
    node: Node

    @property
    def rank(self) -> int | None:
        """Rank of input 0."""
        return self.subject.rank(self.node.input(0))

    @property
    def axes_rank(self) -> int | None:
        """The rank that axes count in: of the result where the operator adds axes."""
        return self.subject.rank(self.node.output) if self.node.op == "Unsqueeze" else self.rank

    def cut_axes(self) -> tuple[int, ...] | None:
        """The axes worked on; those that a Slice leaves whole are not among them."""
        axes = worked_axes(self.node)
        if self.node.op == "Pad":
            return padded_axes(self.node)
        if axes is None and _reduces_all(self.node) and self.rank is not None:
            return tuple(range(self.rank))
        if axes is None or self.node.op != "Slice" or not self.node.inputs[0]:
            return axes
        before, after = self.subject.shape(self.node.inputs[0]), self.subject.shape(self.node.output)
        if before is None or after is None or len(before) != len(after) or _reverses(self.node):
            return axes
        if any(not -len(before) <= axis < len(before) for axis in axes):
            return axes
        return tuple(axis for axis in axes if before[axis] is None or before[axis] != after[axis])

    def given_inputs(self, slots: Sequence[int]) -> Iterator[tuple[int, Value]]:
        """Those of these inputs that are there."""
        for slot in slots:
            value = self.node.input(slot)
            if value is not None:
                yield slot, value

    def input_name(self, slot: int) -> str:
        """`input 1 (shape)`."""
        described = ops.schema_of(self.node)
        formal = described.formal_input(slot) if described is not None else None
        return f"input {slot} ({formal.name})" if formal is not None else f"input {slot}"


def outcomes(subject: Subject, node: Node, condition: Condition) -> Iterator[Outcome]:
    """The outcome of each test of the condition."""
    case = Case(subject, node)
    for test, wanted in condition.given:
        yield from _TESTS[test](case, wanted)


def holds(subject: Subject, node: Node, condition: Condition) -> bool | None:
    """Whether all tests hold; None where none fails but some cannot be told."""
    result: bool | None = True
    for outcome in outcomes(subject, node, condition):
        if outcome.holds is False:
            return False
        if outcome.holds is None:
            result = None
    return result


def worked_axes(node: Node) -> tuple[int, ...] | None:
    """The axes an operator with `axes` works on, as written; None where unknown, or left out to mean all."""
    slot = {"Slice": 3, "Pad": 3}.get(node.op, 1)
    if node.op == "Slice" and not is_given(node, "axes", slot):
        starts = constant_integers(node, "starts", 1)
        return None if starts is None else tuple(range(len(starts)))
    return constant_integers(node, "axes", slot) if is_given(node, "axes", slot) else None


def padded_axes(node: Node) -> tuple[int, ...] | None:
    """The axes that a Pad changes; None where the padding is computed."""
    pads = constant_integers(node, "pads", 1)
    if pads is None:
        return None
    counted = worked_axes(node) if is_given(node, "axes", 3) else tuple(range(len(pads) // 2))
    if counted is None or len(counted) * 2 != len(pads):
        return None
    return tuple(axis for index, axis in enumerate(counted) if pads[index] or pads[index + len(counted)])


def _reduces_all(node: Node) -> bool:
    """Whether a reduction is over all axes, because none are given."""
    return node.op.startswith("Reduce") and not is_given(node, "axes", 1) and not node.attr("noop_with_empty_axes")


def _reverses(node: Node) -> bool:
    steps = constant_integers(node, "steps", 4) if is_given(node, "steps", 4) else ()
    return steps is None or any(step < 0 for step in steps)


def _outcome(value: Any, holds: bool | None, what: str, wanted: str) -> Iterator[Outcome]:
    known = value is not None
    yield Outcome(holds if known else None, f"{what} must be {wanted}; found {value if known else 'an unknown one'}")


# --- ranks and axes --------------------------------------------------------------------------------------------------


def _rank(case: Case, wanted: tuple[int, ...]) -> Iterator[Outcome]:
    return _outcome(case.rank, case.rank in wanted, "rank", _either(wanted))


def _out_rank(case: Case, wanted: tuple[int, ...]) -> Iterator[Outcome]:
    rank = case.subject.rank(case.node.output)
    return _outcome(rank, rank in wanted, "rank of the result", _either(wanted))


def _ranks(case: Case, wanted: Any) -> Iterator[Outcome]:
    for slot, value in case.given_inputs([int(key) for key in wanted]):
        rank, allowed = case.subject.rank(value), wanted[str(slot)]
        yield from _outcome(rank, rank in allowed, f"rank of {case.input_name(slot)}", _either(allowed))


def _same_rank(case: Case, wanted: bool) -> Iterator[Outcome]:
    computed = [value for value in case.node.inputs if value is not None and not case.subject.is_constant(value)]
    ranks = [case.subject.rank(value) for value in computed]
    known = all(rank is not None for rank in ranks)
    found = ", ".join(str(rank) for rank in ranks)
    yield Outcome((len(set(ranks)) <= 1) is wanted if known else None, f"operands must have one rank; found {found}")


def _one_sided(case: Case, wanted: bool) -> Iterator[Outcome]:
    operands = [case.subject.shape(value) for value in case.node.inputs[:2] if value is not None]
    result = case.subject.shape(case.node.output)
    known = all(is_static(shape) for shape in (*operands, result))
    stretched = sum(1 for shape in operands if _count(shape) != _count(result)) if known else 0
    found = " and ".join(format_shape(shape) for shape in operands)
    text = f"one operand must have the shape of the result; found {found}"
    yield Outcome((stretched <= 1) is wanted if known else None, text)


def _stretched(case: Case, wanted: tuple[tuple[int, ...], ...]) -> Iterator[Outcome]:
    result = case.subject.shape(case.node.output)
    for value in case.node.inputs[:2]:
        shape = case.subject.shape(value) if value is not None and not case.subject.is_constant(value) else None
        if shape is None or result is None or len(shape) != len(result):
            continue
        pairs = list(zip(shape, result, strict=True))
        axes = tuple(axis for axis, (own, dim) in enumerate(pairs) if own == 1 and dim != 1)
        allowed = [tuple(axis for axis in group if result[axis % len(result)] != 1) for group in wanted]
        text = f"an operand must be stretched along axes {_either([_listed(group) for group in wanted])}"
        yield Outcome(not axes or axes in allowed, f"{text}; found {_listed(axes)}")


def _same_heads(case: Case, wanted: bool) -> Iterator[Outcome]:
    shapes = [case.subject.shape(value) if value is not None else None for value in case.node.inputs[:2]]
    heads = [shape[:-2] for shape in shapes if shape is not None]
    known = len(heads) == 2 and all(map(is_static, heads))
    found = " and ".join(format_shape(shape) for shape in shapes if shape is not None)
    text = f"both factors must have the same number of heads; found {found}"
    yield Outcome((heads[0] == heads[1]) is wanted if known else None, text)


def _constant_fits(case: Case, wanted: bool) -> Iterator[Outcome]:
    found = operand_shapes(case.subject, case.node)
    shapes = f"{format_shape(found[2])} for {format_shape(found[1])}" if found is not None else "none"
    text = f"a constant must be one number, one a channel, or as large as the tensor; found {shapes}"
    result = fits(case.subject, case.node)
    yield Outcome(None if result is None else result is wanted, text)


def _channels_first(case: Case, wanted: bool) -> Iterator[Outcome]:
    is_so = has_channels_first(case.subject, case.node.input(0))
    yield Outcome(is_so is wanted, f"the channels must {'' if wanted else 'not '}be axis 1")


def _count(shape: Shape | None) -> int:
    return math.prod(dim for dim in shape or () if isinstance(dim, int))


def _axis(case: Case, wanted: tuple[int, ...]) -> Iterator[Outcome]:
    axis = ops.attribute(case.node, "axis")
    return _outcome(axis, _is_among(axis, wanted, case.rank), "axis", _either(wanted))


def _axis_not(case: Case, wanted: tuple[int, ...]) -> Iterator[Outcome]:
    axis = ops.attribute(case.node, "axis")
    among = _is_among(axis, wanted, case.rank)
    return _outcome(axis, None if among is None else not among, "axis", f"other than {_either(wanted)}")


def _axes(case: Case, wanted: tuple[tuple[int, ...], ...]) -> Iterator[Outcome]:
    axes = case.cut_axes()
    fits = None if axes is None else _any(_same_axes(axes, group, case.axes_rank) for group in wanted)
    return _outcome(_listed(axes), fits, "axes", _either([_listed(group) for group in wanted]))


def _axes_not(case: Case, wanted: tuple[int, ...]) -> Iterator[Outcome]:
    axes = case.cut_axes()
    hit = None if axes is None else _any(_is_among(axis, wanted, case.axes_rank) for axis in axes)
    return _outcome(_listed(axes), None if hit is None else not hit, "axes", f"other than {_either(wanted)}")


def _perm(case: Case, wanted: tuple[tuple[int, ...], ...]) -> Iterator[Outcome]:
    perm = permutation(case.node)
    return _outcome(_listed(perm), perm in wanted, "perm", _either([_listed(group) for group in wanted]))


def _steps(case: Case, wanted: tuple[int, ...]) -> Iterator[Outcome]:
    steps = constant_integers(case.node, "steps", 4) if is_given(case.node, "steps", 4) else (1,)
    fits = None if steps is None else all(step in wanted for step in steps)
    return _outcome(_listed(steps), fits, "steps", _either(wanted))


def _space(case: Case, wanted: tuple[int, ...]) -> Iterator[Outcome]:
    value = case.node.input(0)
    shape = case.subject.shape(value) if value is not None else None
    space = _count(shape[2:]) if shape is not None and is_static(shape[2:]) else None
    return _outcome(space, space in wanted, "number of positions", _either(wanted))


def _growth(case: Case, wanted: NumberTest) -> Iterator[Outcome]:
    value = case.node.input(0)
    before = case.subject.shape(value) if value is not None else None
    after = case.subject.shape(case.node.output)
    limits = _limits(wanted)
    text = " and ".join(text for _, text in limits)
    if before is None or after is None or len(before) != len(after):
        return _outcome(None, None, "growth of each axis", text)
    known = [b / a for a, b in zip(before, after, strict=True) if isinstance(a, int) and isinstance(b, int) and a > 0]
    ratios = [ratio for ratio in known if ratio != 1]
    odd = [ratio for ratio in ratios if not all(passes(ratio) for passes, _ in limits)]
    fits = False if odd else True if len(known) == len(before) else None
    found = ", ".join(f"{ratio:g}" for ratio in dict.fromkeys(odd or ratios or [1.0]))
    return _outcome(found, fits, "growth of each axis", text)


def _is_among(axis: Any, wanted: Sequence[int], rank: int | None) -> bool | None:
    if not isinstance(axis, int):
        return None
    return _any(_same_axes((axis,), (other,), rank) for other in wanted)


def _same_axes(axes: Sequence[int], others: Sequence[int], rank: int | None) -> bool | None:
    """Whether they are the same set; None where only the rank, which is unknown, could tell."""
    if rank is not None:
        return {axis % rank for axis in axes} == {other % rank for other in others} if rank else axes == others
    if len({axis < 0 for axis in (*axes, *others)}) > 1:
        return None
    return set(axes) == set(others)


def _any(results: Iterator[bool | None]) -> bool | None:
    found = set(results)
    return True if True in found else None if None in found else False


# --- operands, attributes, types -------------------------------------------------------------------------------------


def _constant(case: Case, wanted: tuple[int, ...]) -> Iterator[Outcome]:
    for slot, value in case.given_inputs(wanted):
        text = f"{case.input_name(slot)} must be a constant; found one that is computed"
        yield Outcome(case.subject.is_constant(value), text)


def _variable(case: Case, wanted: tuple[int, ...]) -> Iterator[Outcome]:
    for slot, value in case.given_inputs(wanted):
        yield Outcome(not case.subject.is_constant(value), f"{case.input_name(slot)} must not be a constant")


def _left_out(case: Case, wanted: tuple[int, ...]) -> Iterator[Outcome]:
    for slot in wanted:
        text = f"{case.input_name(slot)} must be left out"
        yield Outcome(case.node.input(slot) is None, f"{text}; it is given")


def _values(case: Case, wanted: Any) -> Iterator[Outcome]:
    for key, allowed in wanted.items():
        slot = int(key)
        value = case.node.input(slot)
        data = case.subject.tensor(value) if value is not None else None
        text = f"{case.input_name(slot)} must be {_either(allowed)}"
        if value is None:
            yield Outcome(False, f"{text}; it is left out")
        elif data is None:
            yield Outcome(None if case.subject.is_constant(value) else False, f"{text}; it is computed")
        else:
            numbers = tuple(dict.fromkeys(data.numpy().reshape(-1).tolist()))
            found = numbers[0] if len(numbers) == 1 else f"{len(numbers)} different ones"
            yield Outcome(bool(numbers) and all(number in allowed for number in numbers), f"{text}; found {found}")


def _attributes(case: Case, wanted: Any) -> Iterator[Outcome]:
    for name, test in wanted.items():
        yield from _attribute(case.node, name, test)


_IMPLIED = {"strides": 1, "dilations": 1, "pads": 0}
"""What convolution and pooling take on each axis where the attribute is left out; schemas say so in words only."""


def _attribute(node: Node, name: str, test: AttributeTest) -> Iterator[Outcome]:
    if test.present is not None:
        text = "must be given" if test.present else "must not be given"
        yield Outcome((name in node.attrs) is test.present, f"attribute {name} {text}")
    limits = _limits(test)
    value = ops.attribute(node, name)
    if value is None and name not in node.attrs:
        value = _IMPLIED.get(name)
    if value is None and limits:
        yield Outcome(None, f"attribute {name} is not known")
        return
    items = value if isinstance(value, tuple) else (value,)
    if test.equal is not None:
        text = f"{name} must {'' if test.equal else 'not '}be the same along all axes; found {_listed(value)}"
        yield Outcome(None if value is None else (len(set(items)) <= 1) is test.equal, text)
    for passes, text in limits:
        yield Outcome(all(passes(item) for item in items), f"{name} must be {text}; found {_listed(value)}")


def _limits(test: AttributeTest | NumberTest) -> list[tuple[Callable[[Any], bool], str]]:
    """The tests of a value, each with the words for it."""
    limits: list[tuple[Callable[[Any], bool], str]] = []
    if test.one_of:
        limits.append((lambda item: item in test.one_of, _either(test.one_of)))
    if test.min is not None:
        limits.append((lambda item: item >= test.min, f"at least {test.min:g}"))
    if test.max is not None:
        limits.append((lambda item: item <= test.max, f"at most {test.max:g}"))
    return limits


def _dtype(case: Case, wanted: tuple[str, ...]) -> Iterator[Outcome]:
    return _element_type(case.node.input(0), wanted, "element type")


def _out_dtype(case: Case, wanted: tuple[str, ...]) -> Iterator[Outcome]:
    return _element_type(case.node.output, wanted, "element type of the result")


def _element_type(value: Value | None, wanted: tuple[str, ...], what: str) -> Iterator[Outcome]:
    dtype = value.dtype if value is not None else None
    if dtype is None:
        return _outcome(None, None, what, _either(wanted))
    names = {dtype.label, "float" if dtype.is_float else "", "integer" if dtype.is_integer else ""}
    return _outcome(dtype.label, bool(names & set(wanted)), what, _either(wanted))


def _is_output(case: Case, wanted: bool) -> Iterator[Outcome]:
    found = any(value.is_graph_output for value in case.node.outputs)
    whole, part = "its result must be an output of the graph", "no part of its result may be an output of the graph"
    yield Outcome(found is wanted, whole if wanted else part)


def _listed(value: Any) -> Any:
    return f"({', '.join(str(item) for item in value)})" if isinstance(value, tuple) else value


def _either(items: Sequence[Any]) -> str:
    texts = [f"{item:g}" if isinstance(item, float) else str(item) for item in items]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}"


_TESTS: dict[str, Callable[[Case, Any], Iterator[Outcome]]] = {
    "rank": _rank,
    "out_rank": _out_rank,
    "ranks": _ranks,
    "same_rank": _same_rank,
    "one_sided": _one_sided,
    "stretched": _stretched,
    "same_heads": _same_heads,
    "constant_fits": _constant_fits,
    "channels_first": _channels_first,
    "axis": _axis,
    "axis_not": _axis_not,
    "axes": _axes,
    "axes_not": _axes_not,
    "perm": _perm,
    "steps": _steps,
    "space": _space,
    "growth": _growth,
    "constant": _constant,
    "variable": _variable,
    "left_out": _left_out,
    "values": _values,
    "attributes": _attributes,
    "dtype": _dtype,
    "out_dtype": _out_dtype,
    "is_output": _is_output,
}
