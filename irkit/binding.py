"""Numbers for the dimensions of a model's inputs: what the user said, held against what the model declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from irkit.errors import OptionError
from irkit.infer import Inference
from irkit.inputs import fed_inputs
from irkit.ir import Node, Value
from irkit.model import Model
from irkit.shapes.recorded import UNNAMED
from irkit.types import Dim, Shape, TensorType, format_shape


@dataclass(frozen=True)
class Frozen:
    """One dimension of an input that gets a number: `old` is its symbol, None, or the number that it was."""

    value: Value
    axis: int
    old: Dim
    new: int
    by_default: bool = False

    def __str__(self) -> str:
        was = f"`{self.old}`" if isinstance(self.old, str) else "not known" if self.old is None else str(self.old)
        why = "the batch, by default" if self.by_default else "as asked"
        return f"input {self.value.name}: axis {self.axis}, {was}, is now {self.new} ({why})"


@dataclass
class Bindings:
    """What becomes of the inputs.

    Attributes: `symbols` and their numbers; `shapes` of inputs, which may still hold symbols that nobody named;
    `frozen` dimensions in the order of the inputs.
    """

    symbols: dict[str, int] = field(default_factory=dict)
    shapes: dict[Value, Shape] = field(default_factory=dict)
    frozen: list[Frozen] = field(default_factory=list)

    def put_in(self, shape: Shape) -> Shape:
        """A shape with the numbers in the place of their symbols."""
        return tuple([self.symbols.get(dim, dim) if isinstance(dim, str) else dim for dim in shape])


def tensor_inputs(model: Model) -> list[Value]:
    """The inputs a caller must feed that are tensors."""
    return [value for value in fed_inputs(model) if isinstance(value.type, TensorType)]


def is_named_dim(dim: Dim) -> bool:
    """Whether a dimension has a name that says which it is."""
    return isinstance(dim, str) and dim not in UNNAMED


def bind_inputs(model: Model, bind: Mapping[str, int], shapes: Mapping[str, Sequence[int]], batch: int = 1) -> Bindings:
    """What the inputs become when symbols and inputs get these numbers, and each first dimension left free the batch.

    Raises `OptionError` where a name is unknown, or a number contradicts the model or another one.
    """
    inputs = tensor_inputs(model)
    found = Bindings(dict(bind))
    _check_symbols(inputs, bind)
    _check_inputs(inputs, shapes)
    for value in inputs:
        if value.name in shapes:
            _match_symbols(found, value, tuple(shapes[value.name]))
    asked = set(found.symbols)
    for value in inputs:
        first = (value.shape or (0,))[0]
        if isinstance(first, str) and is_named_dim(first) and (value.shape or ()).count(first) == 1:
            found.symbols.setdefault(first, batch)
    for value in inputs:
        _freeze(found, value, shapes.get(value.name), asked, batch)
    return found


def _symbols(inputs: Sequence[Value]) -> Iterator[str]:
    dims = dict.fromkeys(dim for value in inputs for dim in value.shape or ())
    return (dim for dim in dims if isinstance(dim, str) and is_named_dim(dim))


def _check_symbols(inputs: Sequence[Value], bind: Mapping[str, int]) -> None:
    known = list(_symbols(inputs))
    for name, number in bind.items():
        if name not in known:
            listed = ", ".join(known) or "none; give whole shapes, --shape INPUT=1,3,224,224"
            raise OptionError(f"--bind {name}={number}: no input has a dimension `{name}`; there are: {listed}")
        if number < 1:
            raise OptionError(f"--bind {name}={number}: a dimension is at least 1")


def _check_inputs(inputs: Sequence[Value], shapes: Mapping[str, Sequence[int]]) -> None:
    by_name = {value.name: value for value in inputs}
    for name, shape in shapes.items():
        flag = f"--shape {name}={','.join(map(str, shape))}"
        if name not in by_name:
            raise OptionError(f"{flag}: there is no input `{name}`; there are: {', '.join(by_name) or 'none'}")
        declared = by_name[name].shape
        if min(shape, default=1) < 1:
            raise OptionError(f"{flag}: a dimension is at least 1")
        if declared is None:
            continue
        if len(declared) != len(shape):
            raise OptionError(f"{flag}: input `{name}` has rank {len(declared)}, its shape is {format_shape(declared)}")
        for axis, (dim, number) in enumerate(zip(declared, shape, strict=True)):
            if isinstance(dim, int) and dim != number and axis > 0:
                text = f"axis {axis} of input `{name}` is fixed at {dim}, its shape is {format_shape(declared)}"
                raise OptionError(f"{flag}: {text}")


def _match_symbols(found: Bindings, value: Value, shape: Sequence[int]) -> None:
    for dim, number in zip(value.shape or (), shape, strict=False):
        if isinstance(dim, str) and is_named_dim(dim) and found.symbols.setdefault(dim, number) != number:
            text = f"`{dim}` would be both {found.symbols[dim]} and {number}"
            raise OptionError(f"--shape {value.name}={','.join(map(str, shape))}: {text}")


def _freeze(found: Bindings, value: Value, shape: Sequence[int] | None, asked: set[str], batch: int) -> None:
    """Enter one input's new shape and its frozen dimensions."""
    old: Shape | None = value.shape
    if old is None:
        if shape is None:
            return
        old = (None,) * len(shape)
    new = found.put_in(old) if shape is None else tuple(shape)
    if shape is None and new and not isinstance(new[0], int) and not is_named_dim(new[0]):
        new = (batch, *new[1:])
    found.shapes[value] = new
    for axis, (before, after) in enumerate(zip(old, new, strict=True)):
        if before != after and isinstance(after, int):
            by_default = shape is None and (before not in asked)
            found.frozen.append(Frozen(value, axis, before, after, by_default))


def batch_obstacle(model: Model, value: Value) -> str:
    """Why another number cannot stand for the first dimension of an input, or "".

    A symbol is put in its place and inferred: it must reach every shape the number reached, and no constant may have
    swallowed it. What cannot be told is told as a reason. The model is as before when this returns.
    """
    kind = value.type
    assert isinstance(kind, TensorType)
    assert kind.shape
    inference = Inference.of(model)
    inference.update()
    before = {item: inference.shape_of(item) for item in model.values()}
    problems = len(inference.problems)
    mark = model.journal.position
    symbol = model.fresh_name("batch")
    value.type = TensorType(kind.dtype, (symbol, *kind.shape[1:]))
    inference.update()
    reason = "a node does not take another batch" if len(inference.problems) > problems else ""
    for node in model.graph.walk():
        reason = reason or _swallowed(inference, node, symbol, before)
    model.journal.undo_to(mark)
    inference.update()
    return reason


def _swallowed(inference: Inference, node: Node, symbol: str, before: Mapping[Value, Shape | None]) -> str:
    if node.op in ("Shape", "Size") and not node.domain:
        return ""
    reads = any(symbol in (inference.shape_of(item) or ()) for item in node.inputs if item is not None)
    for item in node.outputs:
        shape = inference.shape_of(item)
        if reads and (shape is None or symbol not in shape):
            return f"it does not pass `{item.name}` ({node.op}), which gives {format_shape(before.get(item))}"
    return ""
