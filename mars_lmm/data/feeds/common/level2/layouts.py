"""Kinds of level-2 tables, and what vendors call their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mars_lmm.data.feeds.common.columns.delimited import COLUMNS_MISSING, CsvForm, header_of
from mars_lmm.data.feeds.common.files import RawFile
from mars_lmm.data.ledger import Ledger


class Layout(NamedTuple):
    """The columns of a kind of file.

    Attributes:
        name: What the file holds.
        mark: Names of columns of which a file of this kind has all, and no other kind has.
        columns: What vendors call each column, the preferred name first. Case does not matter.
        optional: Columns that may be missing.
    """

    name: str
    mark: tuple[str, ...]
    columns: Mapping[str, Sequence[str]]
    optional: frozenset[str] = frozenset({"date"})

    def find(self, header: Sequence[str], file: RawFile, ledger: Ledger) -> dict[str, str] | None:
        """A file's names of the columns that it has; None if it lacks one, and was refused.

        Raises:
            DataError: It lacks one, and the ledger says that this is an error.
        """
        missing = self.missing(header)
        if missing:
            ledger.refuse(file, 1, COLUMNS_MISSING, f"the header lacks {', '.join(missing)}")
            return None
        return self._known(header)

    def missing(self, header: Sequence[str]) -> list[str]:
        """The columns that a file needs and does not have."""
        found = self._known(header).keys() | self.optional
        return [names[0] for column, names in self.columns.items() if column not in found]

    def _known(self, header: Sequence[str]) -> dict[str, str]:
        """A file's names of our columns, as many as it has."""
        theirs = {name.lower(): name for name in reversed(header)}
        found = {}
        for column, names in self.columns.items():
            known = [theirs[name.lower()] for name in names if name.lower() in theirs]
            if known:
                found[column] = known[0]
        return found


def detect(head: bytes, layouts: Sequence[Layout]) -> Layout | None:
    """The first layout whose marks are in a file's header; None if there is none.

    Args:
        head: How the file begins.
        layouts: What to look for.
    """
    header = {name.lower() for name in _header(head)}
    return next((layout for layout in layouts if header.issuperset(map(str.lower, layout.mark))), None)


def unlike(head: bytes, layouts: Sequence[Layout]) -> str:
    """Why a file that begins so is of none of some layouts, in words."""
    header = _header(head)
    nearest = min(layouts, key=lambda layout: len(layout.missing(header)) / len(layout.columns))
    missing = nearest.missing(header)
    if len(missing) == len(nearest.columns.keys() - nearest.optional):
        return "its first line names no column of such a file"
    return f"its header lacks {', '.join(missing)}, which a file of {nearest.name} has"


def _header(head: bytes) -> list[str]:
    return header_of(head.partition(b"\n")[0], CsvForm())
