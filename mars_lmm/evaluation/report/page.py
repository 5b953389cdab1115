"""The page: everything it shows comes from the JSON files."""

from __future__ import annotations

import jinja2
from markupsafe import Markup

from mars_lmm.evaluation.report.answers import verdicts
from mars_lmm.evaluation.report.filters import FILTERS
from mars_lmm.evaluation.report.scores import estimate, over_symbols, score_rows
from mars_lmm.evaluation.report.sources import find_sources

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("mars_lmm.evaluation.report", "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
_ENVIRONMENT.filters |= FILTERS


def render(
    evaluation: dict,
    facts: dict | None,
    lob_bench: dict | None,
    table7: dict | None,
    likelihood: dict | None,
    figures: dict[str, str],
) -> str:
    """Fill the page.

    Args:
        evaluation: The content of `evaluation.json`.
        facts: The content of `facts.json`; None if the task was not run, as of the following.
        lob_bench: The content of `lob_bench.json`.
        table7: The content of `table7.json`.
        likelihood: The content of `likelihood.json`.
        figures: What `draw` gives for them.

    Returns:
        HTML that loads nothing from elsewhere.
    """
    return _ENVIRONMENT.get_template("report.html.jinja").render(
        evaluation=evaluation,
        facts=facts,
        lob_bench=lob_bench,
        table7=table7,
        likelihood=likelihood,
        figures={name: Markup(svg) for name, svg in figures.items()},
        sources=find_sources(facts, lob_bench, table7, likelihood),
        verdicts=verdicts(evaluation, facts, lob_bench, table7, likelihood),
        summary_rows=_summary_rows(lob_bench) if lob_bench else [],
        score_tables={"L1": score_rows(lob_bench), "W1": score_rows(lob_bench, "wasserstein")} if lob_bench else {},
    )


_COLUMNS = {
    "L1 mean": ("l1", "mean"),
    "L1 IQM": ("l1", "iqm"),
    "L1 median": ("l1", "median"),
    "W1 mean": ("wasserstein", "mean"),
    "W1 IQM": ("wasserstein", "iqm"),
}


def _summary_rows(lob_bench: dict) -> dict[str, dict[str, dict]]:
    """By source and column an estimate, the closest source first, the floor last."""
    rows = {
        source: {column: estimate(summary[kind], key) for column, (kind, key) in _COLUMNS.items()}
        | {"impact": over_symbols(lob_bench, source, lambda report: estimate(report["impact"], "score"))}
        for source, summary in lob_bench["summary"].items()
    }
    rows = dict(sorted(rows.items(), key=lambda row: (row[1]["L1 mean"]["value"] is None, row[1]["L1 mean"]["value"])))
    if lob_bench.get("floor"):
        rows["Replay against replay"] = {
            column: estimate(lob_bench["floor"][kind], key) for column, (kind, key) in _COLUMNS.items()
        }
    return rows
