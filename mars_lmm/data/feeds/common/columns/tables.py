"""Tables of named columns, CSV or parquet, read part by part; what cannot be read goes to the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.common.columns.delimited import CsvForm, read_csv
from mars_lmm.data.feeds.common.columns.fields import Fields
from mars_lmm.data.feeds.common.columns.parquet import PARQUET, read_parquet
from mars_lmm.data.feeds.common.files import RawFile
from mars_lmm.data.ledger import RAISE, UNREADABLE, Ledger

CSV = ".csv"


def read_table(file: RawFile, wanted: Sequence[str], ledger: Ledger, form: CsvForm | None = None) -> Iterator[Fields]:
    """Read some columns of a table.

    Args:
        file: Parquet if its name says so, else CSV.
        wanted: The columns' names, each once; of columns of one name the first counts.
        ledger: Takes rows, and files, that cannot be read.
        form: How a CSV file is written.

    Yields:
        The rows in order; those of a CSV file are numbered as an editor counts lines.

    Raises:
        DataError: A row or the file cannot be read, and the ledger says that this is an error.
    """
    with refusing(file, ledger):
        if file.name.lower().endswith(PARQUET):
            yield from read_parquet(file, wanted, ledger)
        else:
            yield from read_csv(file, wanted, form or CsvForm(), ledger)


@contextmanager
def refusing(file: RawFile, ledger: Ledger) -> Iterator[None]:
    """Refuse what is left of a file when it turns out to be unreadable.

    Raises:
        DataError: So it does, and the ledger says that this is an error.
    """
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        ledger.refuse(file, None, UNREADABLE, str(error).partition("\n")[0])
    except DataError as error:
        if ledger.on_error == RAISE:
            raise
        ledger.refuse(file, None, UNREADABLE, error.reason)
