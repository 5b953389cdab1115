"""Fitted baselines on disk: a JSON file a model, with the parameters of each instrument, or of each start."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mars_lmm.data.errors import DataError
from mars_lmm.data.prepared import PreparedSet
from mars_lmm.simulation.fitting.bootstrap import fit_bootstrap
from mars_lmm.simulation.fitting.cont_stoikov_talreja import fit_cst
from mars_lmm.simulation.fitting.hawkes import fit_hawkes
from mars_lmm.simulation.fitting.orders import SessionOrders, fitted_symbols, recent_orders, training_orders
from mars_lmm.simulation.starts.recorded import Moment
from mars_lmm.whole_files import write_text

FITS: dict[str, Callable[..., dict[str, Any]]] = {"cst": fit_cst, "hawkes": fit_hawkes, "bootstrap": fit_bootstrap}
"""By the name of the agent that trades so."""


def fit_baselines(prepared: PreparedSet, folder: Path) -> dict[str, Path]:
    """Fit every baseline to the training part of every instrument.

    Args:
        prepared: The set; what it holds out is not read.
        folder: Where the files go; it is made.

    Returns:
        The file of each of `FITS`, for the `parameters` of its agent.

    Raises:
        DataError: A flow cannot be read, or a training part lacks a kind of order.
    """
    samples = ((symbol, training_orders(prepared, symbol)) for symbol in fitted_symbols(prepared))
    return _fit(prepared, samples, folder)


def fit_recent(prepared: PreparedSet, folder: Path, moments: Sequence[Moment], orders: int) -> dict[str, Path]:
    """Fit every baseline to the last orders before each start, as a model is by recalibration.

    Args:
        prepared: The set.
        folder: Where the files go; it is made.
        moments: The starts; parameters go by their names.
        orders: How many orders to fit to, at most.

    Returns:
        As `fit_baselines`.

    Raises:
        DataError: A flow cannot be read, or the orders before a moment lack a kind of order.
    """
    samples = ((str(moment), [recent_orders(prepared, moment, orders)]) for moment in moments)
    return _fit(prepared, samples, folder)


def _fit(
    prepared: PreparedSet, samples: Iterable[tuple[str, Sequence[SessionOrders]]], folder: Path
) -> dict[str, Path]:
    """Fit every baseline to each sample, one after the other as they take much memory, and write the files."""
    fits: dict[str, dict[str, Any]] = {name: {} for name in FITS}
    for sample, parts in samples:
        for name, fit in FITS.items():
            try:
                fits[name][sample] = fit(parts)
            except ValueError as error:
                raise DataError(prepared.path, f"{sample}: {error}") from error
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{name}.json" for name in FITS}
    for name, file in files.items():
        content = {"model": name, "fingerprint": prepared.fingerprint, "fits": fits[name]}
        write_text(file, json.dumps(content))
    return files


def read_fits(path: Path, model: str) -> dict[str, dict[str, Any]]:
    """The parameters of a baseline by instrument, or by the moment of a start.

    Args:
        path: A file of `fit_baselines`.
        model: Which of `FITS` it must be.

    Raises:
        ValueError: There is no such file, or it is another model's.
    """
    try:
        content = json.loads(path.read_text())
        found, fits = content["model"], content["fits"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"parameters={path}: not a fitted {model} ({error}); make one with python -m mars_lmm.simulation.fitting "
            "PREPARED FOLDER"
        ) from error
    if found != model:
        raise ValueError(f"parameters={path}: it holds the parameters of {found}, not of {model}")
    return fits
