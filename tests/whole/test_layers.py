"""The layers of the design hold: who may import what, who may print, who may end the process.

The order of the layers is read from the layout in docs/design.md, so that page and code cannot part.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.whole.sources import ROOT, imports_of, python_files

OPTIONAL = {"onnxruntime", "networkx", "onnx_graphsurgeon", "onnx_ir", "hailo_sdk_client", "hailo_platform"}
FACADE = ("__init__.py", "__main__.py")  # of irkit itself: they re-export and start, so they stand above all layers


def layers_of(design: str) -> list[str]:
    """Layer names in order, lowest first: `errors` for errors.py, `onnx` for onnx/, out of the page's layout block."""
    block = re.search(r"^    irkit/ .*\n((?:      .*\n)+)", design, re.MULTILINE)
    assert block, "docs/design.md: no layout block that starts with `    irkit/`"
    layers: list[str] = []
    for line in block[1].splitlines():
        names = re.match(r"      ((?:[a-z_]+(?:\.py|/)(?:, *)?)+)", line)
        if names:
            layers += re.findall(r"([a-z_]+)(?:\.py|/)", names[1])
    return layers


def layer_of(path: Path) -> str:
    """The layer of a file of irkit/: irkit/ir.py is `ir`, irkit/onnx/reader.py is `onnx`."""
    return path.parts[1].removesuffix(".py")


def wrong_layers(source: str, layer: str, layers: list[str]) -> Iterator[str]:
    """Imports of irkit's own modules at run time that are not from the same package or from a layer below."""
    below = set(layers[: layers.index(layer) + 1])
    for found in imports_of(source):
        if found.for_types:
            continue
        package, module = [*found.module.split("."), ""][:2]
        if not package:
            yield f"line {found.line}: relative import"
        elif package == "irkit" and module not in layers:
            yield f"line {found.line}: {found.module}: the core imports from its modules, not from the public face"
        elif package == "irkit" and module not in below:
            yield f"line {found.line}: {found.module} lies above {layer}"


def wrong_pass_imports(source: str) -> Iterator[str]:
    """Imports of a pass file beyond irkit's public face, numpy and the standard library."""
    allowed = sys.stdlib_module_names | {"numpy"}
    for found in imports_of(source):
        top, _, name = found.module.partition(".")
        public = top == "irkit" and "." not in name and not is_submodule(name)
        if top not in allowed and not public:
            yield f"line {found.line}: {found.module}"


def is_submodule(name: str) -> bool:
    """Whether irkit has a module or package of that name, so that it is no public name."""
    return bool(name) and ((ROOT / "irkit" / f"{name}.py").exists() or (ROOT / "irkit" / name).is_dir())


def wrong_onnx_imports(source: str, may_import_onnx: bool) -> Iterator[str]:
    """Imports of onnx outside of irkit/onnx; onnxruntime and other optional packages anywhere but inside functions."""
    for found in imports_of(source):
        top = found.module.partition(".")[0]
        if top in {"onnx", "google"} and not may_import_onnx:
            yield f"line {found.line}: {found.module}: only irkit/onnx imports it"
        if top in OPTIONAL and not found.in_function:
            yield f"line {found.line}: {found.module}: optional, so imported only where it is used"


def wrong_test_imports(source: str) -> Iterator[str]:
    """Imports of packages that only tests need; irkit/testing/strategies.py is for those who have hypothesis."""
    for found in imports_of(source):
        if found.module.partition(".")[0] in {"hypothesis", "pytest"}:
            yield f"line {found.line}: {found.module}: irkit runs without it"


def wrong_process_calls(source: str) -> Iterator[str]:
    """Calls of print, input, exit, sys.exit, sys.stdout and sys.stderr: those belong to the command line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in {"print", "input", "exit", "quit"}:
                yield f"line {node.lineno}: {node.func.id}()"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if name in {"sys.exit", "os._exit", "sys.stdout", "sys.stderr"}:
                yield f"line {node.lineno}: {name}"


def core_files() -> list[Path]:
    return [path for path in python_files("irkit") if path.name not in FACADE or len(path.parts) > 2]


def design_layers() -> list[str]:
    return layers_of((ROOT / "docs" / "design.md").read_text(encoding="utf-8"))


def report(path: Path, violations: Iterator[str]) -> list[str]:
    return [f"{path}: {violation}" for violation in violations]


def read(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def test_every_file_has_its_layer_in_the_design() -> None:
    layers = design_layers()
    assert len(layers) == len(set(layers))
    assert [str(path) for path in core_files() if layer_of(path) not in layers] == []


def test_every_layer_imports_only_from_below() -> None:
    layers = design_layers()
    files = [path for path in core_files() if layer_of(path) in layers]
    assert [line for path in files for line in report(path, wrong_layers(read(path), layer_of(path), layers))] == []


def test_passes_import_only_the_public_face_numpy_and_the_standard_library() -> None:
    assert [line for path in python_files("passes") for line in report(path, wrong_pass_imports(read(path)))] == []


def test_only_irkit_onnx_imports_onnx() -> None:
    files = [*python_files("irkit"), *python_files("passes")]
    found = [report(path, wrong_onnx_imports(read(path), path.parts[:2] == ("irkit", "onnx"))) for path in files]
    assert [line for lines in found for line in lines] == []


def test_only_the_strategies_import_hypothesis() -> None:
    files = [path for path in python_files("irkit", "passes") if path.parts[1:] != ("testing", "strategies.py")]
    assert [line for path in files for line in report(path, wrong_test_imports(read(path)))] == []
    assert len(list(wrong_test_imports("def f():\n    from hypothesis import given"))) == 1


def test_only_the_command_line_prints_and_exits() -> None:
    # What goes into a bundle is a command line of its own.
    ours = [path for path in core_files() if path.parts[:3] != ("irkit", "hailo", "emitted")]
    files = [path for path in [*ours, *python_files("passes")] if path.parts[:2] != ("irkit", "cli")]
    assert [line for path in files for line in report(path, wrong_process_calls(read(path)))] == []


def test_the_checks_see_what_they_are_for() -> None:
    layers = ["errors", "ir", "onnx", "cli"]
    assert list(wrong_layers("from irkit.errors import X\nfrom irkit import errors", "ir", layers)) == []
    assert len(list(wrong_layers("def f():\n    from irkit import cli", "ir", layers))) == 1
    assert list(wrong_layers("if TYPE_CHECKING:\n    import irkit.onnx.reader", "ir", layers)) == []
    assert len(list(wrong_layers("if True:\n    import irkit.onnx.reader", "ir", layers))) == 1
    assert len(list(wrong_layers("from irkit import load\nimport irkit", "ir", layers))) == 2
    assert len(list(wrong_layers("from . import errors", "ir", layers))) == 1

    assert list(wrong_pass_imports("import irkit\nimport numpy as np\nfrom dataclasses import dataclass")) == []
    assert len(list(wrong_pass_imports("from irkit.errors import PassError\nfrom irkit import errors, PassError"))) == 2
    assert len(list(wrong_pass_imports("import onnx\nfrom passes.other import helper"))) == 2

    assert len(list(wrong_onnx_imports("from onnx import helper", may_import_onnx=False))) == 1
    assert list(wrong_onnx_imports("from onnx import helper", may_import_onnx=True)) == []
    assert len(list(wrong_onnx_imports("import onnxruntime", may_import_onnx=True))) == 1
    assert list(wrong_onnx_imports("def f():\n    import onnxruntime", may_import_onnx=False)) == []

    assert len(list(wrong_process_calls("print(1)\nsys.exit(2)\nsys.stderr.write('')"))) == 3
    assert list(wrong_process_calls("self.print(1)\nimport sys\nsys.version")) == []


@pytest.mark.parametrize(
    ("design", "expected"),
    [
        (
            "    irkit/   the core\n      errors.py   x\n      a.py, b.py  two\n      onnx/   y\n",
            ["errors", "a", "b", "onnx"],
        ),
        ("    irkit/   the core\n      errors.py   x\n    passes/  one.py\n", ["errors"]),
    ],
)
def test_the_layers_are_read_from_the_layout(design: str, expected: list[str]) -> None:
    assert layers_of(design) == expected
