"""The report: one HTML page that holds all it shows."""

from __future__ import annotations

import jinja2
from markupsafe import Markup

from mars_lmm.evaluation.verdicts import FEWEST_STARTS

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("mars_lmm.evaluation", "."),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


def render(evaluation: dict, facts: dict, figures: dict[str, str]) -> str:
    """Fill the page.

    Args:
        evaluation: The content of `evaluation.json`.
        facts: The content of `facts.json`.
        figures: SVG text by name: `loss` (where there was training), `fan`, `facts`, `activity`.

    Returns:
        HTML that loads nothing from elsewhere.
    """
    return _ENVIRONMENT.get_template("report.html.jinja").render(
        evaluation=evaluation,
        comparison=facts["comparison"],
        sources=facts["sources"],
        figures={name: Markup(svg) for name, svg in figures.items()},
        fewest_starts=FEWEST_STARTS,
    )


def _number(value: float | None) -> str:
    """About three digits, thousands set off; a dash for what is not there."""
    if value is None:
        return "–"
    decimals = 3 - min(len(f"{abs(value):.0f}"), 3) if abs(value) >= 1 else 3
    text = f"{value:,.{decimals}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _percent(share: float | None) -> str:
    if share is None:
        return "–"
    if 0 < share < 0.001:
        return "< 0.1\u00a0%"
    return f"{100 * share:.{0 if share == 0 or share >= 0.1 else 1}f}\u00a0%"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.{0 if seconds >= 10 else 1}f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _region(region: list[float | None]) -> str:
    """The region of a fact in words; null stands for infinity."""
    low, high = region
    if low is None:
        return f"below {_number(high)}"
    return f"above {_number(low)}" if high is None else f"between {_number(low)} and {_number(high)}"


_ENVIRONMENT.filters |= {
    "number": _number,
    "count": _count,
    "percent": _percent,
    "duration": _duration,
    "region": _region,
}
