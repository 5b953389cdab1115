"""All that a ladder's runs say: the law for each count of N, its intervals, residuals, allocation and held-out runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from mars_lmm.training.scaling.huber import fit_huber
from mars_lmm.training.scaling.law import NAMES, Law, check_runs
from mars_lmm.training.scaling.projection import EXPONENTS, fit_projection, fit_weighted

COUNTS = ("non_embedding", "total", "blocks")
"""What may count as N: weights of matrix products, head included, without tables; all parameters; the blocks alone."""
LEVEL = 0.95
HORIZON = (1, 10, 100)
"""Multiples of the ladder's largest compute for which the best size is told."""

Row = dict[str, Any]


def fit_rows(rows: list[Row], resamples: int, seed: int = 0) -> dict[str, Any]:
    """Fit the law to a table of runs, once for each count of N.

    Args:
        rows: Runs, with `cell`, `size`, `budget`, the counts of N, `orders` and `nats`.
        resamples: Bootstrap resamples of the runs.
        seed: Of the resamples.

    Returns:
        Plain values, as `fit.json` holds them, by count of N.

    Raises:
        ValueError: The runs do not determine the law; the message says what is missing.
    """
    return {count: _fit_count(rows, count, resamples, seed) for count in COUNTS}


def _fit_count(rows: list[Row], count: str, resamples: int, seed: int) -> dict[str, Any]:
    N, D, loss = columns(rows, count)
    law = fit_projection(N, D, loss)
    sample = bootstrap(N, D, loss, resamples, seed)
    error = np.log(loss / law(N, D))
    return {
        "law": vars(law),
        "intervals": {name: interval(value) for name, value in vars(sample).items()},
        "huber": {name: _plain(value) for name, value in vars(fit_huber(N, D, loss)).items()},
        "rms_error": float(np.sqrt((error**2).mean())),
        "residuals": {row["cell"]: float(value) for row, value in zip(rows, error, strict=True)},
        "size_exponent": {"value": _plain(law.size_exponent), "interval": interval(sample.size_exponent)},
        "allocation": [_allocation(law, sample, factor * float((6 * N * D).max())) for factor in HORIZON],
        "held_out": [
            _held_out(rows, count, "size"),
            _held_out(rows, count, "budget"),
        ],
        "warnings": _warnings(law, sample),
    }


def columns(rows: list[Row], count: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """N by one of the counts, D and the loss of each run, float64 [R]."""
    return tuple(np.array([row[name] for row in rows], dtype=np.float64) for name in (count, "orders", "nats"))


def bootstrap(N: np.ndarray, D: np.ndarray, loss: np.ndarray, resamples: int, seed: int) -> Law:
    """The law of every resample of the runs, with replacement; resamples that determine no law are drawn again.

    Returns:
        A law of arrays [resamples].
    """
    generator = np.random.default_rng(seed)
    weights = []
    while len(weights) < resamples:
        drawn = generator.multinomial(len(loss), np.full(len(loss), 1 / len(loss)))
        try:
            check_runs(N[drawn > 0], D[drawn > 0], loss[drawn > 0])
        except ValueError:
            continue
        weights.append(drawn)
    return fit_weighted(N, D, loss, np.array(weights, dtype=np.float64))


def interval(values: np.ndarray) -> list[float | None]:
    """The central 95 % of a bootstrap's values."""
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    return [_plain(value) for value in np.quantile(values, ends, method="inverted_cdf")]


def _allocation(law: Law, sample: Law, compute: float) -> dict[str, Any]:
    (N, D), (Ns, Ds) = law.optimum(compute), sample.optimum(compute)
    return {
        "compute": compute,
        "N": _plain(N),
        "N_interval": interval(Ns),
        "D": _plain(D),
        "D_interval": interval(Ds),
        "nats": _plain(law(N, D)),
    }


def _held_out(rows: list[Row], count: str, axis: str) -> dict[str, Any]:
    """Fit all runs but those of the largest size or budget, and predict these.

    The guess to beat is that nothing changes: a run's loss is that of the largest run that is known, one that has the
    same budget where sizes are held out, or the same size where budgets are.
    """
    what = f"largest {axis}"
    N, D, loss = columns(rows, count)
    # By their names: whole batches make D of one budget differ from size to size.
    size, budget = (np.array([row[name] for row in rows]) for name in ("size", "budget"))
    along, names, others = (N, size, budget) if axis == "size" else (D, budget, size)
    held = names == names[along.argmax()]
    try:
        law = fit_projection(N[~held], D[~held], loss[~held])
    except ValueError as error:
        return {"what": what, "skipped": f"without the {what}, {error}"}
    found = []
    for place in np.flatnonzero(held):
        like = ~held & (others == others[place])
        guess = loss[like][along[like].argmax()] if like.any() else None
        predicted = float(law(N[place], D[place]))
        found.append(
            {
                "cell": rows[place]["cell"],
                "nats": loss[place],
                "predicted": predicted,
                "error": predicted / loss[place] - 1,
                "unchanged_error": None if guess is None else guess / loss[place] - 1,
            }
        )
    unchanged = [run["unchanged_error"] for run in found if run["unchanged_error"] is not None]
    return {
        "what": what,
        "law": vars(law),
        "runs": found,
        "error": float(np.mean([abs(run["error"]) for run in found])),
        "unchanged_error": float(np.mean(np.abs(unchanged))) if unchanged else None,
        "beyond": float(along[held].min() / along[~held].max()),
    }


def _warnings(law: Law, sample: Law) -> list[str]:
    """What the runs do not determine."""
    low, high = EXPONENTS
    told = []
    for name in ("alpha", "beta"):
        value, values = getattr(law, name), getattr(sample, name)
        at_edge = np.mean((values <= low * 1.001) | (values >= high * 0.999))
        if value <= low * 1.001 or value >= high * 0.999:
            told.append(f"{name} is at the edge of the grid ({value:.3g}): not identified")
        elif at_edge > (1 - LEVEL) / 2:
            told.append(f"{name} is at the edge of the grid in {at_edge:.0%} of the resamples: weakly identified")
    told += [f"{name} is 0: the runs show nothing of it" for name in NAMES[:3] if getattr(law, name) == 0]
    if np.mean(sample.E == 0) > (1 - LEVEL) / 2 and law.E > 0:
        told.append(f"E is 0 in {np.mean(sample.E == 0):.0%} of the resamples: weakly identified")
    return told


def _plain(value: float) -> float | None:
    """A number that JSON has."""
    return float(value) if np.isfinite(value) else None
