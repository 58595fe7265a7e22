"""What an argument of a model-script command may be: kinds, each a test with words for messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from irkit.hailo.alls import Value


@dataclass(frozen=True)
class Kind:
    """What an argument may be.

    Attributes:
        what: it in words, as in "must be a whole number".
        accepts: whether a value is one.
        words: the words it may be, where it is one of some words: for suggestions.
        names_layers: whether it names layers of the network.
    """

    what: str
    accepts: Callable[[Value], bool]
    words: tuple[str, ...] = ()
    names_layers: bool = False


def _is_number(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def whole(least: int | None = None) -> Kind:
    """A whole number, of at least `least`."""
    bound = "" if least is None else f" of at least {least}"

    def accepts(value: Value) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and (least is None or value >= least)

    return Kind(f"a whole number{bound}", accepts)


def number(least: float | None = None, most: float | None = None) -> Kind:
    """A number within bounds."""
    bounds = [f"{text} {bound:g}" for text, bound in (("at least", least), ("at most", most)) if bound is not None]
    what = f"a number of {' and '.join(bounds)}" if bounds else "a number"

    def accepts(value: Value) -> bool:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return False
        return (least is None or value >= least) and (most is None or value <= most)

    return Kind(what, accepts)


def word(*words: str) -> Kind:
    """One of these words; capitals do not matter, as in the Model Zoo's scripts."""
    known = {item.lower() for item in words}

    def accepts(value: Value) -> bool:
        return isinstance(value, str) and value.lower() in known

    return Kind(f"one of {', '.join(words)}", accepts, words)


def either(*kinds: Kind) -> Kind:
    """A value of any of the kinds."""
    return Kind(
        " or ".join(kind.what for kind in kinds),
        lambda value: any(kind.accepts(value) for kind in kinds),
        tuple(item for kind in kinds for item in kind.words),
        any(kind.names_layers for kind in kinds),
    )


def list_of(kind: Kind, count: int | None = None) -> Kind:
    """A list in brackets, of `count` items where given."""
    plural = re.sub(r"^an? ", "", kind.what)
    what = f"a list of {count} items, each {kind.what}" if count is not None else f"a list, each item a {plural}"

    def accepts(value: Value) -> bool:
        return (
            isinstance(value, tuple)
            and (count is None or len(value) == count)
            and all(kind.accepts(item) for item in value)
        )

    return Kind(what, accepts, kind.words, kind.names_layers)


_LAYER = re.compile(r"[A-Za-z0-9_][\w./\-]*")


def _is_layer(value: Value) -> bool:
    return isinstance(value, str) and bool(_LAYER.fullmatch(value))


def is_glob(value: Value) -> bool:
    """Whether it is a pattern over layer names, such as `{conv*}`."""
    return isinstance(value, str) and value.startswith("{") and value.endswith("}")


def _is_file(value: Value) -> bool:
    return isinstance(value, str) and value.lower().endswith((".json", ".yaml", ".yml"))


def _is_duration(value: Value) -> bool:
    if isinstance(value, str):
        return bool(re.fullmatch(r"\d+[smhd]", value))
    return _is_number(value) and not isinstance(value, (str, tuple)) and value >= 0


def _several_layers(value: Value) -> bool:
    items: Sequence[Value] = value if isinstance(value, tuple) else (value,)
    return bool(items) and all(_is_layer(item) or is_glob(item) for item in items)


ANYTHING = Kind("anything", lambda _value: True)
FLAG = Kind("True or False", lambda value: isinstance(value, bool), ("True", "False"))
POLICY = word("enabled", "disabled", "allowed")
SWITCH = either(FLAG, POLICY)
COUNT = whole(1)
NUMBERS = list_of(number())
RANGE = list_of(number(), 2)
LAYER = Kind("the name of a layer", _is_layer, names_layers=True)
LAYERS = Kind("a layer, a glob such as {conv*}, or a list of them", _several_layers, names_layers=True)
LAYER_LIST = list_of(LAYER)
CONFIG_FILE = Kind("the path of a .json file", _is_file)
DURATION = Kind("seconds, or a time such as 25m or 5h", _is_duration)
NAME = Kind("a name", lambda value: isinstance(value, str))
