"""All starts that a configuration asks for."""

from __future__ import annotations

from mars_lmm.data.prepared import PreparedSet
from mars_lmm.simulation.agents.registry import seat_plans
from mars_lmm.simulation.config import RolloutConfig
from mars_lmm.simulation.engine.coding import WINDOWS_READ, Coding
from mars_lmm.simulation.starts.recorded import Moment, held_out_starts, starts_at
from mars_lmm.simulation.starts.saved import load_start
from mars_lmm.simulation.starts.start import Start
from mars_lmm.simulation.starts.warm_up import NANOS_PER_MINUTE, warm_up_start


def list_starts(config: RolloutConfig, prepared: PreparedSet | None, coding: Coding, window: int) -> list[Start]:
    """Make all starts: the held-out ones, those at given moments, the saved ones, and the warm-up, in this order.

    Args:
        config: Which.
        prepared: The prepared set; None where no start is in one.
        coding: Codes the histories.
        window: The model's.

    Raises:
        DataError: The prepared set has no such session or moment.
        ValueError: A start cannot be read or made, or has less history than the model needs.
    """
    if prepared is None and (config.starts or config.at):
        raise ValueError(f"starts={config.starts} and at={config.at} are moments of a prepared set: give prepared=SET")
    horizon = int(config.minutes * NANOS_PER_MINUTE)
    history = coding.kept_history(window, config.settled(coding).recalibration)
    starts: list[Start] = []
    if config.starts:
        spread = config.starts, horizon, history, WINDOWS_READ * window, config.continuous
        starts += held_out_starts(prepared, coding, *spread)
    starts += starts_at(prepared, coding, [Moment.parse(text) for text in config.at], history, horizon)
    starts += [load_start(path, coding) for path in config.saved]
    for start in starts:
        start.check_history(coding, window)
    if config.warm_up is not None:
        seats = seat_plans(config.warm_up.agents)
        starts.append(warm_up_start(config.warm_up, seats, coding, history, coding.needed_history(window)))
    return starts
