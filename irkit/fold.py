"""Constant folding of one node: computing what it gives for constant inputs.

Data movement, integers, booleans and strings are exact. Floats are computed in float64 and rounded once: + - * / and
square roots are then the IEEE result, sums and transcendental functions are within float noise of any runtime.
Random operators, operators with subgraphs and operators of unknown domains are never computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from irkit.ir import Node
from irkit.kernels import KERNELS, Call, CannotEvaluate, Exactness, Kernel
from irkit.tensor import Tensor
from irkit.types import DType, TensorType, ValueType

MOST_ELEMENTS = 1 << 28
"""A node that would make more elements than this, other than a splat, is never computed."""

_LIKE_THE_FIRST = frozenset({"CastLike", "Clip", "PRelu"})
"""Elementwise operators whose further inputs do not stretch the first."""

_SMALL = 1 << 10
"""Elements up to which a splat is simply written out to be moved about."""


_BY_TYPE = {"Shape": (0,), "Size": (0,), "EyeLike": (0,), "CastLike": (1,)}
"""Inputs of which only the type counts."""


def data_slots(node: Node) -> tuple[int, ...]:
    """Numbers of the inputs whose data an operator reads; of the others it only takes the type, as CastLike does."""
    by_type = _BY_TYPE.get(node.op, ()) if not node.domain else ()
    return tuple(slot for slot, value in enumerate(node.inputs) if value is not None and slot not in by_type)


def is_exact(node: Node) -> bool:
    """Whether `evaluate` gives what every runtime gives, bit for bit, so that folding the node costs nothing."""
    kernel = _kernel(node)
    if kernel is None:
        return False
    if kernel.exactness is Exactness.INTEGERS:
        first = next((value for value in node.inputs if value is not None), None)
        return first is not None and first.dtype is not None and not first.dtype.is_float
    return kernel.exactness is Exactness.EXACT


def can_evaluate(node: Node) -> bool:
    """Whether irkit has a way to compute the operator at all."""
    return _kernel(node) is not None


def is_elementwise(node: Node) -> bool:
    """Whether the operator, one that irkit can compute, broadcasts its inputs and works element by element."""
    kernel = _kernel(node)
    return kernel is not None and kernel.elementwise


def evaluate(
    node: Node, inputs: Sequence[Tensor | None], types: Sequence[ValueType | None] | None = None
) -> list[Tensor] | None:
    """The outputs of a node for constant inputs, or None where irkit leaves that to the runtime.

    Args:
        node: of ONNX's own domain, in a graph of a model (whose operator set it is read in).
        inputs: one for each of the node's inputs; None where it is left out, or not among its `data_slots`.
        types: of the outputs, where known; those of its values unless given.

    Uniform inputs give uniform outputs (`Tensor.splat`) where the operator allows it, whatever the size. None stands
    for operators irkit does not compute, for inputs on which runtimes differ (NaN in Max, a float beyond an integer's
    range in Cast), and for a node that is wrong.
    """
    kernel = _kernel(node)
    if kernel is None or any(slot >= len(inputs) or inputs[slot] is None for slot in data_slots(node)):
        return None
    call = Call(node, inputs)
    if types is None:
        types = [value.type for value in node.outputs]
    try:
        with np.errstate(all="ignore"):
            uniform = _uniform(call, kernel, types)
            if uniform is not None:
                return uniform
            if node.op != "ConstantOfShape" and _elements(call, types) > MOST_ELEMENTS:
                return None
            return list(kernel.run(call))
    except (CannotEvaluate, ArithmeticError, AssertionError, IndexError, TypeError, ValueError, KeyError, MemoryError):
        return None


def _kernel(node: Node) -> Kernel | None:
    if node.domain:
        return None
    return KERNELS.get(node.op)


def _elements(call: Call, types: Sequence[ValueType | None]) -> int:
    """How many elements the node reads and, as far as its types tell, makes."""
    sizes = [tensor.size for tensor in call.inputs if tensor is not None]
    shapes = (kind.shape or () for kind in types if isinstance(kind, TensorType))
    sizes += (math.prod(dim for dim in shape if isinstance(dim, int)) for shape in shapes)
    return max(sizes, default=0)


def _uniform(call: Call, kernel: Kernel, types: Sequence[ValueType | None]) -> list[Tensor] | None:
    """The outputs as splats, where the inputs are splats and the operator keeps that."""
    if kernel.elementwise:
        return _uniform_elementwise(call, kernel)
    if kernel.data is not None:
        return _uniform_moved(call, kernel.data, types)
    return None


def _uniform_elementwise(call: Call, kernel: Kernel) -> list[Tensor] | None:
    given = [tensor for tensor in call.inputs if tensor is not None]
    if not any(tensor.is_splat for tensor in given):
        return None
    if not all(tensor.is_splat or tensor.size == 1 for tensor in given):
        return None
    alone = call.version < 7 or call.node.op in _LIKE_THE_FIRST
    shape = given[0].shape if alone else np.broadcast_shapes(*(tensor.shape for tensor in given))
    scalars = [None if tensor is None else _scalar(tensor) for tensor in call.inputs]
    return [Tensor.splat(out.numpy()[()], shape, out.dtype) for out in kernel.run(Call(call.node, scalars))]


def _scalar(tensor: Tensor) -> Tensor:
    return Tensor.of(tensor.numpy()[(0,) * tensor.rank].copy() if tensor.rank else tensor.numpy(), tensor.dtype)


def _uniform_moved(call: Call, slots: tuple[int, ...], types: Sequence[ValueType | None]) -> list[Tensor] | None:
    data = [call.tensor(slot) for slot in slots or range(len(call.inputs))]
    sizes = [tensor.size for tensor in data]
    if not all(tensor.is_splat or tensor.size == 1 for tensor in data) or min(sizes) == 0:
        return None
    if data[0].dtype == DType.STRING or len({tensor.numpy().flat[0].tobytes() for tensor in data}) > 1:
        return None
    shapes = [_static_shape(kind) for kind in types]
    if None in shapes:
        return None
    if max(math.prod(shape) for shape in shapes if shape is not None) <= _SMALL and not any(t.is_splat for t in data):
        return None
    item = data[0].numpy()[(0,) * data[0].rank]
    return [Tensor.splat(item, shape, data[0].dtype) for shape in shapes if shape is not None]


def _static_shape(type: ValueType | None) -> tuple[int, ...] | None:
    if not isinstance(type, TensorType) or not type.is_static:
        return None
    return type.shape  # type: ignore[return-value]  # static: numbers only
