"""The data card of a prepared set: what it holds, where that came from, and what was left out.

`card.json` holds all of it, `card.html` shows it.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mars_lmm.data.config import SYNTHETIC
from mars_lmm.data.flow import SCHEMA_VERSION as FLOW_VERSION
from mars_lmm.data.preparation.card_page import render
from mars_lmm.data.preparation.journal import write_json
from mars_lmm.data.preparation.statistics import INTERVAL_EDGES, PLACE_EDGES, SIZE_EDGES
from mars_lmm.data.prepared import CARD, CARD_PAGE, TRAIN, VALIDATION, PreparedSet
from mars_lmm.tokenizers.bins import QuantileBins
from mars_lmm.tokenizers.orders import VERSION as TOKENIZER_VERSION
from mars_lmm.tokenizers.orders import OrderTokenizer
from mars_lmm.whole_files import write_text

HISTOGRAMS = {"places": PLACE_EDGES, "intervals": INTERVAL_EDGES, "sizes": SIZE_EDGES}
BINS = ("price", "cancel", "size", "interval", "spread", "level_gap", "level_size")
PATH = "FOLDER"  # stands for a feed's files in the command: where they lie is no part of a set
_PLAIN = re.compile(r"[A-Za-z_][\w.]*", re.ASCII)
_NOT_TEXT = ("null", "true", "false", "nan", "inf")


def write_card(
    prepared: PreparedSet,
    tokenizer: OrderTokenizer,
    sorted_found: Sequence[Mapping[str, Any]],
    replayed_found: Sequence[Mapping[str, Any]],
) -> None:
    """Write the card into the set's folder; the same set has the same card to the byte.

    Args:
        prepared: The set, in a folder of this machine.
        tokenizer: Its tokenizer.
        sorted_found: What `sort_files` returned, of each source that was sorted.
        replayed_found: What `replay_session` returned, of every session; some were dropped.
    """
    card = describe(prepared, tokenizer, sorted_found, replayed_found)
    write_json(prepared.path / CARD, card)
    write_text(prepared.path / CARD_PAGE, render(card))


def describe(
    prepared: PreparedSet,
    tokenizer: OrderTokenizer,
    sorted_found: Sequence[Mapping[str, Any]],
    replayed_found: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The card's content, plain values for JSON; see `write_card`."""
    settings = prepared.recipe["settings"]
    feeds = [feed["feed"] for feed in settings["feeds"]]
    kept = [found for found in replayed_found if found["dropped"] is None]
    sessions = [_session(entry, found) for entry, found in zip(prepared.sessions, kept, strict=True)]
    return {
        # The folder still bears the name that it is built under.
        "name": prepared.path.name.removesuffix(".partial"),
        "fingerprint": prepared.fingerprint,
        "versions": {
            "prepared set": prepared.schema_version,
            "order flow": FLOW_VERSION,
            "tokenizer": TOKENIZER_VERSION,
        },
        "tokenizer": prepared.tokenizer_checksum,
        "settings": settings,
        "cutoff": prepared.cutoff,
        "row_length": prepared.row_length,
        "splits": {
            split: {
                "rows": prepared.splits[split]["rows"],
                "orders": prepared.splits[split]["orders"],
                "files": len(prepared.splits[split]["shards"]),
                "sessions": sum(session[orders] > 0 for session in sessions),
            }
            for split, orders in ((TRAIN, "training_orders"), (VALIDATION, "held_out_orders"))
        },
        "totals": _totals(sorted_found, kept, sessions),
        "rejected": _sum(found["rejected"] for found in [*sorted_found, *replayed_found]),
        "dropped": prepared.dropped,
        "histograms": {
            name: {
                "edges": edges,
                "counts": np.sum([found["statistics"][name] for found in kept], axis=0, dtype=int).tolist(),
            }
            for name, edges in HISTOGRAMS.items()
        },
        "bins": {name: _ranges(getattr(tokenizer, name)) for name in BINS},
        "takers_rest": tokenizer.takers_rest,
        "sessions": sessions,
        "sources": [
            {"feed": feeds[source["feed"]], **file} for source in prepared.recipe["sources"] for file in source["files"]
        ],
        "command": shlex.join(command_line(settings)),
    }


def _session(entry: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    statistics = found["statistics"]
    return {
        "symbol": entry["symbol"],
        "date": entry["date"],
        "source": entry["source"],
        "open_time": entry["open_time"],
        "close_time": entry["close_time"],
        "tick_size": entry["tick_size"],
        "messages": found["messages"],
        "flow_rows": found["rows"],
        "orders": found["orders"],
        "training_orders": found["training_orders"],
        "held_out_orders": found["orders"] - found["training_orders"],
        "unknown_ids": found["counts"].get("unknown_ids", 0),
        "anonymous_volume": statistics["anonymous_volume"],
        "hidden_rows": statistics["hidden_rows"],
        "rejected": sum(found["rejected"].values()),
    }


def _totals(
    sorted_found: Sequence[Mapping[str, Any]],
    replayed_found: Sequence[Mapping[str, Any]],
    sessions: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    names = ("messages", "flow_rows", "orders", "training_orders", "held_out_orders", "unknown_ids")
    flagged = [f"{flag}_{what}" for flag in ("anonymous", "hidden", "auction") for what in ("rows", "volume")]
    read = [found["counts"] for found in sorted_found if found["dropped"] is None]
    return {
        **{name: sum(session[name] for session in sessions) for name in names},
        **{name: sum(found["statistics"][name] for found in replayed_found) for name in (*flagged, "volume")},
        "kinds": _sum(found["statistics"]["kinds"] for found in replayed_found),
        "counts": _sum([*read, *(found["counts"] for found in replayed_found)]),
    }


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Counts added up, the largest first."""
    total: Counter[str] = Counter()
    for part in counts:
        total.update(part)
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def _ranges(bins: QuantileBins) -> list[list[int | None]]:
    """The least and the greatest value of each bin that the fit had a use for; None where it has no end."""
    edges = bins.edges[bins.edges < np.iinfo(np.int64).max].tolist()
    return [list(pair) for pair in zip([None, *(edge + 1 for edge in edges)], [*edges, None], strict=True)]


def command_line(settings: Mapping[str, Any]) -> list[str]:
    """The words of a command that prepares such a set.

    Args:
        settings: Of the set's recipe.
    """
    first, *others = [_feed_settings(feed) for feed in settings["feeds"]]
    words = {**first, "feeds": others, **{name: value for name, value in settings.items() if name != "feeds"}}
    # A feed's options are none that the configuration knows beforehand.
    added = ["options"]
    overrides = [
        f"{'+' * (name in added)}data.{name}={_override(value)}"
        for name, value in words.items()
        if value not in ([], {})
    ]
    return ["python", "-m", "mars_lmm.data.prepare", *overrides]


def _feed_settings(feed: Mapping[str, Any]) -> dict[str, Any]:
    path = {} if feed["feed"] == SYNTHETIC else {"path": PATH}
    options = {name: value if _can_say(value) else _json(value) for name, value in feed["options"].items()}
    return {"feed": feed["feed"], **path, "symbols": feed["symbols"], "options": options}


def _can_say(value: Any) -> bool:
    """Whether Hydra has words for a value: it knows no keys in quotes."""
    if isinstance(value, Mapping):
        return all(_is_plain(key) and _can_say(item) for key, item in value.items())
    return not isinstance(value, list) or all(map(_can_say, value))


def _is_plain(text: str) -> bool:
    return bool(_PLAIN.fullmatch(text)) and text.lower() not in _NOT_TEXT


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _override(value: Any) -> str:
    """A value as Hydra reads it on the command line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_override(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_override, value)) + "]"
    if not isinstance(value, str):
        return _json(value)
    if _is_plain(value):
        return value
    # Within quotes, Hydra takes backslashes for themselves, unless a quote follows them.
    return '"' + re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + found[2].replace('"', '\\"'), value) + '"'
