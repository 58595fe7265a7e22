"""Where passes and rule tables come from: what irkit brings along, a user's file or folder, installed plug-ins.

All come in by one door, `load_file`: a pass file is executed by its path, and the passes are collected from the
module's names. Bundled passes have no privilege: any of their files can be copied, changed and run from elsewhere.
"""

from __future__ import annotations

import copyreg
import hashlib
import importlib
import importlib.machinery
import importlib.util
import os
import pkgutil
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from irkit.errors import IrkitError, LibraryError, OptionError
from irkit.installed import bundled as bundled
from irkit.pass_base import Pass

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINTS = "irkit.passes"
"""Entry-point group of installed plug-ins. An entry names a module or package of passes, or a single pass."""


def load_file(path: str | os.PathLike[str], library: str = "user") -> list[type[Pass]]:
    """The passes of a Python file, in the order they stand there.

    The file is executed once; loading it again gives the same classes, unless it changed.

    Raises:
        LibraryError: there is no such file, or executing it fails (the message has the file and the line).
    """
    file = Path(path).resolve()
    name = f"irkit_passes_{library}_{file.stem}"
    module = sys.modules.get(name)
    if module is None or getattr(module, "__irkit_stamp__", None) != _stamp(file):
        module = _execute(file, name)
    return list(module.__irkit_passes__)


def load_folder(folder: str | os.PathLike[str], library: str = "user") -> list[type[Pass]]:
    """The passes of every `*.py` of a folder, file by file in the order of their names.

    Helpers, whose names start with `_`, and tests (`test_*.py`, `*_test.py`, `conftest.py`) are left alone. Raises
    `LibraryError`, also where two files define a pass of the same name.
    """
    return _unique(cls for file in _files(Path(folder)) for cls in load_file(file, library))


class Library:
    """Passes by name: the bundled ones, those of installed plug-ins, and those of files and folders that are added.

    Nothing is executed before it is asked for; a bundled pass is found by the name of its file alone.
    """

    def __init__(self) -> None:
        self._added: list[type[Pass]] = []

    @property
    def added(self) -> list[type[Pass]]:
        """The passes that `add` brought in, in order."""
        return list(self._added)

    def add(self, path: str | os.PathLike[str]) -> list[type[Pass]]:
        """Load a pass file or a folder of them, or take the pass of that name from a plug-in. Returns its passes.

        Raises `LibraryError`: it cannot be loaded, holds no pass, or defines a pass whose name is taken.
        """
        place = Path(path)
        if not place.exists():
            found = [cls for cls in _plugin_passes() if cls.name == place.name]
            if not found:
                raise LibraryError(f"{place}: no such file or folder of passes, and no plug-in has a pass of that name")
            self._added += [cls for cls in found if cls not in self._added]
            return found
        folder = place.resolve() if place.is_dir() else place.resolve().parent
        library = f"user_{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
        passes = load_folder(place, library) if place.is_dir() else load_file(place, library)
        if not passes:
            raise LibraryError(f"{place}: defines no pass; see `irkit passes` for what a pass looks like")
        _unique([*_bundled_passes(), *_plugin_passes(), *self._added, *passes])
        self._added += [cls for cls in passes if cls not in self._added]
        return passes

    def find(self, name: str) -> type[Pass]:
        """The pass of that name. Raises `OptionError` that names the ones there are."""
        by_file = bundled("passes") / f"{name.replace('-', '_')}.py"
        near = load_file(by_file, "bundled") if by_file.is_file() else []
        for cls in (*near, *self._added):
            if cls.name == name:
                return cls
        known = {cls.name: cls for cls in self.all()}
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f" (did you mean `{close[0]}`?)" if close else ""
            raise OptionError(f"there is no pass `{name}`{hint}; there are: {', '.join(sorted(known))}")
        return known[name]

    def all(self) -> list[type[Pass]]:
        """Every pass, by name. Raises `LibraryError`, also where two have the same name."""
        passes = _unique([*_bundled_passes(), *_plugin_passes(), *self._added])
        return sorted(passes, key=lambda cls: cls.name)


def get_pass(name: str, **options: Any) -> Pass:
    """A bundled or plugged-in pass, by name, with these options.

    Raises:
        OptionError: there is no such pass, or it has no such option.
        LibraryError: its file cannot be loaded.
    """
    return Library().find(name).configured(options)


def all_passes() -> list[type[Pass]]:
    """Every bundled and plugged-in pass, by name. Raises `LibraryError`."""
    return Library().all()


def _bundled_passes() -> list[type[Pass]]:
    folder = bundled("passes")
    return load_folder(folder, "bundled") if folder.is_dir() else []


@lru_cache(maxsize=1)
def _plugin_passes() -> tuple[type[Pass], ...]:
    """The passes of installed plug-ins; a broken one is an error that names its package."""
    passes: list[type[Pass]] = []
    from importlib.metadata import entry_points  # takes as long to import as reading a small model

    for entry in entry_points(group=ENTRY_POINTS):
        passes += _of_entry(entry)
    return tuple(_unique(passes))


def _of_entry(entry: EntryPoint) -> list[type[Pass]]:
    """The passes of one entry point. Its modules are imported as any other, so they may import each other."""
    try:
        found = entry.load()
        modules = [found, *_submodules(found)] if isinstance(found, ModuleType) else []
        passes = [cls for module in modules for cls in _defined_in(module)]
        passes += [found] if isinstance(found, type) and issubclass(found, Pass) else []
    except Exception as error:
        raise LibraryError(f"{_title(entry)} cannot be loaded: {_innermost(error)}") from error
    if not passes:
        raise LibraryError(f"{_title(entry)} defines no pass: {entry.value} names no module that does")
    for cls in passes:
        cls.source = str(Path(sys.modules[cls.__module__].__file__ or "").resolve())
    return passes


def _title(entry: EntryPoint) -> str:
    package = entry.dist.name if entry.dist is not None else entry.value
    return f"plug-in `{entry.name}` of package {package} (pip uninstall {package} takes it away)"


def _submodules(package: ModuleType) -> list[ModuleType]:
    """The modules of a package, without helpers and tests."""
    names = [item.name for item in pkgutil.iter_modules(getattr(package, "__path__", []))]
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names if not _is_private(name)]


def _defined_in(module: ModuleType) -> list[type[Pass]]:
    """The passes a module defines (not those it imports), each once. Raises `LibraryError` for two of one name."""
    classes = [item for item in vars(module).values() if isinstance(item, type) and issubclass(item, Pass)]
    passes = [cls for cls in dict.fromkeys(classes) if cls.name and cls.__module__ == module.__name__]
    by_name: dict[str, type[Pass]] = {}
    for cls in passes:
        other = by_name.setdefault(cls.name, cls)
        if other is not cls:
            what = f"{other.__qualname__} and {cls.__qualname__}"
            raise LibraryError(f"two passes are called `{cls.name}`: {what} in {module.__file__}; rename one")
    return passes


def _is_private(stem: str) -> bool:
    """Whether a file of that name in a folder of passes is a helper or a test."""
    return stem.startswith(("_", "test_")) or stem.endswith("_test") or stem == "conftest"


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(file for file in folder.iterdir() if file.suffix == ".py" and not _is_private(file.stem))
    except OSError as error:
        raise LibraryError(f"cannot read the folder of passes {folder}: {error.strerror}") from error


def _unique(passes: Iterable[type[Pass]]) -> list[type[Pass]]:
    by_name: dict[str, type[Pass]] = {}
    for cls in passes:
        other = by_name.setdefault(cls.name, cls)
        if other is not cls:
            raise LibraryError(f"two passes are called `{cls.name}`: in {other.source} and in {cls.source}; rename one")
    return list(by_name.values())


def _stamp(file: Path) -> tuple[str, int, int]:
    try:
        status = file.stat()
    except OSError as error:
        raise LibraryError(f"cannot read the pass file {file}: {error.strerror}") from error
    return str(file), status.st_mtime_ns, status.st_size


def _execute(file: Path, name: str) -> ModuleType:
    """Run the file as a module of that name; the module is known before it runs, since dataclasses look it up."""
    stamp = _stamp(file)
    loader = importlib.machinery.SourceFileLoader(name, str(file))
    spec = importlib.util.spec_from_file_location(name, file, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        with same_folder(), _helpers_beside(file):
            loader.exec_module(module)
        passes = _defined_in(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, and what users derive from BaseException
        _restore_module(name, before)
        raise LibraryError(_what_failed(file, error)) from error
    for cls in passes:
        cls.source = str(file)
        copyreg.pickle(cls, _reduce)
    vars(module).update(__irkit_stamp__=stamp, __irkit_passes__=passes)
    return module


@contextmanager
def _helpers_beside(file: Path) -> Iterator[None]:
    """Let a pass file import modules that stand beside it, as a script may; other folders do not see them."""
    folder, known = str(file.parent), set(sys.modules)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove(folder)
        for name in sys.modules.keys() - known:
            place = getattr(sys.modules[name], "__file__", None)
            if place and Path(place).parent == file.parent and not name.startswith("irkit_passes_"):
                del sys.modules[name]


@contextmanager
def same_folder() -> Iterator[None]:
    """The working folder as it was, afterwards: paths of the command line count from there."""
    folder = os.getcwd()
    try:
        yield
    finally:
        os.chdir(folder)


def _restore_module(name: str, before: ModuleType | None) -> None:
    if before is None:
        del sys.modules[name]
    else:
        sys.modules[name] = before


def _what_failed(file: Path, error: BaseException) -> str:
    """File, line and message of an error that a pass file raised."""
    if isinstance(error, SyntaxError) and error.filename in (str(file), None):
        return f"{file}:{error.lineno}: {error.msg}" if error.lineno else f"{file}: not a Python file: {error.msg}"
    return f"{place_of(error, str(file))}: {_said(error)}"


def _innermost(error: BaseException) -> str:
    """File, line and message of an error, wherever it was raised; the lines of Python's own importing do not count."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    own = [frame for frame in frames if frame.filename != __file__]
    place = f"{own[-1].filename}:{own[-1].lineno}: " if own else ""
    return f"{place}{_said(error)}"


def _said(error: BaseException) -> str:
    """The message of an error as a user reads it; one of syntax tells its own place."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {error.msg}"
    return f"{error}" if isinstance(error, IrkitError) else f"{type(error).__name__}: {error}"


def place_of(error: BaseException, file: str) -> str:
    """`FILE:LINE` of the innermost line of that file that an error came through; the file alone where there is none."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{file}:{lines[-1]}" if lines else file


def _reduce(item: Pass) -> tuple[Any, tuple[str, str, Mapping[str, Any]]]:
    options = {field.name: getattr(item, field.name) for field in item.option_fields()}
    return restore, (item.name, item.source, options)


def restore(name: str, source: str, options: Mapping[str, Any]) -> Pass:
    """A pass again from what it was pickled as, in another process too. Raises `LibraryError`."""
    library = "bundled" if Path(source).parent == bundled("passes") else "user"
    for cls in load_file(source, library):
        if cls.name == name:
            return cls.configured(options)
    raise LibraryError(f"{source}: no longer defines the pass `{name}`")
