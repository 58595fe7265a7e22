"""How text is laid out for people: width, colour, and the words for numbers."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_CODES = {"bold": "1", "dim": "2", "red": "31", "yellow": "33", "green": "32", "cyan": "36"}


@dataclass(frozen=True)
class Style:
    """How text is laid out: columns, and whether in colour."""

    width: int = 100
    colour: bool = False

    def paint(self, text: str, *styles: str) -> str:
        """The text in that style, where there is colour."""
        if not self.colour or not text:
            return text
        return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"

    def wrap(self, text: str, indent: str, first: str | None = None) -> str:
        """The text in lines of at most the width."""
        start = indent if first is None else first
        wrapper = textwrap.TextWrapper(self.width, start, indent, break_long_words=False, break_on_hyphens=False)
        return wrapper.fill(text)


PLAIN = Style()


def plural(count: int, noun: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def share(value: float) -> str:
    """A relative error as people read it."""
    return "infinite" if math.isinf(value) else "0" if value == 0 else f"{value:.1e}"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as GitHub shows it."""
    lines = [head, ["---"] * len(head), *rows]
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
