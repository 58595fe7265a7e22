"""A stand-in of the Dataflow Compiler's Python package: the names that public code uses, and refusals users met.

It renames layers (conv1, fc1, ...), takes activations and batch norms into the layer before, drops Identity and
Flatten, gives outputs in another order, takes node names only, wants (N, H, W, C) calibration data, uses 64 samples
unless the script says otherwise, lowers the optimization level with a warning only, and refuses unknown commands.
"""

from __future__ import annotations

import json
import os
import tarfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from hailo_sdk_client.model_translator.exceptions import (
    InvalidHNError,
    MisspellNodeError,
    ParsingWithRecommendationException,
    UnsupportedOperationError,
)
from hailo_sdk_client.network import Floats, Network, parse_network

__version__ = "3.33.1"

_ARCHITECTURES = ("hailo8", "hailo8l", "hailo8r")
_NUMBERS = {"hailo8": 1, "hailo8r": 2, "hailo8l": 3}
_DEFAULT_SAMPLES = 64
_ENOUGH = 1024
_SEEN = 16


class AllocatorScriptParserException(Exception):
    """A model script that is not understood."""


class BadInputsShape(Exception):
    """Calibration data of another shape than the network's input."""


class AccelerasValueError(Exception):
    """Calibration data that do not fit otherwise."""


class InvalidStateException(Exception):
    """A step out of order."""


class BackendAllocatorException(Exception):
    """The network does not fit."""


class InferenceContext:
    """What a network can be run as."""

    SDK_NATIVE, SDK_FP_OPTIMIZED, SDK_QUANTIZED, SDK_HAILO_HW = range(4)


class ClientRunner:
    """Parse, optimize, compile, in this order."""

    def __init__(self, hw_arch: str | None = None, har: str | None = None) -> None:
        if hw_arch is not None and hw_arch not in _ARCHITECTURES:
            raise ValueError(f"hw_arch {hw_arch!r} is not one of {', '.join(_ARCHITECTURES)}")
        self._arch = hw_arch or "hailo8"
        self._state = "uninitialized"
        self._network: Network | None = None
        self._script = ""
        self.used_samples = 0
        if har is not None:
            self.load_har(har)

    @property
    def model_script(self) -> str:
        return self._script

    def translate_onnx_model(
        self,
        model: str,
        net_name: str,
        start_node_names: list[str] | None = None,
        end_node_names: list[str] | None = None,
        net_input_shapes: dict[str, list[int]] | None = None,
        net_input_format: dict[str, Any] | None = None,
        disable_onnx_simplifier: bool = False,
    ) -> tuple[str, str]:
        if not os.path.exists(model):
            raise FileNotFoundError(f"{model!r}: the ONNX model is given by its path")
        print("[info] Translation started on ONNX model " + net_name)
        self._network = parse_network(model, net_name, start_node_names, end_node_names, net_input_shapes)
        self._state = "hailo_model"
        print(f"[info] Translation completed on ONNX model {net_name} (completion time: 00:00:00.10)")
        return json.dumps(self._network.hn), ""

    def get_hn_dict(self) -> dict[str, Any]:
        self._needs("hailo_model", "quantized", "compiled")
        return dict(self._net.hn)

    def get_hn(self) -> str:
        return json.dumps(self.get_hn_dict())

    def get_params(self) -> dict[str, Any]:
        self._needs("hailo_model", "quantized", "compiled")
        return {}

    def load_model_script(self, model_script: str, append: bool = False) -> None:
        self._needs("hailo_model")
        text = (
            Path(model_script).read_text()
            if "\n" not in model_script and os.path.exists(model_script)
            else model_script
        )
        from irkit.hailo.alls import ModelScriptError, parse
        from irkit.hailo.alls_check import problems

        try:
            script = parse(text)
        except ModelScriptError as error:
            raise AllocatorScriptParserException(f"Invalid model script: {error}") from None
        names = [name.rpartition("/")[2] for name in self._net.hn["layers"]]
        made = [output for command in script.commands for output in command.outputs]
        wrong = problems(script, [*names, *made])
        if wrong:
            raise AllocatorScriptParserException(f"Invalid model script, line {wrong[0].line}: {wrong[0].message}")
        self._script = (self._script if append else "") + text

    def optimize_full_precision(self, calib_data: Any = None) -> None:
        self._needs("hailo_model")

    def optimize(self, calib_data: Any, data_type: str = "auto", work_dir: str | None = None) -> None:
        self._needs("hailo_model")
        inputs = {name: layer for name, layer in self._net.hn["layers"].items() if layer["type"] == "input_layer"}
        if isinstance(calib_data, dict):
            for key in calib_data:
                if key not in inputs:
                    raise KeyError(key)
            data = calib_data
        else:
            if len(inputs) != 1:
                raise AccelerasValueError(f"the network has {len(inputs)} inputs: give a dict by their names")
            data = {next(iter(inputs)): calib_data}
        for name, layer in inputs.items():
            if name not in data:
                raise KeyError(name)
            wanted, found = tuple(layer["output_shapes"][0][1:]), tuple(np.shape(data[name])[1:])
            if wanted != found:
                raise BadInputsShape(
                    f"Data shape {found} for layer {name} doesn't match network's input shape {wanted}"
                )
        count = min(len(array) for array in data.values())
        wished, level = self._settings()
        if wished > count:
            raise AccelerasValueError(f"calibset_size is {wished}, the calibration set has {count} samples")
        self.used_samples = wished
        self._net.ranges = _ranges(self._net, {name: np.asarray(data[name][:_SEEN]) for name in inputs}, self._script)
        if level > 0 and count < _ENOUGH:
            print(
                "[warning] Reducing optimization level to 0 (the accuracy won't be optimized and compression won't be "
                "used) because there's less data than the recommended amount (1024), and there's no available GPU"
            )
        print(f"[info] Using dataset with {wished} entries for calibration")
        print("[info] Model Optimization is done")
        self._state = "quantized"

    def _settings(self) -> tuple[int, int]:
        size = self._setting("model_optimization_config", "calibration", "calibset_size", _DEFAULT_SAMPLES)
        return size, self._setting("model_optimization_flavor", None, "optimization_level", 2)

    def _setting(self, name: str, first: str | None, key: str, default: int) -> int:
        """What the last such command says."""
        from irkit.hailo.alls import parse

        found = [item.kwargs[key] for item in parse(self._script).of(name, first) if key in item.kwargs]
        return int(str(found[-1])) if found else default

    def compile(self) -> bytes:
        self._needs("quantized")
        from irkit.hailo.hef.writer import Fixture, Layer, fixture_bytes

        print("[info] Starting Hailo allocation and compilation flow")
        layers = []
        for name, layer in self._net.hn["layers"].items():
            height, width, channels = layer["output_shapes"][0][1:]
            if layer["type"] == "input_layer":
                names = tuple(layer["original_names"])
                layers.append(Layer(name, (height, width, channels), False, names, *self._grid(name)))
            elif name in self._net.outputs:
                names = tuple(layer["original_names"])
                layers.append(Layer(name, (height, width, channels), True, names, *self._grid(name)))
        outputs = sorted((layer for layer in layers if layer.is_output), key=lambda layer: layer.name, reverse=True)
        nms = "nms_postprocess" in self._script
        if nms:
            outputs = [replace(layer, pad_index=index) for index, layer in enumerate(outputs)]
        fixture = Fixture(
            [*(layer for layer in layers if not layer.is_output), *outputs],
            name=self._net.name,
            nms=f"{self._net.name}/yolov8_nms_postprocess" if nms else "",
        )
        self._state = "compiled"
        print("[info] Building HEF...")
        return fixture_bytes(replace(fixture, arch=_NUMBERS[self._arch], compiler=__version__))

    def _grid(self, layer: str) -> tuple[float, float]:
        """Scale and zero point."""
        low, high = self._net.ranges[layer]
        low, high = min(low, 0.0), max(high, 0.0)
        scale = (high - low) / 255 or 1.0
        return scale, float(round(-low / scale))

    def save_har(self, har_path: str) -> None:
        self._needs("hailo_model", "quantized", "compiled")
        content = {
            "state": self._state, "arch": self._arch, "script": self._script, "used_samples": self.used_samples,
            "network": self._net.to_json(),
        }  # fmt: skip
        data = json.dumps(content).encode()
        with tarfile.open(har_path, "w") as archive:
            info = tarfile.TarInfo(f"{self._net.name}.hn")
            info.size = len(data)
            archive.addfile(info, BytesIO(data))

    def load_har(self, har: str) -> None:
        with tarfile.open(har) as archive:
            member = archive.extractfile(archive.getmembers()[0])
            assert member is not None
            content = json.loads(member.read())
        if content["arch"] != self._arch:
            raise InvalidStateException(f"{har} was made for {content['arch']}")
        self._state, self._script = content["state"], content["script"]
        self.used_samples = content["used_samples"]
        self._network = Network.from_json(content["network"])

    @property
    def _net(self) -> Network:
        if self._network is None:
            raise InvalidStateException("no model was translated")
        return self._network

    def _needs(self, *states: str) -> None:
        if self._state not in states:
            raise InvalidStateException(f"the runner is in state {self._state}; this needs {' or '.join(states)}")


def normalizations(script: str, inputs: list[str]) -> dict[str, tuple[Any, Any]]:
    """Mean and deviation of each input layer that a script has a `normalization` for."""
    from irkit.hailo.alls import parse

    found = {}
    for command in parse(script).of("normalization"):
        mean, std = (np.asarray(values, np.float64) for values in command.args[:2])
        named = [str(layer) for layer in command.args[2:]]
        for name in inputs:
            if not named or name.rpartition("/")[2] in (layer.rpartition("/")[2] for layer in named):
                found[name] = (mean, std)
    return found


def _ranges(network: Network, data: dict[str, Any], script: str) -> dict[str, list[float]]:
    """Ranges of inputs, as they are given, and of outputs over some of the calibration data."""
    values = list(network.outputs.values())
    floats = Floats(network.path, list(data), values, normalizations(script, list(data)))
    ranges = {name: [float(array.min()), float(array.max())] for name, array in data.items()}
    for index in range(len(next(iter(data.values())))):
        results = floats.run({name: array[index] for name, array in data.items()})
        for layer, value in network.outputs.items():
            low, high = ranges.get(layer, [0.0, 0.0])
            ranges[layer] = [min(low, float(results[value].min())), max(high, float(results[value].max()))]
    return ranges


__all__ = [
    "ClientRunner", "InferenceContext", "InvalidHNError", "MisspellNodeError", "ParsingWithRecommendationException",
    "UnsupportedOperationError",
]  # fmt: skip
