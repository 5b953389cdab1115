"""What the facts of order flow are measured on: waiting times, sizes, volumes, distances, signs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mars_lmm.evaluation.facts.order_panel import OrderPanel
from mars_lmm.evaluation.facts.panel import MINUTE
from mars_lmm.market.types import BUY, CANCEL, CANCEL_AT, HALT, LIMIT, POST_ONLY, REPLACE, RESUME

Sample = tuple[Tensor, Tensor]  # values [N] and the path of each [N]

SIGN_LAGS = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 40, 50, 63, 79, 100, 126, 158, 200)  # trades, ten a decade
BLOCKS = (4, 8, 16, 32, 64)  # trades; shorter ones show how signs follow each other, not how they remember
FEWEST_BLOCKS = 20
FEWEST_PAIRS = 400  # a correlation has a standard error of 0.05
ROUND_FROM = 10  # smaller sizes are neither round nor not


def resolution(flow: OrderPanel) -> int:
    """The clock's step, nanoseconds: the largest of which all times are multiples."""
    return int(np.gcd.reduce(flow.time.numpy(force=True))) or 1


def waits(flow: OrderPanel) -> Sample:
    """Seconds between one order and the next of its path; one within the clock's step counts as half of it."""
    wait = flow.time.diff()
    same = flow.path.diff() == 0
    seconds = torch.where(wait > 0, wait.double(), resolution(flow) / 2) / 1e9
    return seconds[same], flow.path[1:][same]


def sizes(flow: OrderPanel) -> Sample:
    """Sizes of new orders."""
    others = torch.tensor([CANCEL, CANCEL_AT, REPLACE, HALT, RESUME], device=flow.kind.device)
    new = ~torch.isin(flow.kind, others) & (flow.size > 0)
    return flow.size[new], flow.path[new]


def is_round(size: Tensor) -> Tensor:
    """Whether a size is one digit followed by zeros. Of a smooth law a fifth at most is."""
    unit = 10 ** torch.floor(torch.log10(size.double()) + 1e-9)
    return size % unit.long() == 0


def minute_volumes(flow: OrderPanel) -> tuple[Tensor, Tensor]:
    """Traded size in each whole minute of each path, counted from its begin, float64[P * M], and the path."""
    minutes = int(((flow.end - flow.begin) // MINUTE).max())
    minute = ((flow.time - flow.begin[flow.path]) // MINUTE).clamp(min=0)
    inside = minute < minutes
    cell = (flow.path * minutes + minute)[inside]
    paths = len(flow.symbol)
    volume = torch.bincount(cell, flow.filled[inside].double(), minlength=paths * minutes)
    return volume, torch.arange(paths, device=volume.device).repeat_interleave(minutes)


def distances(flow: OrderPanel) -> Sample:
    """Ticks behind the touch of limit orders that rest there, the touch being the one that they met."""
    rests = ((flow.kind == LIMIT) | (flow.kind == POST_ONLY)) & (flow.filled == 0)
    own = torch.where(flow.side == BUY, flow.bid, flow.ask)
    ticks = torch.where(flow.side == BUY, own - flow.price, flow.price - own)
    behind = rests & (own > 0) & (ticks > 0)
    return ticks[behind], flow.path[behind]


def signs(flow: OrderPanel) -> Sample:
    """+1 for each order that buys at once, -1 for each that sells."""
    trades = flow.filled > 0
    return torch.where(flow.side[trades] == BUY, 1.0, -1.0).double(), flow.path[trades]


def sign_products(sign: Tensor, path: Tensor, unit: Tensor, num_units: int) -> Tensor:
    """Sums over pairs of trades of one path: their number, product, earlier and later sign, float64[4, U, lags]."""
    sums = sign.new_zeros((4, num_units, len(SIGN_LAGS)))
    for column, lag in enumerate(SIGN_LAGS):
        same = path[lag:] == path[:-lag]
        first, second, of = sign[:-lag][same], sign[lag:][same], unit[lag:][same]
        for row, values in enumerate((torch.ones_like(first), first * second, first, second)):
            sums[row, :, column] = torch.bincount(of, values, minlength=num_units)
    return sums


def block_sums(sign: Tensor, path: Tensor, unit: Tensor, num_units: int) -> Tensor:
    """Of the mean sign in blocks of m trades of one path: number, sum and sum of squares, float64[3, U, blocks]."""
    first = torch.searchsorted(path, path)  # paths ascend
    place = torch.arange(len(path), device=path.device) - first
    length = torch.searchsorted(path, path, right=True) - first
    sums = sign.new_zeros((3, num_units, len(BLOCKS)))
    for column, m in enumerate(BLOCKS):
        whole = place < length // m * m
        block = torch.div(torch.arange(int(whole.sum()), device=path.device), m, rounding_mode="floor")
        mean = torch.bincount(block, sign[whole]) / m
        of = unit[whole][::m]
        for row, values in enumerate((torch.ones_like(mean), mean, mean * mean)):
            sums[row, :, column] = torch.bincount(of, values, minlength=num_units)
    return sums


def sign_correlation(sums: Tensor) -> Tensor:
    """Pearson correlation of signs, float64[R, lags], from sums [4, R, lags]."""
    n, product, first, second = sums
    first, second = first / n, second / n
    value = (product / n - first * second) / torch.sqrt((1 - first**2) * (1 - second**2))
    return torch.where((n >= FEWEST_PAIRS) & value.isfinite(), value, torch.nan)


def hurst(sums: Tensor) -> Tensor:
    """1 + half the slope of the logarithm of the variance of block means against that of their length, from [3, R, m].

    Independent signs give 1/2; the variance of a process with long memory falls more slowly than 1 / m.
    """
    n, total, squares = sums
    used = n[0] >= FEWEST_BLOCKS  # the same lengths in all replicates
    if used.sum() < 3:
        return n.new_full((len(n),), torch.nan)
    log_variance = (squares / n - (total / n) ** 2)[:, used].log()
    x = torch.tensor(BLOCKS, dtype=n.dtype, device=n.device)[used].log()
    x = x - x.mean()
    return 1 + (log_variance @ x) / (x @ x) / 2


def activity(flow: OrderPanel, opens: int, closes: int, bins: int) -> tuple[Tensor, Tensor]:
    """Orders and observed seconds in equal parts of the session, both float64[P, bins].

    Args:
        flow: The orders.
        opens: When the session begins, nanoseconds since midnight.
        closes: When it ends.
        bins: Number of parts.
    """
    paths = len(flow.symbol)
    edges = torch.linspace(opens, closes, bins + 1, dtype=torch.float64, device=flow.time.device)
    inside = (flow.time >= opens) & (flow.time < closes)
    part = torch.bucketize(flow.time[inside].double(), edges[1:-1], right=True)
    orders = torch.bincount(flow.path[inside] * bins + part, minlength=paths * bins).reshape(paths, bins)
    begin, end = flow.begin[:, None].double(), flow.end[:, None].double()
    seen = (torch.minimum(end, edges[1:]) - torch.maximum(begin, edges[:-1])).clamp(min=0)
    return orders.double(), seen / 1e9
