"""What matters to Hailo's tools in a Python file, read from its syntax tree. Nothing is executed."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

PLACEHOLDER = "__value__"
"""Stands for what an f-string fills in."""

_COMPILER = "hailo_sdk_client"


@dataclass(frozen=True)
class Text:
    """A text in a Python file. `line` is that of its first character; `filled`: whether an f-string fills in values."""

    line: int
    text: str
    filled: bool = False


@dataclass(frozen=True)
class Call:
    """A call: the dotted name as far as it is known, the texts among its arguments by position or name."""

    line: int
    name: str
    texts: tuple[Text, ...] = ()
    keywords: frozenset[str] = frozenset()

    @property
    def last(self) -> str:
        """The last part of the name."""
        return self.name.rpartition(".")[2]


@dataclass
class PythonFile:
    """What was found in a Python file.

    Attributes:
        imports: what is imported, as `package.name`, with lines.
        calls: calls with their lines.
        texts: texts, in order of lines; doc strings among them.
        word_lists: lists, sets and tuples of texts: name they are given ("" for none), line, the texts.
        commands: lists of texts that are a command line, such as `["hailo", "parser", ...]`.
    """

    imports: dict[str, int] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    word_lists: list[tuple[str, int, tuple[str, ...]]] = field(default_factory=list)
    commands: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)

    def calls_of(self, *names: str) -> Iterator[Call]:
        """Calls whose dotted name ends with one of these."""
        for call in self.calls:
            if any(call.name == name or call.name.endswith(f".{name}") for name in names):
                yield call

    def imports_package(self, package: str) -> int:
        """The line where a package is imported first, 0 where it is not."""
        lines = [line for name, line in self.imports.items() if name.partition(".")[0] == package]
        return min(lines, default=0)

    @property
    def uses_compiler(self) -> bool:
        """Whether the Dataflow Compiler's package is imported."""
        return bool(self.imports_package(_COMPILER))


class PythonSyntaxError(Exception):
    """Text that is no Python. `line` from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def read_python(text: str) -> PythonFile:
    """Read a Python file. Raises `PythonSyntaxError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape in someone's text is no matter of ours
            tree = ast.parse(text)
    except SyntaxError as problem:
        raise PythonSyntaxError(problem.msg, problem.lineno or 1) from problem
    except (ValueError, RecursionError, MemoryError) as problem:
        raise PythonSyntaxError(str(problem) or "it is nested too deep", 1) from problem
    found = PythonFile()
    assigned = dict(_assignments(tree))
    inside: set[ast.AST] = set()
    for node in ast.walk(tree):
        _note(found, node, assigned, inside)
    found.texts.sort(key=lambda item: item.line)
    found.calls.sort(key=lambda item: item.line)
    return found


def _assignments(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Names that are given a value; where several are, the last."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                name = _dotted(target)
                if name:
                    yield name, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            yield _dotted(node.target), node.value


def _note(found: PythonFile, node: ast.AST, assigned: dict[str, ast.expr], inside: set[ast.AST]) -> None:
    if isinstance(node, ast.Import):
        found.imports.update({item.name: node.lineno for item in node.names})
    elif isinstance(node, ast.ImportFrom) and node.module:
        found.imports.update({f"{node.module}.{item.name}": node.lineno for item in node.names})
    elif isinstance(node, ast.Call):
        found.calls.append(_call(node, assigned))
    elif isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        _note_list(found, node, assigned)
    elif isinstance(node, (ast.Constant, ast.JoinedStr)) and node not in inside:
        if isinstance(node, ast.JoinedStr):
            inside.update(ast.walk(node))
        text = _text(node, assigned, follow=False)
        if text is not None:
            found.texts.append(text)


def _call(node: ast.Call, assigned: dict[str, ast.expr]) -> Call:
    given = [*node.args, *(item.value for item in node.keywords)]
    texts = tuple(text for text in (_text(item, assigned) for item in given) if text is not None)
    return Call(node.lineno, _dotted(node.func), texts, frozenset(item.arg for item in node.keywords if item.arg))


def _note_list(found: PythonFile, node: ast.List | ast.Tuple | ast.Set, assigned: dict[str, ast.expr]) -> None:
    texts = [_text(item, assigned) for item in node.elts]
    words = tuple(item.text for item in texts if item is not None)
    name = next((name for name, value in assigned.items() if value is node), "")
    if len(words) == len(texts) and words:
        found.word_lists.append((name, node.lineno, words))
    if isinstance(node, ast.List) and any(word.rpartition("/")[2] in ("hailo", "hailortcli") for word in words[:3]):
        found.commands.append((node.lineno, tuple(item.text if item is not None else PLACEHOLDER for item in texts)))


def _dotted(node: ast.AST) -> str:
    """`a.b.c` of names and attributes; "" for anything else, what stands before a call left out."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = _dotted(node.value)
        return f"{head}.{node.attr}" if head else node.attr
    return ""


def _text(node: ast.AST, assigned: dict[str, ast.expr], *, follow: bool = True, depth: int = 0) -> Text | None:
    """A text, put together where it is joined from pieces or is what a name was given."""
    if depth > 8:
        return None
    if isinstance(node, ast.Constant):
        return Text(node.lineno, node.value) if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        pieces = [_piece(item) for item in node.values]
        return Text(node.lineno, "".join(pieces), any(piece == PLACEHOLDER for piece in pieces))
    if not follow:
        return None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = (_text(side, assigned, depth=depth + 1) for side in (node.left, node.right))
        if left is not None and right is not None:
            return Text(left.line, left.text + right.text, left.filled or right.filled)
    name = _dotted(node)
    return _text(assigned[name], assigned, depth=depth + 1) if name in assigned else None


def _piece(node: ast.AST) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else PLACEHOLDER


def looks_like_python(text: str) -> bool:
    """Whether text with no telling name is Python: it parses, and does something."""
    if not re.search(r"^\s*(import |from \w|def |class )", text, re.MULTILINE):
        return False
    try:
        read_python(text)
    except PythonSyntaxError:
        return False
    return True
