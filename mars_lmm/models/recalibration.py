"""Recalibration: a model's fields, brought to how often their bins came lately.

A market changes its habits from one hour to the next, and a model goes back to those that it was trained on. Biases
that are fitted to the last orders before a start keep it to the market's present ones. Only the past is used, and both
sides alike: that more was bought than sold lately is no habit, and a model that went on so would follow every trend.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mars_lmm.models.embedding import NUM_SCALARS
from mars_lmm.models.mirror import mirror
from mars_lmm.models.order_model import OrderModel
from mars_lmm.models.spread_biases import SpreadBiases


@torch.no_grad()
def recent_biases(model: OrderModel, token: Tensor, market: Tensor, orders: int) -> SpreadBiases:
    """The biases, of one book, that fit a model to the last orders of a history.

    Models of our coding are fitted to the history and its mirror image together.

    Args:
        model: In eval mode.
        token: int64 [T]; orders before those that count are context.
        market: int16 [T, F].
        orders: How many orders count, at most; the first of a history never does.
    """
    scored = min(orders, len(token) - 1)
    histories = [(token, market)]
    if model.config.embedding == "orders":
        histories.append(mirror(token, market, model.bins))
    logits = [_logits(model, *history, scored) for history in histories]
    target = torch.cat([history[0][len(token) - scored :] for history in histories])
    met = [spread_of(model, history[1][len(token) - scored - 1 : -1]) for history in histories]
    return SpreadBiases.fit(
        [torch.cat(field) for field in zip(*logits, strict=True)],
        torch.unravel_index(target, model.bins),
        torch.cat(met),
    )


def spread_of(model: OrderModel, market: Tensor) -> Tensor:
    """Bins of the spread, int64 [...], of market features int [..., F]; zeros where a model's features tell none.

    A book without one side has the widest.
    """
    if model.config.embedding != "orders":
        return torch.zeros_like(market[..., 0], dtype=torch.int64)
    bids = (NUM_SCALARS + market.shape[-1]) // 2
    return torch.maximum(market[..., NUM_SCALARS], market[..., bids]).long()


def _logits(model: OrderModel, token: Tensor, market: Tensor, scored: int) -> list[Tensor]:
    """Logits of each field of the last orders of a history, float32 [scored, K]."""
    first = len(token) - scored
    hidden = model.states(token[None], market[None])[0, first - 1 : -1]
    target = token[first:]
    size = model.head.chunk_size(scored)
    chunks = [model.head.field_logits(*chunk) for chunk in zip(hidden.split(size), target.split(size), strict=True)]
    return [torch.cat(field) for field in zip(*chunks, strict=True)]
