"""Batch size, learning rate and beta2 by the size of the model.

The powers are those of Porian et al. 2024 (arXiv 2406.19146), tuned on text: the best batch is 160 sequences of 2,048
tokens, and the best rate of AdamW under a cosine 0.0047, at 108 million parameters. OLMo-core's ladder takes them for
warm-up-stable-decay with half the rate. An order stands for a token here, and the rate's prefactor was tuned anew on
order flow (docs/log.md).

N is the number of weights in matrix products, the head's included and lookup tables left out: `non_embedding` of
`OrderModel.num_parameters`.
"""

from __future__ import annotations

REFERENCE_PARAMETERS = 108e6
REFERENCE_BATCH = 160 * 2048
REFERENCE_RATE = 6e-4

LARGE_BATCH = 524_288
"""Orders of a batch from which on beta2 is 0.95."""


def batch_orders(non_embedding: int) -> int:
    """Orders of a global batch: 327,680 * (N / 108e6)^(2/3)."""
    return max(1, round(REFERENCE_BATCH * (non_embedding / REFERENCE_PARAMETERS) ** (2 / 3)))


def learning_rate(non_embedding: int) -> float:
    """Full learning rate of AdamW, and of Muon at AdamW's scale: `REFERENCE_RATE` * (N / 108e6)^(-1/3)."""
    return REFERENCE_RATE * (non_embedding / REFERENCE_PARAMETERS) ** (-1 / 3)


def beta2(orders: int) -> float:
    """AdamW's decay rate of squared gradients for a global batch of this many orders.

    Small batches want a longer memory (Porian et al. 2024, table 4).
    """
    return 0.95 if orders >= LARGE_BATCH else 0.99
