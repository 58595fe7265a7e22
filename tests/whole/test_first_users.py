"""What went wrong in the pipeline of irkit's first users is told, each fault by a finding that says what to do.

Model, calibration set, scripts and commands are small stand-ins of theirs: a classifier of inertial data with a code of
eight numbers, exported by hand, calibrated on synthetic samples, compiled by a shell script.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import irkit
from irkit import Finding, Severity
from tests.golden.sides import Array, samples

LAYERS = {"conv1": (32, 9, 1, 7), "conv2": (64, 32, 1, 5), "conv3": (128, 64, 1, 3), "project": (8, 128)}
HEAD = {"hidden": (64, 8), "classify": (10, 64)}


def weight(name: str, shape: tuple[int, ...], seed: int, trained: bool) -> str:
    """A constant: drawn as PyTorch draws a new layer, or otherwise."""
    bound = 1 / math.sqrt(math.prod(shape[1:])) if not trained else 0.2
    dims = ",".join(map(str, shape))
    return f"  %{name}.weight: float32[{dims}] = random(seed={seed}, low=-{bound}, high={bound})\n"


def network(*, trained: bool = True, head: bool = True, between: str = "") -> irkit.Model:
    """The classifier; without its head it ends at the code, as it should on the chip."""
    shapes = {**LAYERS, **(HEAD if head else {})}
    text = f"graph(%imu_input: float32[1,9,2,100]) -> (%{'behavior_logits' if head else 'code'}) {{\n"
    text += "".join(weight(name, shape, seed, trained) for seed, (name, shape) in enumerate(shapes.items()))
    value = "imu_input"
    for number, taps in ((1, 7), (2, 5), (3, 3)):
        attributes = f"{{kernel_shape=[1,{taps}], pads=[0,{taps // 2},0,{taps // 2}]}}"
        text += f"  %c{number} = Conv(%{value}, %conv{number}.weight) {attributes} @conv{number}\n"
        text += f"  %r{number} = Relu(%c{number}) @relu{number}\n"
        value = f"r{number}"
        if number < 3:
            text += f"  %p{number} = MaxPool(%{value}) {{kernel_shape=[1,2], strides=[1,2]}} @pool{number}\n"
            value = f"p{number}"
    text += "  %g = GlobalAveragePool(%r3) @pool3\n  %f = Flatten(%g) @flatten\n"
    text += "  %code = Gemm(%f, %project.weight) {transB=1} @fsq_projection\n"
    if head:
        text += between.format(source="code", result="rounded")
        source = "rounded" if between else "code"
        text += f"  %h = Gemm(%{source}, %hidden.weight) {{transB=1}} @classifier.0\n  %a = Relu(%h) @relu4\n"
        text += "  %behavior_logits = Gemm(%a, %classify.weight) {transB=1} @classifier.3\n"
    return irkit.parse_model(text + "}\n")


def synthetic() -> Array:
    """1,000 samples as they were made: waves in some channels, noise in all, standardized by channel."""
    rng = np.random.default_rng(0)
    made = rng.standard_normal((1000, 9, 2, 100)) * rng.choice([0.1, 0.3, 0.5, 1.0], (1000, 1, 1, 1))
    made[::3, :3] += np.sin(np.linspace(0, 8 * np.pi, 100)) * 3
    mean, std = made.mean(axis=(0, 2, 3), keepdims=True), made.std(axis=(0, 2, 3), keepdims=True)
    scaled: Array = ((made - mean) / (std + 1e-8)).astype(np.float32)
    return scaled


COMPILE = r"""#!/bin/bash
# Run this on the Raspberry Pi 5 with the AI HAT+.
set -e
NAME=conv2d_fsq_behavioral
hailo parser onnx $NAME.onnx --hw-arch hailo8 --output-har-path $NAME.har
hailo optimize $NAME.har \
    --hw-arch hailo8 \
    --calib-set-path calibration_data.npy \
    --model-script model_script.py \
    --quantization-method symmetric \
    --quantization-precision int8
hailo compiler ${NAME}_optimized.har --hw-arch hailo8 \
    --output-hef-path $NAME.hef --performance-mode latency --batch-size 1 --optimization-level 3
hailo profiler $NAME.hef --measure-latency
echo "Next: hailo run $NAME.hef --input test_data.npy"
"""

EXPORT = """import torch
from models import Conv2dFSQ

def export(path):
    network = Conv2dFSQ()
    checkpoint = torch.load(path)
    supported_ops = {"Conv", "Relu", "MaxPool", "GlobalAveragePool", "Gemm", "Flatten", "Reshape"}
    torch.onnx.export(network, torch.zeros(1, 9, 2, 100), "conv2d_fsq_behavioral.onnx")
"""

RUN = """from hailo_platform import HailoRTService

model = HailoRTService.load_hef("conv2d_fsq_behavioral.hef")
"""

RIGHT_COMPILE = r"""#!/bin/bash
# Writes the HEF; the Raspberry Pi gets it afterwards.
set -e
[ "$(uname -m)" = x86_64 ] || { echo "the Dataflow Compiler needs x86-64 Linux" >&2; exit 1; }
NAME=conv2d_fsq_behavioral
hailo parser onnx $NAME.onnx --hw-arch hailo8 --net-name $NAME --har-path $NAME.har \
    --start-node-names conv1 --end-node-names fsq_projection
hailo optimize $NAME.har --hw-arch hailo8 --calib-set-path calibration_data.npy --model-script $NAME.alls \
    --output-har-path ${NAME}_quantized.har
hailo compiler ${NAME}_quantized.har --hw-arch hailo8 --output-dir .
scp $NAME.hef pi@raspberrypi:
ssh pi@raspberrypi "hailortcli run $NAME.hef --measure-latency"
"""

RIGHT_ALLS = """model_optimization_flavor(optimization_level=2, compression_level=0)
model_optimization_config(calibration, batch_size=8, calibset_size=1024)
"""

RIGHT_EXPORT = EXPORT.replace("checkpoint = torch.load(path)", "network.load_state_dict(torch.load(path))").replace(
    "    supported_ops", "    known_layers"
)

RIGHT_RUN = """from hailo_platform import VDevice

with VDevice() as device:
    model = device.create_infer_model("conv2d_fsq_behavioral.hef")
"""


@dataclass(frozen=True)
class Pipeline:
    """What someone has: a model, a calibration set, scripts by name."""

    model: irkit.Model
    calibration: Array
    scripts: dict[str, str]

    def findings(self, folder: Path) -> list[Finding]:
        """What lint says of all of it."""
        np.save(folder / "calibration_data.npy", self.calibration)
        for name, text in self.scripts.items():
            (folder / name).write_text(text, encoding="utf-8")
        given = {"calib": folder / "calibration_data.npy", "scripts": [folder / name for name in self.scripts]}
        return irkit.lint(self.model, **given).findings  # type: ignore[arg-type]


def as_it_was() -> Pipeline:
    scripts = {"compile_for_hailo8.sh": COMPILE, "export.py": EXPORT, "edge.py": RUN}
    return Pipeline(network(trained=False), synthetic(), scripts)


def as_it_should_be() -> Pipeline:
    scripts = {
        "compile_for_hailo8.sh": RIGHT_COMPILE,
        "conv2d_fsq_behavioral.alls": RIGHT_ALLS,
        "export.py": RIGHT_EXPORT,
        "edge.py": RIGHT_RUN,
    }
    return Pipeline(network(head=False), samples([1024, 2, 100, 9]), scripts)


FAULTS = {
    "1 random weights in the export": ["untrained-weights", "checkpoint-not-used"],
    "2 channels first": ["calibration-channels-first"],
    "3 fewer than 1,024 samples, and 64 of them used": ["calibration-count", "calibration-size-unset"],
    "4 standardized by statistics of its own": ["calibration-own-statistics"],
    "5 a Python file as model script": ["python-model-script"],
    "6 arguments and names that do not exist": [
        "unknown-tool-flag", "unknown-tool-command", "profiler-wants-har", "unknown-runtime-name",
    ],
    "7 compiled on the Pi": ["compiler-on-device"],
    "8 a code that is rounded after inference": ["linear-bottleneck"],
    "9 symmetric INT8": ["symmetric-int8"],
    "10 a list of operator names as a check": ["list-of-operators"],
}  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    return as_it_was().findings(tmp_path_factory.mktemp("was"))


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_told_with_what_to_do(told: list[Finding], fault: str) -> None:
    for rule in FAULTS[fault]:
        found = [finding for finding in told if finding.rule == rule]
        assert found, rule
        assert all(finding.advice for finding in found), rule


def test_what_is_wrong_in_a_script_is_told_with_its_line(told: list[Finding]) -> None:
    places = {
        (finding.rule, Path(finding.origin.file).name, finding.origin.line) for finding in told if finding.origin.file
    }
    assert ("python-model-script", "compile_for_hailo8.sh", 6) in places
    assert ("unknown-tool-command", "compile_for_hailo8.sh", 15) in places
    assert ("list-of-operators", "export.py", 7) in places
    assert ("unknown-runtime-name", "edge.py", 1) in places


def test_every_invented_flag_is_told(told: list[Finding]) -> None:
    flags = {finding.message.split("`")[3] for finding in told if finding.rule == "unknown-tool-flag"}
    assert flags == {
        "--output-har-path", "--quantization-method", "--quantization-precision", "--output-hef-path",
        "--performance-mode", "--batch-size", "--optimization-level", "--measure-latency",
    }  # fmt: skip


def test_put_right_nothing_is_left_to_say(tmp_path: Path) -> None:
    ours = {rule for rules in FAULTS.values() for rule in rules}
    found = as_it_should_be().findings(tmp_path)
    assert [finding for finding in found if finding.rule in ours or finding.code.startswith("HAI5")] == []
    assert [finding for finding in found if finding.severity is Severity.ERROR] == []


@pytest.mark.parametrize("fault", ["noise", "ranges"])
def test_other_ways_to_calibrate_wrongly(tmp_path: Path, fault: str) -> None:
    scale = [1.0] * 3 + [250.0] * 3 + [50.0] * 3 if fault == "ranges" else None
    data = samples([1024, 2, 100, 9], "normal" if fault == "noise" else "waves", scale=scale)
    found = dataclasses.replace(as_it_should_be(), calibration=data).findings(tmp_path)
    [told] = [finding for finding in found if finding.code.startswith("HAI5")]
    assert told.rule == {"noise": "calibration-noise", "ranges": "input-channel-ranges"}[fault]
    assert ("a16_w16" in told.advice) == (fault == "ranges")


def test_rounding_in_the_graph_is_told_too(tmp_path: Path) -> None:
    model = network(between="  %{result} = Round(%{source}) @round\n")
    found = dataclasses.replace(as_it_should_be(), model=model).findings(tmp_path)
    assert any(finding.node == "round" and finding.severity is not Severity.INFO for finding in found)
    assert not [finding for finding in found if finding.rule == "linear-bottleneck"]


def test_layers_that_were_not_loaded_are_named() -> None:
    model = network(head=False)
    fresh = network(trained=False).graph.initializers["conv3.weight"].initializer
    assert fresh is not None
    model.graph.initializers["conv3.weight"].set_initializer(fresh)
    [found] = [item for item in irkit.lint(model).findings if item.rule == "untrained-weights"]
    assert found.node == "conv3"
    assert found.message.endswith("1 of 4 layers look untrained, drawn as an initializer draws them: `conv3.weight`")
