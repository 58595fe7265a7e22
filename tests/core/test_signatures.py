"""What irkit knows of operators without onnx: as the schemas say, and as editors and type checkers see it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx.defs
import pytest

from irkit.attributes import AttrKind
from irkit.signatures import NEWEST_OPSET, signature, unknown_operator, wrong_call
from tests.whole.sources import ROOT

CURRENT = onnx.defs.onnx_opset_version() == NEWEST_OPSET


@pytest.mark.skipif(not CURRENT, reason=f"the table is made with the onnx that has opset {NEWEST_OPSET}")
def test_table_and_stub_are_what_the_newest_onnx_says() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "make_operators.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0


def test_every_schema_of_the_installed_onnx_fits() -> None:
    wrong = []
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain not in ("", "ai.onnx.ml") or schema.deprecated or schema.since_version < 7:
            continue
        if schema.support_level != onnx.defs.OpSchema.SupportType.COMMON:
            continue
        found = signature(schema.name, schema.domain)
        fits = (
            found is not None
            and found.since <= schema.since_version
            and found.min_inputs <= schema.min_input <= schema.max_input <= found.max_inputs
            and schema.max_output <= found.max_outputs
            and set(schema.attributes) <= set(found.attributes)
        )
        wrong += [] if fits else [f"{schema.domain}::{schema.name} since {schema.since_version}"]
    assert wrong == []


def test_an_entry_tells_all_versions() -> None:
    conv = signature("Conv")
    assert conv is not None
    assert (conv.since, conv.until, conv.min_inputs, conv.max_inputs, conv.max_outputs) == (1, 0, 2, 3, 1)
    assert conv.attributes["group"] == (AttrKind.INT,)
    upsample, concat = signature("Upsample"), signature("Concat")
    assert upsample is not None
    assert upsample.until == 9
    assert concat is not None
    assert concat.max_inputs > 1_000_000
    assert signature("Scaler", "ai.onnx.ml") is not None
    assert signature("Gelu", "com.microsoft") is None


def test_what_is_unknown_is_told_only_in_known_domains() -> None:
    assert unknown_operator("leakyrelu").endswith("did you mean LeakyRelu?")
    assert unknown_operator("Anything", "com.microsoft") == ""
    assert wrong_call("Anything", "com.microsoft", 9, 9, ["x"], {}) == ""


GOOD = """
import irkit

class Good(irkit.Rule):
    def pattern(self, op: irkit.PatternOps, x: irkit.Pattern, w: irkit.Pattern, ks: irkit.Pattern) -> irkit.Pattern:
        conv = op.Conv(x, op.rest(w), group=1, kernel_shape=ks, strides=lambda item: item == (1, 1))
        return op.any_of(op.Relu(conv), op.domain("com.microsoft").Gelu(conv), op.domain("ai.onnx.ml").Scaler(conv))

    def replace(self, op: irkit.Builder, x: irkit.Value) -> irkit.Value:
        first, second = op.Split(x, [1, 1], _outputs=2, axis=0)
        return op.Clip(op.Add(first, op.domain("my.own").Anything(second, some=1)), 0.0, 6)
"""

BAD = {
    "op.Rulu(x)": "attr-defined",
    "op.Conv(x)": "call-arg",
    "op.LeakyRelu(x, slope=0.1)": "call-arg",
    "op.LeakyRelu(x, alpha='much')": "arg-type",
    "op.Relu(x, x)": "call-arg",
}


def test_type_checkers_take_what_is_right_and_refuse_what_is_wrong(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(GOOD, encoding="utf-8")
    lines = "\n".join(f"    {call}" for call in BAD)
    bad.write_text(
        f"import irkit\n\ndef build(op: irkit.Builder, x: irkit.Value) -> None:\n{lines}\n", encoding="utf-8"
    )
    cache = ROOT / ".mypy_cache"
    flags = ["--strict", f"--cache-dir={cache}", "--follow-imports=silent"]
    command = [sys.executable, "-m", "mypy", *flags, str(good), str(bad)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert "good.py" not in told, told
    for number, (call, code) in enumerate(BAD.items(), 4):
        found = [item for item in told.splitlines() if f"bad.py:{number}:" in item and " error: " in item]
        assert any(line.endswith(f"[{code}]") for line in found), (call, told)
