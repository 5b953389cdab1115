"""The page of a data card, made from `card.json` alone; it loads nothing from elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import dropwhile, pairwise
from math import inf
from typing import Any

import jinja2
from markupsafe import Markup

from mars_lmm.data.preparation.card_figures import bars, columns, share
from mars_lmm.tokenizers import observation as o

MAX_ROWS = 100  # of a table; card.json holds the rest
MAX_DAYS = 60  # columns of the picture of days, before they are months
WIDE = 1080


def render(card: Mapping[str, Any]) -> str:
    """Fill the page.

    Args:
        card: The content of `card.json`.
    """
    histograms = card["histograms"]
    figures = {
        "days": columns(*_days(card["sessions"]), width=WIDE),
        "kinds": bars(
            [kind.replace("_", " ") for kind in card["totals"]["kinds"]], [*card["totals"]["kinds"].values()]
        ),
        "places": bars(*_used(_places(histograms["places"]), histograms["places"])),
        "intervals": _columns([duration(edge) for edge in histograms["intervals"]["edges"]], histograms["intervals"]),
        "sizes": _columns([f"{max(edge, 1):,}" for edge in histograms["sizes"]["edges"]], histograms["sizes"]),
    }
    return _ENVIRONMENT.get_template("card.html.jinja").render(
        card=card,
        figures={name: Markup(svg) for name, svg in figures.items()},
        bins=_bin_tables(card["bins"]),
        max_rows=MAX_ROWS,
    )


def _days(sessions: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[tuple[int, int]]]:
    """Days, or months or years where there are many, and their training and held-out orders."""
    for length in (len("2024-01-02"), len("2024-01"), len("2024")):
        orders: dict[str, Counter[str]] = {}
        for session in sessions:
            orders.setdefault(session["date"][:length], Counter()).update(
                train=session["training_orders"], held_out=session["held_out_orders"]
            )
        if len(orders) <= MAX_DAYS:
            break
    days = sorted(orders)
    return days, [(orders[day]["train"], orders[day]["held_out"]) for day in days]


def _places(histogram: Mapping[str, Any]) -> list[str]:
    """The bins of the histogram of places in words."""
    edges = histogram["edges"]
    return [order_place(low, high - 1) for low, high in pairwise([-inf, *edges[1:], inf])]


def _used(labels: Sequence[str], histogram: Mapping[str, Any]) -> tuple[list[str], list[int]]:
    """Labels and counts without the empty bins at either end."""
    pairs = list(zip(labels, histogram["counts"], strict=True))
    for _ in range(2):
        pairs = list(dropwhile(lambda pair: pair[1] == 0, reversed(pairs)))
    return [label for label, _ in pairs], [count for _, count in pairs]


def _columns(labels: Sequence[str], histogram: Mapping[str, Any]) -> str:
    labels, counts = _used(labels, histogram)
    return columns(labels, [(count,) for count in counts])


def _bin_tables(bins: Mapping[str, Sequence[Sequence[int | None]]]) -> list[dict[str, Any]]:
    """A table for each kind of bins."""

    def plain(unit: str):
        return lambda low, high: [f"{_between(low, high)} {unit}"]

    described = (
        ("price", "Price of an order", ("from the touch",), lambda low, high: [order_place(low, high)]),
        ("cancel", "Price of a cancel", ("of either side",), lambda low, high: [cancel_level(low, high)]),
        ("size", "Size", ("units",), plain("units")),
        ("interval", "Interval", ("since the order before",), lambda low, high: [_times(low, high)]),
        ("spread", "Spread", ("between the best prices",), plain("ticks")),
        ("level_gap", "Gap of a book level", ("to the one before",), plain("ticks")),
        ("level_size", "Size of a book level", ("units",), plain("units")),
    )
    return [
        {
            "title": title,
            "heads": heads,
            "rows": [words(-inf if low is None else low, inf if high is None else high) for low, high in bins[name]],
        }
        for name, title, heads, words in described
    ]


def order_place(low: float, high: float) -> str:
    """The places from `low` to `high` of an order in words; see `observation.place_of`."""
    words = []
    if behind := _clip(low, high, -inf, 0):
        words.append(_ticks(-behind[1], -behind[0], "behind the touch", "at the touch"))
    if inside := _clip(low, high, 1, o.CROSSING - 1):
        words.append(_ticks(inside[0], _open_end(inside[1]), "inside the spread"))
    if beyond := _clip(low, high, o.CROSSING, inf):
        near, far = (place - o.CROSSING for place in beyond)
        words.append(_ticks(near, far, "beyond the other side's best", "at the other side's best"))
    return "; ".join(words)


def cancel_level(low: float, high: float) -> str:
    """From `low` to `high` better prices that a cancel leaves alone, in words."""
    low = max(low, 0)
    if low == high == 0:
        return "at the touch"
    return f"with {_between(low, high)} better price{'' if low == high == 1 else 's'}"


def _clip(low: float, high: float, least: float, most: float) -> tuple[float, float] | None:
    low, high = max(low, least), min(high, most)
    return (low, high) if low <= high else None


def _open_end(place: float) -> float:
    return inf if place == o.CROSSING - 1 else place


def _ticks(near: float, far: float, where: str, at: str = "") -> str:
    if near == far == 0:
        return at
    if near == 0 and far == inf:
        return f"at or {where}"
    return f"{_between(near, far)} tick{'' if near == far == 1 else 's'} {where}"


def _between(low: float, high: float) -> str:
    if low == -inf:
        return f"up to {high:,}"
    if high == inf:
        return f"{low:,} or more"
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _times(low: float, high: float) -> str:
    if low == -inf:
        return f"up to {duration(high)}"
    if high == inf:
        return f"{duration(low)} or more"
    return duration(low) if low == high else f"{duration(low)} to {duration(high)}"


def duration(nanoseconds: int) -> str:
    """A time in its unit, to three digits."""
    unit, size = next(
        ((unit, size) for unit, size in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)) if nanoseconds >= size), ("ns", 1)
    )
    return f"{nanoseconds / size:.3g} {unit}" if nanoseconds < 1000 * size else f"{nanoseconds / size:,.0f} {unit}"


def _clock(nanoseconds: int) -> str:
    minutes, seconds = divmod(nanoseconds // 10**9, 60)
    text = f"{minutes // 60:02}:{minutes % 60:02}"
    return f"{text}:{seconds:02}" if seconds else text


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("mars_lmm.data.preparation", "."),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
_ENVIRONMENT.filters |= {"count": "{:,}".format, "clock": _clock, "share": share}
