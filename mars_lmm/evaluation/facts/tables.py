"""The facts as tables, number for number what the released MarS script makes of the same bars."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mars_lmm.evaluation.facts import estimators
from mars_lmm.evaluation.facts.panel import HOUR, Panel
from mars_lmm.evaluation.facts.statistics import STATISTICS, TIMESCALE_ASYMMETRY, asymmetry_difference, extremes


def stylized_facts(sources: dict[str, Panel]) -> dict:
    """All facts of all sources.

    Args:
        sources: What `panels` gives.

    Returns:
        For each fact `axis`, `statistic`, `values[source][point][symbol]` and
        `mean_over_symbols[source][point]` (fact 5 has no axis); NaN marks a value that the bars cannot give.
    """
    facts = {}
    for statistic in STATISTICS:
        curves = {source: statistic.curve(panel) for source, panel in sources.items()}
        facts[statistic.key] = _entry(statistic.axis, statistic.name, statistic.points, curves, sources)
        if statistic is TIMESCALE_ASYMMETRY:
            differences = {source: asymmetry_difference(curve) for source, curve in curves.items()}
            facts["11_timescale_asymmetry_difference"] = _entry("lag", "diff", range(11), differences, sources)
    facts["5_intermittency_fano"] = _intermittency(sources)
    facts["about_data_distribution"] = _distribution(sources)
    return facts


def _entry(axis: str, name: str, points: Sequence[int], curves: dict[str, Tensor], sources: dict[str, Panel]) -> dict:
    """One fact; curves are [1, points, symbols]."""
    values = {
        source: {
            str(point): dict(zip(sources[source].symbols, row, strict=True))
            for point, row in zip(points, curve[0].tolist(), strict=True)
        }
        for source, curve in curves.items()
    }
    means = {
        source: {
            str(point): mean
            for point, mean in zip(points, estimators.mean_over_symbols(curve[0]).tolist(), strict=True)
        }
        for source, curve in curves.items()
    }
    return {"axis": axis, "statistic": name, "values": values, "mean_over_symbols": means}


def _intermittency(sources: dict[str, Panel]) -> dict:
    """Fact 5 as the reference has it: extremes per clock hour of a date, over all paths of the hour."""
    values, means = {}, {}
    for source, panel in sources.items():
        extreme, valid = extremes(panel)
        hour = panel.time[:, 1 : 1 + extreme.shape[1]] // HOUR
        values[source] = {}
        for index, symbol in enumerate(panel.symbols):
            rows = panel.symbol == index
            inside = valid[rows]
            cell = hour[rows][inside].unique(return_inverse=True)[1]
            counts = torch.bincount(cell, extreme[rows][inside].double()) if len(cell) else panel.volume.new_zeros(0)
            values[source][symbol] = {
                "mean_extreme_count": counts.mean().item(),
                "var_extreme_count": counts.var().item() if len(counts) > 1 else torch.nan,
                "fano_factor": estimators.fano_factor(counts, counts.new_ones((1, len(counts)))).item(),
            }
        factors = torch.tensor([v["fano_factor"] for v in values[source].values()], dtype=torch.float64)
        means[source] = estimators.mean_over_symbols(factors).item()
    return {"axis": None, "statistic": "fano_factor", "values": values, "mean_over_symbols": means}


def _distribution(sources: dict[str, Panel]) -> dict:
    """Paths by start date and by symbol; a replay and the rollouts that bear its number count once."""
    per_date: dict[str, int] = {}
    per_symbol: dict[str, int] = {}
    panel = max(sources.values(), key=lambda panel: len(panel.symbol))
    for symbol, time in zip(panel.symbol.tolist(), panel.time[:, 0].tolist(), strict=True):
        date = str(np.datetime64(time, "ns").astype("datetime64[D]"))
        per_date[date] = per_date.get(date, 0) + 1
        per_symbol[panel.symbols[symbol]] = per_symbol.get(panel.symbols[symbol], 0) + 1
    return {"rollouts_per_date": dict(sorted(per_date.items())), "rollouts_per_symbol": per_symbol}
