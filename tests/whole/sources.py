"""What the tests over the whole repository ask of its sources."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@cache
def tracked_files() -> tuple[Path, ...]:
    """The files of the repository as git knows them, new ones that are not ignored included; relative to the root."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: cannot tell what belongs to the repository")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    paths = sorted({Path(name) for name in listing.decode().split("\0") if name})
    return tuple(path for path in paths if (ROOT / path).is_file())


def python_files(*folders: str) -> list[Path]:
    """Python files below the given folders of the root, relative to it."""
    return [path for path in tracked_files() if path.suffix == ".py" and path.parts[0] in folders]


@dataclass(frozen=True)
class Import:
    """One imported name: `module` in full (`from irkit import ir` is `irkit.ir`), and where it stands.

    `for_types`: under `if TYPE_CHECKING:`, so it does not happen at run time.
    """

    module: str
    line: int
    in_function: bool = False
    for_types: bool = False


def imports_of(source: str) -> Iterator[Import]:
    """Every import of a source file, also those within functions and conditions."""

    def visit(node: ast.AST, in_function: bool, for_types: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(alias.name, child.lineno, in_function, for_types) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = "." * child.level + (child.module or "")
                names = (f"{base}.{alias.name}" for alias in child.names)
                yield from (Import(name, child.lineno, in_function, for_types) for name in names)
            else:
                function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
                types = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
                yield from visit(child, in_function or function, for_types or types)

    return visit(ast.parse(source), in_function=False, for_types=False)
