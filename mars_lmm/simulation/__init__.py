"""Simulation: starts, the rollout engine, agents, trajectories; `Simulator` drives rollouts by hand."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mars_lmm.simulation.simulator import Simulator

__all__ = ["Simulator"]


def __getattr__(name: str) -> Any:
    # What only needs a part of this package does not wait for all of it.
    if name == "Simulator":
        from mars_lmm.simulation.simulator import Simulator

        return Simulator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
