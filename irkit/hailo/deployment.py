"""What a bundle holds beside the model: everything the compiler and the Pi need, as files.

model.alls          commands that need no name of a layer
script.json         what compile.py does: end nodes, commands on layers by ONNX node, the calibration set
preprocess.json     the input domain of each artefact, and who normalizes
io_map.json         inputs and outputs by their ONNX names; bound to the HEF's names once there is one
golden/             a few inputs with the outputs of the float model
compile.py, compile_for_*.sh, selftest.py, DEPLOYMENT_README.md
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from irkit.hailo import alls_commands as commands
from irkit.hailo.alls import Command, Script, print_value
from irkit.hailo.calibration_writer import ENOUGH, WrittenCalibration
from irkit.hailo.ports import Port
from irkit.hailo.preprocessing import Preprocessing

SCHEMA = 1
ALLS, SCRIPT, PREPROCESS, IO_MAP, README = (
    "model.alls", "script.json", "preprocess.json", "io_map.json", "DEPLOYMENT_README.md",
)  # fmt: skip
_NHWC = {"calibration": "NHWC", "hef": "NHWC", "golden": "NHWC"}
BATCH = 8
"""Samples that the compiler calibrates with at a time; what most public scripts state."""


@dataclass(frozen=True)
class LayerCommand:
    """A command of the model script on layers, which have names only after parsing.

    Attributes: `name`; `nodes`: the layers, as ONNX nodes; `inputs`: or as inputs of the model, named behind `args`;
    `settings`: arguments by name; `makes`: the name before `=`.
    """

    name: str
    nodes: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    makes: str = ""

    def to_json(self) -> dict[str, Any]:
        """As script.json has it."""
        layers = {"inputs": list(self.inputs)} if self.inputs else {"nodes": list(self.nodes)}
        made = {"makes": self.makes} if self.makes else {}
        return {"name": self.name, **made, **layers, "args": list(self.args), "settings": dict(self.settings)}


@dataclass(frozen=True)
class Deployment:
    """What the files say.

    Attributes:
        name: of the network. hw_arch: of the chip, as the compiler calls it.
        inputs, outputs: of the device part, in order.
        end_nodes, start_nodes: where the compiler is to cut; start nodes only for a cut at the start.
        results: outputs of the whole, in order; those of the device part where nothing was cut off.
        calibration: what was written; None where no data was given.
        preprocessing: what is done to a sample before the model.
        layer_commands: commands on layers.
        compression: share of weights in 4 bits, as the compiler's level 0 to 5.
        nms: the file by which HailoRT decodes boxes; "" where it does not.
        fed: inputs of the whole, where that was cut.
        has_pre: whether pre.onnx makes the inputs of the device part.
    """

    name: str
    hw_arch: str
    inputs: Sequence[Port]
    outputs: Sequence[Port]
    end_nodes: Sequence[str]
    results: Sequence[str]
    start_nodes: Sequence[str] = ()
    calibration: WrittenCalibration | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    layer_commands: Sequence[LayerCommand] = ()
    compression: int = 0
    nms: str = ""
    fed: Sequence[Port] = ()
    has_pre: bool = False

    @property
    def is_raw(self) -> bool:
        """Whether the chip takes raw 8-bit data and normalizes them itself."""
        return self.calibration is not None and self.calibration.on_chip


def network_name(stem: str) -> str:
    """A name that the compiler takes for a network, made of the name of a file."""
    name = re.sub(r"\W+", "_", stem, flags=re.ASCII).strip("_").lower()
    return name if name[:1].isalpha() else f"net_{name}" if name else "net"


def model_script(plan: Deployment) -> Script:
    """The commands that need no name of a layer."""
    made: list[Command] = []
    if plan.is_raw and len(plan.inputs) == 1:
        made.append(commands.normalization(*_moments(plan, plan.inputs[0])))
    count = plan.calibration.count if plan.calibration is not None else ENOUGH
    level = 2 if count >= ENOUGH else 0
    made.append(commands.flavor(optimization_level=level, compression_level=plan.compression))
    made.append(commands.calibration(batch_size=min(BATCH, count), calibset_size=count))
    return Script(tuple(made))


def script_text(plan: Deployment) -> str:
    """The model script, with the commands on inputs under the names that the compiler gives their layers."""
    lines = [str(model_script(plan)).rstrip("\n")]
    layers = {port.name: f"input_layer{index}" for index, port in enumerate(plan.inputs, 1)}
    for command in (*_normalizations(plan), *plan.layer_commands):
        if command.inputs:
            given = [*command.args, *(layers[name] for name in command.inputs)]
            given += [f"{key}={value}" for key, value in command.settings.items()]
            made = f"{command.makes} = " if command.makes else ""
            lines.append(f"{made}{command.name}({', '.join(given)})")
    return "\n".join(lines) + "\n"


def _moments(plan: Deployment, port: Port) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return plan.preprocessing.moments((port.device_shape or (0, 0, 1))[2])


def _normalizations(plan: Deployment) -> list[LayerCommand]:
    """Normalization of several inputs, which has to name the layer of each."""
    if not plan.is_raw or len(plan.inputs) == 1:
        return []
    made = []
    for index, port in enumerate(plan.inputs, 1):
        args = tuple(print_value(values) for values in _moments(plan, port))
        made.append(LayerCommand("normalization", args=args, inputs=(port.name,), makes=f"normalization{index}"))
    return made


def script_json(plan: Deployment) -> dict[str, Any]:
    """What compile.py does."""
    calibration = None
    if plan.calibration is not None:
        written = plan.calibration
        calibration = {
            "file": written.file,
            "inputs": list(written.inputs),
            "count": written.count,
            "random": written.is_random,
        }
    return {
        "schema": SCHEMA,
        "net_name": plan.name,
        "hw_arch": plan.hw_arch,
        "start_nodes": list(plan.start_nodes),
        "end_nodes": list(plan.end_nodes),
        "inputs": [port.name for port in plan.inputs],
        "commands": [command.to_json() for command in (*_normalizations(plan), *plan.layer_commands)],
        "calibration": calibration,
        "nms": plan.nms or None,
    }


def preprocess_json(plan: Deployment) -> dict[str, Any]:
    """In which domain each artefact takes its input, and where normalization is done.

    `raw`: 8-bit, as a camera gives it; `model`: as the model before the cut takes it; `cut`: as pre.onnx gives it.
    """
    how = plan.preprocessing
    domain = "raw" if plan.is_raw else "cut" if plan.has_pre else "model"
    applied = "chip" if plan.is_raw else "host" if how.normalizes else "none"
    inputs = []
    for port in plan.fed if plan.has_pre else plan.inputs:
        channels = (port.device_shape or (0, 0, 1))[2]
        mean, std = how.moments(channels) if how.normalizes else ((), ())
        inputs.append(
            {
                "name": port.name,
                "layout": {"pre.onnx": port.layout} if plan.has_pre else {"model.onnx": port.layout, **_NHWC},
                "dtype": port.dtype if plan.has_pre or plan.calibration is None else plan.calibration.dtype,
                "color": how.color if channels == 3 else None,
                "fit": how.fit or None,
                "normalization": {"mean": list(mean), "std": list(std), "applied": applied},
            }
        )
    return {
        "schema": SCHEMA,
        "domain": {
            **({"pre.onnx": "model", "model.onnx": "cut"} if plan.has_pre else {"model.onnx": "model"}),
            **dict.fromkeys(_NHWC, domain),
        },
        "inputs": inputs,
    }


def io_map_json(plan: Deployment) -> dict[str, Any]:
    """Inputs and outputs in the order of the model; the names in the HEF are not known yet."""
    return {
        "schema": SCHEMA,
        "state": "planned",
        "feeds": [port.to_json() for port in plan.fed or plan.inputs],
        "inputs": [port.to_json() for port in plan.inputs],
        "outputs": [port.to_json() for port in plan.outputs],
        "results": list(plan.results),
    }


def write_files(plan: Deployment, folder: Path) -> None:
    """Write everything but the model, the calibration set and the golden vectors."""
    _write(folder / ALLS, str(model_script(plan)))
    for name, content in (
        (SCRIPT, script_json(plan)),
        (PREPROCESS, preprocess_json(plan)),
        (IO_MAP, io_map_json(plan)),
    ):
        _write(folder / name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    emitted = Path(__file__).parent / "emitted"
    for name in ("compile.py", "selftest.py"):
        _write(folder / name, (emitted / name).read_text(encoding="utf-8"), runs=True)
    fields = _template_fields(plan)
    shell = (emitted / "compile.sh.in").read_text(encoding="utf-8")
    _write(folder / f"compile_for_{plan.hw_arch}.sh", _filled(shell, fields), runs=True)
    page = (emitted / "DEPLOYMENT_README.md.in").read_text(encoding="utf-8")
    _write(folder / README, _filled(page, fields))


def _write(path: Path, text: str, *, runs: bool = False) -> None:
    path.write_bytes(text.encode())
    if runs:
        path.chmod(0o755)


def _filled(text: str, fields: Mapping[str, str]) -> str:
    for name, value in fields.items():
        text = text.replace(f"@{name}@", value)
    return text


def _template_fields(plan: Deployment) -> dict[str, str]:
    inputs = "\n".join(f"| `{port.name}` | {_shape(port)} | {_domain(plan)} |" for port in plan.inputs)
    outputs = "\n".join(f"| `{port.name}` | `{list(port.shape)}` | `{port.node}` |" for port in plan.outputs)
    return {
        "NAME": plan.name,
        "ARCH": plan.hw_arch,
        "INPUTS": inputs,
        "OUTPUTS": outputs,
        "CALIBRATION": calibration_text(plan.calibration),
        "SCRIPT": str(model_script(plan)).rstrip("\n"),
    }


def _shape(port: Port) -> str:
    return f"`{list(port.device_shape)}`" if port.device_shape is not None else "not known"


def _domain(plan: Deployment) -> str:
    if plan.is_raw:
        return "uint8, raw: the chip normalizes"
    if plan.has_pre:
        return "float32, as pre.onnx gives it"
    if plan.preprocessing.normalizes:
        return "float32, normalized by the host: preprocess.json has mean and deviation"
    return "as the model takes it"


def calibration_text(written: WrittenCalibration | None) -> str:
    """What the calibration set is, for people, in Markdown."""
    if written is None:
        return "**None was given**: `irkit optimize MODEL --calib FILE` writes one; `compile.py` stops without."
    text = f"`{written.file}`: {written.count} samples, {written.dtype}, (N, height, width, channels)."
    if written.is_random:
        return f"{text} **Random numbers**: good to try the tools, of no use for accuracy."
    if written.count < ENOUGH:
        text += f" Fewer than {ENOUGH}, so that the optimization level is 0."
    return text
