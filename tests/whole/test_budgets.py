"""Files and functions stay small enough to read: the limits, and nothing above them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.whole.sources import ROOT, python_files

FILE_LINES = 500
PASS_LINES = 150  # about a page
FUNCTION_LINES = 60  # no function is longer, its docstring not counted
USUAL_FUNCTION_LINES = 40  # nine of ten functions are no longer


def function_lengths(source: str) -> Iterator[tuple[str, int]]:
    """Name and number of lines of each function of a file, without its docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            first = node.body[0]
            if ast.get_docstring(node) is not None:
                lines -= (first.end_lineno or first.lineno) - first.lineno + 1
            yield node.name, lines


def too_long(files: list[Path], limit: int) -> list[str]:
    lengths = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in files}
    return [f"{path}: {lines} lines, at most {limit}" for path, lines in lengths.items() if lines > limit]


def all_functions() -> list[tuple[str, int]]:
    files = python_files("irkit", "passes")
    sources = [(path, (ROOT / path).read_text(encoding="utf-8")) for path in files]
    return [(f"{path}: {name}", lines) for path, source in sources for name, lines in function_lengths(source)]


def test_files_are_short() -> None:
    assert too_long(python_files("irkit", "tests", "benchmarks", "examples"), FILE_LINES) == []


def test_a_pass_file_is_about_a_page() -> None:
    assert too_long(python_files("passes"), PASS_LINES) == []


def test_no_function_is_long() -> None:
    assert [f"{name}: {lines} lines" for name, lines in all_functions() if lines > FUNCTION_LINES] == []


def test_most_functions_are_short() -> None:
    lengths = sorted(lines for _, lines in all_functions())
    assert lengths[len(lengths) * 9 // 10] <= USUAL_FUNCTION_LINES


def test_the_measures_measure() -> None:
    body = "\n".join(f"    x = {i}" for i in range(10))
    source = f'def plain():\n{body}\nclass C:\n  def documented(self):\n    """One\n    two."""\n    return 1\n'
    assert dict(function_lengths(source)) == {"plain": 11, "documented": 2}
    assert too_long([Path("pyproject.toml")], 3) != []
    assert too_long([Path("pyproject.toml")], 10_000) == []
