"""Orders that the exchange rejects."""

from __future__ import annotations

import numpy as np

from mars_lmm.evaluation.intervals import Bootstrap
from mars_lmm.evaluation.trajectories import SIMULATION, SimulationRun
from mars_lmm.simulation.output.counts import MODEL_NAME

PUBLISHED_REJECTED = 0.083
"""The share that MarketGPT reports (Wheeler and Varner 2024, arXiv 2411.16585)."""


def validity(run: SimulationRun, source: str = SIMULATION, seed: int = 0) -> dict:
    """How many of a source's orders the exchange rejected: the model's, or those of the one agent in its stead.

    Args:
        run: Its manifests count rejected orders by start and by reason, and accepted ones by source.
        source: The simulated source.
        seed: Seed of the bootstrap.

    Returns:
        `sent`, how many orders were sent after the run's starts; `rejected`, the share of these, None where none was
        sent; `interval`, `low` and `high` of its 95 % interval over starts; `by_reason`, shares of all that the
        simulation sent, starts that the run leaves out included, the most frequent first; `published`, what another
        model is reported to come to. Older simulations tell nothing by start: the share is that of all starts then,
        and the interval NaN.
    """
    manifest = run.simulated[source]
    agent = _in_the_models_stead(manifest)
    reasons = manifest["rejected_agents"][agent] if agent else manifest["rejected"]
    everything = sum(manifest["by_kind"][agent or MODEL_NAME].values()) + sum(reasons.values())
    starts, key = manifest["starts"], "rejected_agents" if agent else "rejected"
    if all(key in start for start in starts):
        orders = run.orders[source]
        rejected = np.array([start[key] for start in starts])
        accepted = np.bincount(orders["start"][orders["source"] == bool(agent)], minlength=len(starts))
        sent = int((accepted + rejected).sum())
        found = _share([start["symbol"] for start in starts], rejected, accepted + rejected, seed)
    else:
        sent = everything
        found = {"value": sum(reasons.values()) / sent if sent else None, "low": np.nan, "high": np.nan}
    return {
        "sent": sent,
        "rejected": found["value"] if sent else None,
        "interval": {end: found[end] for end in ("low", "high")},
        "by_reason": {
            reason: count / everything for reason, count in sorted(reasons.items(), key=lambda item: -item[1]) if count
        },
        "published": PUBLISHED_REJECTED,
    }


def _in_the_models_stead(manifest: dict) -> str | None:
    """The one agent, where the model sent nothing at all."""
    sent = manifest["by_kind"][MODEL_NAME] or any(manifest["rejected"].values())
    return None if sent or len(manifest.get("agents", [])) != 1 else manifest["agents"][0]


def _share(symbols: list[str], rejected: np.ndarray, sent: np.ndarray, seed: int) -> dict[str, float]:
    """Of all orders together, from starts that are drawn within their symbols."""
    drawn = Bootstrap(symbols, seed)
    with np.errstate(invalid="ignore"):
        return drawn.percentile(drawn.weights @ rejected / (drawn.weights @ sent))
