"""Orders that the exchange rejects."""

from __future__ import annotations

from mars_lmm.simulation.output.counts import MODEL_NAME

PUBLISHED_REJECTED = 0.083
"""The share that MarketGPT reports (Wheeler and Varner 2024, arXiv 2411.16585)."""


def validity(manifest: dict) -> dict:
    """How many of the model's orders the exchange rejected, over all starts of a simulation.

    Args:
        manifest: `simulation.json`: `by_kind`, accepted orders by source and kind; `rejected`, the model's by reason.

    Returns:
        `sent`, how many orders the model sent; of these the shares `rejected`, None where it sent none, and
        `by_reason`, the most frequent first; `published`, what another model is reported to come to.
    """
    rejected = manifest["rejected"]
    sent = sum(manifest["by_kind"][MODEL_NAME].values()) + sum(rejected.values())
    return {
        "sent": sent,
        "rejected": sum(rejected.values()) / sent if sent else None,
        "by_reason": {
            reason: count / sent for reason, count in sorted(rejected.items(), key=lambda item: -item[1]) if sent
        },
        "published": PUBLISHED_REJECTED,
    }
