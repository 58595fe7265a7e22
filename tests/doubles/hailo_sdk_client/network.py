"""From ONNX to the compiler's network: layers with names of their own, activations taken in, some nodes dropped."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hailo_sdk_client.model_translator.exceptions import (
    InvalidHNError,
    MisspellNodeError,
    ParsingWithRecommendationException,
)

import irkit

_NAMES = {
    "Conv": "conv", "ConvTranspose": "deconv", "Gemm": "fc", "MatMul": "matmul", "Add": "ew_add", "Mul": "ew_mult",
    "Sub": "ew_sub", "MaxPool": "maxpool", "AveragePool": "avgpool", "GlobalAveragePool": "avgpool",
    "Concat": "concat", "Softmax": "softmax", "Resize": "resize", "ReduceMean": "reduce_mean", "Relu": "activation",
    "Sigmoid": "activation", "BatchNormalization": "batch_norm", "Slice": "slice", "Split": "feature_splitter",
    "DepthToSpace": "depth_to_space", "LeakyRelu": "activation", "Clip": "activation", "Tanh": "activation",
    "ArgMax": "argmax", "Pad": "external_pad", "HardSwish": "activation", "Div": "ew_div", "PRelu": "activation",
    "LayerNormalization": "layer_normalization",
}  # fmt: skip
_TAKEN_IN = {"Relu", "Sigmoid", "LeakyRelu", "Clip", "Tanh", "BatchNormalization", "HardSwish", "PRelu"}
_TAKES_IN = {"Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "BatchNormalization"}
_TO_FIRST = (0, 3, 1, 2)
_DROPPED = {"Identity", "Flatten", "Dropout", "Reshape", "Squeeze", "Unsqueeze", "Constant"}


@dataclass
class Network:
    """`hn` as the compiler has it; `outputs`: the layers that make outputs, with the ONNX values they are.

    `ranges`: least and largest number of inputs and outputs in the calibration data, by layer.
    """

    name: str
    path: str
    hn: dict[str, Any]
    outputs: dict[str, str] = field(default_factory=dict)
    ranges: dict[str, list[float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Network:
        return cls(**plain)


def parse_network(
    path: str, name: str, starts: list[str] | None, ends: list[str] | None, shapes: dict[str, list[int]] | None
) -> Network:
    if not name.replace("_", "").isalnum():
        raise ValueError(f"net_name {name!r} may hold letters, digits and underscores")
    model = irkit.load(path)
    irkit.Inference.of(model).update()
    nodes = {node.name: node for node in model.graph}
    for wanted in [*(starts or []), *(ends or [])]:
        if wanted not in nodes:
            raise MisspellNodeError(f"Unable to find node names: [{wanted!r}], please verify and fix before retrying.")
    for value in model.graph.inputs:
        if value.shape is None or not all(isinstance(dim, int) for dim in value.shape):
            raise ValueError(f"Unspecified inputs: {value.name}")
        if value.shape[0] != 1:
            raise ValueError(f"batch of {value.name} must be 1")
    maker = _Maker(model, path, name, [nodes[end] for end in ends or ()], [nodes[start] for start in starts or ()])
    return maker.network()


class _Maker:
    def __init__(
        self, model: irkit.Model, path: str, name: str, ends: list[irkit.Node], starts: list[irkit.Node]
    ) -> None:
        self._model, self._path, self._name = model, path, name
        self._ends = ends or [value.producer for value in model.graph.outputs if value.producer is not None]
        self._starts = set(starts)
        self._layers: dict[str, Any] = {}
        self._of: dict[irkit.Node, str] = {}
        self._counts: Counter[str] = Counter()

    def network(self) -> Network:
        wanted = self._needed()
        for value in self._model.graph.inputs:
            if not value.is_initializer:
                users = [user.name for user in value.users if user in wanted]
                self._layer("input_layer", users[:1], value)
        wanted = [node for node in wanted if not self._is_layout(node)]
        wrong = [node for node in wanted if node.op not in _NAMES and node.op not in _DROPPED]
        if wrong:
            self._refuse(wrong)
        for node in wanted:
            self._add(node)
        outputs = {}
        for end in self._ends:
            layer = self._of.get(end)
            if layer is None or self._layers[layer]["original_names"][-1] != end.name:
                raise InvalidHNError(f"end_node_names is missing in the HN: {end.name}")
            outputs[layer] = end.output.name
        for index, layer in enumerate(outputs, 1):
            shape = self._layers[layer]["output_shapes"]
            self._layers[f"{self._name}/output_layer{index}"] = {
                "type": "output_layer", "input": [layer], "output_shapes": shape, "original_names": [],
            }  # fmt: skip
        return Network(self._name, self._path, {"name": self._name, "layers": self._layers}, outputs)

    def _needed(self) -> list[irkit.Node]:
        pending, seen = list(self._ends), set()
        while pending:
            node = pending.pop()
            if node not in seen:
                seen.add(node)
                if node not in self._starts:
                    pending += [value.producer for value in node.reads() if value.producer is not None]
        return [node for node in self._model.graph if node in seen]

    def _refuse(self, wrong: list[irkit.Node]) -> None:
        lines = [f" UnsupportedOperationError in op {node.name}: {node.op} operation is unsupported" for node in wrong]
        ends = [value.producer.name for node in wrong for value in node.reads() if value.producer is not None]
        raise ParsingWithRecommendationException(
            "Parsing failed. The errors found in the graph are:\n" + "\n".join(lines)
            + f"\nPlease try to parse the model again, using these end node names: {', '.join(ends)}"
        )  # fmt: skip

    def _is_layout(self, node: irkit.Node) -> bool:
        """Whether the node only puts the channels of an input first, which the compiler takes as the input's layout."""
        first = node.inputs[0] if node.inputs else None
        return node.op == "Transpose" and first is not None and first.is_graph_input and _last(first)

    def _add(self, node: irkit.Node) -> None:
        source = next((value for value in node.inputs if value is not None and value.producer in self._of), None)
        before = self._of.get(source.producer) if source is not None and source.producer is not None else None
        if node.op in _DROPPED:
            if before is not None:
                self._of[node] = before
            return
        if before is not None and self._takes(before, source, node):
            self._of[node] = before
            self._layers[before]["original_names"].append(node.name)
            self._layers[before]["output_shapes"] = [self._shape(node.output)]
            return
        self._of[node] = self._layer(_NAMES[node.op], [node.name], node.output)

    def _takes(self, layer: str, source: irkit.Value | None, node: irkit.Node) -> bool:
        """Whether the layer takes the node in: what makes its input is no end, and nothing else reads it."""
        if node.op not in _TAKEN_IN or source is None or source.producer in self._ends or len(source.users) > 1:
            return False
        first = self._layers[layer]["original_names"][0]
        return any(one.name == first and one.op in _TAKES_IN for one in self._model.graph)

    def _layer(self, kind: str, names: list[str], value: irkit.Value) -> str:
        self._counts[kind] += 1
        name = f"{self._name}/{kind}{self._counts[kind]}"
        self._layers[name] = {"type": kind, "original_names": names, "output_shapes": [self._shape(value)]}
        return name

    def _shape(self, value: irkit.Value) -> list[int]:
        sizes = [int(dim) for dim in value.shape or ()]  # type: ignore[arg-type]
        if len(sizes) == 4 and value.is_graph_input and _last(value):
            return [-1, *sizes[1:]]
        if len(sizes) == 4:
            return [-1, sizes[2], sizes[3], sizes[1]]
        if len(sizes) == 3:
            return [-1, 1, sizes[1], sizes[2]]
        return [-1, 1, 1, sizes[-1] if sizes else 1]


def _last(value: irkit.Value) -> bool:
    """Whether an input is laid out channels last."""
    return bool(value.users) and all(
        user.op == "Transpose" and tuple(user.attr("perm", ())) == _TO_FIRST for user in value.users
    )


def channels_last_inputs(model: irkit.Model) -> set[str]:
    """Inputs that are laid out channels last."""
    return {value.name for value in model.graph.inputs if _last(value)}


class Floats:
    """The ONNX model in float: any value of it, for real numbers as the chip has them, by input layer."""

    def __init__(self, path: str, layers: list[str], values: list[str], how: dict[str, tuple[Any, Any]]) -> None:
        from irkit.executor import open_session

        with irkit.load(path) as model:
            outputs = {value.name for value in model.graph.outputs}
            self._last = channels_last_inputs(model)
            given = [value for value in model.graph.inputs if not value.is_initializer]
            pairs = zip(given, layers, strict=True)
            self._inputs = [(value.name, [int(str(dim)) for dim in value.shape or ()], layer) for value, layer in pairs]
            self._session = open_session(model, [name for name in values if name not in outputs])
        self._how = how

    def run(self, frame: dict[str, Any]) -> dict[str, Any]:
        """One frame (height, width, channels) by layer; values by name, batch axis included."""
        feed = {}
        for name, shape, layer in self._inputs:
            array = np.asarray(frame[layer], np.float64)
            if layer in self._how:
                mean, std = self._how[layer]
                array = (array - mean) / std
            first = array.transpose(2, 0, 1) if len(shape) == 4 and name not in self._last else array
            feed[name] = np.ascontiguousarray(first.reshape(shape), np.float32)
        return self._session.run(feed)


def values_by_node(path: str) -> dict[str, str]:
    """What nodes make, by their names."""
    with irkit.load(path) as model:
        return {node.name: node.output.name for node in model.graph}
