"""Equipping a bundle: from what the user gave to the files of a deployment."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.errors import ExecutionError, MissingDependencyError, OptionError
from irkit.hailo.calibration import CalibrationSet, open_calibration
from irkit.hailo.calibration_pre import write_through
from irkit.hailo.calibration_writer import ENOUGH, WrittenCalibration, write_calibration, write_random
from irkit.hailo.deployment import Deployment, LayerCommand, network_name, write_files
from irkit.hailo.ports import Port, input_ports, output_ports
from irkit.hailo.postprocess import Postprocess, hailort_postprocess
from irkit.hailo.preprocessing import Preprocessing
from irkit.model import Model
from irkit.target import Target

if TYPE_CHECKING:
    import numpy as np

    from irkit.cutting import Parts

    Array = np.ndarray[Any, np.dtype[Any]]

GOLDEN, NMS = "golden", "nms.json"
GOLDEN_SAMPLES = 4
_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Equipment:
    """What the user gave for the deployment.

    Attributes:
        calibration: path of the calibration set. random: samples to draw where there is none.
        most: samples that are taken of it. labels: their classes, to take of all alike; () where not known.
        preprocessing: what is done to a sample before the model.
        precisions: of layers by ONNX node, such as `a16_w16`.
        compression: the compiler's level of weights in 4 bits, 0 to 5.
        nms: what HailoRT decodes boxes by, in the place of host.onnx; "" leaves that to host.onnx.
    """

    calibration: Path | None = None
    random: int = 0
    most: int = ENOUGH
    labels: Sequence[int] = ()
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    precisions: Mapping[str, str] = field(default_factory=dict)
    compression: int = 0
    nms: str = ""


def equip(
    model: Model,
    target: Target,
    folder: Path,
    name: str,
    equipment: Equipment,
    *,
    parts: Parts | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Deployment:
    """Write everything but model and reports into a folder.

    Args:
        model: the device part, static.
        target: what it is for.
        folder: an existing folder.
        name: the file that the network is named after, without its suffix.
        equipment: what the user gave.
        parts: what is before and after the model, where it was cut out of a whole.
        progress: is told of every block of the calibration set.

    Raises `ModelError` where shapes are not static, `OptionError` or `CalibrationError` where data do not fit.
    """
    inputs, outputs = input_ports(model), output_ports(model)
    written = _calibration(model, inputs, folder, equipment, parts, progress)
    nms = _postprocess(model, parts, inputs, outputs, equipment.nms, folder)
    hosted = parts.results if parts is not None and nms is None else [port.name for port in outputs]
    plan = Deployment(
        name=network_name(name),
        hw_arch=target.name,
        inputs=inputs,
        outputs=outputs,
        end_nodes=list(dict.fromkeys(port.node for port in outputs)),
        results=hosted,
        fed=input_ports(parts.whole) if parts is not None else (),
        has_pre=parts is not None and parts.pre is not None,
        calibration=written,
        preprocessing=equipment.preprocessing,
        layer_commands=[*_precisions(model, inputs, equipment.precisions), *(nms.commands if nms is not None else ())],
        compression=equipment.compression,
        nms=NMS if nms is not None else "",
    )
    write_files(plan, folder)
    _write_golden(model, plan, folder)
    return plan


def _postprocess(
    model: Model, parts: Parts | None, inputs: Sequence[Port], outputs: Sequence[Port], wish: str, folder: Path
) -> Postprocess | None:
    """Settings of HailoRT's own postprocessing, written to a folder; None where none is asked for."""
    if not wish:
        return None
    found = hailort_postprocess(wish, parts.whole if parts is not None else model, inputs, outputs)
    (folder / NMS).write_bytes((json.dumps(found.settings, indent=2) + "\n").encode())
    return found


def _calibration(
    model: Model,
    ports: Sequence[Port],
    folder: Path,
    equipment: Equipment,
    parts: Parts | None,
    progress: Callable[[str, int, int], None] | None,
) -> WrittenCalibration | None:
    if equipment.calibration is not None:
        source: CalibrationSet = open_calibration(equipment.calibration)
        if parts is not None and parts.pre is not None:
            return write_through(
                source, parts.whole, parts.pre, ports, folder, equipment.preprocessing, most=equipment.most,
                labels=equipment.labels, progress=progress,
            )  # fmt: skip
        return write_calibration(
            source,
            ports,
            folder,
            equipment.preprocessing,
            most=equipment.most,
            labels=equipment.labels,
            progress=progress,
        )
    if equipment.random:
        return write_random(ports, folder, _drawn(model, equipment.random))
    return None


def _drawn(model: Model, count: int) -> dict[str, Array]:
    """Samples in the layout of ONNX, from fixed seeds."""
    import numpy as np

    from irkit.inputs import draw, input_specs

    specs = input_specs(model, {})
    feeds = [draw(specs, 2 * seed) for seed in range(count)]
    return {spec.name: np.concatenate([feed[spec.name] for feed in feeds]) for spec in specs}


def _precisions(model: Model, inputs: Sequence[Port], precisions: Mapping[str, str]) -> Iterable[LayerCommand]:
    """Commands for layers of nodes, and for those of inputs."""
    nodes, ports = {node.name for node in model.graph}, {port.name for port in inputs}
    for name, mode in precisions.items():
        settings = {"precision_mode": mode}
        if name in nodes:
            yield LayerCommand("quantization_param", (name,), settings=settings)
        elif name in ports:
            yield LayerCommand("quantization_param", inputs=(name,), settings=settings)
        else:
            raise OptionError(
                f"--precision {name}={mode}: the rewritten model has no node or input of that name; see irkit show"
            )


def _write_golden(model: Model, plan: Deployment, folder: Path) -> None:
    """A few inputs as the chip takes them, and what the float model gives for them. None where nothing can run it."""
    import numpy as np

    from irkit.executor import open_session

    if any(port.device_shape is None for port in plan.inputs):
        return
    try:
        session = open_session(model)
        inputs = _golden_inputs(model, plan, folder)
        fed = {port.name: _as_model_takes(inputs[port.name], port, plan) for port in plan.inputs}
        count = len(next(iter(fed.values())))
        results = [session.run({name: array[i : i + 1] for name, array in fed.items()}) for i in range(count)]
    except (ExecutionError, MissingDependencyError):
        return
    outputs = {port.name: np.concatenate([result[port.name] for result in results]) for port in plan.outputs}
    (folder / GOLDEN).mkdir()
    write_npz(folder / GOLDEN / "inputs.npz", inputs)
    write_npz(folder / GOLDEN / "outputs.npz", outputs)


def _golden_inputs(model: Model, plan: Deployment, folder: Path) -> dict[str, Array]:
    """(N, height, width, channels), in the domain of the HEF."""
    import numpy as np

    written = plan.calibration
    if written is None:
        drawn = _drawn(model, GOLDEN_SAMPLES)
        return {port.name: port.to_device(drawn[port.name]) for port in plan.inputs}
    loaded = np.load(folder / written.file, mmap_mode="r", allow_pickle=False)
    arrays = {written.inputs[0]: loaded} if isinstance(loaded, np.ndarray) else loaded
    return {name: np.array(arrays[name][:GOLDEN_SAMPLES]) for name in written.inputs}


def _as_model_takes(samples: Array, port: Port, plan: Deployment) -> Array:
    return port.as_model_takes(plan.preprocessing.normalize(samples) if plan.is_raw else samples)


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """An .npz with a fixed date, so that the same arrays are the same bytes."""
    import numpy as np

    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy", _DATE), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
