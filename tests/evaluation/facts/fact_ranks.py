"""What each of two processes does for test_fact_metric.py: judge its share of the paths with the other's."""

import sys
from pathlib import Path

import torch
from paths import bars, garch_returns, panel

from mars_lmm.evaluation.facts.metric import StylizedFacts
from mars_lmm.evaluation.plain import dumps


def paths():
    """24 starts of 4 rollouts."""
    return panel(bars(garch_returns(96, 20), rollouts_per_start=4))


def update(metric, market, rows):
    metric.update(
        market.price_last[rows], market.volume[rows], market.time[rows], market.symbol[rows], market.start[rows]
    )


def main(folder):
    """Unequal shares: 60 paths in two batches for rank 0, 36 in one for rank 1; then all for 0 and none for 1."""
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    metric, alone, market = StylizedFacts(seed=3), StylizedFacts(seed=3), paths()
    for rows in ((slice(0, 20), slice(20, 60)), (slice(60, 96),))[rank]:
        update(metric, market, rows)
    update(alone, market, slice(0, 96) if rank == 0 else slice(0, 0))
    found = [metric.compute(), alone.compute()]
    (folder / f"rank{rank}.json").write_text(dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
