"""Runs what a README tells its reader to type, and holds what is printed against what the README shows.

A fenced ```console block holds commands after `$ ` and may show their output, in which `...` stands for anything.
A ```python block is run as a script, a block after a `file` marker (of any language) is written to that file. A marker
stands on the line before its block:

    <!-- test: exit 1 -->            the last command ends with that code
    <!-- test: needs torch -->       skipped where that module is not installed
    <!-- test: file passes/x.py -->  the block is the content of that file
    <!-- test: not run, REASON -->   it cannot be run here, such as what installs from a registry
"""

from __future__ import annotations

import doctest
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.whole.sources import ROOT, tracked_files

BLOCK = re.compile(
    r"^(?:<!-- test: (?P<marker>.+?) -->\n)?```(?P<language>console|python|toml|irkit|text)\n(?P<body>.*?)^```$",
    re.M | re.S,
)
MARKER = re.compile(r"exit (?P<exit>\d+)|needs (?P<needs>\w+)|file (?P<file>\S+)|not run, (?P<reason>.+)")


@dataclass(frozen=True)
class Command:
    """One command of a block, what the README shows of its output ('' for nothing), and how it ends."""

    text: str
    output: str = ""
    exit_code: int = 0


@dataclass(frozen=True)
class Block:
    """A fenced block: its commands, or the `content` of a `file`; `needs` is a module it cannot do without."""

    commands: tuple[Command, ...] = ()
    file: str = ""
    content: str = ""
    needs: str = ""


def blocks_of(page: str) -> list[Block]:
    """The blocks of a page that a test can run, in order; an unknown marker is an error."""
    blocks = []
    for found in BLOCK.finditer(page):
        marker = MARKER.fullmatch(found["marker"] or "exit 0")
        assert marker, f"unknown marker: {found['marker']}"
        if marker["reason"] or (found["language"] not in ("console", "python") and not marker["file"]):
            continue
        needs = marker["needs"] or ""
        if found["language"] != "console":
            file = marker["file"] or "snippet.py"
            run = () if marker["file"] else (Command(f"python {file}"),)
            blocks.append(Block(run, file, found["body"], needs))
        else:
            blocks.append(Block(commands_of(found["body"], int(marker["exit"] or 0)), needs=needs))
    return blocks


def commands_of(body: str, exit_code: int) -> tuple[Command, ...]:
    """The commands of a console block; `exit_code` is that of the last one."""
    parts = re.split(r"^\$ ", body, flags=re.MULTILINE)
    assert not parts[0].strip(), f"a console block starts with `$ `, not with {parts[0]!r}"
    commands = []
    for part in parts[1:]:
        lines = part.splitlines(keepends=True)
        end = next(number for number, line in enumerate(lines, 1) if not line.endswith("\\\n"))
        commands.append(Command("".join(lines[:end]).strip(), "".join(lines[end:])))
    last = commands.pop()
    return (*commands, Command(last.text, last.output, exit_code))


def matches(shown: str, printed: str) -> bool:
    """Whether what was printed is what the README shows, where `...` stands for anything and line ends do not count."""

    def strip(text: str) -> str:
        return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"

    return doctest.OutputChecker().check_output(strip(shown), strip(printed), doctest.ELLIPSIS)


class Shell:
    """A copy of the repository in which commands run as if irkit were installed, without any installation."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "irkit"
        for path in tracked_files():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, self.root / path)
        self.bin = folder / "bin"
        self.bin.mkdir()
        self._script("python", f'exec "{sys.executable}" "$@"')
        self._script(
            "irkit", f'exec "{sys.executable}" -c "import sys; from irkit.cli import main; sys.exit(main())" "$@"'
        )

    def _script(self, name: str, line: str) -> None:
        script = self.bin / name
        script.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
        script.chmod(0o755)

    def environment(self) -> dict[str, str]:
        """The caller's, with this copy first on both paths, and a terminal of fixed width."""
        path = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
        fixed = {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1", "PYTHONUTF8": "1"}
        return {**os.environ, "PATH": path, "PYTHONPATH": str(self.root), **fixed}

    def run(self, command: str, folder: Path) -> tuple[int, str]:
        """Exit code, and both streams as a reader would see them."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600,
        )
        return done.returncode, done.stdout

    def run_page(self, page: str) -> None:
        """Run every block of a page (a path relative to the root) in the page's folder; skip at a missing module."""
        folder = (self.root / page).parent
        blocks = blocks_of((self.root / page).read_text(encoding="utf-8"))
        assert blocks, f"{page}: no commands"
        missing = {block.needs for block in blocks if block.needs and not importlib.util.find_spec(block.needs)}
        for block in blocks:
            if block.needs not in missing:
                self._run_block(block, folder)
        if missing:
            pytest.skip(f"{page}: all but the blocks that need {', '.join(sorted(missing))} ran and are right")

    def _run_block(self, block: Block, folder: Path) -> None:
        if block.file:
            (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.file).write_text(block.content, encoding="utf-8")
        for command in block.commands:
            code, printed = self.run(command.text, folder)
            assert code == command.exit_code, f"$ {command.text}\n{printed}\nended with {code}, not {command.exit_code}"
            if command.output.strip():
                assert matches(command.output, printed), (
                    f"$ {command.text}\nthe page shows:\n{command.output}\nbut it prints:\n{printed}"
                )
