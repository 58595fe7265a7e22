"""The weights of linear layers as numbers, computed once for the rules that look at them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from irkit.affine import LINEAR_OPS, read_batchnorm
from irkit.ir import Node
from irkit.linter import Subject
from irkit.refusal import Refusal
from irkit.tensor import Tensor

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

_SAMPLE = 1 << 15
"""Elements that moments are taken from, spread over the weight."""


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """The weight of a Conv, ConvTranspose, Gemm or MatMul.

    Attributes:
        node, tensor: the layer, and its weight.
        low, high: of each output channel, float64. Where a batch norm follows, it is not in them; see `folded_reach`.
        fan_in, fan_out: numbers that an output is summed from, and that an input goes to.
    """

    node: Node
    tensor: Tensor
    low: Array
    high: Array
    fan_in: int
    fan_out: int
    batch_norm: Node | None
    opset: int

    @property
    def name(self) -> str:
        """The weight's own name."""
        value = self.node.inputs[1]
        return value.name if value is not None else ""

    @functools.cached_property
    def reach(self) -> Array:
        """The largest magnitude of each output channel."""
        import numpy as np

        return np.maximum(np.abs(self.low), np.abs(self.high))

    @functools.cached_property
    def folded_reach(self) -> Array:
        """The largest magnitude of each output channel once a batch norm behind the layer is folded in."""
        import numpy as np

        norm = read_batchnorm(self.batch_norm, self.opset) if self.batch_norm is not None else None
        if norm is None or isinstance(norm, Refusal) or norm.channels != self.reach.size:
            return self.reach
        return np.asarray(self.reach * np.abs(norm.affine.scale))

    @functools.cached_property
    def sample(self) -> Array:
        """Some ten thousand elements, spread over the weight, as float64."""
        import numpy as np

        flat = self.tensor.numpy().reshape(-1)
        return np.asarray(flat[:: max(1, flat.size // _SAMPLE)], np.float64)


def layer_weights(subject: Subject) -> Sequence[LayerWeights]:
    """The weights of the linear layers that the chip would run: finite float constants with two axes or more."""
    return [item for node in subject.of(*LINEAR_OPS) for item in _read(subject, node)]


def _read(subject: Subject, node: Node) -> Iterator[LayerWeights]:
    import numpy as np

    value = node.input(1)
    tensor = value.constant if value is not None else None
    if tensor is None or not tensor.dtype.is_native or not tensor.dtype.is_float or tensor.rank < 2 or not tensor.size:
        return
    axis = _output_axis(node, tensor.rank)
    data = tensor.numpy()
    others = tuple(number for number in range(data.ndim) if number != axis)
    low, high = (np.asarray(side(axis=others), np.float64) for side in (data.min, data.max))
    if not (np.isfinite(low) & np.isfinite(high)).all():
        return
    fan_in, fan_out = _fans(node, tensor, axis)
    yield LayerWeights(node, tensor, low, high, fan_in, fan_out, _batch_norm_behind(subject, node), subject.model.opset)


def _output_axis(node: Node, rank: int) -> int:
    if node.op == "Conv":
        return 0
    if node.op == "ConvTranspose":
        return 1
    return 0 if node.op == "Gemm" and node.attr("transB", 0) else rank - 1


def _fans(node: Node, tensor: Tensor, axis: int) -> tuple[int, int]:
    """As PyTorch counts them: for a ConvTranspose, whose weight has the input channels first, they are swapped."""
    if node.op in ("Conv", "ConvTranspose"):
        taps = tensor.size // (tensor.shape[0] * tensor.shape[1])
        return tensor.shape[1] * taps, tensor.shape[0] * taps
    outputs = tensor.shape[axis]
    return tensor.size // outputs, outputs


def _batch_norm_behind(subject: Subject, node: Node) -> Node | None:
    users = [use.node for use in node.output.uses]
    if len(users) != 1 or users[0].op_id != "BatchNormalization" or users[0] in subject.invalid:
        return None
    return users[0]
