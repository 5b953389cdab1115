"""Split tables of Shanghai level 2: one CSV file of orders and one of trades, with a header.

Column names are those of DolphinDB's samples. `ApplSeqNum` is one sequence over both files.
"""

from __future__ import annotations

import re
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.lobster_files import CsvFile
from mars_lmm.data.feeds.sse_messages import ADD, DELETE, TRADE, Messages, in_order, refuse
from mars_lmm.market import types as t

TEXT, TIME, INTEGER, DECIMAL = pa.string(), pa.time64("ns"), pa.int64(), pa.float64()
PATTERNS = {
    TEXT: (re.compile(r".+"), "text"),
    TIME: (re.compile(r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?"), "a time HH:MM:SS.mmm"),
    INTEGER: (re.compile(r"-?\d{1,18}"), "an integer"),
    DECIMAL: (re.compile(r"-?\d+(\.\d*)?"), "a decimal number"),
}
KEY = {"MDDate": TEXT, "SecurityID": TEXT}
ORDER_COLUMNS = {
    **KEY,
    "MDTime": TIME,
    "OrderType": INTEGER,
    "OrderPrice": DECIMAL,
    "OrderQty": INTEGER,
    "OrderBSFlag": INTEGER,
    "ChannelNo": INTEGER,
    "ApplSeqNum": INTEGER,
    "OrderNO": INTEGER,
}
TRADE_COLUMNS = {
    **KEY,
    "MDTime": TIME,
    "TradeBuyNo": INTEGER,
    "TradeSellNo": INTEGER,
    "TradeBSFlag": INTEGER,
    "TradePrice": DECIMAL,
    "TradeQty": INTEGER,
    "ChannelNo": INTEGER,
    "ApplSeqNum": INTEGER,
}
ORDER_TYPES = {2: ADD, 10: DELETE}
SIDES = {1: t.BUY, 2: t.SELL}
AGGRESSORS = {**SIDES, 0: t.NO_SIDE}

TICKS_PER_YUAN = 100
MAX_PRICE = t.MAX_PRICE // TICKS_PER_YUAN
SUFFIX = ".SH"  # some vendors' of the symbol
FIRST_ROW = 2  # the header is row 1


def stock_days(file: CsvFile) -> list[tuple[str, str]]:
    """The (symbol, ISO date) pairs in a file of orders or trades."""
    table = _parse(file, KEY)
    pairs = table.group_by(["SecurityID", "MDDate"]).aggregate([]).to_pylist()
    return sorted((pair["SecurityID"].removesuffix(SUFFIX), pair["MDDate"].replace(".", "-")) for pair in pairs)


def read(orders: CsvFile, trades: CsvFile, symbol: str, date: str) -> Messages:
    """One stock-day's messages.

    Args:
        orders: The file of orders.
        trades: The file of trades.
        symbol: The stock.
        date: ISO date.

    Raises:
        DataError: A file is damaged; names the row and what is wrong with it.
    """
    placed = _Rows(orders, ORDER_COLUMNS, symbol, date)
    traded = _Rows(trades, TRADE_COLUMNS, symbol, date)
    buys = placed.coded("OrderBSFlag", SIDES) == t.BUY
    ids = placed.positive("OrderNO")
    columns = (
        (placed.coded("OrderType", ORDER_TYPES), np.full(len(traded.rows), TRADE)),
        (placed.positive("ApplSeqNum"), traded.positive("ApplSeqNum")),
        (placed.column("MDTime"), traded.column("MDTime")),
        (np.where(buys, t.BUY, t.SELL), traded.coded("TradeBSFlag", AGGRESSORS)),
        (placed.ticks("OrderPrice"), traded.ticks("TradePrice")),
        (placed.positive("OrderQty"), traded.positive("TradeQty")),
        (np.where(buys, ids, 0), traded.positive("TradeBuyNo")),
        (np.where(buys, 0, ids), traded.positive("TradeSellNo")),
    )
    channels = np.concatenate([placed.column("ChannelNo"), traded.column("ChannelNo")])
    return in_order(f"{orders} and {trades}, {symbol} {date}", channels, Messages(*map(np.concatenate, columns)))


class _Rows:
    """One stock-day's rows of a file.

    Attributes:
        source: The file.
        rows: int64[N], their numbers in the file, counted from 1.
    """

    def __init__(self, file: CsvFile, columns: dict[str, pa.DataType], symbol: str, date: str):
        table = _parse(file, columns)
        own = pc.and_(
            _is_one_of(table["SecurityID"], symbol, symbol + SUFFIX),
            _is_one_of(table["MDDate"], date, date.replace("-", ".")),
        )
        self.source = str(file)
        self.rows = np.flatnonzero(own.to_numpy()) + FIRST_ROW
        self._table = table.filter(own)

    def column(self, name: str) -> np.ndarray:
        """A column's values, [N]; times as integer nanoseconds."""
        column = self._table[name]
        return (column.cast(pa.int64()) if column.type == TIME else column).to_numpy()

    def positive(self, name: str) -> np.ndarray:
        """A column of integers above 0, int64[N]."""
        value = self.column(name)
        refuse(self.source, self.rows, value <= 0, f"{name} {{}} is not positive", value)
        return value

    def coded(self, name: str, codes: dict[int, int]) -> np.ndarray:
        """A column's values translated by `codes`, int64[N]."""
        value = self.column(name)
        listed = ", ".join(map(str, codes))
        refuse(self.source, self.rows, ~np.isin(value, list(codes)), f"{name} {{}} is not one of {listed}", value)
        return np.select([value == code for code in codes], list(codes.values()))

    def ticks(self, name: str) -> np.ndarray:
        """A column of prices in ticks, int64[N]; the files hold them as floats (15.929999999999999)."""
        value = self.column(name)
        fault = ~((value > 0) & (value < MAX_PRICE))
        refuse(self.source, self.rows, fault, f"{name} {{}} is no price", value)
        ticks = np.rint(value * TICKS_PER_YUAN)
        off = np.abs(ticks - value * TICKS_PER_YUAN) > 1e-6
        refuse(self.source, self.rows, off, f"{name} {{}} is off the tick of 0.01", value)
        return ticks.astype(np.int64)


def _is_one_of(column: pa.ChunkedArray, *texts: str) -> pa.ChunkedArray:
    return pc.is_in(column, pa.array(texts))


def _parse(file: CsvFile, columns: dict[str, pa.DataType]) -> pa.Table:
    """Parse some columns of a file; strict, so that nothing is guessed or dropped."""
    data = file.read()
    try:
        return csv.read_csv(
            pa.BufferReader(data),
            parse_options=csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(
                include_columns=list(columns), column_types=columns, null_values=[], strings_can_be_null=False
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        _explain(file, data, columns, error)


def _explain(file: CsvFile, data: bytes, columns: dict[str, pa.DataType], error: pa.ArrowException) -> NoReturn:
    """Find the row that the fast parser refused, and raise what is wrong with it."""
    header, *lines = data.decode("utf-8-sig", errors="replace").splitlines()
    names = header.split(",")
    missing = [name for name in columns if name not in names]
    if missing:
        raise DataError(str(file), f"the header lacks {', '.join(missing)}", 1)
    for row, line in enumerate(lines, start=FIRST_ROW):
        values = line.split(",")
        if len(values) != len(names):
            raise DataError(str(file), f"{len(values)} columns instead of {len(names)}", row)
        for name, value in zip(names, values, strict=True):
            if name in columns and not PATTERNS[columns[name]][0].fullmatch(value):
                raise DataError(str(file), f"{name}: {value!r} is not {PATTERNS[columns[name]][1]}", row)
    raise DataError(str(file), str(error)) from error
