"""The inputs and outputs of a model as the chip has them.

ONNX networks are channels-first with a batch axis, the chip's are (height, width, channels) without: (1, C, H, W)
becomes (H, W, C), and so does (1, H, W, C) where the network itself moves the channels of an image; (1, L, C) becomes
(1, L, C), (1, C) becomes (1, 1, C). For rank 3 that is what users report of compiler 3.33; other ranks are not publicly
known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from irkit.errors import ModelError
from irkit.hailo.layout import makes_channels_last, takes_channels_last
from irkit.inputs import fed_inputs
from irkit.ir import Value
from irkit.model import Model
from irkit.types import is_static

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

_RESHAPES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"})
_LAYOUTS = {4: "NCHW", 3: "NLC", 2: "NC"}


@dataclass(frozen=True)
class Port:
    """An input or output.

    Attributes:
        name: of the value in ONNX. node: that makes an output; "" for an input.
        shape: in ONNX, batch included. dtype: as numpy names it.
        layout: what the axes of the shape are: `NCHW`, `NHWC`, `NLC`, `NC` or `unknown`.
        result: the shape of the output where the network only reshapes behind `node`; () where it does not.
    """

    name: str
    node: str
    shape: tuple[int, ...]
    dtype: str
    layout: str
    result: tuple[int, ...] = ()

    @property
    def device_shape(self) -> tuple[int, int, int] | None:
        """(height, width, channels) on the chip; None where that is not known."""
        if self.layout == "NCHW":
            return self.shape[2], self.shape[3], self.shape[1]
        if self.layout == "NHWC":
            return self.shape[1], self.shape[2], self.shape[3]
        if self.layout == "NLC":
            return 1, self.shape[1], self.shape[2]
        return (1, 1, self.shape[1]) if self.layout == "NC" else None

    def to_device(self, array: Array) -> Array:
        """Samples (N, ...) in the layout of ONNX as (N, height, width, channels)."""
        if self.layout == "NCHW":
            array = array.transpose(0, 2, 3, 1)
        return array.reshape(len(array), *(self.device_shape or self.shape[1:]))

    def from_device(self, array: Array) -> Array:
        """Samples (N, height, width, channels) in the layout of ONNX."""
        if self.layout == "NCHW":
            return array.transpose(0, 3, 1, 2)
        return array.reshape(len(array), *self.shape[1:])

    def as_model_takes(self, array: Array) -> Array:
        """Samples (N, height, width, channels) in the layout and element type of ONNX."""
        import numpy as np

        return np.ascontiguousarray(self.from_device(array).astype(self.dtype))

    @classmethod
    def of_json(cls, plain: dict[str, Any]) -> Port:
        """What `to_json` wrote."""
        shape, result = tuple(plain["shape"]), tuple(plain.get("result", ()))
        return cls(plain["name"], plain.get("node", ""), shape, plain["dtype"], plain["layout"], result)

    def to_json(self) -> dict[str, Any]:
        """As io_map.json has it, before a HEF exists."""
        plain: dict[str, Any] = {"name": self.name}
        if self.node:
            plain["node"] = self.node
        if self.result:
            plain["result"] = list(self.result)
        device = None if self.device_shape is None else list(self.device_shape)
        plain.update(shape=list(self.shape), dtype=self.dtype, layout=self.layout)
        plain["device"] = {"name": None, "shape": device, "layout": "HWC"}
        return plain


def input_ports(model: Model) -> tuple[Port, ...]:
    """The inputs that are fed. Raises `ModelError` where a shape is not static."""
    return tuple(_port(value, "", takes_channels_last(value)) for value in fed_inputs(model))


def output_ports(model: Model) -> tuple[Port, ...]:
    """The outputs. Raises `ModelError` where a shape is not static, or where an output is not made by a node.

    What only reshapes at the end is left to the host: the compiler drops such nodes, and then finds no end node.
    """
    ports = []
    for value in model.graph.outputs:
        if value.producer is None:
            raise ModelError(f"output `{value.name}` is an input or a constant, so no node of the chip makes it")
        made = _before_reshapes(value)
        node = made.producer.name if made.producer is not None else ""
        port = _port(made, node, makes_channels_last(made))
        result = () if made is value else _port(value, node, False).shape
        ports.append(replace(port, name=value.name, result=result))
    return tuple(ports)


def _before_reshapes(value: Value) -> Value:
    """The value that an output is a reshape of, where a node of the chip makes it for that output alone."""
    found = value
    while (node := found.producer) is not None and node.op in _RESHAPES and not node.domain:
        source = node.input(0)
        if source is None or source.producer is None or source.constant is not None:
            return value
        if source.use_count > 1 or source.is_graph_output:
            return value
        found = source
    return found


def _port(value: Value, node: str, is_channels_last: bool) -> Port:
    shape, dtype = value.shape, value.dtype
    if shape is None or not is_static(shape) or dtype is None:
        raise ModelError(f"`{value.name}` has no static shape, which the compiler needs")
    sizes = tuple(int(size) for size in shape)  # type: ignore[arg-type]  # static
    layout = _LAYOUTS.get(len(sizes), "unknown")
    if layout == "NCHW" and is_channels_last:
        layout = "NHWC"
    if sizes[:1] != (1,) or math.prod(sizes) == 0:
        layout = "unknown"
    return Port(value.name, node, sizes, dtype.label, layout)
