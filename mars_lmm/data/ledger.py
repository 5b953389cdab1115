"""The ledger of a reading: what was counted, and which rows were refused and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mars_lmm.data.errors import DataError

RAISE, SKIP = "raise", "skip"
UNREADABLE = "unreadable file"  # a reason that many feeds and the pipeline have
MAX_HELD = 50_000  # rejections, before they are spilled


@dataclass(frozen=True)
class Rejection:
    """A row that was left out.

    Attributes:
        source: The file.
        row: Its row, counted from 1; of binary files the message. None: the file as a whole, from some place on.
        reason: The kind of fault, the same for all rows alike: "price off the tick".
        detail: What is wrong with this row.
    """

    source: str
    row: int | None
    reason: str
    detail: str


@dataclass
class Ledger:
    """Counts what is read, and settles what becomes of bad rows.

    Attributes:
        on_error: "raise": the first bad row is an error. "skip": bad rows are left out, and listed.
        spill: Takes over the rejections when there are many, and empties the list; None: all are kept.
        counts: What the feed held and how it was read (messages by type, unknown ids, ...).
        rejections: The rows that were left out, less those spilled.
        reasons: How many rows were left out, by reason.
    """

    on_error: str = RAISE
    spill: Callable[[list[Rejection]], None] | None = None
    counts: Counter[str] = field(default_factory=Counter)
    rejections: list[Rejection] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def summary(self) -> str:
        """How many rows were left out for which reason, in words; empty if none was."""
        return ", ".join(f"{reason} ({count:,})" for reason, count in self.reasons.items())

    def refuse(self, source: Any, row: int | None, reason: str, detail: str) -> None:
        """Refuse one row.

        Args:
            source: The file.
            row: Its row, counted from 1; None for the file from some place on.
            reason: The kind of fault.
            detail: What is wrong with this row and, where it helps, what to do.

        Raises:
            DataError: Bad rows are errors.
        """
        if self.on_error == RAISE:
            raise DataError(str(source), f"{reason}: {detail}", row)
        self.rejections.append(Rejection(str(source), row, reason, detail))
        self.reasons[reason] += 1
        if self.spill is not None and len(self.rejections) >= MAX_HELD:
            self.spill(self.rejections)

    def check(
        self, source: Any, rows: np.ndarray, fault: np.ndarray, reason: str, detail: str, values: np.ndarray
    ) -> np.ndarray:
        """Refuse the rows at fault.

        Args:
            source: The file.
            rows: int64[N], the rows' numbers, counted from 1.
            fault: bool[N].
            reason: The kind of fault.
            detail: What is wrong; shows a row's value at {}.
            values: [N].

        Returns:
            `fault`, so that checks can be joined.

        Raises:
            DataError: Bad rows are errors.
        """
        for i in np.flatnonzero(fault).tolist():
            self.refuse(source, int(rows[i]), reason, detail.format(values[i]))
        return fault
