"""All scores in a few numbers, and all models in one table."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mars_lmm.evaluation.lob_bench.distances import Distances, estimate

_COLUMNS = {
    "L1 mean": ("summary", "all_24", "l1", "mean"),
    "L1 median": ("summary", "all_24", "l1", "median"),
    "L1 IQM": ("summary", "all_24", "l1", "iqm"),
    "W1 mean": ("summary", "all_24", "wasserstein", "mean"),
    "W1 IQM": ("summary", "all_24", "wasserstein", "iqm"),
    "impact": ("impact", "score"),
}


def summaries(groups: dict[str, Iterable[str]], found: dict[str, Distances]) -> dict[str, dict[str, dict[str, float]]]:
    """Mean, median and interquartile mean of the distances in each group of scores and in all.

    Args:
        groups: Names of scores by group.
        found: The distances by score.

    Returns:
        By group and distance. An interval comes from the summaries of the replicates, in each of which all scores see
        the same sequences.
    """
    return {
        group: {
            kind: _summary(np.stack([getattr(found[name], kind) for name in names])) for kind in ("l1", "wasserstein")
        }
        for group, names in {**groups, f"all_{len(found)}": found}.items()
    }


def l1_replicates(found: dict[str, Distances]) -> dict[str, np.ndarray]:
    """`mean` and `iqm` of L1 over all scores, from all data and from each replicate, float64[1 + B].

    Replicates of models that are drawn alike can be compared one by one, see `ratio_interval`.
    """
    numbers = _numbers(np.stack([distances.l1 for distances in found.values()]))
    return {name: numbers[name] for name in ("mean", "iqm")}


def _summary(distances: np.ndarray) -> dict[str, float]:
    """Of float64[scores, 1 + B]."""
    found = {}
    for name, values in _numbers(distances).items():
        found |= estimate(name, values)
    return found


def _numbers(distances: np.ndarray) -> dict[str, np.ndarray]:
    """`mean`, `median` and `iqm`, float64[1 + B], of float64[scores, 1 + B].

    Scores that the full data do not give are left out.
    """
    distances = distances[np.isfinite(distances[:, 0])]
    if not len(distances):
        distances = np.full((1, distances.shape[1]), np.nan)
    # A replicate without a value takes the number itself.
    distances = np.where(np.isfinite(distances), distances, distances[:, :1])
    quarter, median, three_quarters = np.percentile(distances, [25, 50, 75], axis=0)
    inner = (distances >= quarter) & (distances <= three_quarters)
    with np.errstate(invalid="ignore"):
        iqm = np.where(inner, distances, 0).sum(axis=0) / inner.sum(axis=0)
    return {"mean": distances.mean(axis=0), "median": median, "iqm": iqm}


def table(result: dict) -> str:
    """What `benchmark` found as text, one row a model: summaries of all scores and impact, with any 99 % intervals."""
    rows = [["model", "sequences", *_COLUMNS]]
    for name, report in result["models"].items():
        rows.append([name, str(report["sequences"]), *(_cell(report, path) for path in _COLUMNS.values())])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _cell(report: dict, path: tuple[str, ...]) -> str:
    *way, key = path
    for step in way:
        report = report[step]
    value, low, high = (report[f"{key}{end}"] for end in ("", "_low", "_high"))
    if not np.isfinite(value):
        return "-"
    return f"{value:.3f} [{low:.3f}, {high:.3f}]" if np.isfinite([low, high]).all() else f"{value:.3f}"
