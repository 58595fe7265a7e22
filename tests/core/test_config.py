"""A project's settings: found upwards, read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from irkit.config import Settings, Suppression, find_settings
from irkit.errors import OptionError

WHOLE = """
target = "hailo8@3.33"
passes = ["tools/passes"]
rules = ["tools/chip.toml"]
select = ["HAI"]
ignore = ["HAI402", "opset-version"]
baseline = "known.json"

[[suppress]]
node = "/head/*"
codes = ["HAI101"]
reason = "runs on the host"
"""


def test_every_key_is_read_and_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "irkit.toml").write_text(WHOLE)
    settings = find_settings(tmp_path)
    assert settings.target == "hailo8@3.33"
    assert settings.passes == (tmp_path / "tools/passes",)
    assert settings.rules == (tmp_path / "tools/chip.toml",)
    assert (settings.select, settings.ignore) == (("HAI",), ("HAI402", "opset-version"))
    assert settings.baseline == tmp_path / "known.json"
    assert settings.suppress == (Suppression("/head/*", ("HAI101",), "runs on the host"),)
    assert settings.file == tmp_path / "irkit.toml"


def test_the_nearest_file_counts_alone(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "irkit.toml").write_text('target = "hailo8l"\nignore = ["HAI402"]')
    assert find_settings(inner).target == "hailo8l"
    (tmp_path / "a" / "pyproject.toml").write_text('[tool.irkit]\ntarget = "hailo8r"')
    assert find_settings(inner) == find_settings(tmp_path / "a")
    assert (find_settings(inner).target, find_settings(inner).ignore) == ("hailo8r", ())
    (tmp_path / "a" / "irkit.toml").write_text("")
    assert find_settings(inner).target is None


def test_a_pyproject_without_the_table_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "irkit.toml").write_text('target = "hailo8l"')
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "pyproject.toml").write_text('[project]\ndependencies = ["irkit-compiler"]\n[tool.ruff]\nline-length = 9')
    assert find_settings(inner).target == "hailo8l"
    (inner / "pyproject.toml").write_text("this is no TOML, and nothing of ours")
    assert find_settings(inner).target == "hailo8l"


def test_no_file_is_no_settings(tmp_path: Path) -> None:
    assert find_settings(tmp_path / "nowhere") == Settings()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\nslect = []", r"irkit\.toml:2: slect: unknown key \(did you mean select\?\)"),
        ("select = 'HAI'", r"irkit\.toml:1: select: must be a list, found `HAI`"),
        ("baseline = 3", r"irkit\.toml:1: baseline: must be a path, found 3"),
        ("[[suppress]]\nnode = 'a'\nreason = 'b'\ncodes = []", r"irkit\.toml:1: suppress\[0\]: `codes` names at least"),
        ("[[suppress]]\nnode = 'a'\nreason = ' '\ncodes = ['HAI101']", r"suppress\[0\]: `reason` says why"),
        ("[[suppress]]\nnode = 'a'\ncodes = ['HAI101']", r"irkit\.toml:1: suppress\[0\]: `reason` is missing"),
        ("file = 'x'", r"irkit\.toml:1: file: unknown key"),
        ("target = ", r"irkit\.toml: not valid TOML"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "irkit.toml").write_text(text)
    with pytest.raises(OptionError, match=told):
        find_settings(tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[project]\nname = 'x'\n[tool.irkit]\n\nslect = []", r"pyproject\.toml:5: tool\.irkit\.slect: unknown key"),
        ("[tool]\n'irkit' = 3", r"pyproject\.toml:\d: tool\.irkit: must be a table"),
        ("tool.irkit.slect = []", r"pyproject\.toml:1: tool\.irkit\.slect: unknown key"),
        ('["tool" . "irkit"]\nslect = []', r"pyproject\.toml:2: tool\.irkit\.slect: unknown key"),
        ("[tool]\nirkit = 3", r"pyproject\.toml:2: tool\.irkit: must be a table"),
        ("[tool.irkit]\ntarget = ", r"pyproject\.toml: not valid TOML"),
    ],
)
def test_a_mistake_in_pyproject_is_told_too(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(OptionError, match=told):
        find_settings(tmp_path)
