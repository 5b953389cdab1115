"""Facts of order flow: when orders come, how large they are, where they are placed, and which way they trade.

After Vyetrenko et al. (ICAIF 2020) and Bouchaud, Mezard and Potters (2002). Each is judged like the facts of returns:
statistics by symbol, means over symbols, whole units drawn with replacement.
"""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor

from mars_lmm.evaluation.facts import order_samples as samples
from mars_lmm.evaluation.facts.bootstrap import Bootstrap
from mars_lmm.evaluation.facts.estimators import mean_over_symbols, power_law_exponent
from mars_lmm.evaluation.facts.laws import FEWEST_VALUES, LogCounts, fit_laws, fit_tail
from mars_lmm.evaluation.facts.order_panel import OrderPanel
from mars_lmm.evaluation.facts.verdicts import Curves, Fact, Judgement, conclude

PARTS = 13  # of a session; half-hours of one of 6.5 hours
WHOLE = 0.9  # share of the session's parts that a symbol's orders have to cover
EXPONENTIAL_TAIL = 3.0  # Hill's exponent of the largest tenth of an exponential sample is 3.07
MOST_COMMON = 5
FIRST_SIGN_LAGS = slice(0, 8)  # lags 1 to 10

SIGN_PERSISTENCE = "f"
ORDER_FLOW_FACTS = (
    Fact(
        "a",
        "Clustered arrivals",
        "shape of the Weibull law fitted to the time between orders",
        (-inf, 1),
        0.9,
        headline=lambda curves: curves["wait_weibull_shape"][:, 0],
    ),
    Fact(
        "b",
        "Heavy-tailed sizes",
        "exponent of the largest tenth of the sizes (Hill)",
        (-inf, EXPONENTIAL_TAIL),
        2.5,
        headline=lambda curves: curves["size_tail_exponent"][:, 0],
    ),
    Fact(
        "c",
        "Round sizes",
        "share of round sizes (one digit and zeros) among those of 10 and more",
        (0.2, inf),
        0.3,
        headline=lambda curves: curves["round_share"][:, 0],
    ),
    Fact(
        "d",
        "Volume follows a Gamma law",
        "nats per minute by which a Gamma law beats a log-normal for the volume of minutes with trades",
        (0, inf),
        0.02,
        headline=lambda curves: curves["volume_gamma_nats"][:, 0],
    ),
    Fact(
        "e",
        "U-shaped day",
        "activity at the ends of the session less that in its middle, over the mean, of a quadratic fit",
        (0, inf),
        0.3,
        headline=lambda curves: curves["u_shape"][:, 0],
    ),
    Fact(
        SIGN_PERSISTENCE,
        "Persistent trade signs",
        "mean correlation of the signs of trades 1 to 10 trades apart",
        (0, inf),
        0.05,
        headline=lambda curves: curves["sign_correlation"][:, FIRST_SIGN_LAGS].mean(dim=1),
    ),
    Fact(
        "g",
        "Slow decay of sign correlation",
        "exponent of the decay of fact f with the lag, up to 200 trades",
        (0, 1),
        0.5,
        premise=SIGN_PERSISTENCE,
        headline=lambda curves: power_law_exponent(
            curves["sign_correlation"], torch.tensor(samples.SIGN_LAGS, device=curves["sign_correlation"].device)
        ),
    ),
    Fact(
        "h",
        "Long memory of trade signs",
        "Hurst exponent from the variance of the mean sign of blocks of 4 to 64 trades",
        (0.5, inf),
        0.6,
        headline=lambda curves: curves["sign_hurst"][:, 0],
    ),
    Fact(
        "i",
        "Heavy-tailed placement",
        "exponent of the farthest tenth of the distances from the touch (Hill)",
        (-inf, EXPONENTIAL_TAIL),
        2.5,
        headline=lambda curves: curves["depth_tail_exponent"][:, 0],
    ),
)


def judge_order_flow(flow: OrderPanel, session: tuple[int, int] | None = None, seed: int = 0) -> Judgement:
    """Judge the facts of order flow on one source.

    Args:
        flow: The orders; every symbol has a path.
        session: When the market opens and closes, nanoseconds since midnight. Without it, or where the orders do not
            cover it, nobody can tell whether activity is U-shaped over the day.
        seed: Seed of the bootstrap.

    Returns:
        The judgement. Its curves have the shapes and exponents of all fits, too; its details by symbol the laws of
        waiting times and volumes with their AIC, the best of them, the commonest sizes, and the clock's step.
    """
    bootstrap = Bootstrap.draw(flow.symbol, flow.session, flow.start, seed)
    found = [_of_symbol(flow, number, bootstrap, session) for number in range(len(flow.symbols))]
    weights = bootstrap.symbols[:, None]
    curves = {
        name: mean_over_symbols(torch.stack([curves[name] for curves, _ in found], dim=-1), weights)
        for name in found[0][0]
    }
    details = {name: details for name, (_, details) in zip(flow.symbols, found, strict=True)}
    return conclude(ORDER_FLOW_FACTS, curves, {"sign_correlation": list(samples.SIGN_LAGS)}, bootstrap, details)


def _of_symbol(
    flow: OrderPanel, number: int, bootstrap: Bootstrap, session: tuple[int, int] | None
) -> tuple[Curves, dict]:
    """Replicates of all curves of one symbol, and its details."""
    flow = flow.of_symbol(number)
    rows = (flow.symbol == number).nonzero()[:, 0]
    units, local = bootstrap.index[rows].unique(return_inverse=True)
    unit = torch.zeros_like(bootstrap.index)
    unit[rows] = local  # units of this symbol, counted from 0
    draws, num_units = bootstrap.draws[:, units], len(units)

    def counted(values: Tensor, path: Tensor) -> LogCounts:
        return LogCounts.of(values, unit[path], num_units).drawn(draws)

    wait, volume = counted(*samples.waits(flow)), counted(*_positive(*samples.minute_volumes(flow)))
    size, size_path = samples.sizes(flow)
    wait_laws, volume_laws = fit_laws(wait), fit_laws(volume)
    size_exponent, size_nats = fit_tail(counted(size, size_path))
    depth_exponent, depth_nats = fit_tail(counted(*samples.distances(flow)))
    numbers = {f"wait_{name}_shape": fit.shape for name, fit in wait_laws.items() if fit.parameters > 1}
    numbers |= {
        "size_tail_exponent": size_exponent,
        "size_tail_nats": size_nats,
        "round_share": _round_share(size, unit[size_path], draws),
        "volume_gamma_shape": volume_laws["gamma"].shape,
        "volume_gamma_nats": volume_laws["gamma"].likelihood - volume_laws["lognormal"].likelihood,
        "u_shape": _u_shape(flow, rows, unit, draws, session),
        "depth_tail_exponent": depth_exponent,
        "depth_tail_nats": depth_nats,
    }
    sign, sign_path = samples.signs(flow)
    trades = (sign, sign_path, unit[sign_path], num_units)
    numbers["sign_hurst"] = samples.hurst(draws @ samples.block_sums(*trades))
    curves = {name: values[:, None] for name, values in numbers.items()}
    curves["sign_correlation"] = samples.sign_correlation(draws @ samples.sign_products(*trades))
    details = {
        "clock_step_ns": samples.resolution(flow),
        "waits": _laws(wait, wait_laws),
        "volumes": _laws(volume, volume_laws),
        "common_sizes": _common(size),
    }
    return curves, details


def _positive(values: Tensor, path: Tensor) -> samples.Sample:
    return values[values > 0], path[values > 0]


def _round_share(size: Tensor, unit: Tensor, draws: Tensor) -> Tensor:
    """Share of round sizes among those that could be."""
    able = size >= samples.ROUND_FROM
    size, unit = size[able], unit[able]
    total = torch.bincount(unit, minlength=draws.shape[1]).double()
    round_ones = torch.bincount(unit[samples.is_round(size)], minlength=draws.shape[1]).double()
    share = (draws @ round_ones) / (draws @ total)
    return share if len(size) >= FEWEST_VALUES else torch.full_like(share, torch.nan)


def _u_shape(flow: OrderPanel, rows: Tensor, unit: Tensor, draws: Tensor, session: tuple[int, int] | None) -> Tensor:
    """Coefficient c of the fit rate / mean rate = a + b u + c u^2, u from -1 at the open to 1 at the close."""
    missing = draws.new_full((len(draws),), torch.nan)
    if session is None:
        return missing
    by_unit = draws.new_zeros((2, draws.shape[1], PARTS))
    by_unit.index_add_(1, unit[rows], torch.stack(samples.activity(flow, *session, PARTS))[:, rows])
    if (by_unit[1].sum(dim=0) > 0).double().mean() < WHOLE:
        return missing
    orders, seconds = draws @ by_unit
    covered = (seconds > 0).double()
    rate = torch.where(seconds > 0, orders / seconds, 0.0)
    rate = rate / (rate.sum(dim=1, keepdim=True) / covered.sum(dim=1, keepdim=True))
    u = (torch.arange(PARTS, dtype=rate.dtype, device=rate.device) * 2 + 1) / PARTS - 1
    design = torch.stack([torch.ones_like(u), u, u * u], dim=1)
    normal = torch.einsum("rp,pi,pj->rij", covered, design, design)
    solution, singular = torch.linalg.solve_ex(normal, (covered * rate) @ design)
    return torch.where((covered.mean(dim=1) >= WHOLE) & (singular == 0), solution[:, 2], torch.nan)


def _laws(sample: LogCounts, laws: dict) -> dict:
    """The fits of the plain sample, and the law with the lowest AIC."""
    n = sample.counts[0].sum().item()
    aic = {name: 2 * fit.parameters - 2 * n * fit.likelihood[0].item() for name, fit in laws.items()}
    known = {name: value for name, value in aic.items() if value == value}
    return {
        "values": int(n),
        "aic": aic,
        "shape": {name: fit.shape[0].item() for name, fit in laws.items()},
        "best": min(known, key=known.get) if known else None,
    }


def _common(size: Tensor) -> list[dict]:
    """The commonest sizes with their shares."""
    values, counts = size.unique(return_counts=True)
    order = counts.argsort(descending=True, stable=True)[:MOST_COMMON]
    return [
        {"size": int(value), "share": count / len(size)}
        for value, count in zip(values[order].tolist(), counts[order].tolist(), strict=True)
    ]
