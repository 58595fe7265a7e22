"""Scripts are read, never run: tool calls and model scripts are found wherever they stand, prose is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

import irkit
from irkit.errors import InputError
from irkit.hailo.pyscript import PLACEHOLDER, PythonSyntaxError, read_python
from irkit.hailo.scripts import MODEL_SCRIPT, PYTHON, SHELL, ScriptFile, read_script
from irkit.hailo.shell import find_calls


def calls(text: str) -> list[tuple[int, str, bool]]:
    return [(call.line, f"{call.tool} {' '.join(call.words)}", call.spoken) for call in find_calls(text)]


SHELL_SCRIPT = r"""#!/usr/bin/env bash
set -e
# hailo optimize commented.har --quantization-method symmetric
NAME="$(basename "${ONNX%.onnx}")"
OUT="out"; export HAR="${OUT}/net.har"
{ hailo --version 2>&1 | head -3; } | tee -a log
hailo parser onnx "$ONNX" \
  --har-path "${HAR}" \
  --end-node-names ${END_NODES//,/ } \
  2>&1 | tee -a log
if hailo optimize --help 2>&1 | grep -q use-random-calib-set; then
  CUDA_VISIBLE_DEVICES='' hailo optimize "${ARGUMENTS[@]}" --hw-arch=hailo8 > log 2>&1 || exit 1
fi
docker run -v $(pwd):/w image hailo compiler /w/net.har
echo 'y' | my_env/bin/hailo parser onnx net.onnx && ssh -i key pi@edge "cd x && hailo optimize x.har"
say "4/4  profile"
echo "next: hailo run $HAR --input x.npy"
"""


def test_calls_are_found_with_their_lines() -> None:
    assert calls(SHELL_SCRIPT) == [
        (6, "hailo --version", False),
        (7, "hailo parser onnx $ONNX --har-path out/net.har --end-node-names ${END_NODES//,/", False),
        (11, "hailo optimize --help", False),
        (12, "hailo optimize ${ARGUMENTS[@]} --hw-arch=hailo8", False),
        (14, "hailo compiler /w/net.har", False),
        (15, "hailo parser onnx net.onnx", False),
        (15, "hailo optimize x.har", False),
        (17, "hailo run out/net.har --input x.npy", True),
    ]


def test_flags_and_values_of_a_call() -> None:
    [call] = find_calls("hailo parser onnx net.onnx --end-node-names a b --hw-arch=hailo8l -y")
    assert (call.command, call.arguments[:2]) == ("parser", ("onnx", "net.onnx"))
    assert (call.values("--end-node-names"), call.value("--hw-arch")) == (("a", "b"), "hailo8l")
    assert (call.has("-y"), call.has("--net-name"), call.value("--net-name")) == (True, False, "")
    assert list(call.flags) == ["--end-node-names", "--hw-arch", "-y"]


def test_a_machine_that_a_call_is_sent_to() -> None:
    assert [call.remote for call in find_calls(SHELL_SCRIPT)][-2:] == ["pi@edge", ""]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "'",
        '"open',
        "hailo",
        "a && ",
        "((( hailo parser",
        "hailo parser \\",
        "\0hailo x",
        "x" * 100_000,
        "${a${b" * 1000,
    ],
)
def test_odd_text_is_no_reason_to_fail(text: str) -> None:
    find_calls(text)


def test_variables_that_name_each_other_stay_small() -> None:
    text = "A=xxxxxxxxxx\n" + "A=$A$A$A$A$A$A$A$A\n" * 40 + "hailo parser onnx $A"
    [call] = find_calls(text)
    assert len(" ".join(call.words)) < 1 << 17


PYTHON_FILE = '''"""The compiling is performed through the hailo compiler CLI tool; see hailo run."""
import subprocess
from hailo_sdk_client import ClientRunner

alls = (
    "model_optimization_flavor(optimization_level=2)\\n"
    f"model_optimization_config(calibration, calibset_size={len(images)})\\n"
    f"{name}=normalization([0.0], [255.0])\\n"
)
runner = ClientRunner(hw_arch="hailo8l")
runner.load_model_script(alls)
subprocess.run(["hailo", "compiler", har, "--hw-arch", "hailo8"])
script = f"""#!/bin/bash
hailo parser onnx {path} \\\\
    -y
"""
'''


def test_a_python_file_holds_calls_and_model_scripts() -> None:
    file = ScriptFile("build.py", PYTHON, PYTHON_FILE)
    assert [(call.line, str(call), call.spoken) for call in file.calls if not call.spoken] == [
        (12, "hailo compiler", False),
        (14, "hailo parser", False),
    ]
    [held] = file.model_scripts
    assert held.script is not None
    assert (held.line, held.filled) == (6, True)
    assert held.script.commands[1].kwargs["calibset_size"] == PLACEHOLDER
    assert file.python is not None
    assert file.python.uses_compiler
    assert [text.text for call in file.python.calls_of("ClientRunner") for text in call.texts] == ["hailo8l"]


@pytest.mark.parametrize("text", ["def f(:\n", "x = (\n", "\0", "(" * 300])
def test_what_is_no_python_is_told(text: str) -> None:
    with pytest.raises(PythonSyntaxError):
        read_python(text)


def test_odd_escapes_are_no_matter_of_ours(recwarn: pytest.WarningsRecorder) -> None:
    read_python("pattern = '\\d'\n")
    assert not recwarn.list


def test_a_shell_script_holds_model_scripts() -> None:
    text = "cat > net.alls <<'EOF'\n# on the chip\nnormalization1 = normalization([0.0], [255.0])\nEOF\n"
    text += "cat <<EOF\nprose\nEOF\n"
    [held] = ScriptFile("build.sh", SHELL, text).model_scripts
    assert held.script is not None
    assert held.line_of(held.script.commands[0].line) == 3


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("net.alls", "", MODEL_SCRIPT),
        ("a.sh", "", SHELL),
        ("a.py", "", PYTHON),
        ("README.md", "hailo run x", SHELL),
        ("script", "#!/usr/bin/env python3\n", PYTHON),
        ("script", "#!/bin/sh\n", SHELL),
        ("script.txt", "import os\nprint(os)\n", PYTHON),
        ("script.txt", "normalization1 = normalization([0.0], [255.0])\n", MODEL_SCRIPT),
        ("Makefile", "all:\n\thailo parser onnx x.onnx\n", SHELL),
    ],
)
def test_kinds_of_scripts(tmp_path: Path, name: str, text: str, kind: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_script(tmp_path / name).kind == kind


def test_what_is_no_script_is_told(tmp_path: Path) -> None:
    (tmp_path / "bytes.sh").write_bytes(b"\xff\xfe\0\1")
    (tmp_path / "zero.sh").write_bytes(b"a\0b")
    for path, words in (
        ("bytes.sh", "not UTF-8"),
        ("zero.sh", "zero bytes"),
        ("absent.sh", "No such file"),
        ("", "directory"),
    ):
        with pytest.raises(InputError, match=words):
            read_script(tmp_path / path)


# --- what lint makes of them ------------------------------------------------------------------------------------------

MODEL = """graph(%x: float32[1,3,8,8]) -> (%y) {
  %w: float32[8,3,1,1] = random(seed=1)
  %y = Conv(%x, %w) {kernel_shape=[1,1]} @conv
}
"""


def rules_found(folder: Path, name: str, text: str) -> list[tuple[str, int]]:
    (folder / name).write_text(text, encoding="utf-8")
    report = irkit.lint(irkit.parse_model(MODEL), scripts=[folder / name])
    return [(finding.rule, finding.origin.line) for finding in report.findings if finding.origin.file]


PROSE = '''"""Steps: parse, then the hailo compile step, then hailo run on the device.

The model is compiled to run on the Raspberry Pi. Symmetric weights; the hailo optimize stage takes a HAR.
"""
from hailo_sdk_client import ClientRunner

# hailo compiler net.har --output-hef-path net.hef
runner = ClientRunner(hw_arch="hailo8")
runner.translate_onnx_model("net.onnx", "net", end_node_names=["conv"])
runner.load_model_script("model_optimization_config(calibration, calibset_size=64)\\n")
'''


def test_prose_and_comments_are_left_alone(tmp_path: Path) -> None:
    assert rules_found(tmp_path, "build.py", PROSE) == []


def test_a_script_that_ran_through_gives_notes_at_most(tmp_path: Path) -> None:
    """As people publish them: checks first, logs, help texts of the tools, a model script written on the way."""
    text = r"""#!/usr/bin/env bash
# Needs x86_64 Linux; the Raspberry Pi cannot compile.
[[ "$(uname -m)" != "x86_64" ]] && { echo "ERROR: run this on x86_64 (found: $(uname -m))" >&2; exit 1; }
ARCH="${HAILO_HW_ARCH:-hailo8l}"
hailo parser onnx --help 2>&1 | grep -iA4 'hw-arch' || true
hailo parser onnx best.onnx --hw-arch "$ARCH" --end-node-names conv 2>&1 | tee parser.log
[ -f best.har ] || { echo "parser failed: arguments differ by version: hailo parser onnx --help" >&2; exit 1; }
cat > best.alls <<'EOF'
normalization1 = normalization([0.0, 0.0, 0.0], [255.0, 255.0, 255.0])
model_optimization_flavor(optimization_level=0, compression_level=0)
model_optimization_config(calibration, calibset_size=64)
EOF
hailo optimize best.har --hw-arch "$ARCH" --calib-set-path calib.npy --model-script best.alls
hailo compiler best_optimized.har --hw-arch "$ARCH" --output-dir . 2>&1 | tee compiler.log
hailo profiler best_optimized.har --out-path profile.html || echo "see hailo profiler --help"
hailortcli run2 -m raw_sync measure-fw-actions set-net best.hef
scp best.hef pi@raspberrypi:/opt/models/
"""
    assert rules_found(tmp_path, "build.sh", text) == []


def test_the_command_line_takes_scripts_and_tells_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from irkit.cli import main

    irkit.save(irkit.parse_model(MODEL), tmp_path / "net.onnx")
    (tmp_path / "net.alls").write_text("model_optimization_flavor(optimisation_level=2)\n", encoding="utf-8")
    code = main(["lint", str(tmp_path / "net.onnx"), "--script", str(tmp_path / "net.alls")])
    assert code == 1
    assert "did you mean optimization_level?" in capsys.readouterr().out
    assert main(["lint", str(tmp_path / "net.onnx"), "--script", str(tmp_path / "absent.sh")]) == 2
    assert main(["lint", str(tmp_path / "net.onnx"), "--calib", str(tmp_path / "net.onnx")]) == 2
    assert "a calibration set is a .npy" in capsys.readouterr().err
