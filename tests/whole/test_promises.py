"""The promises to users that docs/design.md makes: each has tests, and those that have no better place stand here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import irkit
from irkit.proof import ProofVerdict
from tests.whole.sources import ROOT

MODEL = ROOT / "examples" / "01_imu_classifier" / "models" / "imu_classifier_bn.onnx"

TESTS = {
    "exact means proven": ["numeric/test_pipeline.py::test_only_the_wrong_rewrite_is_taken_back"],
    "names and order of inputs and outputs never change": [
        "property/test_passes.py::test_invariants_and_interface_hold",
    ],
    "no dimension is frozen unless asked or the target demands it, and every one is listed": [
        "numeric/test_static_shapes.py::test_everything_is_bound_and_told",
        "numeric/test_static_shapes.py::test_the_batch_is_one_by_default_and_the_rest_is_told_with_what_to_type",
    ],
    "same bytes of what is emitted every time": [
        "whole/test_bundle.py::test_the_model_and_its_identity_are_the_same_every_time",
    ],
    "memory stays near the model's size": ["whole/test_promises.py::test_memory_stays_near_the_models_size"],
    "unknown ops pass through": ["whole/test_promises.py::test_unknown_operators_pass_through"],
    "no network, no telemetry, no auto-install": ["whole/test_promises.py::test_nothing_leaves_the_process"],
    "permissive licence": ["whole/test_repository.py::test_the_licence_is_whole"],
    "never writes beside or over the input": [
        "whole/test_cli.py::test_nothing_is_written_over_or_around_the_input",
    ],
    "says what was not checked": ["whole/test_cli.py::test_without_proof_the_verdict_says_so"],
}


def in_a_new_process(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_every_promise_has_a_test() -> None:
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    text = page.partition("## Promises to users")[2].partition("\n")[2].partition("\n## ")[0]
    assert [" ".join(promise.split()) for promise in text.split("·")] == list(TESTS)
    for name in (test for tests in TESTS.values() for test in tests):
        file, _, function = name.partition("::")
        assert re.search(rf"^def {function}\(", (ROOT / "tests" / file).read_text(encoding="utf-8"), re.MULTILINE), name


WATCHED = """
import sys
seen = []
names = ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.posix_spawn", "os.exec")
sys.addaudithook(lambda event, args: seen.append(event) if event in names else None)
"""


def test_nothing_leaves_the_process(tmp_path: Path) -> None:
    script = WATCHED + (
        "from irkit.cli import main\n"
        "model, folder = sys.argv[1:]\n"
        "assert main(['lint', model]) == 0 and main(['optimize', model, '-o', folder]) == 0\n"
        "print('seen', seen)"
    )
    assert in_a_new_process(script, str(MODEL), str(tmp_path / "out")) == "seen []"


def test_the_watch_sees_connections_and_processes() -> None:
    script = WATCHED + (
        "import socket, subprocess\n"
        "try:\n    socket.create_connection(('127.0.0.1', 9), timeout=1)\nexcept OSError:\n    pass\n"
        "subprocess.run([sys.executable, '-c', ''])\n"
        "print(sorted(set(seen) & {'socket.connect', 'subprocess.Popen'}))"
    )
    assert in_a_new_process(script) == "['socket.connect', 'subprocess.Popen']"


def test_unknown_operators_pass_through(tmp_path: Path) -> None:
    model = irkit.parse_model("""
    opset 17
    opset com.acme 3
    graph(%x: float32[1,4]) -> (%y: float32[1,4]) {
      %i = Identity(%x) @nothing
      %m = com.acme::Magic(%i) {level=3, table=float32[2] [0.5, 1.5]} @magic
      %y = Relu(%m) @relu
    }
    """)
    magic = model.graph.node("magic")
    attributes = dict(magic.attrs)
    result = irkit.optimize(model)
    irkit.save(result.model, tmp_path / "model.onnx")
    with irkit.load(tmp_path / "model.onnx") as again:
        assert [node.op_id for node in again.graph] == ["com.acme::Magic", "Relu"]
        assert dict(again.graph.node("magic").attrs) == attributes
        assert again.opset_imports["com.acme"] == 3
    assert [proof.verdict for proof in result.run.proofs] == [ProofVerdict.NOT_VERIFIED]


PEAK = """
import sys, onnx, numpy, irkit
def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))
before = peak()
"""
"""Of the process alone: `getrusage` would count what the process that started it took."""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read as Linux tells it")
def test_memory_stays_near_the_models_size(tmp_path: Path) -> None:
    path, again = tmp_path / "large.onnx", tmp_path / "again.onnx"
    save_perceptron(path, layers=24, width=1024)
    size = path.stat().st_size
    optimize = "irkit.save(irkit.optimize(sys.argv[1], verify='none').model, sys.argv[2])\nprint(peak() - before)"
    assert int(in_a_new_process(PEAK + optimize, str(path), str(again))) < 1.5 * size
    twice = "model = onnx.load(sys.argv[1])\ndata = model.SerializeToString()\nprint(peak() - before)"
    assert int(in_a_new_process(PEAK + twice, str(path))) > 1.5 * size  # the measure sees what it is for


def save_perceptron(path: Path, *, layers: int, width: int) -> None:
    """A model with `layers` different weights, float32[width,width]."""
    nodes = "".join(f"%h{i + 1} = MatMul(%h{i}, %w{i}) @layer{i}\n" for i in range(layers))
    data = "".join(f"%w{i}: float32[{width},{width}] = random(seed={i})\n" for i in range(layers))
    ends = f"(%h0: float32[1,{width}]) -> (%h{layers}: float32[1,{width}])"
    irkit.save(irkit.parse_model(f"graph{ends} {{\n{data}{nodes}}}"), path)
