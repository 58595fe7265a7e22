"""Write the skeleton of a pass of your own, and its test.

The pass works as it is (it leaves out Neg where Abs follows), and so does its test: change both. A file that is there
is never written over.
"""

from __future__ import annotations

import argparse
import keyword
import sys
from pathlib import Path

from irkit.cli import arguments, console
from irkit.errors import OptionError, OutputError

_NOT_FOR_FILES = frozenset({"irkit", "numpy", "onnx", "onnxruntime", "pytest"})
"""Modules that a file of their name would hide from the pass or its test."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this subcommand."""
    parser.add_argument("name", metavar="NAME", help="of the pass, in kebab case, such as hardswish-to-relu")
    folder = "the folder for both files, made where it is missing (default: this one)"
    parser.add_argument("-o", "--output", metavar="FOLDER", type=Path, default=Path(), help=folder)
    loop = "a loop over the nodes, in the place of a pattern and what is put there"
    parser.add_argument("--imperative", action="store_true", help=loop)


def run(options: argparse.Namespace) -> int:
    """Write both files and tell the next steps."""
    stem = checked_stem(options.name)
    folder: Path = options.output
    kind = "imperative" if options.imperative else "declarative"
    paths = folder / f"{stem}.py", folder / f"test_{stem}.py"
    texts = (_filled(f"{kind}.py.txt", options.name, stem), _filled("test.py.txt", options.name, stem))
    _write(dict(zip(paths, texts, strict=True)))
    for path in paths:
        console.result(f"written: {path}")
    test = arguments.command_line("python", "-m", "pytest", str(paths[1]))
    use = f"irkit optimize MODEL {arguments.command_line('--passes', str(paths[0]))}"
    console.result(f"next: {test}; then {use}")
    return 0


def checked_stem(name: str) -> str:
    """The stem of the file of a pass of that name. Raises `OptionError` where it cannot be one."""
    from irkit.library import all_passes
    from irkit.pass_base import is_pass_name

    stem = name.replace("-", "_")
    if not is_pass_name(name):
        raise OptionError(f"a pass name is kebab-case, such as hardswish-to-relu; found `{name}`")
    if keyword.iskeyword(stem) or stem in sys.stdlib_module_names or stem in _NOT_FOR_FILES:
        what = "is a word of Python" if keyword.iskeyword(stem) else "would hide the module of that name"
        raise OptionError(f"the file {stem}.py {what}, so that it could not be imported; choose another name")
    if stem.startswith("test_") or stem.endswith("_test") or stem == "conftest":
        raise OptionError(f"a file {stem}.py is taken for a test, not for a pass; choose another name")
    for cls in all_passes():
        if cls.name == name:
            raise OptionError(f"there is a pass `{name}` already, in {cls.source}; choose another name")
    return stem


def _filled(template: str, name: str, stem: str) -> str:
    from importlib.resources import files  # slow to import, and no other subcommand asks for it

    text = files("irkit.cli").joinpath("skeletons", template).read_text(encoding="utf-8")
    class_name = "".join(part.capitalize() for part in stem.split("_"))
    for mark, word in (("NAME", name), ("STEM", stem), ("CLASS", class_name)):
        text = text.replace(f"@{mark}@", word)
    return text


def _write(contents: dict[Path, str]) -> None:
    """Write all of the files or none. Raises `OutputError`, also where one is there already."""
    for path in contents:
        if path.exists():
            raise OutputError(f"{path} is there already, and is not written over; give another name or -o FOLDER")
    done: list[Path] = []
    try:
        for path, text in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                done.append(path)
                file.write(text)
    except OSError as error:
        for path in done:
            path.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
