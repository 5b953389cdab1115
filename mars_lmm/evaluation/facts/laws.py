"""Laws of positive quantities, fitted by maximum likelihood to many weightings of one sample at once.

A sample is first counted in bins of its logarithm, 0.01 wide, for each unit of the bootstrap. A replicate is then a
row of weights, and its counts one matrix product; a bin stands for all its values by their mean logarithm, which moves
no shape or exponent by more than 1e-4. Fits are per replicate: float64[R] from counts [R, K] and logs [K].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

BIN = 0.01  # of the logarithm
TAIL_SHARE = 0.1  # largest values that a tail law is fitted to
FEWEST_IN_TAIL = 50
FEWEST_VALUES = 30
_NEWTON_STEPS = 20


@dataclass(frozen=True)
class LogCounts:
    """A sample as counts.

    Attributes:
        logs: Mean logarithm of the values of each bin, ascending, float64[K].
        counts: Values in each bin, float64[U, K] by unit, or [R, K] by replicate.
    """

    logs: Tensor
    counts: Tensor

    @classmethod
    def of(cls, values: Tensor, unit: Tensor, num_units: int) -> LogCounts:
        """Count positive values [N] by their unit [N]."""
        logs = values.double().log()
        bins, index = (logs / BIN).round().unique(return_inverse=True)
        size = len(bins)
        mean = torch.bincount(index, logs, minlength=size) / torch.bincount(index, minlength=size)
        counts = torch.bincount(unit * size + index, minlength=num_units * size).reshape(num_units, size)
        return cls(mean.double(), counts.double())

    def drawn(self, draws: Tensor) -> LogCounts:
        """The counts of replicates that draw the units by these weights, float64[R, U]."""
        return LogCounts(self.logs, draws @ self.counts)


@dataclass(frozen=True)
class Fit:
    """One law's fit.

    Attributes:
        shape: Its shape: of the log-normal, the deviation of the logarithm; 1 for the exponential.
        likelihood: Log-likelihood per value, nats.
        parameters: How many were fitted.
    """

    shape: Tensor
    likelihood: Tensor
    parameters: int


def fit_laws(sample: LogCounts) -> dict[str, Fit]:
    """Exponential, Gamma, Weibull and log-normal by maximum likelihood; NaN below `FEWEST_VALUES` or without spread."""
    n = sample.counts.sum(dim=1)
    shift = sample.logs.max() if len(sample.logs) else 0.0  # a unit in which no power overflows
    logs = sample.logs - shift
    shares = sample.counts / torch.where(n >= FEWEST_VALUES, n, torch.nan)[:, None]
    mean, mean_log = shares @ logs.exp(), shares @ logs
    deviation = torch.sqrt((shares * (logs - mean_log[:, None]) ** 2).sum(dim=1))
    deviation = torch.where(deviation > 1e-6, deviation, torch.nan)
    gamma = _gamma_shape(mean.log() - mean_log)
    weibull, mean_power = _weibull_shape(shares, logs, mean_log, deviation)
    likelihoods = {
        "exponential": (torch.ones_like(mean), -mean.log() - 1, 1),
        "gamma": (gamma, (gamma - 1) * mean_log - gamma * (1 + (mean / gamma).log()) - gamma.lgamma(), 2),
        "weibull": (weibull, weibull.log() - mean_power.log() + (weibull - 1) * mean_log - 1, 2),
        "lognormal": (deviation, -mean_log - deviation.log() - 0.5 * math.log(2 * math.pi) - 0.5, 2),
    }
    # In the unit of the sample again: densities shrink as the unit grows.
    return {name: Fit(shape, value - shift, count) for name, (shape, value, count) in likelihoods.items()}


def _gamma_shape(spread: Tensor) -> Tensor:
    """Solve ln k - digamma(k) = s by the iteration of Minka (2002), which converges in a few steps."""
    s = torch.where(spread > 1e-9, spread, torch.nan)
    k = (3 - s + torch.sqrt((s - 3) ** 2 + 24 * s)) / (12 * s)
    for _ in range(_NEWTON_STEPS):
        slope = k**2 * (1 / k - torch.special.polygamma(1, k))
        k = 1 / (1 / k + (k.log() - torch.digamma(k) - s) / slope)
    return k


def _weibull_shape(shares: Tensor, logs: Tensor, mean_log: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """Solve E[x^k ln x] / E[x^k] - 1/k = E[ln x] by Newton's method in ln k, from the moments of ln x.

    Returns:
        The shape k, and E[x^k].
    """
    k = math.pi / math.sqrt(6) / deviation
    for _ in range(_NEWTON_STEPS):
        powers = shares * torch.exp(k[:, None] * logs)
        total = powers.sum(dim=1)
        first, second = powers @ logs / total, powers @ logs**2 / total
        gap, slope = first - 1 / k - mean_log, second - first**2 + 1 / k**2
        step = (gap / (slope * k)).clamp(-1, 1)
        k = k * torch.exp(-step)
        if not (step.abs() > 1e-10).any():
            break
    return k, (shares * torch.exp(k[:, None] * logs)).sum(dim=1)


def fit_tail(sample: LogCounts) -> tuple[Tensor, Tensor]:
    """Power law against exponential in the largest tenth of the values, or what of it lies above a repeated value.

    The tail begins half-way (in the logarithm) between its smallest value and the next smaller one.

    Returns:
        The exponent of the tail P(X > x) ~ x^-a (Hill's estimator), and the nats per value by which the power law is
        likelier than an exponential from the same threshold; NaN with fewer than `FEWEST_IN_TAIL` values or where the
        largest value alone makes the tail.
    """
    logs, counts = sample.logs, sample.counts
    missing = counts.new_full((len(counts),), torch.nan)
    if len(logs) < 3:
        return missing, missing
    above = counts.flip(1).cumsum(dim=1).flip(1)  # values in this bin and all larger ones
    first = (above > TAIL_SHARE * above[:, :1]).sum(dim=1)  # bin that the tail begins with
    enough = first < len(logs)
    first = first.clamp(max=len(logs) - 1)
    border = (logs[first] + logs[first - 1]) / 2
    sums = torch.stack([counts, counts * logs, counts * logs.exp()]).flip(2).cumsum(dim=2).flip(2)
    n, sum_logs, total = sums.gather(2, first.expand(3, -1)[..., None])[..., 0]
    enough &= n >= FEWEST_IN_TAIL
    exponent = n / (sum_logs - n * border)
    excess = total / n - border.exp()
    better = exponent.log() - border - 1 / exponent + excess.log()
    return torch.where(enough, exponent, torch.nan), torch.where(enough, better, torch.nan)
