"""How well the model tells the next order, whether rollouts are fair forecasts, and which orders are rejected."""

from __future__ import annotations

from mars_lmm.evaluation.likelihood.calibration import calibration
from mars_lmm.evaluation.likelihood.orders import likelihood
from mars_lmm.evaluation.likelihood.validity import validity
from mars_lmm.evaluation.material import Material


def run(material: Material) -> dict:
    """Score the model's predictions, and every source's rollouts.

    Returns:
        `orders`: what `likelihood` gives, None for an imported model, which reads other features than prepared sets
        have. `calibration` and `validity`: by source.
    """
    seed, simulated = material.config.seed, material.run.simulated
    return {
        "orders": _orders(material),
        "calibration": {source: calibration(material.run, source, seed) for source in simulated},
        "validity": {source: validity(material.run, source, seed) for source in simulated},
    }


def _orders(material: Material) -> dict | None:
    model = material.trained.model
    if model.config.embedding != "orders":
        return None
    device = material.trainer.strategy.root_device
    return likelihood(model.to(device), material.trained.prepared, seed=material.config.seed)
