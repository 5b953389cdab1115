"""Training rows mirrored at random.

Shape letters: B rows, T orders of a row, F market features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mars_lmm.models.mirror import mirror


def mirror_some(
    batch: dict[str, Tensor], bins: tuple[int, int, int, int], generator: torch.Generator | None = None
) -> dict[str, Tensor]:
    """A batch with each row mirrored or not, at random.

    Args:
        batch: `token` [B, T] and `market` [B, T, F] among other things, which stay as they are.
        bins: Numbers of types, prices, sizes and intervals.
        generator: On the CPU; None: torch's own.
    """
    token, market = batch["token"], batch["market"]
    chosen = (torch.rand(len(token), generator=generator) < 0.5).to(token.device)
    mirrored_token, mirrored_market = mirror(token, market, bins)
    return batch | {
        "token": torch.where(chosen[:, None], mirrored_token, token),
        "market": torch.where(chosen[:, None, None], mirrored_market, market),
    }
