"""Decoding boxes and non-maximum suppression by HailoRT, in the place of the part of the model that does so.

The settings name the layers that make boxes and classes. Layers have names only after parsing, so that here they are
`{"node": NAME}` with the ONNX node; compile.py puts the layers' names in their place. The form is that of the public
Model Zoo (hailo-ai/hailo_model_zoo on GitHub, hailo_model_zoo/cfg/postprocess_config).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irkit.errors import OptionError
from irkit.hailo.deployment import LayerCommand
from irkit.hailo.ports import Port
from irkit.ir import Node, Value
from irkit.model import Model

META_ARCHES = ("yolov5", "yolov6", "yolov8", "yolox", "ssd")
_LAYERS = ("reg_layer", "cls_layer", "objectness_layer", "encoded_layer", "combined_layer")
_SIDES = 4
_BINS = 16
_DEFAULTS = {"nms_scores_th": 0.2, "nms_iou_th": 0.7, "max_proposals_per_class": 100}
"""What most of the Model Zoo's settings for YOLOv8 have."""


@dataclass(frozen=True)
class Postprocess:
    """What HailoRT is to do: `settings` as nms.json has them; `commands` on layers that go with it."""

    settings: Mapping[str, Any]
    commands: tuple[LayerCommand, ...]


def hailort_postprocess(wish: str, whole: Model, inputs: Sequence[Port], outputs: Sequence[Port]) -> Postprocess:
    """Settings for HailoRT's own postprocessing of the outputs of a device part.

    Args:
        wish: `yolov8`, whose settings follow from the outputs, or the path of a JSON file: `{"meta_arch": ...,
            "config": {...}}` with ONNX node names where the Model Zoo has names of layers.
        whole: the model before it was cut.
        inputs: of the device part.
        outputs: of the device part.

    Raises `OptionError` where the settings do not fit the outputs.
    """
    if wish.endswith(".json"):
        settings = _read(Path(wish), [port.node for port in outputs])
    elif wish == "yolov8":
        settings = {"meta_arch": "yolov8", "engine": "cpu", "config": _yolov8(inputs, outputs)}
    else:
        raise OptionError(f"--nms takes yolov8, whose settings follow from the model, or a file.json; found `{wish}`")
    classes = [decoder.get("cls_layer") for decoder in settings["config"].get("bbox_decoders", ())]
    names = [item["node"] for item in classes if isinstance(item, dict)]
    return Postprocess(settings, tuple(_sigmoids(whole, names)))


def _yolov8(inputs: Sequence[Port], outputs: Sequence[Port]) -> dict[str, Any]:
    """Boxes and classes are pairs of outputs of one size; the stride is the size of the input over theirs."""
    if len(inputs) != 1 or inputs[0].layout != "NCHW":
        raise OptionError("--nms yolov8 is for a network with one image as its input")
    height, width = inputs[0].shape[2:]
    scales: dict[tuple[int, ...], list[Port]] = {}
    for port in outputs:
        scales.setdefault(port.shape[2:], []).append(port)
    decoders, counts = [], set()
    for size, ports in sorted(scales.items(), reverse=True):
        boxes = [port for port in ports if len(size) == 2 and port.shape[1] == _SIDES * _BINS]
        classes = [port for port in ports if port not in boxes]
        if len(boxes) != 1 or len(classes) != 1:
            listed = ", ".join(f"{port.node} {list(port.shape)}" for port in ports)
            raise OptionError(
                f"--nms yolov8 wants two outputs each scale, {_SIDES * _BINS} channels of boxes and the classes; found "
                f"{listed}: cut at these nodes, or give --nms FILE.json"
            )
        counts.add(classes[0].shape[1])
        stride = height // size[0]
        decoders.append(
            {
                "name": f"bbox_decoder_{stride}",
                "stride": stride,
                "reg_layer": {"node": boxes[0].node},
                "cls_layer": {"node": classes[0].node},
            }
        )
    if len(counts) != 1:
        raise OptionError(f"--nms yolov8 wants one number of classes at all scales; found {sorted(counts)}")
    return {
        **_DEFAULTS,
        "image_dims": [height, width],
        "classes": counts.pop(),
        "regression_length": _BINS,
        "background_removal": False,
        "background_removal_index": 0,
        "bbox_decoders": decoders,
    }


def _read(path: Path, ends: Sequence[str]) -> dict[str, Any]:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(f"--nms {path}: {error}") from None
    if (
        not isinstance(given, dict)
        or not isinstance(given.get("config"), dict)
        or given.get("meta_arch") not in META_ARCHES
    ):
        raise OptionError(f'--nms {path} must be {{"meta_arch": one of {", ".join(META_ARCHES)}, "config": {{...}}}}')
    decoders = given["config"].get("bbox_decoders")
    if not isinstance(decoders, list) or not decoders:
        raise OptionError(f"--nms {path}: config.bbox_decoders must be a list with an entry each scale")
    for decoder in decoders:
        for key in _LAYERS:
            name = decoder.get(key)
            if name and name not in ends:
                raise OptionError(f"--nms {path}: {key} `{name}` is no node of --cut; these are: {', '.join(ends)}")
            if name:
                decoder[key] = {"node": name}
    return {"meta_arch": given["meta_arch"], "engine": given.get("engine", "cpu"), "config": given["config"]}


def _sigmoids(whole: Model, nodes: Sequence[str]) -> list[LayerCommand]:
    """Put back the Sigmoid of classes, which was in the part that HailoRT takes the place of, and only there."""
    commands = []
    by_name = {node.name: node for node in whole.graph}
    for name in nodes:
        node = by_name.get(name)
        if node is not None and node.op != "Sigmoid" and _reaches_sigmoid(node):
            commands.append(LayerCommand("change_output_activation", (name,), ("sigmoid",)))
    return commands


def _reaches_sigmoid(node: Node) -> bool:
    """Whether a Sigmoid is behind the node, through operators that only move numbers."""
    moving = {"Reshape", "Transpose", "Concat", "Split", "Slice", "Flatten", "Squeeze", "Unsqueeze", "Identity"}
    pending: list[Value] = list(node.outputs)
    seen: set[Value] = set()
    while pending:
        value = pending.pop()
        for user in value.users:
            if user.op == "Sigmoid":
                return True
            if user.op in moving and not set(user.outputs) & seen:
                seen.update(user.outputs)
                pending += user.outputs
    return False
