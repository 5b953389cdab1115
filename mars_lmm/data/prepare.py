"""Preparation: raw files -> order flow -> replay on the exchange -> tokens and market features -> training rows.

`python -m mars_lmm.data.prepare data=... [key=value ...]`; `train.py` prepares too, unless the set is there already.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mars_lmm.composition import entry
from mars_lmm.data.checksums import Checksums
from mars_lmm.data.config import SYNTHETIC, DataConfig
from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import FeedSession, SortedFeed, Source, load_feed
from mars_lmm.data.flow import Session
from mars_lmm.data.ledger import RAISE
from mars_lmm.data.names import file_name
from mars_lmm.data.preparation.card import write_card
from mars_lmm.data.preparation.executors import run_units
from mars_lmm.data.preparation.journal import Journal, locked, write_json
from mars_lmm.data.preparation.progress import Progress
from mars_lmm.data.preparation.sample import Threshold, join
from mars_lmm.data.preparation.units import (
    Workplace,
    as_pieces,
    pack_rows,
    replay_session,
    sort_files,
    write_session,
)
from mars_lmm.data.prepared import CARD, CARD_PAGE, MANIFEST, SCHEMA_VERSION, TOKENIZER, TRAIN, VALIDATION, PreparedSet
from mars_lmm.data.rows import packed_file
from mars_lmm.data.sessions import absent, find_sessions, find_sources
from mars_lmm.data.windows import pack
from mars_lmm.tokenizers.coding import NUM_MARKET_FEATURES
from mars_lmm.tokenizers.orders import VERSION as TOKENIZER_VERSION
from mars_lmm.tokenizers.orders import OrderTokenizer

# Settings that do not change what is in a set: where it is kept, how it is made, and how it is read later.
NOT_CONTENT = {"name", "root", "prepared", "path", "batch_size", "num_workers", "block", "executor", "workers"}
PARTIAL = "*.[0-9]*.partial"
MAX_TOLD = 5  # dropped sessions, in an error


@dataclass(frozen=True)
class _Named:
    """A source or session of one of the set's feeds.

    Attributes:
        feed: Which of the configuration's feeds.
        name: Names it in files and in the journal.
        what: The source or session.
    """

    feed: int
    name: str
    what: Any


def prepare(config: DataConfig) -> PreparedSet:
    """Make the prepared set that a configuration describes, or find it ready-made.

    The set is built beside its place, unit by unit, and moved there when it is whole. Whoever is interrupted, killed
    even, goes on with the units that are missing, and the set comes out the same to the byte.

    Raises:
        DataError: A source cannot be read, or a split comes out empty.
    """
    if config.prepared is not None:
        return PreparedSet.load(config.prepared)
    sources, dropped = _find_sources(config)
    states = {file.path: _state(file.path) for source in sources for file in source.what.files}
    recipe = _recipe(config, sources)
    # Named by its recipe, so that another setting makes another set and none is overwritten.
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    target = Path(config.root) / f"{config.name}-{digest[:8]}"
    if target.exists():
        print(f"found {target}, prepared before", file=sys.stderr)
        return PreparedSet.load(target)
    with locked(target.with_name(f".{target.name}.lock")):
        # Another process may have made it meanwhile: of several that train together, the first prepares.
        if not target.exists():
            building = target.with_name(f"{target.name}.partial")
            try:
                _Preparation(config, recipe, building, sources, dropped, states).build()
            except DataError:
                # The way out is another file or setting, and so another set.
                shutil.rmtree(building)
                raise
            os.replace(building, target)
    return PreparedSet.load(target)


def _find_sources(config: DataConfig) -> tuple[list[_Named], list[dict[str, str]]]:
    """The sources of all feeds; and those that cannot be read, as the set lists what it left out."""
    sources, dropped = [], []
    for number, settings in enumerate(config.all_feeds):
        found = find_sources(load_feed(settings.feed, settings.options), settings.paths)
        for source, reason in found.foreign:
            print(f"{source} is left aside: {reason}", file=sys.stderr)
        for source, fault in found.faulty:
            if config.on_error == RAISE:
                raise DataError(str(source), fault)
            dropped.append({"session": _source_name(source), "reason": fault})
        sources += [_Named(number, f"{len(sources) + i:06d}", source) for i, source in enumerate(found.readable)]
    return sources, dropped


def _recipe(config: DataConfig, sources: list[_Named]) -> dict[str, Any]:
    settings = {key: value for key, value in asdict(config).items() if key not in NOT_CONTENT}
    settings["feeds"] = [
        {"feed": feed.feed, "symbols": feed.symbols, **load_feed(feed.feed, feed.options).recipe()}
        for feed in config.all_feeds
    ]
    for key in ("feed", "symbols", "options", SYNTHETIC):
        del settings[key]
    remembered = Checksums(Path(config.root))
    recipe = {
        "schema_version": SCHEMA_VERSION,
        "tokenizer_version": TOKENIZER_VERSION,
        "settings": settings,
        "sources": [
            {
                "feed": source.feed,
                "symbol": source.what.symbol,
                "date": source.what.date,
                "files": [{"name": file.name, "sha256": remembered.of(file)} for file in source.what.files],
            }
            for source in sources
        ],
    }
    remembered.save()
    return recipe


def _source_name(source: Source) -> str:
    """The names of a source's files without their folders, which may change."""
    return " and ".join(file.name for file in source.files) or f"{source.symbol}_{source.date}"


class _Preparation:
    """One preparation, in stages; each stage's units are looked up in the journal first."""

    def __init__(
        self,
        config: DataConfig,
        recipe: dict[str, Any],
        folder: Path,
        sources: list[_Named],
        dropped: list[dict[str, str]],
        states: dict[Path, tuple[int, int]],
    ):
        self.config, self.recipe, self.folder = config, recipe, folder
        self.sources, self.dropped, self.states = sources, dropped, states
        work = folder / "work"
        self.place = Workplace(folder, work)
        for needed in ("spool", "sample", "coded", "progress"):
            (work / needed).mkdir(parents=True, exist_ok=True)
        for left_over in [*folder.rglob(PARTIAL), *(work / "progress").iterdir()]:
            shutil.rmtree(left_over) if left_over.is_dir() else left_over.unlink()
        self.journal = Journal(work / "journal")

    def build(self) -> None:
        """Build the set, or the part of it that is missing."""
        sorted_files = self._sort()
        self._drop(sorted_files)
        sessions = self._sessions()
        self._check_cutoff([session.what.date for session in sessions])
        replayed = self._replay(sessions)
        kept = [number for number, found in enumerate(replayed) if found["dropped"] is None]
        self._drop(zip(sessions, replayed, strict=True))
        if not kept:
            raise self._error("no session is left")
        tokenizer = self._fit([sessions[number].name for number in kept], [replayed[number] for number in kept])
        written = self._write([sessions[number] for number in kept], [replayed[number] for number in kept])
        splits, fingerprint = self._splits([sessions[number].name for number in kept], written, tokenizer)
        prepared = PreparedSet(
            path=self.folder,
            recipe=self.recipe,
            fingerprint=fingerprint,
            tokenizer_checksum=tokenizer.checksum,
            row_length=self.config.row_length,
            num_market_features=NUM_MARKET_FEATURES,
            splits=splits,
            cutoff={"kind": "date" if self.config.cutoff_is_date else "time", "value": self.config.cutoff},
            sessions=[_entry(replayed[number]) for number in kept],
            dropped=self.dropped,
        )
        write_card(prepared, tokenizer, [found for _, found in sorted_files], replayed)
        write_json(self.folder / MANIFEST, prepared.to_dict(), indent=1)
        shutil.rmtree(self.place.work)
        for left_over in self.folder.rglob(PARTIAL):
            left_over.unlink()

    def _sort(self) -> list[tuple[_Named, dict[str, Any]]]:
        """Sort the sources whose files hold many sessions."""
        settings = self.config.all_feeds
        many = [
            source
            for source in self.sources
            if isinstance(load_feed(settings[source.feed].feed, settings[source.feed].options), SortedFeed)
        ]
        arguments = [(self.config, source.feed, self.place, source.name, source.what) for source in many]
        found = self._run("sort", "file", sort_files, [source.name for source in many], arguments, many)
        return list(zip(many, found, strict=True))

    def _sessions(self) -> list[_Named]:
        """All sessions, feed by feed."""
        sessions: list[_Named] = []
        for number, settings in enumerate(self.config.all_feeds):
            own = [source for source in self.sources if source.feed == number]
            found = find_sessions(
                load_feed(settings.feed, settings.options),
                [source.what for source in own],
                [self.place.spool(source.name) for source in own],
                settings.symbols,
            )
            sessions += [_Named(number, _session_name(session), session) for session in found]
            for symbol in absent(settings.symbols, found):
                self._lacks(symbol)
        times = Counter(session.name for session in sessions)
        twice = next((session for session in sessions if times[session.name] > 1), None)
        if twice is not None:
            raise DataError(str(twice.what), f"{twice.what.name} is in another source too; name only one of them")
        if not sessions:
            raise self._error("the files hold no session")
        return sessions

    def _lacks(self, symbol: str) -> None:
        """An instrument that was asked for is in none of the files."""
        reason = "asked for by symbols, and in none of the files"
        if self.config.on_error == RAISE:
            raise DataError(self.config.path or self.config.feed, f"{symbol}: {reason}")
        self.dropped.append({"session": symbol, "reason": reason})

    def _check_cutoff(self, dates: list[str]) -> None:
        """Refuse a day that splits nothing, before the work is done."""
        days = sorted(date for date in dates if date[:1].isdigit())
        if self.config.cutoff_is_date and days and not days[0] < self.config.cutoff <= days[-1]:
            raise self._error(
                f"data.cutoff={self.config.cutoff} leaves a split empty: the sessions lie from {days[0]} to "
                f"{days[-1]}, and validation begins with the cut-off"
            )

    def _drop(self, units: Iterable[tuple[_Named, dict[str, Any]]]) -> None:
        """Note which units came to nothing."""
        self.dropped += [
            {"session": unit.name, "reason": found["dropped"]} for unit, found in units if found["dropped"] is not None
        ]

    def _error(self, reason: str) -> DataError:
        """Why there is no set; a part of it may be what was dropped."""
        dropped = "".join(f"; {entry['session']}: {entry['reason']}" for entry in self.dropped[:MAX_TOLD])
        return DataError(self.config.path or self.config.feed, reason + dropped)

    def _replay(self, sessions: list[_Named]) -> list[dict[str, Any]]:
        arguments = [
            (self.config, session.feed, self.place, session.name, number, session.what)
            for number, session in enumerate(sessions)
        ]
        names = [session.name for session in sessions]
        threshold = Threshold(self.place.sample_limit)
        return self._run(
            "replay",
            "session",
            replay_session,
            names,
            arguments,
            sessions,
            lambda number: threshold.take(self.place.sample(names[number])),
        )

    def _fit(self, names: list[str], replayed: list[dict[str, Any]]) -> OrderTokenizer:
        """Fit the bins to the training split alone."""
        path = self.folder / TOKENIZER
        if path.exists():
            return OrderTokenizer.load(path)
        if not sum(found["training_orders"] for found in replayed):
            raise self._error(f"no order lies before data.cutoff={self.config.cutoff}: move it")
        takers_rest = not any(found["session"]["rebuilt_takers"] for found in replayed)
        tokenizer = OrderTokenizer.fit(join(self.place.sample(name) for name in names), takers_rest)
        tokenizer.save(path)
        return tokenizer

    def _write(self, sessions: list[_Named], replayed: list[dict[str, Any]]) -> list[dict[str, Any]]:
        arguments = [
            (
                self.config,
                self.place,
                session.name,
                number,
                Session(**found["session"]),
                found["orders"],
                found["training_orders"],
            )
            for number, (session, found) in enumerate(zip(sessions, replayed, strict=True))
        ]
        names = [session.name for session in sessions]
        return self._run("rows", "session", write_session, names, arguments, sessions)

    def _splits(
        self, names: list[str], written: list[dict[str, Any]], tokenizer: OrderTokenizer
    ) -> tuple[dict[str, Any], str]:
        """Pack what is too short for rows of its own, and add up the splits."""
        digest = hashlib.sha256(tokenizer.checksum.encode())
        splits = {}
        for split in (TRAIN, VALIDATION):
            shards = [found[split]["shard"] for found in written if found[split]["shard"]]
            short = [as_pieces(found[split]["pieces"]) for found in written if found[split]["pieces"]]
            if short:
                pieces, counts = pack(np.concatenate(short), self.config.row_length)
                shards.append(pack_rows(self.config, self.place, packed_file(split), pieces, counts, names))
            if not shards:
                raise self._error(f"the {split} split is empty with data.cutoff={self.config.cutoff}: move the cut-off")
            for shard in shards:
                digest.update(shard["digest"].encode())
            splits[split] = {
                "rows": sum(shard["rows"] for shard in shards),
                "orders": sum(shard["targets"] for shard in shards),
                "shards": [{key: shard[key] for key in ("file", "rows")} for shard in shards],
            }
        return splits, digest.hexdigest()[:16]

    def _run(
        self,
        stage: str,
        unit: str,
        function: Any,
        names: list[str],
        arguments: list,
        weighed: list,
        finished: Callable[[int], None] = lambda _: None,
    ) -> list:
        """Run the units that the journal does not have; returns what all of them found, in order."""
        found = [self.journal.get(f"{stage}-{name}") for name in names]
        missing = [place for place, result in enumerate(found) if result is None]
        with Progress(
            stage, unit, [_num_bytes(item.what) for item in weighed], self.place.work / "progress"
        ) as progress:
            for place, result in enumerate(found):
                if result is not None:
                    progress.resume(place)
            units = run_units(
                function,
                [arguments[place] for place in missing],
                self.config.executor,
                self.config.workers,
                progress.refresh,
            )
            for number, result in units:
                place = missing[number]
                self._check_unchanged(weighed[place].what)
                # As the journal has it, so that a run that goes on sees the same.
                self.journal.put(f"{stage}-{names[place]}", result)
                found[place] = self.journal.get(f"{stage}-{names[place]}")
                progress.finish(place, result.get("messages", 0))
                finished(place)
        return found

    def _check_unchanged(self, what: Source | FeedSession) -> None:
        """Refuse what was read from a file whose checksum is another one by now."""
        for source in [what] if isinstance(what, Source) else what.sources:
            for file in source.files:
                if _state(file.path) != self.states[file.path]:
                    raise DataError(str(file), "the file changed while it was read; start again")


def _state(path: Path) -> tuple[int, int]:
    """Size and time of a file: another state, another content."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _num_bytes(what: Source | FeedSession) -> int:
    """What a unit is weighed by, in the time that is left."""
    if isinstance(what, Source):
        return what.num_bytes
    if what.records:
        return sum(path.stat().st_size for path in what.records)
    return sum(source.num_bytes for source in what.sources)


def _session_name(session: FeedSession) -> str:
    return f"{file_name(session.symbol)}_{session.date}"


def _entry(found: dict[str, Any]) -> dict[str, Any]:
    """A session in the manifest."""
    session = Session(**found["session"])
    keys = ("orders", "training_orders", "held_out_from", "sample_seed", "counts", "rejected")
    counted = {key: found[key] for key in keys}
    return found["session"] | {"flow": f"flow/{session.file}"} | counted


@dataclass
class PrepareConfig:
    """`python -m mars_lmm.data.prepare`: make a prepared set."""

    data: DataConfig = field(default_factory=DataConfig)
    """The data."""


ConfigStore.instance().store(name="prepare_schema", node=PrepareConfig)


@entry("prepare", PrepareConfig)
def main(config: PrepareConfig, composed: DictConfig) -> None:
    """Prepare, and say what came of it."""
    prepared = prepare(config.data)
    sessions, splits = prepared.sessions, prepared.splits
    given = HydraConfig.get().overrides
    overrides = [*(word for word in given.hydra if not word.startswith("hydra.mode=")), *given.task]
    train = "python train.py" if Path("train.py").exists() else "mars-train"
    card = json.loads((prepared.path / CARD).read_text(encoding="utf-8"))
    rejected = sum(card["rejected"].values())
    print(
        f"\n{len(sessions)} sessions, {sum(session['orders'] for session in sessions):,} orders, "
        f"{splits[TRAIN]['rows']:,} training rows, {splits[VALIDATION]['rows']:,} validation rows; "
        f"{rejected:,} rows of the feeds left out, {len(prepared.dropped)} sessions dropped\n"
        f"prepared set: {prepared.path}\ncard: {prepared.path}/{CARD_PAGE}\n"
        f"next: {train} {shlex.join(overrides)}"
    )


if __name__ == "__main__":
    main()
