"""What was read of a large file is kept, and is never anything but what stands there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from irkit.errors import InputError
from irkit.tomlfile import TomlFile

TEXT = 'name = "a"\nnumbers = [1, 2.5, true]\n[table]\nkey = "value"\n'
DATA = {"name": "a", "numbers": [1, 2.5, True], "table": {"key": "value"}}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    path = tmp_path / "facts.toml"
    path.write_text(TEXT)
    return path


def kept(path: Path) -> list[Path]:
    return sorted((path.parent / "__pycache__").glob("*"))


def test_it_is_kept_where_python_keeps_bytecode_and_read_from_there(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert TomlFile(file, is_kept=True).data == DATA
    assert len(kept(file)) == 1
    monkeypatch.setattr(TomlFile, "_read", lambda self: pytest.fail("it was read again"))
    assert TomlFile(file, is_kept=True).data == DATA


def test_a_file_that_changed_is_read_again(file: Path) -> None:
    TomlFile(file, is_kept=True)
    file.write_text(TEXT.replace("value", "other value"))
    assert TomlFile(file, is_kept=True).data["table"] == {"key": "other value"}
    assert TomlFile(file, is_kept=True).data["table"] == {"key": "other value"}


@pytest.mark.parametrize("content", [b"", b"nonsense", b"N", b"[\x02\x00\x00\x00NN"])
def test_what_is_kept_and_broken_is_no_matter(file: Path, content: bytes) -> None:
    TomlFile(file, is_kept=True)
    [place] = kept(file)
    place.write_bytes(content)
    assert TomlFile(file, is_kept=True).data == DATA


def test_nothing_is_kept_unless_it_is_asked_for_and_python_may(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TomlFile(file)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    TomlFile(file, is_kept=True)
    assert kept(file) == []


def test_dates_are_read_though_they_cannot_be_kept(file: Path) -> None:
    file.write_text("day = 2024-02-03")
    assert str(TomlFile(file, is_kept=True).data["day"]) == "2024-02-03"
    assert str(TomlFile(file, is_kept=True).data["day"]) == "2024-02-03"


def test_mistakes_have_their_line_though_the_data_was_kept(file: Path) -> None:
    TomlFile(file, is_kept=True)
    with pytest.raises(InputError, match=r"facts\.toml:4: table\.key: wrong"):
        TomlFile(file, is_kept=True).fail(("table", "key"), "wrong")
    with pytest.raises(InputError, match=r"cannot be read: No such file"):
        TomlFile(file.with_name("none.toml"), is_kept=True)
