"""Pictures of a data card: bars as SVG text, whose colours are the page's style variables."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH = 530
LABELS = 8  # under the columns of a picture, at most
_ROW = 22  # height of a bar with its label
_CHARACTER = 7.6  # of a letter's width, rather too much


def bars(labels: Sequence[str], counts: Sequence[int]) -> str:
    """Horizontal bars, one below the other, with their share of all.

    Args:
        labels: What each bar counts.
        counts: As many.
    """
    left = round(_CHARACTER * max(map(len, labels), default=0)) + 10
    longest = WIDTH - left - 60
    total, most = max(sum(counts), 1), max([*counts, 1])
    parts = []
    for number, (label, count) in enumerate(zip(labels, counts, strict=True)):
        top = number * _ROW
        length = round(longest * count / most, 1)
        parts += [
            _text(left - 10, top + 15, label, "end"),
            f'<rect x="{left}" y="{top + 3}" width="{max(length, 0.5)}" height="{_ROW - 6}" rx="2" fill="var(--bar)">'
            f"<title>{count:,}</title></rect>",
            _text(left + length + 7, top + 15, share(count, total), "start", "var(--muted)"),
        ]
    return _svg(WIDTH, len(counts) * _ROW, parts)


def columns(labels: Sequence[str], stacks: Sequence[Sequence[int]], width: int = WIDTH) -> str:
    """Vertical columns side by side, each a stack of counts in the colours of training and held-out orders.

    Args:
        labels: Written below the columns, as many of them as there is room for.
        stacks: Counts of each column, from the bottom up; two at most.
        width: Of the picture.
    """
    height, bottom, top = 150, 22, 16
    most = max([1, *(sum(stack) for stack in stacks)])
    step = min(width / max(len(stacks), 1), 90)
    every = -(-len(labels) // LABELS)
    parts = [_text(0, 11, f"{most:,}", "start", "var(--muted)"), _line(0, top, width), _line(0, top + height, width)]
    for number, (label, stack) in enumerate(zip(labels, stacks, strict=True)):
        left, base = number * step, float(top + height)
        title = f"<title>{escape(label)}: {' + '.join(f'{count:,}' for count in stack)}</title>"
        for count, colour in zip(stack, ("var(--bar)", "var(--held-out)"), strict=False):
            size = height * count / most
            base -= size
            parts.append(
                f'<rect x="{left + 0.08 * step:.1f}" y="{base:.1f}" width="{0.84 * step:.1f}" height="{size:.1f}" '
                f'fill="{colour}">{title}</rect>'
            )
        if number % every == 0:
            at = min(left + 0.08 * step, width - _CHARACTER * len(label))
            parts.append(_text(at, top + height + 16, label, "start", "var(--muted)"))
    return _svg(width, top + height + bottom, parts)


def share(count: int, total: int) -> str:
    """A share in percent, short."""
    percent = 100 * count / total
    if 0 < percent < 0.1:
        return "< 0.1 %"
    return f"{percent:.1f} %" if percent < 10 and count else f"{percent:.0f} %"


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = "var(--ink)") -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-size="13" fill="{colour}">{escape(text)}</text>'


def _line(x: float, y: float, width: float) -> str:
    return f'<line x1="{x}" y1="{y}" x2="{x + width}" y2="{y}" stroke="var(--grid)"/>'
