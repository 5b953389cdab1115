"""Starts in files: a market in the middle of its day, to begin from another time.

A file is safetensors: the arrays of a `Start`, and everything else as JSON in its metadata. Nothing in it is executed.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mars_lmm.data.flow import Session
from mars_lmm.data.replay import MarketState
from mars_lmm.market import types as t
from mars_lmm.market.book import empty_books
from mars_lmm.simulation.engine.coding import Coding
from mars_lmm.simulation.starts.start import Start
from mars_lmm.tokenizers import observation as o

VERSION = 3
_KEY = "start"  # of the metadata

# A book is saved as it lies in memory: a program whose books have other columns cannot read it.
_LAYOUT = [t.NUM_HEADER_COLUMNS, t.NUM_RULE_COLUMNS, t.NUM_ACCOUNT_COLUMNS, o.NUM_CLOCK, o.NUM_TAPE]
_SIZES = (t.NUM_SLOTS, t.NUM_TICKS, t.BASE_PRICE, t.NUM_PHASES, t.NUM_ACCOUNTS)  # as `empty_books` takes them


def save_start(path: Path | str, start: Start, coding: Coding) -> None:
    """Write a start; the file appears whole or not at all. The recorded session does not come along.

    Args:
        path: The file.
        start: The start.
        coding: The coding of its history.
    """
    path = Path(path)
    arrays = {
        "book": start.state.book[0],
        "clock": start.state.clock,
        "token": start.token,
        "market": start.market,
        "stream": start.stream,
        "touch": start.touch,
        "unseen": start.unseen,
    }
    if start.continuation is not None:
        arrays["continuation"] = start.continuation
    about = {
        "version": VERSION,
        "layout": _LAYOUT,
        "tokenizer": coding.checksum,
        "session": asdict(start.session),
        "time": int(start.time),
        "next_id": int(start.next_id),
        "held_out": None if start.held_out is None else bool(start.held_out),
        "artificial": start.artificial,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        save_file(arrays, partial, metadata={_KEY: json.dumps(about)})
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load_start(path: Path | str, coding: Coding) -> Start:
    """Read what `save_start` wrote.

    Args:
        path: The file.
        coding: The coding of the model that is to go on.

    Raises:
        ValueError: It is no such file, was written by another version, or its history is coded by another tokenizer.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get(_KEY, "null"))
            if not isinstance(about, dict):
                raise ValueError(f"{path} is no saved start: its metadata does not describe one")
            _check(path, about, coding)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            return _start(arrays, about)
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read as a saved start: {error}") from error
    except (KeyError, TypeError, AssertionError) as error:
        raise ValueError(f"{path} is no whole saved start ({type(error).__name__}: {error}); save it again") from error


def _check(path: Path | str, about: dict[str, Any], coding: Coding) -> None:
    if about.get("version") != VERSION or about.get("layout") != _LAYOUT:
        raise ValueError(
            f"{path}: version {about.get('version')} of saved starts, with books of layout {about.get('layout')}; this "
            f"program reads version {VERSION} with {_LAYOUT}: save the start again"
        )
    if about.get("tokenizer") != coding.checksum:
        raise ValueError(
            f"{path}: its history is coded by tokenizer {about.get('tokenizer')}, and the model reads "
            f"{coding.checksum}: take a model with the same tokenizer, or save the start again"
        )


def _start(arrays: dict[str, np.ndarray], about: dict[str, Any]) -> Start:
    book = arrays["book"]
    assert book.dtype == np.int64
    assert book.shape == empty_books(1, *(int(book[size]) for size in _SIZES))[0].shape
    assert arrays["clock"].shape == (o.NUM_CLOCK,)
    assert len(arrays["token"]) == len(arrays["market"])
    return Start(
        Session(**about["session"]),
        about["time"],
        MarketState(book[None], arrays["clock"]),
        arrays["token"],
        arrays["market"],
        arrays["touch"],
        arrays.get("continuation"),
        arrays["stream"],
        about["next_id"],
        unseen=arrays["unseen"],
        held_out=about["held_out"],
        artificial=about["artificial"],
    )
