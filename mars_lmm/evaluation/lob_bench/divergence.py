"""How the L1 distance of each score grows with the number of messages since the start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from mars_lmm.evaluation.lob_bench.columns import Columns
from mars_lmm.evaluation.lob_bench.distances import Draws, compare, distance_interval
from mars_lmm.evaluation.lob_bench.scores import OFI_SCORES, SCORES, Sample

HORIZON = 100  # messages of a block


class Blocks:
    """Sequences cut into blocks of `HORIZON` messages.

    Args:
        columns: The sequences, uncut.

    Attributes:
        sequences: How many sequences have each block in full, int64[blocks]. Blocks that less than half of them have
            are left out.
    """

    def __init__(self, columns: Columns):
        lengths = np.diff(columns.offsets)
        num_pieces = -(-lengths // HORIZON)  # the last of a sequence may be short
        self._origin = np.repeat(np.arange(len(lengths)), num_pieces)
        self._number = np.arange(len(self._origin)) - np.repeat(np.cumsum(num_pieces) - num_pieces, num_pieces)
        begins = columns.offsets[self._origin] + HORIZON * self._number
        complete = np.bincount(lengths // HORIZON)  # sequences by how many blocks they have in full
        have = np.cumsum(complete[::-1])[::-1][1:]
        self.sequences = have[2 * have >= len(lengths)]
        self._whole = columns
        pieces = replace(
            columns.sequences,
            offsets=np.append(begins, columns.offsets[-1]),
            start=columns.sequences.start[self._origin],
        )
        self._cut = Columns(pieces, columns.levels)
        self._full = np.diff(pieces.offsets) == HORIZON

    def samples(self, name: str) -> Iterator[Sample]:
        """The values of a score in each block, with the sequence that was cut.

        Blocks are scored apart. The imbalance of order flow looks back on as many messages as a block has, so its
        values are those of the uncut sequence that belong to the block: the first block has none.
        """
        columns = self._whole if name in OFI_SCORES else self._cut
        values, _, row = SCORES[name].sample(columns)
        piece = self._cut.sequence[row]
        number = np.where(self._full[piece], self._number[piece], -1)
        order = np.argsort(number, kind="stable")
        borders = np.searchsorted(number[order], np.arange(len(self.sequences) + 1))
        for first, last in pairwise(borders):
            chosen = order[first:last]
            yield Sample(values[chosen], self._origin[piece[chosen]], row[chosen])


def divergence(name: str, real: Sample, generated: Blocks, draws: Draws) -> dict[str, list[float]]:
    """L1 of all real values and each generated block, with intervals; bins are made from the two.

    Returns:
        `l1`, `low` and `high`, each [blocks].
    """
    curve = {"l1": [], "low": [], "high": []}
    for block in generated.samples(name):
        loss = compare(real, block, SCORES[name].bins, draws).l1
        if name in OFI_SCORES and not len(block.values):
            loss = np.full_like(loss, np.nan)  # for want of history, no fault of the model
        for key, value in zip(curve, (float(loss[0]), *distance_interval(loss)), strict=True):
            curve[key].append(value)
    return curve


def reference(name: str, real: Sample, blocks: Blocks, draws: np.ndarray) -> dict[str, list[float]]:
    """The same for the real sequences' own blocks, drawn by bootstrap: what a perfect model would reach."""
    return divergence(name, real, blocks, Draws(np.ones_like(draws), draws))
