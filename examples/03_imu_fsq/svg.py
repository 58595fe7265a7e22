"""Small plots as SVG: bars, and points over a diagonal. Plain text, so that the example needs no plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 560, 300, 60, 60, 34


def _frame(title: str, below: str, beside: str, inner: list[str]) -> str:
    text = '<text x="{}" y="{}" text-anchor="middle" {}>{}</text>'
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        text.format(WIDTH / 2, 20, 'font-size="14"', escape(title)),
        text.format((WIDTH + LEFT) / 2, HEIGHT - 8, "", escape(below)),
        text.format(16, HEIGHT / 2, f'transform="rotate(-90 16 {HEIGHT / 2})"', escape(beside)),
        *inner,
        "</svg>",
    ]) + "\n"  # fmt: skip


def bars(
    path: Path, title: str, names: Sequence[str], values: Sequence[float], below: str, beside: str, *,
    most: float | None = None, diagonal: bool = False,
) -> None:  # fmt: skip
    """Write a bar for each value, from 0 to `most`; a diagonal where values are hoped to lie on one."""
    most = most or max([*values, 1e-12]) * 1.1
    wide, high = (WIDTH - LEFT - 20) / max(len(values), 1), HEIGHT - BOTTOM - TOP
    inner = []
    for tick in (0.0, 0.5, 1.0):
        y = TOP + high * (1 - tick)
        inner.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        inner.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{most * tick:.3g}</text>')
    for index, (name, value) in enumerate(zip(names, values, strict=True)):
        x, tall = LEFT + index * wide, high * min(value / most, 1.0)
        inner.append(
            f'<rect x="{x + 0.1 * wide:.1f}" y="{TOP + high - tall:.1f}" width="{0.8 * wide:.1f}" '
            f'height="{tall:.1f}" fill="#4477aa"/>'
        )
        where = f'x="{x + wide / 2:.1f}" y="{TOP + high + 16}"'
        inner.append(f'<text {where} text-anchor="middle" font-size="10">{escape(name)}</text>')
    if diagonal:
        inner.append(f'<line x1="{LEFT}" y1="{TOP + high}" x2="{WIDTH - 20}" y2="{TOP}" stroke="#cc3311"/>')
    path.write_text(_frame(title, below, beside, inner), encoding="utf-8")
