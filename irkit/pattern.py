"""The pattern language: what a rewrite rule looks for, written by calling operators like functions.

    def pattern(self, op, x, w):                  # parameters are captures
        conv = op.Conv(x, w.constant(), group=1).named("conv")      # .named captures the node
        return op.Mul(conv, op.Sigmoid(conv))     # the same object twice: the same value

A number stands for a constant of that value, scalar or uniform, of any element type; a list of numbers for a rank 1
constant; None for an input that is left out. An attribute is a value, a predicate on it, None for absent, or a
parameter that captures it: `op.Transpose(x, perm=perm)`. `op` also offers `any_op`, `any_of`, `optional`, `maybe`,
`rest`, `number` and `domain`. Operands of commutative operators match in any order. Calls are held against what the
operators take in any version. A pattern is only a description; the matching is in `irkit.matcher`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from irkit import ops
from irkit.errors import PassError
from irkit.signatures import signature, unknown_operator, wrong_call
from irkit.typed_ops import TypedMlPattern, TypedPattern
from irkit.types import Dim, DType, TensorType, format_shape

if TYPE_CHECKING:
    from irkit.ir import Node, Value

PatternLike: TypeAlias = "Pattern | float | int | Sequence[float] | None"
"""What may stand for an input in a pattern."""

ValueCheck: TypeAlias = "tuple[Callable[[Value], bool], str]"
NodeCheck: TypeAlias = "tuple[Callable[[Node], bool], str]"


class Pattern:
    """What a value must look like. Patterns are never changed: the methods return a stricter copy."""

    checks: tuple[ValueCheck, ...] = ()

    def __bool__(self) -> bool:
        """Raises `PassError`: `p and q`, or `if x`, in a pattern would quietly mean only one of them."""
        raise PassError(
            "a pattern is neither true nor false; alternatives are op.any_of(p, q), what may miss op.maybe(x)"
        )

    def where(self, predicate: Callable[[Value], bool], reason: str) -> Pattern:
        """Match only values for which `predicate` holds; `reason` says what was wrong where it does not."""
        if not callable(predicate):
            raise PassError(f"where takes a function of the value and a reason; found {predicate!r}")
        stricter = copy.copy(self)
        stricter.checks = (*self.checks, (predicate, reason))
        return stricter

    def constant(self) -> Pattern:
        """Match only constants: initializers nobody can override and outputs of Constant nodes."""
        return self.where(_is_constant, "is no constant")

    def dtype(self, *dtypes: DType) -> Pattern:
        """Match only tensors of one of these element types."""
        _require(dtypes, DType, "dtype takes element types such as irkit.DType.FLOAT32")
        return self.where(lambda value: value.dtype in dtypes, f"is not {' or '.join(item.label for item in dtypes)}")

    def rank(self, *ranks: int) -> Pattern:
        """Match only tensors whose rank is known to be one of these."""
        _require(ranks, int, "rank takes numbers")
        return self.where(
            lambda value: value.shape is not None and len(value.shape) in ranks,
            f"is not of rank {' or '.join(map(str, ranks))}",
        )

    def shape(self, *dims: Dim) -> Pattern:
        """Match only tensors of this shape; None stands for any size."""
        _require(dims, (int, str, type(None)), "shape takes sizes, names and None, one by one")
        return self.where(lambda value: _has_shape(value, dims), f"is not of shape {format_shape(dims)}")


def _require(items: Sequence[object], kinds: type | tuple[type, ...], what: str) -> None:
    """Raise `PassError` for an item of another kind: it would quietly match nothing."""
    for item in items:
        if not isinstance(item, kinds):
            raise PassError(f"{what}; found {item!r}")


def _is_constant(value: Value) -> bool:
    return value.constant is not None


def _has_shape(value: Value, dims: tuple[Dim, ...]) -> bool:
    found = value.type.shape if isinstance(value.type, TensorType) else None
    return (
        found is not None
        and len(found) == len(dims)
        and all(dim is None or dim == have for dim, have in zip(dims, found, strict=True))
    )


class Var(Pattern):
    """Any value, captured under a parameter's name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


class Number(Pattern):
    """A constant whose elements are all about `value`.

    Args:
        value: the number.
        tolerance: allowed relative error; None for what the element type resolves.
    """

    def __init__(self, value: float, tolerance: float | None = None) -> None:
        self.value = value
        self.tolerance = tolerance

    def __repr__(self) -> str:
        return repr(self.value)


class Numbers(Pattern):
    """A rank 1 constant of these numbers."""

    def __init__(self, values: Sequence[float]) -> None:
        self.values = tuple(values)

    def __repr__(self) -> str:
        return repr(list(self.values))


class Maybe(Pattern):
    """An optional input: matched by `inner`, or left out (then its captures are None)."""

    def __init__(self, inner: Pattern) -> None:
        self.inner = inner

    def __repr__(self) -> str:
        return f"maybe({self.inner!r})"


class Rest(Pattern):
    """Any number of inputs, each matched by `each`, captured as a tuple; `name` "" captures nothing."""

    def __init__(self, name: str, each: Pattern | None) -> None:
        self.name = name
        self.each = each

    def __repr__(self) -> str:
        return f"rest({self.name})"


class AnyOf(Pattern):
    """The first of several patterns that matches. Captures of the others are None."""

    def __init__(self, alternatives: Sequence[Pattern]) -> None:
        self.alternatives: tuple[Pattern, ...] = ()
        for item in alternatives:
            flat = isinstance(item, AnyOf) and not item.checks
            self.alternatives += item.alternatives if flat else (item,)  # type: ignore[attr-defined]  # just seen

    def __repr__(self) -> str:
        return f"any_of({', '.join(map(repr, self.alternatives))})"


class NodePattern:
    """One node of a pattern; what calling an operator makes. Rules hold its outputs, which are `OpPattern`s.

    Attributes: `rests` are the inputs that stand for several; `wanted_attrs` must be so, or fulfil a predicate;
    `captured_attrs` are attributes with the names their values are captured by.
    """

    def __init__(
        self, ops: frozenset[str], domain: str, inputs: Sequence[PatternLike], outputs: int, attrs: dict[str, Any]
    ) -> None:
        self.ops = ops
        self.domain = domain
        self.inputs = tuple(as_pattern(item) for item in inputs)
        self.outputs = outputs
        self.attrs = attrs
        self.rests = [item for item in self.inputs if isinstance(item, Rest)]
        self.wanted_attrs = [(name, item) for name, item in attrs.items() if not isinstance(item, Var)]
        self.captured_attrs = [(name, item.name) for name, item in attrs.items() if isinstance(item, Var)]
        self.name = ""
        self.may_be_shared = False
        self.checks: tuple[NodeCheck, ...] = ()

    def __repr__(self) -> str:
        inputs = ", ".join(map(repr, self.inputs))
        return f"{'|'.join(sorted(self.ops)) or 'any operator'}({inputs})"


class OpPattern(Pattern):
    """An output of a node of the pattern."""

    def __init__(self, node: NodePattern, index: int) -> None:
        self.node = node
        self.index = index

    def named(self, name: str) -> OpPattern:
        """Capture the node, so that `check` and `replace` may ask for it by this name."""
        if self.node.name:
            raise PassError(f"{self}: the node is named {self.node.name!r} already")
        self.node.name = name
        return self

    def shared(self) -> OpPattern:
        """Match also where others read the node's outputs; then the rewrite leaves it in place for them."""
        self.node.may_be_shared = True
        return self

    def such_that(self, predicate: Callable[[Node], bool], reason: str) -> OpPattern:
        """Match only nodes for which `predicate` holds; `reason` says what was wrong where it does not."""
        if not callable(predicate):
            raise PassError(f"such_that takes a function of the node and a reason; found {predicate!r}")
        self.node.checks = (*self.node.checks, (predicate, reason))
        return self

    def __repr__(self) -> str:
        return repr(self.node) + (f"[{self.index}]" if self.index else "")


class OpCall:
    """An operator to be called in a pattern: `op.Conv`, `op.any_op("Add", "Sub")`."""

    def __init__(self, ops: frozenset[str], domain: str) -> None:
        self._ops = ops
        self._domain = domain

    @overload
    def __call__(self, *inputs: PatternLike, _outputs: Literal[1] = 1, **attrs: Any) -> OpPattern: ...
    @overload
    def __call__(self, *inputs: PatternLike, _outputs: int, **attrs: Any) -> tuple[OpPattern, ...]: ...
    def __call__(self, *inputs: PatternLike, _outputs: int = 1, **attrs: Any) -> OpPattern | tuple[OpPattern, ...]:
        """A node with these inputs. An attribute is a value, a predicate on it, None for absent, or a capture.

        Raises `PassError` where no version of the operator takes such inputs, outputs or attributes.
        """
        node = NodePattern(self._ops, self._domain, inputs, _outputs, attrs)
        _check_call(node)
        outputs = tuple(OpPattern(node, index) for index in range(_outputs))
        return outputs[0] if _outputs == 1 else outputs


class DomainOps:
    """The operators of one domain, to be called in a pattern."""

    def __init__(self, domain: str) -> None:
        self._domain = "" if domain == "ai.onnx" else domain

    def __getattr__(self, name: str) -> OpCall:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.any_op(name)

    def any_op(self, *names: str) -> OpCall:
        """One of several operators; without names, any operator of the domain."""
        for name in names:
            known = signature(name, self._domain) is not None or ops.is_known(name, self._domain)
            if not known and (reason := unknown_operator(name, self._domain)):
                raise PassError(reason)
        return OpCall(frozenset(names), self._domain)


class PatternOps(TypedPattern):
    """The `op` of a pattern: any operator by its name, and the combinators."""

    if not TYPE_CHECKING:  # irkit/typed_ops.pyi declares the operators

        def __getattr__(self, name: str) -> OpCall:
            return getattr(DomainOps(""), name)

    @overload
    def domain(self, domain: Literal["ai.onnx.ml"]) -> TypedMlPattern: ...  # type: ignore[overload-overlap]
    @overload
    def domain(self, domain: str) -> DomainOps: ...
    def domain(self, domain: str) -> Any:
        """Operators of another domain: `op.domain("com.microsoft").Gelu(x)`."""
        if not isinstance(domain, str):
            raise PassError(f"a domain is a text such as 'com.microsoft'; found {domain!r}")
        return DomainOps(domain)

    def any_op(self, *names: str) -> OpCall:
        """One of several operators; without names, any operator of ONNX's own domain."""
        return DomainOps("").any_op(*names)

    def any_of(self, *alternatives: PatternLike) -> Pattern:
        """The first alternative that matches."""
        return AnyOf([_present(item, "any_of") for item in alternatives])

    def optional(self, call: Callable[..., Any], inner: PatternLike, *inputs: PatternLike, **attrs: Any) -> Pattern:
        """`inner`, with or without that operator over it: `op.optional(op.Cast, x)` matches Cast(x) and x."""
        return AnyOf([call(inner, *inputs, **attrs), _present(inner, "optional")])

    def maybe(self, inner: PatternLike) -> Pattern:
        """An input that may be left out: `op.Conv(x, w, op.maybe(b))`."""
        return Maybe(_present(inner, "maybe"))

    def rest(self, capture: Pattern | None = None, each: PatternLike = None) -> Pattern:
        """Any number of inputs, captured as a tuple: `op.Concat(a, op.rest(xs))`.

        Args:
            capture: a parameter of the pattern, or None; what it asks for (`xs.constant()`) holds for each of them.
            each: what each of them must look like; what only this pattern captures becomes a tuple too.
        """
        if capture is not None and not isinstance(capture, Var):
            raise PassError(f"op.rest takes a parameter of the pattern, not {capture!r}")
        pattern = as_pattern(each)
        if capture is not None and capture.checks:
            pattern = copy.copy(pattern) if pattern is not None else Pattern()
            pattern.checks += capture.checks
        return Rest(capture.name if capture is not None else "", pattern)

    def number(self, value: float, tolerance: float | None = None) -> Pattern:
        """A constant of that value within a relative tolerance."""
        return Number(value, tolerance)


def as_pattern(item: PatternLike) -> Pattern | None:
    """The pattern an input stands for. Raises `PassError` for what is none."""
    if item is None or isinstance(item, Pattern):
        return item
    if isinstance(item, (bool, int, float)):
        return Number(float(item))
    if isinstance(item, (list, tuple)) and all(isinstance(number, (int, float)) for number in item):
        return Numbers(item)
    what = "several outputs; pick one" if isinstance(item, tuple) else type(item).__name__
    raise PassError(f"an input of a pattern is a pattern, a number, a list of numbers or None; found {what}")


def _check_call(node: NodePattern) -> None:
    """Raise `PassError` where none of the operators, in any version, can be called so."""
    count = None if any(isinstance(item, (Rest, Maybe)) for item in node.inputs) else len(node.inputs)
    given = {
        name: item for name, item in node.attrs.items() if not (item is None or isinstance(item, Var) or callable(item))
    }
    reasons = [wrong_call(op, node.domain, count, node.outputs, node.attrs, given) for op in sorted(node.ops)]
    if reasons and all(reasons):
        raise PassError(reasons[0])


def _present(item: PatternLike, where: str) -> Pattern:
    pattern = as_pattern(item)
    if pattern is None:
        raise PassError(f"op.{where} takes a pattern, not None")
    return pattern


def parts(pattern: Pattern) -> Sequence[Pattern]:
    """The patterns right under a pattern."""
    if isinstance(pattern, OpPattern):
        return [item for item in pattern.node.inputs if item is not None]
    if isinstance(pattern, AnyOf):
        return pattern.alternatives
    if isinstance(pattern, Maybe):
        return (pattern.inner,)
    if isinstance(pattern, Rest) and pattern.each is not None:
        return (pattern.each,)
    return ()
