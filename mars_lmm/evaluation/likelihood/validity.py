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
        run: Its manifests count accepted orders by source and kind, and rejected ones by reason and by start.
        source: The simulated source.
        seed: Seed of the bootstrap.

    Returns:
        `sent`, how many orders were sent; of these the shares `rejected`, None where none was sent, and `by_reason`,
        the most frequent first; `interval`, `low` and `high` of the 95 % interval of the share over starts, NaN where
        the simulation does not tell rejections by start; `published`, what another model is reported to come to.
    """
    manifest = run.simulated[source]
    agent = _in_the_models_stead(manifest)
    accepted = sum(manifest["by_kind"][agent or MODEL_NAME].values())
    rejected = manifest["rejected_agents"][agent] if agent else manifest["rejected"]
    sent = accepted + sum(rejected.values())
    return {
        "sent": sent,
        "rejected": sum(rejected.values()) / sent if sent else None,
        "interval": _interval(run, source, agent is not None, seed),
        "by_reason": {
            reason: count / sent for reason, count in sorted(rejected.items(), key=lambda item: -item[1]) if sent
        },
        "published": PUBLISHED_REJECTED,
    }


def _in_the_models_stead(manifest: dict) -> str | None:
    if manifest["by_kind"][MODEL_NAME] or len(manifest.get("agents", [])) != 1:
        return None
    return manifest["agents"][0]


def _interval(run: SimulationRun, source: str, by_agent: bool, seed: int) -> dict[str, float]:
    """Starts are drawn within their symbols, and all orders counted together, as in the share itself."""
    starts, orders = run.simulated[source]["starts"], run.orders[source]
    key = "rejected_agents" if by_agent else "rejected"
    if any(key not in start for start in starts):  # simulations of older versions
        return {"low": np.nan, "high": np.nan}
    rejected = np.array([start[key] for start in starts])
    accepted = np.bincount(orders["start"][orders["source"] == int(by_agent)], minlength=len(starts))
    drawn = Bootstrap([start["symbol"] for start in starts], seed)
    with np.errstate(invalid="ignore"):
        found = drawn.percentile(drawn.weights @ rejected / (drawn.weights @ (accepted + rejected)))
    return {"low": found["low"], "high": found["high"]}
