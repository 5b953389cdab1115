"""Errors that name the file, the row and the reason."""

from __future__ import annotations

from pathlib import Path


class DataError(ValueError):
    """Input that cannot be used.

    Args:
        source: The file (or the member of an archive) at fault.
        reason: What is wrong and, where it helps, what to do.
        row: The row at fault, counted from 1 as an editor does; None for the file as a whole.
    """

    def __init__(self, source: Path | str, reason: str, row: int | None = None):
        where = f"{source}, row {row}" if row is not None else str(source)
        super().__init__(f"{where}: {reason}")
        self.source = str(source)
        self.row = row
        self.reason = reason

    def __reduce__(self) -> tuple:
        # Errors travel between processes; what is raised there is raised here.
        return DataError, (self.source, self.reason, self.row)
