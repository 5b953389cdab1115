"""Starts that no market has seen: agents alone fill an empty book, and what they did is the model's history."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mars_lmm.data.flow import UNDATED, Session
from mars_lmm.data.market import load_rules
from mars_lmm.data.replay import LADDER_MARGIN, empty_state
from mars_lmm.market import types as t
from mars_lmm.market.quantities import nanoseconds
from mars_lmm.simulation.agents.seats import SeatPlan
from mars_lmm.simulation.config import LimitsConfig, RolloutConfig, WarmUpConfig
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine.build import make_engine
from mars_lmm.simulation.engine.coding import Coding
from mars_lmm.simulation.starts.memory import Memory
from mars_lmm.simulation.starts.session_time import pass_to
from mars_lmm.simulation.starts.start import Start
from mars_lmm.tokenizers import observation as o

NANOS_PER_MINUTE = 60 * 10**9
MIDNIGHT = 24 * 60 * NANOS_PER_MINUTE

# No rollout has this number, so none draws the random numbers of its own warm-up.
_NUMBER = (1 << 32) - 1
_NO_LIMIT = 1 << 62


def warm_up_start(
    config: WarmUpConfig, seats: Sequence[SeatPlan], coding: Coding, history: int, needed: int = 1
) -> Start:
    """Let agents trade alone, and take the market that they leave. They do not stay: see `Start.continued`.

    Args:
        config: For how long, from when on, under which rules.
        seats: The agents.
        coding: Codes their orders.
        history: Orders of history to keep.
        needed: Orders that they must have made.

    Raises:
        ValueError: They made fewer orders, the session closes before they are done, or they went wrong.
        DataError: There is no such rule file.
    """
    opening = _opening(config, coding)
    minutes = f"warm_up.minutes={config.minutes:g}"
    horizon = int(config.minutes * NANOS_PER_MINUTE)
    end = opening.end_time(horizon)
    if end >= opening.closing_time():
        raise ValueError(f"{minutes} from warm_up.time={config.time} on last until the session closes: give fewer")
    # An empty book is where they begin, and for as long as they need.
    limits = LimitsConfig(empty_side_seconds=60 * config.minutes + 1)
    first, number = np.zeros(1, dtype=np.int64), np.array([_NUMBER])
    engine = make_engine(
        RolloutConfig(seed=config.seed, limits=limits), None, coding, [opening], first, number, _NO_LIMIT, seats, "cpu"
    )
    engine.progress[:, c.END_TIME] = end
    memory = Memory([opening], history)
    batch = engine.batch
    while bool(engine.running.any()):
        engine.step()
        memory.note(batch)
        if engine.full:
            engine.flush()
    reason = c.ENDS[engine.progress[0, c.END]]
    if reason not in c.PLANNED_ENDS:
        raise ValueError(f"the warm-up of {_names(seats)} went wrong ({reason}): give them other settings")
    token, market = memory.history(0)
    if len(token) < max(needed, 1):
        raise ValueError(
            f"{minutes} of {_names(seats)} made {len(token)} orders, and the model needs {max(needed, 1)} before it "
            "begins: give them more minutes, or agents that trade more"
        )
    after = batch.market
    return opening.continued(
        end,
        after.books[0].numpy(),
        after.clock[0].numpy(),
        token,
        market,
        after.stream[0].numpy(),
        after.tape[0].numpy(),
        c.FIRST_SIMULATED_ID,
    )


def _opening(config: WarmUpConfig, coding: Coding) -> Start:
    """The empty market before the agents."""
    rules = load_rules(config.rules)
    time = nanoseconds("warm_up.time", config.time)
    session = Session(
        config.symbol,
        UNDATED,
        float(rules.prices.unit),
        open_time=time,
        close_time=MIDNIGHT,
        source="warm-up",
        rules=config.rules,
        reference_price=config.price,
    )
    low = max(config.price - LADDER_MARGIN, 1)
    state = empty_state(session, 1, config.price + LADDER_MARGIN - low, low)
    book = state.book[0]
    pass_to(book, state.clock, time)
    # Nobody has traded at it, but whoever tells prices from the last one finds where to begin.
    book[t.LAST_PRICE] = config.price
    nothing = np.zeros((0, o.NUM_OBSERVED), dtype=np.int64), np.zeros((0, o.NUM_TAPE), dtype=np.int64)
    past = coding.history(*nothing, open_price=0, length=1)
    touch = np.zeros(o.NUM_TAPE, dtype=np.int64)
    return Start(session, time, state, past.token, past.market, touch, stream=past.stream, artificial=True)


def _names(seats: Sequence[SeatPlan]) -> str:
    return " and ".join(seat.name for seat in seats) or "no agents"
