"""Markets with buys and sells exchanged: what is as likely, but for the day's direction.

Shape letters: T orders, F market features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mars_lmm.models.embedding import NUM_SCALARS
from mars_lmm.tokenizers.coding import CHANGE_FEATURE
from mars_lmm.tokenizers.observation import CANCEL_TYPE


def mirror(token: Tensor, market: Tensor, bins: tuple[int, int, int, int]) -> tuple[Tensor, Tensor]:
    """Exchange buys and sells.

    Exact, except that a change since the open, in whole basis points of another price, may be off by two.

    Args:
        token: int64 [..., T].
        market: int [..., T, F], after each order.
        bins: Numbers of types, prices, sizes and intervals.
    """
    _, prices, sizes, intervals = bins
    price, rest = token // (sizes * intervals), token % (sizes * intervals)
    kind, price = price // prices, price % prices
    cancel = kind == CANCEL_TYPE
    kind = torch.where(cancel, kind, 1 - kind)
    price = torch.where(cancel, (price + prices // 2) % prices, price)
    scalars, asks, bids = market.tensor_split((NUM_SCALARS, (NUM_SCALARS + market.shape[-1]) // 2), dim=-1)
    scalars = scalars.clone()
    scalars[..., CHANGE_FEATURE] *= -1
    return (kind * prices + price) * sizes * intervals + rest, torch.cat((scalars, bids, asks), dim=-1)
