"""What is wrong with a model script: unknown commands, arguments and layers, values of the wrong kind.

The table of commands is `irkit.hailo.alls_table`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from irkit.hailo.alls import Command, Script, Value, print_value
from irkit.hailo.alls_kinds import Kind, is_glob
from irkit.hailo.alls_table import COMMANDS, Signature, Spec


@dataclass(frozen=True)
class Problem:
    """Something wrong in a model script.

    Attributes:
        line: of the command, from 1 (0 where the script was not read from a text).
        kind: `command`, `argument`, `value` or `layer`.
        message: the rule, and what was found.
        nearest: the valid name that is closest, "" where none is close.
    """

    line: int
    kind: str
    message: str
    nearest: str = ""

    def __str__(self) -> str:
        hint = f" (did you mean {self.nearest}?)" if self.nearest else ""
        return f"line {self.line}: {self.message}{hint}"


def problems(script: Script, layers: Collection[str] | None = None) -> list[Problem]:
    """What is wrong with a script, in the order of its lines.

    Args:
        script: the script.
        layers: names of the network's layers as the parsed model has them (`conv1` or `net/conv1`). Where they are not
            given, names of layers are not looked at. Layers that commands of the script make are known from then on.
    """
    known = None if layers is None else set(layers)
    found: list[Problem] = []
    for command in script.commands:
        found += _problems_of(command, known)
        if known is not None:
            known.update(command.outputs)
    return sorted(found, key=lambda problem: problem.line)


def _problems_of(command: Command, layers: Collection[str] | None) -> Iterator[Problem]:
    spec = COMMANDS.get(command.name)
    if spec is None:
        message = f"`{command.name}` is no command of model scripts that is publicly known"
        yield Problem(command.line, "command", message, _nearest(command.name, COMMANDS))
        return
    if command.outputs and not spec.makes_layers:
        message = f"`{command.name}` makes no layer, so nothing stands before `=`; found {', '.join(command.outputs)}"
        yield Problem(command.line, "argument", message)
    if spec.placement:
        yield from _placement_problems(command, spec)
        return
    read = _Call(command, spec)
    yield from read.problems()
    if layers is not None:
        for value in read.layer_values():
            yield from _layer_problems(command, value, layers)
    yield from _statistics_problems(command)


def _placement_problems(command: Command, spec: Spec) -> Iterator[Problem]:
    """Of what the compiler prints, only the names of keywords are looked at: a typing error shows in them."""
    known = spec.signatures[0].keywords
    for key in command.kwargs:
        if key not in known:
            yield Problem(command.line, "argument", _unknown(command.name, key), _nearest(key, known))


class _Call:
    """A command held against the signature that fits it best."""

    def __init__(self, command: Command, spec: Spec) -> None:
        self.command = command
        self.spec = spec
        self.algorithm = ""
        self.args: Sequence[Value] = command.args
        if spec.algorithms and command.args and isinstance(command.args[0], str):
            self.algorithm, self.args = command.args[0], command.args[1:]
        self.signature = self._signature()

    def _signature(self) -> Signature | None:
        if self.spec.algorithms:
            return self.spec.algorithms.get(self.algorithm)
        fitting = [item for item in self.spec.signatures if item.required <= len(self.args) <= len(item.positional)]
        return (fitting or list(self.spec.signatures))[0]

    @property
    def title(self) -> str:
        return f"{self.command.name}({self.algorithm})" if self.algorithm else self.command.name

    def problems(self) -> Iterator[Problem]:
        signature, line = self.signature, self.command.line
        if signature is None:
            known = self.spec.algorithms
            found = f"found `{self.algorithm}`" if self.algorithm else "found none"
            message = f"the first argument of `{self.command.name}` must be what to set; {found}"
            yield Problem(line, "argument", message, _nearest(self.algorithm, known))
            return
        if not signature.required <= len(self.args) <= len(signature.positional):
            yield Problem(line, "argument", self._wrong_count(signature))
        for (name, kind), value in zip(signature.positional, self.args, strict=False):
            yield from self._wrong_value(name, kind, value)
        by_name = {**dict(signature.positional), **signature.keywords}
        for key, value in self.command.kwargs.items():
            if key not in by_name:
                yield Problem(line, "argument", _unknown(self.title, key), _nearest(key, by_name))
            else:
                yield from self._wrong_value(key, by_name[key], value)
        for key in signature.at_least:
            if key not in self.command.kwargs:
                yield Problem(line, "argument", f"`{self.title}` must be told `{key}`")

    def _wrong_count(self, signature: Signature) -> str:
        names = ", ".join(name for name, _kind in signature.positional) or "none"
        return f"`{self.title}` takes these arguments without a name: {names}; found {len(self.args)}"

    def _wrong_value(self, name: str, kind: Kind, value: Value) -> Iterator[Problem]:
        if not kind.accepts(value):
            wrong = [item for item in _flat(value) if isinstance(item, str)]
            nearest = next((near for item in wrong if (near := _nearest(item, kind.words))), "")
            message = f"`{name}` of `{self.title}` must be {kind.what}; found {_shown(value)}"
            yield Problem(self.command.line, "value", message, nearest)

    def layer_values(self) -> Iterator[str]:
        """The names and globs of layers among the arguments."""
        signature = self.signature
        if signature is None:
            return
        pairs = list(zip(signature.positional, self.args, strict=False))
        given = [(kind, value) for (_name, kind), value in pairs]
        given += [
            (signature.keywords[key], value) for key, value in self.command.kwargs.items() if key in signature.keywords
        ]
        for kind, value in given:
            if kind.names_layers:
                yield from (item for item in _flat(value) if isinstance(item, str))


def _layer_problems(command: Command, name: str, layers: Collection[str]) -> Iterator[Problem]:
    short = {layer.rpartition("/")[2] for layer in layers}
    if is_glob(name):
        patterns = [pattern.strip() for pattern in name[1:-1].split(",")]
        if not any(fnmatch.fnmatchcase(layer, pattern) for pattern in patterns for layer in (*layers, *short)):
            yield Problem(command.line, "layer", f"no layer of the network fits `{name}`")
    elif name not in layers and name not in short:
        scope, _, last = name.rpartition("/")
        if scope and last in layers:
            return  # the network's name stands before it
        yield Problem(command.line, "layer", f"the network has no layer `{name}`", _nearest(last, short))


def _statistics_problems(command: Command) -> Iterator[Problem]:
    """What only mean and deviation together tell."""
    if command.name != "normalization" or len(command.args) < 2:
        return
    mean, std = command.args[:2]
    if not isinstance(mean, tuple) or not isinstance(std, tuple):
        return
    if len(mean) != len(std):
        message = (
            f"`mean` and `std` of `normalization` must have one number a channel; found {len(mean)} and {len(std)}"
        )
        yield Problem(command.line, "value", message)
    if any(item == 0 for item in std):
        yield Problem(command.line, "value", f"`std` of `normalization` must not be 0; found {_shown(std)}")


def _flat(value: Value) -> Iterator[Value]:
    if isinstance(value, tuple):
        for item in value:
            yield from _flat(item)
    else:
        yield value


def _shown(value: Value) -> str:
    text = print_value(value)
    return f"`{text}`" if len(text) <= 60 else f"`{text[:57]}...`"


def _unknown(title: str, key: str) -> str:
    return f"`{title}` has no argument `{key}` that is publicly known"


def _nearest(name: str, known: Collection[str] | Mapping[str, object]) -> str:
    """The closest of the known names, "" where none is close."""
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=0.6)), "")
