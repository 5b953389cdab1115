"""Feeds: raw files of a venue or vendor become order flow.

A feed is a module of this package with a class `FEED`; a new one is a new file here and one in `conf/data`. What feeds
share lies in `common`.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import pkgutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mars_lmm.data.feeds.common.files import RawFile
from mars_lmm.data.feeds.common.value_types import check_types
from mars_lmm.data.flow import Session
from mars_lmm.data.ledger import Ledger

FEEDS = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "common")


@dataclass(frozen=True)
class Source:
    """Files that are read together, in one pass.

    Attributes:
        files: The files.
        symbol: The instrument, if the files hold one session.
        date: Its ISO date.
        fault: Why they cannot be read, if that is known: an error, or with `on_error=skip` a rejection.
        foreign: Why they are none of the feed's, though they lie among them: they are left aside, and listed.
    """

    files: tuple[RawFile, ...]
    symbol: str = ""
    date: str = ""
    fault: str = ""
    foreign: str = ""

    def __str__(self) -> str:
        return " and ".join(map(str, self.files))

    @property
    def num_bytes(self) -> int:
        """Bytes on disk."""
        return sum(file.num_bytes for file in self.files)


@dataclass(frozen=True)
class FeedSession:
    """One instrument on one trading day, as a feed has it.

    Attributes:
        symbol: The instrument.
        date: ISO date.
        sources: The sources that hold it.
        records: Of a feed that sorts its files into a spool: the session's files of records there, one a source.
        beside: Sources that have nothing of the session, though they belong to those that have: both hold others of
            the day, or they are empty and lie in the same place.
    """

    symbol: str
    date: str
    sources: tuple[Source, ...]
    records: tuple[Path, ...] = ()
    beside: tuple[Source, ...] = ()

    def __str__(self) -> str:
        return " and ".join(map(str, self.sources))

    @property
    def file_names(self) -> str:
        """The names of the session's files, without their folders."""
        return " and ".join(file.name for source in self.sources for file in source.files)

    @property
    def name(self) -> str:
        """The session's name in messages."""
        return f"{self.symbol}_{self.date}"


@dataclass
class Verification:
    """How a session's feed compares with what our own matching makes of it.

    Attributes:
        counts: `rows`, `compared`, `mismatches`, `unknown_ids` and what else the feed counts; where a name
            ends in `mismatches`, any count above 0 is a failure.
        seconds: Time that the comparison of the rows took, without reading and compiling.
        notes: The first mismatches in words.
    """

    counts: dict[str, int]
    seconds: float
    notes: list[str]


@dataclass
class NoOptions:
    """Options of a feed that has none."""


class Feed(ABC):
    """Reads one kind of files.

    Args:
        options: Settings of the feed, the fields of its `Options`.

    Raises:
        ValueError: An option is unknown, of another type than it must be, or out of range.
    """

    Options: ClassVar[type] = NoOptions
    needs_paths: ClassVar[bool] = True
    """Whether there is nothing to read unless a path is given."""

    def __init__(self, options: Mapping[str, Any] | None = None):
        known = [field.name for field in fields(self.Options)]
        unknown = [name for name in options or {} if name not in known]
        if unknown:
            raise ValueError(f"unknown option {unknown[0]}; this feed has {', '.join(known) or 'none'}")
        check_types(self.Options, options or {})
        self.options = self.Options(**(options or {}))
        self._given = dict(options or {})

    def recipe(self) -> dict[str, Any]:
        """What decides, besides the files, what is read from them; plain values, for JSON.

        A feed of one's own adds the checksum of its module: it may change where this package has another version.
        """
        options = self._given
        if type(self).__module__.startswith(__name__):
            return {"options": options}
        source = inspect.getsource(sys.modules[type(self).__module__])
        return {"options": options, "code": hashlib.sha256(source.encode()).hexdigest()}

    @abstractmethod
    def find_sources(self, paths: Sequence[Path | str]) -> list[Source]:
        """Find the feed's files: folders (searched with their subfolders and zip archives), zip archives, files.

        Files that cannot be read are sources too, and so are those in a folder that look like the feed's and are not.

        Raises:
            DataError: A path does not exist, or holds no such file.
        """

    @abstractmethod
    def describe(self, session: FeedSession) -> Session:
        """The session as the order flow names it."""

    @abstractmethod
    def order_flow(self, session: FeedSession, ledger: Ledger) -> Iterator[dict[str, np.ndarray]]:
        """Turn a session into what participants submitted, part by part.

        Args:
            session: The session.
            ledger: Takes counts and bad rows.

        Yields:
            Columns of `mars_lmm.data.flow.COLUMNS`, in order; memory does not grow with the session.

        Raises:
            DataError: The files cannot be read; or a row is bad, and the ledger says that this is an error.
        """

    @abstractmethod
    def verify(self, session: FeedSession, ledger: Ledger) -> Verification:
        """Compare a session with what our own matching makes of its order flow.

        Raises:
            DataError: As `order_flow`.
        """


class SortedFeed(Feed):
    """A feed whose files hold many sessions, which are sorted into a spool before anything else."""

    record: ClassVar[np.dtype]
    """What a message looks like in the spool."""

    @abstractmethod
    def decode(self, source: Source, ledger: Ledger) -> Iterator[tuple[str, str, np.ndarray]]:
        """Read a source once, in order, in parts that fit memory.

        Args:
            source: The files.
            ledger: Takes counts and bad rows.

        Yields:
            Symbol, ISO date and records[N], in the source's order within a session; or snapshots to verify with, of
            another type, which lie beside the records in a file of the suffix `mars_lmm.data.spool.SNAPSHOTS`.

        Raises:
            DataError: As `order_flow`.
        """


def load_feed(name: str, options: Mapping[str, Any] | None = None) -> Feed:
    """A feed by name.

    Args:
        name: A module of this package, or the full name of one elsewhere: "my_package.my_feed".
        options: Settings of the feed.

    Raises:
        ValueError: No feed has this name, or it has no such option.
    """
    if name not in FEEDS and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # as `python -m` does, and installed commands do not
    try:
        module = importlib.import_module(f"{__name__}.{name}" if name in FEEDS else name)
    except ImportError as error:
        if f"{name}.".startswith(f"{error.name}."):
            choice = f"choose one of {', '.join(FEEDS)}, or give a module of your own"
            raise ValueError(f"no feed {name!r}; {choice}") from error
        raise ValueError(f"feed {name}: {error}") from error
    if not hasattr(module, "FEED"):
        raise ValueError(f"feed {name}: the module {module.__name__} has no FEED")
    try:
        return module.FEED(options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"feed {name}: {error}") from error
