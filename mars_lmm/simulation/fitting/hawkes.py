"""A multivariate Hawkes process of order arrivals, fitted by maximum likelihood.

Orders are events of D types: limit orders, takers and cancels of each side. The intensity of type d at the time t is

    lambda_d(t) = mu_d + sum over earlier orders j of sum over k of A[d, d_j, k] b_k exp(-b_k (t - t_j)),

with decays b_k that are given and A[d, c, k] orders of type d that an order of type c brings about directly, on the
time scale 1 / b_k. Both sides follow one law, mirrored. Distance from the other side and size are drawn from
the recorded orders of the type; but a cancel's price is drawn from the levels of the book as it is now, each as likely
as the model of Cont, Stoikov and Talreja has it.

The likelihood is exact, in one pass over the orders (Ogata 1981), and is climbed by expectation and maximization (Veen
and Schoenberg 2008), which keeps all parameters positive and never descends.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.simulation.fitting.cont_stoikov_talreja import fit_cst
from mars_lmm.simulation.fitting.orders import CANCEL, LIMIT, TAKE, SessionOrders, evenly

ACTIONS = (LIMIT, TAKE, CANCEL)
"""With a side each is a type: `2 * action + side`."""
NUM_TYPES = 2 * len(ACTIONS)
MIRROR = np.arange(NUM_TYPES) ^ 1
DECAYS = (50_000.0, 5_000.0, 500.0, 20.0, 1.0, 0.03)
"""Per second: order flow answers within microseconds, and remembers minutes."""
MOST_DECAYS = 8
LARGEST_BRANCHING = 0.98
MOST_MARKS = 50_000  # of an action; they are spread evenly over the training part


@dataclass
class Hawkes:
    """Parameters.

    Attributes:
        base: float64[D], mu, per second.
        excitation: float64[D, D, K], A: [type, cause, decay].
        decays: float64[K], b, per second.
    """

    base: np.ndarray
    excitation: np.ndarray
    decays: np.ndarray

    @property
    def branching(self) -> np.ndarray:
        """Orders [type] that an order [cause] brings about directly, float64[D, D]."""
        return self.excitation.sum(axis=2)

    @property
    def branching_ratio(self) -> float:
        """Spectral radius of `branching`: below 1 the process is stationary."""
        return float(np.abs(np.linalg.eigvals(self.branching)).max())

    @property
    def rates(self) -> np.ndarray:
        """Mean orders per second of each type, float64[D]."""
        return np.linalg.solve(np.eye(len(self.base)) - self.branching, self.base)

    @property
    def mean_excitation(self) -> np.ndarray:
        """Mean intensity beyond `base`, by time scale and type, float64[K, D]."""
        return np.einsum("dck,c->kd", self.excitation, self.rates)


def fit_hawkes(parts: Sequence[SessionOrders], decays: Sequence[float] = DECAYS) -> dict[str, Any]:
    """Fit the process and collect prices and sizes.

    Args:
        parts: Training orders of one instrument.
        decays: Per second, at most `MOST_DECAYS`.

    Returns:
        `decays`, `base` and `excitation` of `Hawkes`; `branching_ratio`; `log_likelihood` and, of a Poisson process,
        `poisson`, nats per order; `takers_rest`; `marks`: of each of `ACTIONS`, `away` and `size` of its orders; and
        `edges` and `cancel` of `fit_cst`.

    Raises:
        ValueError: There are too many decays, or none; or a kind of order is missing.
    """
    if not 0 < len(decays) <= MOST_DECAYS:
        raise ValueError(f"decays={decays}: give 1 to {MOST_DECAYS}")
    events = [(2 * part.action + part.side, part.wait / 1e9) for part in parts]
    fitted, likelihood = climb(events, NUM_TYPES, decays, MIRROR)
    count = np.bincount(np.concatenate([kind for kind, _ in events]), minlength=NUM_TYPES)
    count = _mean_of_sides(count, MIRROR)
    rate = count / sum(wait.sum() for _, wait in events)
    poisson = (count * np.log(np.where(count > 0, rate, 1)) - count).sum() / count.sum()
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("action", "away", "size")}
    cst = fit_cst(parts)
    rows = [evenly(np.flatnonzero(columns["action"] == action), MOST_MARKS) for action in ACTIONS]
    return {
        "decays": fitted.decays.tolist(),
        "base": fitted.base.tolist(),
        "excitation": fitted.excitation.tolist(),
        "branching_ratio": fitted.branching_ratio,
        "log_likelihood": likelihood,
        "poisson": float(poisson),
        "takers_rest": parts[0].takers_rest,
        "marks": [{name: columns[name][some].tolist() for name in ("away", "size")} for some in rows],
        "edges": cst["edges"],
        "cancel": cst["cancel"],
    }


def climb(
    events: Sequence[tuple[np.ndarray, np.ndarray]],
    num_types: int,
    decays: Sequence[float],
    mirror: np.ndarray | None = None,
    tolerance: float = 1e-6,
    most: int = 1000,
) -> tuple[Hawkes, float]:
    """Climb the likelihood.

    Args:
        events: Of each sequence, the types int64[N] and the waiting times float64[N] in seconds, the first since the
            sequence began; it ends with its last event.
        num_types: D.
        decays: b, per second.
        mirror: int64[D], the type that each is the mirror image of: their parameters are the same. None: no symmetry.
        tolerance: Nats per event; a rise by less ends the climb.
        most: Steps at most.

    Returns:
        The parameters, and the log-likelihood in nats per event before the last step. Where the process is not
        stationary, what orders bring about is scaled down, with a warning.
    """
    mirror = np.arange(num_types) if mirror is None else mirror
    decays = np.asarray(decays, dtype=np.float64)
    kinds = [np.ascontiguousarray(kind, dtype=np.int64) for kind, _ in events]
    waits = [np.ascontiguousarray(wait, dtype=np.float64) for _, wait in events]
    seconds, total = sum(wait.sum() for wait in waits), sum(map(len, kinds))
    count = sum(np.bincount(kind, minlength=num_types) for kind in kinds)
    # Of each type's offspring on each time scale, the share that was due before the end.
    exposed = sum(_exposed(kind, wait, num_types, decays) for kind, wait in zip(kinds, waits, strict=True))
    exposed = _mean_of_sides(exposed, mirror)
    # Half of the orders come by themselves, and each brings half an order about.
    share = np.maximum(_mean_of_sides(count, mirror), 0.5) / total
    base = share * total / seconds / 2
    excitation = np.tile((share / 2 / len(decays))[:, None, None], (1, num_types, len(decays)))
    before = -np.inf
    for _ in range(most):
        base_sum, caused = np.zeros_like(base), np.zeros_like(excitation)
        log_sum = sum(
            _expect(kind, wait, base, excitation, decays, base_sum, caused)
            for kind, wait in zip(kinds, waits, strict=True)
        )
        likelihood = (log_sum - base.sum() * seconds - (excitation * exposed).sum()) / total
        base = _mean_of_sides(base_sum, mirror) / seconds
        caused = (caused + caused[mirror][:, mirror]) / 2
        excitation = np.divide(caused, exposed, out=np.zeros_like(caused), where=exposed > 0)
        if likelihood - before < tolerance:
            break
        before = likelihood
    fitted = Hawkes(base, excitation, decays)
    ratio = fitted.branching_ratio
    if ratio > LARGEST_BRANCHING:
        warnings.warn(
            f"a Hawkes process with the branching ratio {ratio:.3f} would not be stationary, or hardly so: what orders "
            f"bring about is scaled down to {LARGEST_BRANCHING}",
            stacklevel=2,
        )
        fitted.excitation *= LARGEST_BRANCHING / ratio
    return fitted, float(likelihood)


def _exposed(kind: np.ndarray, wait: np.ndarray, num_types: int, decays: np.ndarray) -> np.ndarray:
    """Sum over the events of each type of 1 - exp(-b (T - t)), float64[D, K]."""
    left = wait.sum() - np.cumsum(wait)
    due = -np.expm1(-np.maximum(left, 0)[:, None] * decays)
    return np.stack([np.bincount(kind, column, minlength=num_types) for column in due.T], axis=1)


def _mean_of_sides(values: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Values by type [D, ...], of each and its mirror image alike."""
    return (values + values[mirror]) / 2


@kept_njit("simulation/fitting")
def _expect(kind, wait, base, excitation, decays, base_sum, caused):
    """Add up the probabilities that orders came by themselves, and of which cause; return the intensities' logs."""
    num_types, num_decays = len(base), len(decays)
    memory = np.zeros((num_types, num_decays))  # sum over earlier orders of b exp(-b (t - t_j)), by type
    total = 0.0
    for n in range(len(kind)):
        for k in range(num_decays):
            decay = np.exp(-decays[k] * wait[n])
            for c in range(num_types):
                memory[c, k] *= decay
        d = kind[n]
        rate = base[d]
        for c in range(num_types):
            for k in range(num_decays):
                rate += excitation[d, c, k] * memory[c, k]
        total += np.log(rate)
        base_sum[d] += base[d] / rate
        for c in range(num_types):
            for k in range(num_decays):
                caused[d, c, k] += excitation[d, c, k] * memory[c, k] / rate
        for k in range(num_decays):
            memory[d, k] += decays[k]
    return total
