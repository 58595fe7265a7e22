"""The commands of README.md, the docs and every example run, end as they should, and print what the pages show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.whole.console import Command, Shell, blocks_of, matches
from tests.whole.sources import ROOT, tracked_files


def pages(pattern: str) -> list[str]:
    """The pages that have something to run."""
    found = [path for path in tracked_files() if path.match(pattern)]
    return [path.as_posix() for path in found if blocks_of((ROOT / path).read_text(encoding="utf-8"))]


PAGES = ["README.md", *pages("examples/*/README.md"), *pages("docs/*.md")]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_the_page_does_what_it_says(page: str, shell: Shell) -> None:
    shell.run_page(page)


def test_every_example_has_a_page() -> None:
    folders = {path.parts[1] for path in tracked_files() if path.parts[0] == "examples"}
    assert folders
    assert [folder for folder in sorted(folders) if f"examples/{folder}/README.md" not in PAGES] == []


def test_make_demo_runs(shell: Shell) -> None:
    environment = shell.root / ".venv"
    (environment / "bin").parent.mkdir()
    (environment / "bin").symlink_to(shell.bin)
    (environment / ".ready-verify").touch()  # what `make demo` would install stands here already
    code, printed = shell.run("make demo", shell.root)
    assert code == 0, printed
    assert list(shell.root.glob("demo/*/model.onnx"))


def test_make_lists_its_targets(shell: Shell) -> None:
    code, printed = shell.run("make", shell.root)
    assert code == 0
    assert {line.split()[1] for line in printed.splitlines()} >= {"help", "demo", "test", "lint", "bench"}


def test_pages_are_read_as_they_are_written() -> None:
    page = """
<!-- test: exit 1 -->
```console
$ irkit lint a \\
    b
one
two
$ irkit show
```
<!-- test: needs torch -->
```python
import torch
```
<!-- test: file my/x.py -->
```python
x = 1
```
<!-- test: not run, it installs -->
```console
$ pip install x
```
```toml
[ignored]
```
<!-- test: file pyproject.toml -->
```toml
[tool.irkit]
```
"""
    console, script, file, settings = blocks_of(page)
    assert console.commands == (Command("irkit lint a \\\n    b", "one\ntwo\n"), Command("irkit show", "", 1))
    assert (script.commands, script.needs) == ((Command("python snippet.py"),), "torch")
    assert (file.commands, file.file, file.content) == ((), "my/x.py", "x = 1\n")
    assert (settings.commands, settings.file, settings.content) == ((), "pyproject.toml", "[tool.irkit]\n")
    with pytest.raises(AssertionError, match="unknown marker"):
        blocks_of("<!-- test: maybe -->\n```console\n$ x\n```\n")


def test_output_is_compared() -> None:
    assert matches("took ... s\nok\n", "took 1.2 s  \nok")
    assert not matches("took ... s\nok\n", "took 1.2 s\nfailed\n")
    assert not matches("ok\n", "ok\nand more\n")


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("```console\n$ false\n```\n", "ended with 1, not 0"),
        ("<!-- test: exit 2 -->\n```console\n$ true\n```\n", "ended with 0, not 2"),
        ("```console\n$ echo this\nthat\n```\n", "but it prints:\nthis"),
        ("```python\nraise SystemExit(3)\n```\n", "ended with 3, not 0"),
        ("no commands", "no commands"),
    ],
)
def test_a_wrong_page_is_found(page: str, complaint: str, shell: Shell) -> None:
    (shell.root / "page.md").write_text(page, encoding="utf-8")
    with pytest.raises(AssertionError, match=complaint):
        shell.run_page("page.md")


def test_a_page_that_needs_a_missing_module_runs_the_rest_and_says_so(shell: Shell) -> None:
    page = "```console\n$ touch ran\n```\n<!-- test: needs no_such_module -->\n```console\n$ touch never\n```\n"
    (shell.root / "page.md").write_text(page, encoding="utf-8")
    with pytest.raises(pytest.skip.Exception, match="no_such_module"):
        shell.run_page("page.md")
    assert (shell.root / "ran").exists()
    assert not (shell.root / "never").exists()


def test_the_copy_is_the_repository(shell: Shell) -> None:
    code, printed = shell.run("python -c 'import irkit; print(irkit.__file__)'", shell.root)
    assert code == 0, printed
    assert Path(printed.strip()).parent.parent == shell.root != ROOT
