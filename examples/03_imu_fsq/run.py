"""All of the example, from data to report: what each step is, is printed as a command that can be typed.

python run.py                 into build/, in some minutes on two CPU cores
python run.py --quick -o out  few data and epochs: shows that it runs, of no use for accuracy
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
EXPORTS = {
    "codes": ("relu.pt", "codes", "torchscript"),
    "codes-dynamo": ("relu.pt", "codes", "dynamo"),
    "logits": ("relu.pt", "logits", "torchscript"),
    "unbounded": ("relu.pt", "unbounded", "torchscript"),
    "untuned": ("untuned.pt", "codes", "torchscript"),
    "gelu": ("gelu.pt", "codes", "torchscript"),
    "tuned": ("tuned.pt", "codes", "torchscript"),
}
BUNDLES = {  # name: ONNX file, flags, exit codes that are fine
    "codes": ("codes", ["--cut", "z"], (0,)),
    "codes-dynamo": ("codes-dynamo", ["--cut", "z"], (0,)),
    "logits": ("logits", [], (0,)),
    "gelu": ("gelu", ["--cut", "z", "--exact"], (0,)),
    "gelu-to-relu": ("gelu", ["--cut", "z", "--accept-drift", "gelu-to-relu"], (0,)),
    "tuned": ("tuned", ["--cut", "z"], (0,)),
}


class Steps:
    """Runs commands in the work folder, and stops at the first that fails."""

    def __init__(self, work: Path) -> None:
        self._work = work

    def python(self, script: str, *arguments: str) -> None:
        """A script of this folder."""
        self._run([sys.executable, str(HERE / script), *arguments], f"python {script}", arguments, (0,))

    def irkit(self, *arguments: str, fine: tuple[int, ...] = (0,), into: str = "") -> None:
        """irkit; what it prints goes to a file where one is named."""
        self._run([sys.executable, "-m", "irkit", *arguments], "irkit", arguments, fine, into)

    def _run(
        self, command: list[str], shown: str, arguments: tuple[str, ...], fine: tuple[int, ...], into: str = ""
    ) -> None:
        print(f"\n$ {shown} {shlex.join(arguments)}{f' > {into}' if into else ''}", flush=True)
        began = time.monotonic()
        done = subprocess.run(command, check=False, cwd=self._work, stdout=subprocess.PIPE if into else None)
        if into:
            (self._work / into).write_bytes(done.stdout)
        if done.returncode not in fine:
            raise SystemExit(f"stopped: {shown} ended with exit code {done.returncode}")
        print(f"  ({time.monotonic() - began:.0f} s)", flush=True)


def train(steps: Steps, threads: str, *, quick: bool) -> None:
    """Checkpoints: the network, one without the recipe, the GELU variant, and that fine-tuned with ReLU."""
    common = ["--data", "data", "--threads", threads]
    once = ["--epochs", "1"] if quick else []
    steps.python("train.py", *common, "-o", "checkpoints/untuned.pt", "--untuned", *once)
    steps.python("train.py", *common, "-o", "checkpoints/relu.pt", *once)
    steps.python("train.py", *common, "-o", "checkpoints/gelu.pt", "--activation", "gelu", *once)
    start = ["--start", "checkpoints/gelu.pt", "--epochs", "1" if quick else "2"]
    steps.python("train.py", *common, "-o", "checkpoints/tuned.pt", *start)


def export(steps: Steps, *, quick: bool) -> None:
    """ONNX files, and the network before."""
    for name, (checkpoint, form, exporter) in EXPORTS.items():
        given = ["--checkpoint", f"checkpoints/{checkpoint}", "--form", form, "--exporter", exporter]
        steps.python("export.py", *given, "-o", f"onnx/{name}.onnx")
    legacy = ["--data", "data", "--epochs", "1" if quick else "2"]
    steps.python("legacy.py", *legacy, "-o", "onnx/tcn_1d.onnx", "--1d")
    steps.python("legacy.py", *legacy, "-o", "onnx/tcn_vae.onnx")


def deploy(steps: Steps, *, quick: bool) -> None:
    """Bundles, and whether they may be deployed."""
    steps.irkit("lint", "onnx/codes.onnx", "--calib", "data/calibration_data.npy")
    calib = ["--calib", "data/calibration_data.npy", "--force"]
    for name, (file, flags, fine) in BUNDLES.items():
        steps.irkit("optimize", f"onnx/{file}.onnx", *calib, *flags, "-o", name, fine=fine)
    steps.irkit("lint", "onnx/tcn_1d.onnx", fine=(1,))
    steps.irkit("optimize", "onnx/tcn_vae.onnx", "--force", "-o", "tcn_vae")
    steps.irkit("quantize", "codes", "--format", "json", "--layers", into="quantize.json")
    data = ["--data", "data/test.npz", "--validation", "data/val.npz"]
    steps.irkit("check", "codes", *data, fine=(0, 1) if quick else (0,))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "build", help="the folder to work in")
    parser.add_argument("--quick", action="store_true", help="few data, one epoch each")
    parser.add_argument("--threads", default="1", help="that PyTorch takes (default: 1)")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    steps = Steps(options.output)
    began = time.monotonic()
    steps.python("data.py", "-o", "data", *(["--quick"] if options.quick else []))
    train(steps, options.threads, quick=options.quick)
    export(steps, quick=options.quick)
    deploy(steps, quick=options.quick)
    steps.python("report.py", "--work", ".", "-o", "report")
    print(f"\nall of it: {time.monotonic() - began:.0f} s; {options.output / 'report' / 'report.md'}")


if __name__ == "__main__":
    main()
