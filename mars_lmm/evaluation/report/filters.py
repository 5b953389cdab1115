"""Numbers as a reader wants them."""

from __future__ import annotations

import math

MISSING = "–"
_NARROW_SPACE = "\u00a0"


def number(value: float | None) -> str:
    """About three digits, thousands set off, short numbers as they are; a dash for what is not there."""
    if value is None:
        return MISSING
    if abs(value) < 1000 and value == round(value, 3) == float(f"{value:.2g}"):
        text = f"{value:g}"
    else:
        size = abs(round(value, 3))
        text = f"{value:,.{3 - min(len(f'{size:.0f}'), 3) if size >= 1 else 3}f}"
    return "0" if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def count(value: float) -> str:
    """Whole, thousands set off."""
    return f"{value:,.0f}"


def percent(share: float | None) -> str:
    """Of a share; one digit more where it is small."""
    if share is None:
        return MISSING
    if 0 < share < 0.001:
        return f"< 0.1{_NARROW_SPACE}%"
    return f"{100 * share:.{0 if share == 0 or share >= 0.1 else 1}f}{_NARROW_SPACE}%"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.{0 if seconds >= 10 else 1}f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def region(borders: list[float | None]) -> str:
    """The region of a fact in words; null stands for infinity."""
    low, high = borders
    if low is None:
        return f"below {number(high)}"
    return f"above {number(low)}" if high is None else f"between {number(low)} and {number(high)}"


def span(found: dict, show=number) -> str:
    """The interval of an estimate; nothing where there is none."""
    if found.get("low") is None or found.get("high") is None:
        return ""
    return f"{show(found['low'])} to {show(found['high'])}"


def with_span(found: dict, show=number) -> str:
    """An estimate and its interval in brackets."""
    interval = span(found, show)
    return show(found["value"]) + (f" ({interval})" if interval else "")


def p_value(value: float | None) -> str:
    """A p-value, which is never 0."""
    if value is None:
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.{2 if value >= 0.01 else 3}f}"


def tint(value: float | None) -> str:
    """A share of colour for a cell, in percent."""
    return "0" if value is None or not math.isfinite(value) else f"{45 * min(max(value, 0), 1):.0f}"


FILTERS = {
    filter_.__name__: filter_ for filter_ in (number, count, percent, duration, region, span, with_span, p_value, tint)
}
