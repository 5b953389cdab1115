"""LOB-Bench over all symbols: names of its scores, and means over symbols with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

FLOOR = "floor"
LABELS = {
    "spread": "spread",
    "orderbook_imbalance": "imbalance at the touch",
    "log_inter_arrival_time": "log time between messages",
    "log_time_to_cancel": "log time to cancel",
    "ask_volume_touch": "ask volume at the touch",
    "bid_volume_touch": "bid volume at the touch",
    "ask_volume": "ask volume, all levels",
    "bid_volume": "bid volume, all levels",
    "limit_ask_order_depth": "new asks: distance from mid",
    "limit_bid_order_depth": "new bids: distance from mid",
    "ask_cancellation_depth": "cancelled asks: distance from mid",
    "bid_cancellation_depth": "cancelled bids: distance from mid",
    "limit_ask_order_levels": "new asks: level",
    "limit_bid_order_levels": "new bids: level",
    "ask_cancellation_levels": "cancelled asks: level",
    "bid_cancellation_levels": "cancelled bids: level",
    "vol_per_min": "traded volume per minute",
    "ofi": "order flow imbalance (OFI)",
    "ofi_up": "OFI before the mid rises",
    "ofi_stay": "OFI before the mid stays",
    "ofi_down": "OFI before the mid falls",
    "ask_volume | spread": "ask volume, given spread",
    "spread | time": "spread, given time of day",
    "spread | volatility": "spread, given volatility",
}

Estimate = dict[str, float | None]  # value, low, high


def estimate(found: dict, key: str) -> Estimate:
    """The number `key` with its interval, as LOB-Bench writes them."""
    return {"value": found[key], "low": found[f"{key}_low"], "high": found[f"{key}_high"]}


def mean_over_symbols(estimates: Iterable[Estimate]) -> Estimate:
    """The mean of independent numbers; its interval adds the symbols' in quadrature. Missing ones are left out."""
    table = np.array([[found[end] for end in ("value", "low", "high")] for found in estimates], dtype=np.float64)
    table = table[np.isfinite(table[:, 0])] if len(table) else table.reshape(0, 3)
    if not len(table):
        return dict.fromkeys(("value", "low", "high"))
    value, low, high = table.T
    reach = [np.sqrt(np.square(end - value).sum()) / len(table) for end in (low, high)]
    mean = value.mean()
    numbers = {"value": mean, "low": mean - reach[0], "high": mean + reach[1]}
    return {end: float(number) if np.isfinite(number) else None for end, number in numbers.items()}


def over_symbols(lob_bench: dict, source: str, pick: Callable[[dict], Estimate]) -> Estimate:
    """The mean over symbols of one number of a source's reports.

    Args:
        lob_bench: The content of `lob_bench.json`.
        source: The source.
        pick: Takes the number from a report.
    """
    reports = (of_symbol["models"].get(source) for of_symbol in lob_bench["symbols"].values())
    return mean_over_symbols(pick(report) for report in reports if report)


def score_rows(lob_bench: dict, kind: str = "l1") -> list[dict]:
    """Every score of every source and of the floor.

    Args:
        lob_bench: The content of `lob_bench.json`.
        kind: The distance, l1 or wasserstein.

    Returns:
        For each score its `name`, `label`, `sources` with an estimate for each, and `floor`, an estimate or None.
    """
    symbols = lob_bench["symbols"].values()
    first = next(iter(next(iter(symbols))["models"].values()))
    rows = []
    for group in ("unconditional", "conditional"):
        for name in first[group]:

            def pick(report: dict, group: str = group, name: str = name) -> Estimate:
                return estimate(report[group][name], kind)

            floors = [pick(of_symbol[FLOOR]) for of_symbol in symbols if of_symbol.get(FLOOR)]
            rows.append(
                {
                    "name": name,
                    "label": LABELS.get(name, name),
                    "sources": {source: over_symbols(lob_bench, source, pick) for source in lob_bench["summary"]},
                    FLOOR: mean_over_symbols(floors) if floors else None,
                }
            )
    return rows
