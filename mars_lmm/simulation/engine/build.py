"""Build an engine: fork starts into a batch of rollouts, seat the agents, let the model read each history once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mars_lmm.data.market import load_rules
from mars_lmm.market import types as t
from mars_lmm.market.lockstep import take_snapshots
from mars_lmm.market.repack import repack
from mars_lmm.market.rules import DayRules, MarketRules
from mars_lmm.models.order_model import OrderModel
from mars_lmm.models.recalibration import recent_biases
from mars_lmm.models.sampling import Sampling
from mars_lmm.models.spread_biases import SpreadBiases
from mars_lmm.simulation.agents.seats import SeatPlan
from mars_lmm.simulation.config import AGENTS, QUEUE_RULES, SESSION_RULES, VENUE_RULES, RolloutConfig
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine.arrays import Limits
from mars_lmm.simulation.engine.batch import Batch, Room
from mars_lmm.simulation.engine.coding import WINDOWS_READ, Coding
from mars_lmm.simulation.engine.reading import READERS, Reader
from mars_lmm.simulation.engine.rollout_engine import Forecaster, RolloutEngine
from mars_lmm.simulation.starts.start import Start

CHUNK_STEPS = 256
TRADES_A_STEP = 1024  # with agents: each trade is looked at for their part in it; auctions have many
FILLS_A_STEP = 4
STARTS_AT_ONCE = 16  # histories that the model reads in one pass


@torch.no_grad()
def make_engine(
    config: RolloutConfig,
    model: OrderModel | None,
    coding: Coding,
    starts: Sequence[Start],
    start_of: np.ndarray,
    number: np.ndarray,
    order_limit: int,
    seats: Sequence[SeatPlan] = (),
    device: torch.device | str | None = None,
) -> RolloutEngine:
    """Fork the starts into a batch of rollouts; each start's history is read by the model once.

    Args:
        config: Seed, background, sampling, rules, limits.
        model: The trained model, in eval mode; None: only agents trade, as with `background=agents`.
        coding: How orders are coded.
        starts: All starts.
        start_of: int[B], the start of each rollout, in ascending order.
        number: int[B], its number among the start's rollouts.
        order_limit: Accepted orders after which a rollout ends.
        seats: The agents.
        device: Where all runs; None: where the model is, or the CPU.

    Raises:
        ValueError: The rules do not fit a start, or it has less history than the model needs.
    """
    config = config.settled(coding)
    used, copies = np.unique(start_of, return_counts=True)
    chosen = [starts[index] for index in used]
    if model is not None:
        for start in chosen:
            start.check_history(coding, model.config.window)
    if device is None:
        device = torch.device("cpu") if model is None else next(model.parameters()).device
    device = torch.device(device)
    if config.background == AGENTS:
        model = None
    books = _books(config, chosen, copies, min(order_limit, config.limits.book_room), seats)
    clock = np.repeat([start.state.clock for start in chosen], copies, axis=0)
    room = Room(
        steps=CHUNK_STEPS,
        fills=FILLS_A_STEP * CHUNK_STEPS if seats else 0,
        trades=TRADES_A_STEP if seats else 1,
        under_way=max((seat.agent.under_way for seat in seats), default=0),
        open_orders=max((seat.agent.open_orders for seat in seats), default=0),
        draws=max((seat.agent.num_draws for seat in seats), default=0),
    )
    batch = Batch.begin(books, clock, coding.num_features, coding.num_stream, len(seats), room)
    _fill(batch, starts, start_of, number, order_limit)
    batch = batch.to(device)
    forecaster = None
    if model is not None:
        reader = _read(READERS[config.attention], model, chosen, device)
        sampling = Sampling.build(config.sampling, model.bins, device)
        biases = _recalibrate(model, chosen, config.recalibration, device) if config.recalibration else None
        fork = torch.from_numpy(np.repeat(np.arange(len(used)), copies)).to(device)
        forecaster = Forecaster(model, reader, sampling, biases).select(fork)
    for seat in seats:
        seat.agent.meet(starts, torch.from_numpy(np.asarray(start_of, dtype=np.int64)).to(device))
    return RolloutEngine(
        batch,
        coding,
        config.seed,
        forecaster,
        [seat.take() for seat in seats],
        Limits(int(config.limits.empty_side_seconds * 10**9), config.limits.rejections),
        QUEUE_RULES[config.cancels],
        config.graph and (forecaster is None or forecaster.reader.fixed_shapes),
    )


def _books(
    config: RolloutConfig, starts: Sequence[Start], copies: np.ndarray, room: int, seats: Sequence[SeatPlan]
) -> np.ndarray:
    """The starts' books in one batch: all have the room of the largest."""
    days = [_day(config.rules, start) for start in starts]
    # Whoever follows the recorded session brings what its feed revealed.
    as_seen = any(seat.agent.recorded for seat in seats)
    seen = [start.book(as_seen) for start in starts]
    num_orders = max(int(book[t.LIVE_ORDERS]) for book in seen) + room
    num_ticks = max(int(book[t.NUM_TICKS]) for book in seen)
    schedules = [len(day.schedule) for day in days if day is not None]
    num_phases = max(*schedules, *(int(book[t.NUM_PHASES]) for book in seen), 1)
    accounts = np.array([[0, 0, 0], *(seat.account for seat in seats)]) if seats else None
    books = []
    for start, book, count, day in zip(starts, seen, copies, days, strict=True):
        # The clock of a book without rules has stood still; new rules hold from the start on.
        if not book[t.RULES + t.ENFORCED]:
            book[t.CLOCK] = start.time
        books.append(repack(book, int(count), num_orders, num_ticks, None, num_phases, accounts, day))
    return np.concatenate(books)


def _day(rules: str, start: Start) -> DayRules | None:
    """The rules of a start's day; None: those that its book is under already."""
    session = start.session
    if rules == SESSION_RULES and session.rules:
        return None
    if rules == VENUE_RULES and not session.rules:
        raise ValueError(
            f"rules=venue: {session.name} was recorded without a rule file; name one, such as rules=nasdaq"
        )
    name = session.rules if rules in (SESSION_RULES, VENUE_RULES) else rules
    market = load_rules(name) if name else MarketRules()
    try:
        return market.day(session.reference_price)
    except ValueError as error:
        raise ValueError(
            f"rules={rules}: {name} cannot be in force in {session.name}: {error}; rules={SESSION_RULES}, or the path "
            "of a changed copy of the file, does without"
        ) from error


def _fill(batch: Batch, starts: Sequence[Start], start_of: np.ndarray, number: np.ndarray, order_limit: int) -> None:
    """What the rollouts begin with, beside books and clocks."""
    market, progress = batch.market, batch.rollout.progress
    for b, index in enumerate(start_of):
        start = starts[index]
        if len(start.token):
            market.token[b] = int(start.token[-1])
            market.market[b] = torch.from_numpy(start.market[-1].copy())
        market.stream[b] = torch.from_numpy(start.stream)
        progress[b, c.NEXT_ID] = start.next_id
        progress[b, [c.BEGIN_TIME, c.NOT_BEFORE]] = start.time
    take_snapshots(market.books.numpy(), market.snapshot.numpy())
    # A rollout's identity does not depend on how many others are made: starts are 2**32 apart.
    progress[:, c.ROLLOUT] = torch.from_numpy(np.asarray(start_of, np.int64) << 32 | number)
    progress[:, c.ORDER_LIMIT] = order_limit
    batch.agent.desk[..., c.WAKE] = progress[:, c.BEGIN_TIME, None]


def _read(reader: type[Reader], model: OrderModel, starts: Sequence[Start], device: torch.device) -> Reader:
    most = WINDOWS_READ * model.config.window
    parts = [
        reader.begin(model, *_histories(starts[first : first + STARTS_AT_ONCE], most, device))
        for first in range(0, len(starts), STARTS_AT_ONCE)
    ]
    return reader.concatenate(parts)


def _recalibrate(model: OrderModel, starts: Sequence[Start], orders: int, device: torch.device) -> SpreadBiases:
    """The biases of each start; none where its history is artificial."""
    parts = []
    for start in starts:
        token, market = torch.from_numpy(start.token.astype(np.int64)), torch.from_numpy(start.market)
        counted = 0 if start.artificial else orders
        parts.append(recent_biases(model, token.to(device), market.to(device), counted))
    return SpreadBiases.concatenate(parts)


def _histories(
    starts: Sequence[Start], most: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of the last orders, tokens int64 [N, T] and market features int16 [N, T, F], padded on the right; lengths."""
    length = np.array([min(len(start.token), most) for start in starts])
    token = np.zeros((len(starts), length.max()), dtype=np.int64)
    market = np.zeros((len(starts), length.max(), starts[0].market.shape[1]), dtype=np.int16)
    for i, start in enumerate(starts):
        token[i, : length[i]] = start.token[-length[i] :]
        market[i, : length[i]] = start.market[-length[i] :]
    return tuple(torch.from_numpy(array).to(device) for array in (token, market, length))
