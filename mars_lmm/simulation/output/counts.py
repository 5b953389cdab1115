"""What a simulation came to: counts over all its batches, and the table that a terminal shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mars_lmm.market import types as t
from mars_lmm.simulation.engine import columns as c

MODEL_NAME = "model"
TRADED = ("bought", "sold")


def summarize(
    batches: Sequence[Mapping[str, Any]], ends: pa.Table, agents: Sequence[str], accounts: pa.Table | None = None
) -> dict[str, Any]:
    """Counts for `simulation.json`.

    Args:
        batches: Of each batch, what `record_batch` counted, and its `seconds`.
        ends: One row a rollout, of `mars_lmm.simulation.output.ends.ENDS_SCHEMA`.
        agents: Their names, in the order of their numbers.
        accounts: One row a rollout and agent, of `ACCOUNTS_SCHEMA` there; None without agents.

    Returns:
        `orders`, `by_kind` (orders by source and kind), `trades`, `rejected` (the model's orders by reason),
        `rejected_agents` (by agent and reason), `traded` (by agent: units `bought` and `sold`), `ended` (rollouts by
        reason), `fills_lost`, `seconds`, summed over batches, and `orders_per_second` of one process.
    """
    sources = (MODEL_NAME, *agents)
    orders = np.sum([batch["orders"] for batch in batches], axis=0)
    outcomes = np.sum([batch["outcomes"] for batch in batches], axis=0)
    seconds = sum(batch["seconds"] for batch in batches)
    rejected = {source: _named(row[1:], t.OUTCOMES[1:]) for source, row in zip(sources, outcomes, strict=True)}
    reasons = ends["reason"].to_pylist()
    traded = {agent: dict.fromkeys(TRADED, 0) for agent in agents}
    for account in accounts.to_pylist() if accounts is not None else ():
        for side in TRADED:
            traded[account["name"]][side] += account[side]
    return {
        "orders": int(orders.sum()),
        "by_kind": {source: _named(row, t.KINDS) for source, row in zip(sources, orders, strict=True)},
        "trades": sum(batch["trades"] for batch in batches),
        "rejected": rejected[MODEL_NAME],
        "rejected_agents": {agent: rejected[agent] for agent in agents},
        "traded": traded,
        "ended": {reason: reasons.count(reason) for reason in c.ENDS if reason in reasons},
        "fills_lost": sum(ends["fills_lost"].to_pylist()),
        "seconds": seconds,
        "orders_per_second": int(orders.sum()) / seconds,
    }


def rejected_by_start(ends: pa.Table, starts: int) -> list[dict[str, int]]:
    """Of each start, how many orders of the model (`rejected`) and of agents (`rejected_agents`) were rejected."""
    return [
        {key: pc.sum(rows[key]).as_py() for key in ("rejected", "rejected_agents")}
        for rows in (ends.filter(pc.field("start") == number) for number in range(starts))
    ]


def _named(counts: Sequence[int], names: Sequence[str]) -> dict[str, int]:
    return {name: int(count) for name, count in zip(names, counts, strict=True) if count}


def table(manifest: Mapping[str, Any]) -> str:
    """The counts of a `simulation.json`, for a terminal: a column a source."""
    rejected = {MODEL_NAME: manifest["rejected"]} | manifest["rejected_agents"]
    rows = [("", list(rejected))]
    for title, counts in (("orders", manifest["by_kind"]), ("rejected", rejected)):
        rows += _rows(title, list(counts.values()))
    for side in TRADED if manifest["traded"] else ():
        rows.append((f"units {side}", ["", *(f"{traded[side]:,}" for traded in manifest["traded"].values())]))
    label = max(len(name) for name, _ in rows) + 2
    widths = [max(len(row[column]) for _, row in rows) + 2 for column in range(len(rejected))]
    lines = [
        name.ljust(label) + "".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for name, row in rows
    ]
    lines.append(f"{'trades'.ljust(label)}{manifest['trades']:>{widths[0]},}")
    lines.append(f"{'rollouts'.ljust(label)}{sum(manifest['ended'].values()):>{widths[0]},}")
    lines += [f"{f'  {reason}'.ljust(label)}{count:>{widths[0]},}" for reason, count in manifest["ended"].items()]
    return "\n".join(lines)


def _rows(title: str, counts: Sequence[Mapping[str, int]]) -> list[tuple[str, list[str]]]:
    """The sums, and below them what they consist of."""
    names = sorted({name for named in counts for name in named}, key=lambda name: -sum(n.get(name, 0) for n in counts))
    parts = [(f"  {name}", [f"{named.get(name, 0):,}" for named in counts]) for name in names]
    return [(title, [f"{sum(named.values()):,}" for named in counts]), *parts]


def troubles(manifest: Mapping[str, Any]) -> list[str]:
    """What went wrong, in sentences; empty if nothing did."""
    told = []
    unplanned = {reason: count for reason, count in manifest["ended"].items() if reason not in c.PLANNED_ENDS}
    if unplanned:
        reasons = ", ".join(f"{count:,} by {reason}" for reason, count in unplanned.items())
        told.append(
            f"{sum(unplanned.values()):,} of {sum(manifest['ended'].values()):,} rollouts ended before their time: "
            f"{reasons}; ends.parquet tells which and when"
        )
    if manifest["fills_lost"]:
        told.append(
            f"{manifest['fills_lost']:,} fills of agents are not in fills.parquet: more came in one step, or between "
            "two flushes, than there was room for; accounts.parquet has counted them"
        )
    return told
