"""A batch of rollouts down to its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from mars_lmm.market import types as t
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine.rollout_engine import RolloutEngine
from mars_lmm.simulation.engine.shrinking import run_to_end
from mars_lmm.simulation.output.depth import DepthSampler
from mars_lmm.simulation.output.ends import accounts_table, ends_table
from mars_lmm.simulation.output.spool import Spool
from mars_lmm.simulation.output.trajectories import write_fills, write_rollouts
from mars_lmm.tokenizers.observation import TAPE_COLUMNS

ROLLOUTS, ENDS, DEPTH = "rollouts.parquet", "ends.parquet", "depth.parquet"
FILLS, ACCOUNTS = "fills.parquet", "accounts.parquet"
_KIND = TAPE_COLUMNS.index("kind")


def record_batch(
    engine: RolloutEngine,
    start: np.ndarray,
    rollout: np.ndarray,
    watched: Sequence[int],
    folder: Path,
    on_chunk: Callable[[RolloutEngine, int], None],
) -> dict[str, Any]:
    """Run a batch to its end and write what happened.

    Args:
        engine: Before its first step.
        start: int[B], the start of each rollout, ascending.
        rollout: int[B], its number among the rollouts of that start, ascending.
        watched: The books whose depth is recorded.
        folder: Where to write `rollouts.parquet`, `ends.parquet`, `depth.parquet`, and with agents `fills.parquet` and
            `accounts.parquet`.
        on_chunk: Called with the engine and the number of new orders whenever some are there.

    Returns:
        `orders` by source and kind, `outcomes` of orders by source, and how many `trades` there were.
    """
    trades_before = int(engine.batch.market.books[:, t.NUM_TRADES].sum())
    orders = np.zeros((1 + len(engine.seats), t.NUM_KINDS), dtype=np.int64)
    depth = DepthSampler(engine.batch, watched)
    with ExitStack() as scratch:
        rows = scratch.enter_context(Spool(folder / "rows.spool", c.NUM_ROW))
        fills = scratch.enter_context(Spool(folder / "fills.spool", c.NUM_FILL))
        for chunk in run_to_end(engine, depth.after_step):
            by_book = chunk.rows.transpose(1, 0, 2)
            made = by_book[..., c.ROW_SOURCE] != c.NOBODY
            rows.add(by_book, made)
            fills.add(chunk.fills, np.arange(chunk.fills.shape[1]) < chunk.num_fills[:, None])
            np.add.at(orders, (by_book[made][:, c.ROW_SOURCE], by_book[made][:, _KIND]), 1)
            on_chunk(engine, int(made.sum()))
        write_rollouts(rows, start, rollout, folder / ROLLOUTS)
        if engine.seats:
            write_fills(fills, start, rollout, folder / FILLS)
            pq.write_table(accounts_table(engine, start, rollout), folder / ACCOUNTS)
    pq.write_table(ends_table(engine, start, rollout), folder / ENDS)
    pq.write_table(depth.table(start, rollout), folder / DEPTH)
    return {
        "orders": orders.tolist(),
        "outcomes": engine.batch.rollout.outcomes.sum(dim=0).tolist(),
        "trades": int(engine.batch.market.books[:, t.NUM_TRADES].sum()) - trades_before,
    }
