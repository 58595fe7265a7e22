"""The public face: what it promises is there, for people and for type checkers, whatever was imported before."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from types import ModuleType

import pytest

import irkit
from tests.whole.sources import ROOT

PROMISED = ("load", "save", "run_passes", "lint", "optimize")


def submodules() -> list[str]:
    return sorted(module.name for module in pkgutil.walk_packages(irkit.__path__, "irkit."))


def names_for_type_checkers() -> set[str]:
    """What irkit/__init__.py imports under TYPE_CHECKING."""
    tree = ast.parse((ROOT / "irkit" / "__init__.py").read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for block in blocks for node in ast.walk(block) if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name for node in imports for alias in node.names}


def test_the_promised_functions_are_public() -> None:
    assert [name for name in PROMISED if name not in irkit.__all__] == []


def test_type_checkers_see_what_is_there_at_run_time() -> None:
    assert names_for_type_checkers() == set(irkit.__all__)


def test_every_public_name_survives_the_import_of_every_submodule() -> None:
    # In an interpreter of its own: a name that was asked for before its namesake's import would hide the fault.
    script = (
        "import importlib, irkit\n"
        f"for name in {submodules()!r}: importlib.import_module(name)\n"
        "from types import ModuleType\n"
        "print([name for name in irkit.__all__ if isinstance(getattr(irkit, name), ModuleType)])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_every_public_name_is_documented() -> None:
    objects = {name: getattr(irkit, name) for name in irkit.__all__}
    assert [name for name, value in objects.items() if callable(value) and not (value.__doc__ or "").strip()] == []


def test_the_page_of_the_api_lists_every_name_once() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    listed = re.findall(r"`(\w+)`", page.partition("| --- |")[2])
    assert sorted(listed) == irkit.__all__


def test_no_submodule_has_the_name_of_a_public_function() -> None:
    modules = {name.split(".")[1] for name in submodules()}
    public = {name for name in irkit.__all__ if not isinstance(getattr(irkit, name), ModuleType)}
    assert modules & public == set()


@pytest.mark.parametrize("name", submodules())
def test_every_submodule_says_what_it_is_for(name: str) -> None:
    assert (importlib.import_module(name).__doc__ or "").strip()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = irkit.no_such_name
