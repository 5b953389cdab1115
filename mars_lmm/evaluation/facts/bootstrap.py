"""Block bootstrap: which paths are drawn together, the draws, and intervals from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mars_lmm.evaluation.resampling import FEWEST_UNITS, LEVEL, REPLICATES, bootstrap_weights, tail_probability

SESSION, START = "session", "start"


class Estimate(NamedTuple):
    """A headline number with its 95 % interval, its standard error, and how many numbers the interval holds for."""

    value: float
    low: float = math.nan
    high: float = math.nan
    error: float = math.nan
    at_once: int = 1


@dataclass(frozen=True)
class Bootstrap:
    """Draws of whole units, since the paths of a unit are not independent.

    Attributes:
        unit: What is drawn: `session` (one symbol on one day) or `start`.
        num_units: Units of the symbol that has the fewest, or of all symbols where they are drawn across symbols.
        index: The unit of each path, int64[P].
        draws: How often each unit counts, float64[1 + B, U]; the first row is all ones, the plain statistic.
        symbols: How often each symbol counts, float64[1 + B, S].
    """

    unit: str
    num_units: int
    index: Tensor
    draws: Tensor
    symbols: Tensor

    @property
    def paths(self) -> Tensor:
        """How often each path counts, float64[1 + B, P]."""
        return self.draws[:, self.index]

    @property
    def tail(self) -> float:
        """Share of the replicates to leave out at either end of an interval."""
        return tail_probability(self.num_units)

    @classmethod
    def draw(
        cls, symbol: Tensor, session: Tensor, start: Tensor, seed: int = 0, replicates: int = REPLICATES
    ) -> Bootstrap:
        """Choose the units and draw them.

        Sessions are drawn within each symbol where every symbol has `FEWEST_UNITS` of them, and across symbols where
        there are that many symbols. Else starts are drawn within each symbol: they are the largest blocks left, but
        those of one session share its mood, so their intervals are too narrow for a claim about other days.

        Args:
            symbol: The symbol of each path, 0, 1, ..., S - 1, int64[P].
            session: Its day, int64[P].
            start: Its start, int64[P].
            seed: Seed of the draws, which depend on neither the device nor the order of the paths.
            replicates: How many draws.
        """
        sessions, session_symbol, session_index = _units(symbol, session)
        num_symbols = int(symbol.max()) + 1
        fewest = np.bincount(session_symbol, minlength=num_symbols).min()
        if fewest >= FEWEST_UNITS or num_symbols >= FEWEST_UNITS:
            within = fewest >= FEWEST_UNITS
            unit, num_units = SESSION, int(fewest) if within else sessions
            unit_symbol, index = session_symbol, session_index
        else:
            within = True
            _, unit_symbol, index = _units(symbol, start)
            unit, num_units = START, int(np.bincount(unit_symbol, minlength=num_symbols).min())
        stratum = unit_symbol if within else np.zeros_like(unit_symbol)
        draws = bootstrap_weights(np.arange(len(stratum)), stratum, replicates, seed)
        of_symbol = np.eye(num_symbols)[unit_symbol]  # [U, S]
        symbols = draws @ of_symbol / of_symbol.sum(axis=0)
        tensors = (torch.from_numpy(array).to(symbol.device) for array in (index, draws, symbols))
        return cls(unit, num_units, *tensors)


def _units(symbol: Tensor, block: Tensor) -> tuple[int, np.ndarray, np.ndarray]:
    """Number of units, the symbol of each [U], and the unit of each path [P]."""
    pairs = torch.stack([symbol, block], dim=1).cpu().numpy()
    units, index = np.unique(pairs, axis=0, return_inverse=True)
    return len(units), units[:, 0], index.ravel()


def interval(replicates: Tensor, bootstrap: Bootstrap) -> Estimate:
    """Percentile interval of one number.

    Args:
        replicates: The number itself, then its bootstrap replicates, float64[1 + B].
        bootstrap: What drew them.
    """
    value, low, high, error = (column.item() for column in intervals(replicates[:, None], bootstrap))
    return Estimate(value, low, high, error)


def intervals(replicates: Tensor, bootstrap: Bootstrap) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Percentile intervals of L numbers at once: value, low, high and standard error, each [L].

    Args:
        replicates: float64[1 + B, L].
        bootstrap: What drew them.
    """
    drawn = replicates[1:]
    known = drawn.isfinite()
    enough = replicates[0].isfinite() & (known.double().mean(dim=0) >= LEVEL)
    ends = torch.nanquantile(drawn, drawn.new_tensor([bootstrap.tail, 1 - bootstrap.tail]), dim=0)
    mean = drawn.nanmean(dim=0)
    variance = torch.where(known, (drawn - mean) ** 2, 0.0).sum(dim=0) / known.sum(dim=0)
    error = variance.sqrt() * math.sqrt(bootstrap.num_units / max(bootstrap.num_units - 1, 1))
    low, high, error = (torch.where(enough, column, torch.nan) for column in (*ends, error))
    return replicates[0], low, high, error


def strongest(curve: Tensor, bootstrap: Bootstrap) -> Estimate:
    """The point farthest from 0 in standard errors, within a band that holds at all points at once.

    The band is as wide as the largest deviation over the points, in standard errors, that a share of 2 * tail
    of the replicates exceeds; so choosing the strongest point does not make it significant.

    Args:
        curve: float64[1 + B, L].
        bootstrap: What drew the replicates.
    """
    curve = curve[:, curve.isfinite().all(dim=0)]
    if curve.shape[1] == 0 or (error := curve[1:].std(dim=0)).min() == 0:
        return Estimate(math.nan)
    deviation = ((curve[1:] - curve[0]).abs() / error).amax(dim=1)
    width = torch.quantile(deviation, 1 - 2 * bootstrap.tail)
    chosen = (curve[0] / error).abs().argmax()
    value, half = curve[0, chosen].item(), (width * error[chosen]).item()
    return Estimate(value, value - half, value + half, error[chosen].item(), curve.shape[1])
