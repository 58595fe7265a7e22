"""What belongs into the repository, and what does not."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.whole.sources import ROOT, tracked_files

LARGEST = 400_000  # bytes; a model in the repository is an example, not a test bed
# The pattern is built from pieces, or this file would be the first it finds.
MACHINE_PATHS = re.compile(
    "|".join(f"/{name}/" for name in ("work", "root", "farm", r"tmp/venv\w*", r"home/\w+")).encode()
)
CONFLICT = re.compile(rb"^(<{7} |>{7} |={7}$)", re.MULTILINE)


def content(path: Path) -> bytes:
    return (ROOT / path).read_bytes()


def is_text(path: Path) -> bool:
    return b"\0" not in content(path)


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    found = [(str(path), match[0]) for path in tracked_files() if (match := MACHINE_PATHS.search(content(path)))]
    assert found == []


def test_the_pattern_of_machine_paths_finds_them() -> None:
    assert MACHINE_PATHS.search(b'File "/' + b'home/ada/net.py"')
    assert MACHINE_PATHS.search(b"cd /" + b"work/x")
    assert not MACHINE_PATHS.search(b"framework/x, /usr/bin, a/homework/b")


def test_no_file_is_large() -> None:
    assert [str(path) for path in tracked_files() if len(content(path)) > LARGEST] == []


def test_text_files_are_clean() -> None:
    texts = [path for path in tracked_files() if is_text(path)]
    assert [str(path) for path in texts if CONFLICT.search(content(path))] == []
    assert [str(path) for path in texts if b"\r\n" in content(path)] == []
    assert [str(path) for path in texts if content(path) and not content(path).endswith(b"\n")] == []


def test_nothing_that_is_ignored_is_committed() -> None:
    tracked_files()  # skips outside of a git checkout
    command = ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"]
    assert subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout == ""


def test_scripts_can_be_executed() -> None:
    scripts = [path for path in tracked_files() if content(path).startswith(b"#!")]
    assert scripts, "the repository has scripts"
    assert [str(path) for path in scripts if not (ROOT / path).stat().st_mode & 0o100] == []


def test_the_licence_is_whole() -> None:
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License\n                           Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
