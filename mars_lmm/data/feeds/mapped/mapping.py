"""A mapping: what the columns of somebody's own table of orders mean, as a YAML file says it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.common.by_order import messages as m
from mars_lmm.data.feeds.common.columns.dates import NO_DAY, day_number
from mars_lmm.data.feeds.common.columns.times import CLOCK, FORMATS, ISO
from mars_lmm.data.feeds.common.value_types import check_types
from mars_lmm.market import types as t
from mars_lmm.market.quantities import decimal
from mars_lmm.paths import CONF

PACKAGED = {file.stem: file for file in sorted(Path(CONF, "mapping").glob("*.yaml"))}
MESSAGES, ORDERS = "messages", "orders"
SORTED_BY = "sorted_by"
IGNORE = -2
NUMBERS = {"price_unit", "size_unit"}  # which need no quotes
KINDS = {
    MESSAGES: {
        "new": m.NEW,
        "reduce": m.REDUCE,
        "delete": m.DELETE,
        "execute": m.EXECUTE,
        "execute_hidden": m.EXECUTE_HIDDEN,
        "cross": m.CROSS,
        "halt": m.HALT,
        "clear": m.CLEAR,
        "uncross": m.UNCROSS,
        "ignore": IGNORE,
    },
    ORDERS: {kind: number for number, kind in enumerate(t.KINDS[: t.HALT])} | {"ignore": IGNORE},
}
SIDES = {"buy": t.BUY, "sell": t.SELL, "untold": t.NO_SIDE}


@dataclass
class ColumnNames:
    """Where things are."""

    time: str = MISSING
    """When it happened, or was submitted."""
    kind: str = MISSING
    """What happened, or was submitted; see `kinds`."""
    side: str = MISSING
    """Whose order it is about; see `sides`."""
    price: str = MISSING
    """Price of the order, or of the execution."""
    size: str = MISSING
    """How much."""
    order_id: str = MISSING
    """The order's id, an integer."""
    symbol: str | None = None
    """The instrument."""
    date: str | None = None
    """The trading day, YYYY-MM-DD or YYYYMMDD."""
    owner: str | None = None
    """Who sent the order, an integer; orders only."""


@dataclass
class TimeForm:
    """How times are written."""

    format: str = "seconds"
    """seconds, milliseconds, microseconds or nanoseconds since midnight; epoch_seconds, ... since 1970-01-01 UTC;
    hhmmss, hhmmsscc, hhmmssmmm; iso; or clock, as Chinese vendors write times. Timestamps of a parquet file tell by
    themselves."""
    zone: str = "UTC"
    """The exchange's time zone, for times that count from UTC."""

    def __post_init__(self):
        if self.format not in FORMATS:
            raise ValueError(f"time.format={self.format!r}: choose {', '.join(FORMATS)}")
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"time.zone={self.zone!r}: no such time zone; write, say, America/New_York") from None


@dataclass
class FileMapping:
    """What the columns of a table mean."""

    view: str = MISSING
    """messages: what happened to orders in the book; orders: what participants submitted."""
    columns: ColumnNames = field(default_factory=ColumnNames)
    """Where things are: names of columns."""
    kinds: dict[str, str] = MISSING
    """What the values of the kind column mean. Of messages: new, reduce, delete, execute, execute_hidden, cross, halt,
    clear or uncross; of orders: limit, market, cancel, ... as `mars_lmm.market.types.KINDS`; or ignore."""
    sides: dict[str, str] = MISSING
    """What the values of the side column mean: buy, sell or untold."""
    time: TimeForm = field(default_factory=TimeForm)
    """How times are written."""
    price_unit: str = "1"
    """Currency in a price of 1: "0.0001" where prices count hundredths of a cent."""
    size_unit: str = "1"
    """The smallest size: "0.00000001" where sizes have eight decimals. Order flow counts in it."""
    symbol: str | None = None
    """The instrument, where no column tells."""
    date: str | None = None
    """The trading day, where neither a column nor the time tells."""
    path_pattern: str | None = None
    """A regular expression that finds them in the file's path: (?P<symbol>[A-Z]+)_(?P<date>[0-9-]+)."""
    delimiter: str = ","
    """Between the values of a CSV file."""
    names: list[str] = field(default_factory=list)
    """The columns of a CSV file without a header."""
    sorted_by: str | None = None
    """A column of integers that never falls from row to row, such as a sequence number."""

    def __post_init__(self):
        if self.view not in KINDS:
            raise ValueError(f"view={self.view!r}: choose {MESSAGES} or {ORDERS}")
        for key, words in (("kinds", KINDS[self.view]), ("sides", SIDES)):
            for value, word in getattr(self, key).items():
                if word not in words:
                    raise ValueError(f"{key}.{value}={word!r}: choose {', '.join(words)}")
        for key in sorted(NUMBERS):
            if not 0 < decimal(key, getattr(self, key)) <= 10**9:
                raise ValueError(f"{key}={getattr(self, key)}: must be positive, and at most a billion")
        if len(self.delimiter.encode()) != 1 or self.delimiter in '"\n\r':
            raise ValueError(f"delimiter={self.delimiter!r}: must be one character, and no quote or line end")
        if self.columns.owner and self.view != ORDERS:
            raise ValueError("columns.owner: messages about resting orders have no owner; view=orders has")
        self._check_session()

    def _check_session(self) -> None:
        try:
            told = set(re.compile(self.path_pattern or "").groupindex)
        except re.error as error:
            raise ValueError(f"path_pattern={self.path_pattern!r}: {error}") from error
        if not (self.columns.symbol or self.symbol or "symbol" in told):
            raise ValueError("symbol: name it, or columns.symbol, or a path_pattern with (?P<symbol>...)")
        if self.date is not None and day_number(self.date) == NO_DAY:
            raise ValueError(f"date={self.date!r}: write YYYY-MM-DD")
        dated = self.time.format in (ISO, CLOCK) or self.time.format.startswith("epoch_")
        if not (self.columns.date or self.date or "date" in told or dated):
            raise ValueError("date: name it, or columns.date, or a path_pattern with (?P<date>...)")

    @property
    def names_by_role(self) -> dict[str, str]:
        """The table's columns by what they hold: the names of `Columns`, and `SORTED_BY`."""
        names = vars(self.columns) | {SORTED_BY: self.sorted_by}
        return {role: name for role, name in names.items() if name}

    @property
    def kind_codes(self) -> dict[str, int]:
        """What the values of the kind column mean, as integers."""
        return {code: KINDS[self.view][word] for code, word in self.kinds.items()}

    @property
    def side_codes(self) -> dict[str, int]:
        """What the values of the side column mean, as integers."""
        return {code: SIDES[word] for code, word in self.sides.items()}

    @property
    def units_per_size(self) -> Fraction:
        """Units of size in a size of 1."""
        return 1 / Fraction(decimal("size_unit", self.size_unit))


def plain_values(mapping: FileMapping) -> dict[str, Any]:
    """What a YAML file of a mapping would hold, without what it leaves open."""
    return _told(asdict(mapping))


def _told(values: dict[str, Any]) -> dict[str, Any]:
    values = {key: _told(value) if isinstance(value, dict) else value for key, value in values.items()}
    return {key: value for key, value in values.items() if value not in (None, [])}


def load_mapping(mapping: str | Path | Mapping[str, Any]) -> FileMapping:
    """Read and check a mapping.

    Args:
        mapping: A YAML file, the name of one in `conf/mapping`, the text of one in braces, or what it would hold.

    Raises:
        DataError: The file cannot be read, a key is unknown or missing, or a value is not what it must be.
    """
    text = str(mapping) if isinstance(mapping, str | Path) else ""
    source = "mapping" if not text or text.startswith("{") else Path(PACKAGED.get(text, text))
    try:
        values = OmegaConf.load(source) if isinstance(source, Path) else OmegaConf.create(text or dict(mapping))
        if not OmegaConf.is_dict(values):
            raise ValueError("a mapping holds keys and values")
        values = OmegaConf.to_container(values)
        for key in ("kinds", "sides"):
            values[key] = _by_text(key, values.get(key))
        for key in NUMBERS & values.keys():
            if type(values[key]) in (int, float):
                values[key] = str(values[key])
        check_types(FileMapping, values)
        schema = OmegaConf.structured(FileMapping)
        for key, value in values.items():
            OmegaConf.update(schema, str(key), value)
        return OmegaConf.to_object(schema)
    except OmegaConfBaseException as error:
        # The first line says what is wrong; the rest is about OmegaConf's classes.
        raise DataError(source, f"{error.full_key}: {str(error).splitlines()[0]}") from error
    except FileNotFoundError as error:
        raise DataError(source, f"no such file, nor a mapping of that name; there are {', '.join(PACKAGED)}") from error
    except (ValueError, TypeError, OSError, YAMLError) as error:
        raise DataError(source, str(error)) from error


def _by_text(key: str, words: Any) -> dict[str, Any]:
    """Codes as the file has them: YAML takes 1 for a number, and on, off, yes and no for truth values."""
    if not isinstance(words, dict):
        raise ValueError(f"{key}: say what each value of the column means, such as A: ...")
    if any(isinstance(code, bool) for code in words):
        raise ValueError(f"{key}: YAML takes a code for true or false; put it in quotes")
    return {str(code): word for code, word in words.items()}
