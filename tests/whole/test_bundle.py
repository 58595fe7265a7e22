"""What `irkit optimize` writes: the same every time, told file by file, and nothing left to do in it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import irkit
from irkit.onnx.writer import dumps
from tests.whole.sources import ROOT
from tests.whole.test_cli import BUNDLE, GELU, PLAIN, assert_one_message, here as here, run


def test_the_model_and_its_identity_are_the_same_every_time(here: Path) -> None:
    digests = []
    for seed in ("0", "1"):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed}
        command = [sys.executable, "-m", "irkit", "optimize", str(GELU), "-o", seed, "--accept-drift", "gelu-to-relu"]
        subprocess.run(command, check=True, capture_output=True, env=environment, cwd=here)
        manifest = json.loads((here / seed / "manifest.json").read_text(encoding="utf-8"))
        digests.append((manifest["identity"], (here / seed / "model.onnx").read_bytes()))
    assert digests[0] == digests[1]


def test_the_identity_hangs_on_options(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    identities = set()
    for name, flags in (("a", []), ("b", ["--exact"]), ("c", ["--no-verify"])):
        run(capsys, "optimize", PLAIN, "-o", name, *flags)
        identities.add(json.loads((here / name / "manifest.json").read_text(encoding="utf-8"))["identity"])
    assert len(identities) == 3


def test_the_manifest_holds_the_digest_of_every_file(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    run(capsys, "optimize", PLAIN, "-o", "out")
    manifest = json.loads((here / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert {name.partition("/")[0] for name in manifest["files"]} == BUNDLE - {"manifest.json"}
    for name, entry in manifest["files"].items():
        data = (here / "out" / name).read_bytes()
        assert entry == {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    assert manifest["source"]["sha256"] == hashlib.sha256(PLAIN.read_bytes()).hexdigest()


def test_a_second_optimize_changes_nothing(here: Path) -> None:
    first = irkit.optimize(PLAIN)
    irkit.write_bundle(first, here / "first")
    second = irkit.optimize(here / "first" / "model.onnx")
    assert not second.run.changed
    assert dumps(second.model) == (here / "first" / "model.onnx").read_bytes()


def test_every_node_has_a_name_of_its_own() -> None:
    text = """
    graph(%x: float32[1,3,4,4]) -> (%y: float32[1,3,4,4]) {
      %a = Relu(%x) @same
      %b = Sigmoid(%a) @same
      %y = Tanh(%b)
    }
    """
    model = irkit.parse_model(text)
    for node in model.graph:
        node.name = "" if node.op == "Tanh" else "same"
    irkit.optimize(model, verify="none")
    assert [node.name for node in model.graph] == ["same", "same_1", "Tanh_y"]


def test_the_result_is_short_to_look_at_and_names_may_be_single() -> None:
    result = irkit.optimize(PLAIN, skip="fold-batchnorm", verify="none")
    assert "fold-batchnorm" not in result.options["passes"]
    assert len(repr(result)) < 300


@pytest.mark.parametrize("wish", [{"bind": {"N": 0}}, {"bind": {"N": "2"}}, {"shapes": {"imu_input": "1,2"}}])
def test_sizes_are_whole_numbers(wish: Any) -> None:
    with pytest.raises(irkit.OptionError, match="whole numbers above 0"):
        irkit.optimize(PLAIN, **wish)


@pytest.mark.parametrize("folder", [".", "", "../in"])
def test_the_folder_one_stands_in_is_not_replaced(
    capsys: pytest.CaptureFixture[str], here: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    (here / "in").mkdir()
    monkeypatch.chdir(here / "in")
    code, out, err = run(capsys, "optimize", PLAIN, "-o", folder, "--force")
    assert_one_message(code, out, err)
    assert "the folder you are in" in err
    assert os.listdir(here / "in") == []


def test_an_old_folder_that_cannot_be_moved_stays(
    capsys: pytest.CaptureFixture[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(capsys, "optimize", PLAIN, "-o", "out", "--no-verify")

    def busy(self: Path, target: Path) -> Path:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "rename", busy)
    assert_one_message(*run(capsys, "optimize", PLAIN, "-o", "out", "--no-verify", "--force"))
    assert os.listdir(here) == ["out"]


def test_what_a_pass_told_is_not_told_again() -> None:
    text = "graph(%x: float32[N,3,H,4], %z: float32[1,3,?,4]) -> (%y) {\n  %a = Relu(%x)\n  %y = Add(%a, %z)\n}"
    found = irkit.optimize(irkit.parse_model(text), verify="none").report.findings
    assert [finding.message.split("`")[1] for finding in found if finding.code == "IRK001"] == ["x", "z"]
