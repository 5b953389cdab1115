"""The loss as a function of parameters and orders: L(N, D) = E + A / N^alpha + B / D^beta (Hoffmann et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NAMES = ("E", "A", "B", "alpha", "beta")
MIN_DISTINCT = 3
"""Sizes, and budgets, below which a power law and its floor cannot be told apart."""


@dataclass(frozen=True)
class Law:
    """L(N, D) = E + A / N^alpha + B / D^beta, in nats per order.

    Numbers, or arrays of any one shape: then it is as many laws.
    """

    E: float | np.ndarray
    """What no model of any size, trained on any number of orders, gets below."""
    A: float | np.ndarray
    """Factor of what the size costs."""
    B: float | np.ndarray
    """Factor of what the number of orders costs."""
    alpha: float | np.ndarray
    """Exponent of the size."""
    beta: float | np.ndarray
    """Exponent of the number of orders."""

    def __call__(self, N: np.ndarray, D: np.ndarray) -> np.ndarray:
        """The loss of models with N parameters after D orders."""
        return self.E + self.A * np.power(N, -self.alpha) + self.B * np.power(D, -self.beta)

    def __str__(self) -> str:
        return f"L(N, D) = {self.E:.4f} + {self.A:.6g} / N^{self.alpha:.4f} + {self.B:.6g} / D^{self.beta:.4f}"

    @property
    def size_exponent(self) -> float | np.ndarray:
        """The exponent a of N_opt ~ C^a: beta / (alpha + beta); that of D_opt is 1 - a."""
        return self.beta / (self.alpha + self.beta)

    def optimum(self, compute: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The size and the number of orders with the lowest loss for C = 6 N D operations.

        N = G (C/6)^a and D = (C/6)^(1-a) / G, with G = (alpha A / (beta B))^(1 / (alpha + beta)) (Hoffmann et al.
        2022, eq. 4). Infinite or zero where the size or the orders cost nothing.
        """
        a = self.size_exponent
        with np.errstate(divide="ignore"):
            G = np.power(np.divide(self.alpha * self.A, self.beta * self.B), 1 / (self.alpha + self.beta))
            return G * np.power(compute / 6, a), np.power(compute / 6, 1 - a) / G


def distinct(values: np.ndarray) -> int:
    """How many different values there are; neighbours within 5 % are one: whole batches miss a budget by that."""
    return 1 + int((np.diff(np.log(np.sort(values))) > np.log(1.05)).sum())


def check_runs(N: np.ndarray, D: np.ndarray, loss: np.ndarray) -> None:
    """Refuse runs that do not determine the five numbers of the law.

    Args:
        N: [R], parameters of each run.
        D: [R], orders that it was trained on.
        loss: [R], its loss.

    Raises:
        ValueError: Some run has no positive loss, or sizes or budgets are too few; the message says what is missing.
    """
    bad = np.flatnonzero(~(np.isfinite(loss) & (loss > 0)))
    if len(bad):
        raise ValueError(f"the loss of {len(bad)} of {len(loss)} runs is not a positive number: leave them out")
    missing = [
        f"{number} {what}, at least {least} are needed"
        for what, number, least in (
            ("different sizes", distinct(N) if len(N) else 0, MIN_DISTINCT),
            ("different budgets", distinct(D) if len(D) else 0, MIN_DISTINCT),
            ("runs", len(loss), len(NAMES)),
        )
        if number < least
    ]
    if missing:
        raise ValueError(f"the law has {len(NAMES)} unknowns and the runs have {'; '.join(missing)}: add runs")
