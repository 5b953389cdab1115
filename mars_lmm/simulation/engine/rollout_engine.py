"""The rollout engine: the model proposes orders, agents add theirs, the exchange executes them, the model reads them.

B books step in lockstep, at most one order each. What enters a book's token stream is the order as it was executed; an
order that the exchange rejected is counted and stays off the tape. Where an order other than the model's comes first,
the model proposes again from the new history.

A step has fixed shapes and waits for nothing on the host: on a GPU it is captured as a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mars_lmm.market import types as t
from mars_lmm.market.book import sections
from mars_lmm.models.order_model import OrderModel
from mars_lmm.models.recalibration import spread_of
from mars_lmm.models.sampling import Sampling
from mars_lmm.models.spread_biases import SpreadBiases
from mars_lmm.simulation.agents.protocol import Agent, View
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine.arrays import Limits
from mars_lmm.simulation.engine.batch import Batch
from mars_lmm.simulation.engine.coding import Coding
from mars_lmm.simulation.engine.graphs import Captured
from mars_lmm.simulation.engine.program import NUM_SAMPLE_DRAWS
from mars_lmm.simulation.engine.reading import Reader
from mars_lmm.simulation.engine.targets import target


@dataclass
class Seat:
    """An agent's place in the engine.

    Attributes:
        agent: It.
        name: For the reader of results.
        see_latency: Nanoseconds that market data and its own fills take to reach it.
        send_latency: Nanoseconds that its orders take to reach the exchange.
        state: What it remembers, tensors [B, ...].
    """

    agent: Agent
    name: str
    see_latency: int = 0
    send_latency: int = 0
    state: dict[str, Tensor] | None = None


@dataclass
class Forecaster:
    """The background order flow's model, and how its orders are drawn.

    Attributes:
        model: In eval mode.
        reader: What it knows of each book's history.
        sampling: Temperature and masks.
        biases: Of each book; None: none.
    """

    model: OrderModel
    reader: Reader
    sampling: Sampling
    biases: SpreadBiases | None = None

    def select(self, books: Tensor) -> Forecaster:
        """Copy into one whose book i is books[i], int64[N]; a book named twice is forked."""
        biases = None if self.biases is None else self.biases.select(books)
        return replace(self, reader=self.reader.select(books), biases=biases)

    def sample(self, uniform: Tensor, market: Tensor, types: Tensor | None = None) -> Tensor:
        """Draw the next orders, tokens int64 [B].

        Args:
            uniform: [B, fields].
            market: Features of the books as they are, int [B, F].
            types: Which types each book may draw, bool [B, types]; None: all.
        """
        sampling = self.sampling
        if self.biases is not None:
            sampling = replace(sampling, biases=self.biases.given(spread_of(self.model, market)))
        return self.model.sample(self.reader.hidden, uniform, sampling, types)


@dataclass
class Chunk:
    """What happened since the chunk before, on the host.

    Attributes:
        rows: int64[C, B, NUM_ROW]; where ROW_SOURCE is NOBODY, the book executed no order in that step.
        fills: int64[B, F, NUM_FILL], trades that agents had a part in.
        num_fills: int64[B], how many of them are used.
    """

    rows: np.ndarray
    fills: np.ndarray
    num_fills: np.ndarray


class RolloutEngine:
    """Steps B rollouts.

    `captures` tells whether a step is a CUDA graph.

    Args:
        batch: The rollouts, changed in place; on the device that all runs on.
        coding: How orders are coded.
        seed: With a rollout's identity it decides all random numbers.
        forecaster: The model; None: no order comes but from agents.
        seats: The agents; the number of each is its place in here, counted from 1.
        limits: What ends a rollout before its time.
        queue_rule: What the cancels of the background order flow take of a queue: the model's, or those of an agent
            that stands in for it.
        use_graph: Capture the step as a CUDA graph. Where agents or readers do what a graph cannot hold, say no.
    """

    def __init__(
        self,
        batch: Batch,
        coding: Coding,
        seed: int,
        forecaster: Forecaster | None,
        seats: Sequence[Seat] = (),
        limits: Limits | None = None,
        queue_rule: int = t.NEWEST_FIRST,
        use_graph: bool = True,
    ):
        self.batch, self.coding, self.seed = batch, coding, seed
        self.forecaster, self.seats = forecaster, list(seats)
        self.limits = limits or Limits(c.NEVER, 1 << 62)
        device = batch.market.books.device
        self._queue_rule = queue_rule
        self._host = device.type == "cpu"
        self._use_graph = use_graph
        self.captures = use_graph and not self._host
        self._advance = Captured(self.captures)
        self._program = target(device.type, coding.name)
        view = self._program.view
        self._market, self._rollout, self._agent, self._record = (
            type(arrays)(*map(view, arrays)) for arrays in (batch.market, batch.rollout, batch.agent, batch.record)
        )
        self._tables = _on_device(coding.tables, device, view)
        self._accounts_at = int(batch.market.books[0, t.ACCOUNTS_AT])
        # Only some auctions take no cancels: elsewhere there is nothing to mask.
        phases = sections(batch.market.books.cpu().numpy()).phases
        self._types = None if phases[..., t.PHASE_CANCELS].all() else batch.rollout.types
        self._nothing = torch.zeros(len(batch), dtype=torch.int64, device=device)
        self._all = torch.ones(len(batch), dtype=torch.bool, device=device)
        for number, seat in enumerate(self.seats):
            if seat.state is None:
                seat.state = seat.agent.begin(self.see(number))

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def progress(self) -> Tensor:
        """int64[B, NUM_PROGRESS]."""
        return self.batch.rollout.progress

    @property
    def running(self) -> Tensor:
        """Which rollouts have not ended, bool[B]."""
        return self.progress[:, c.END] == c.RUNNING

    @torch.no_grad()
    def step(self) -> None:
        """Execute at most one order in each book."""
        self.propose()
        self.decide()
        self.trade()
        self.read()

    def propose(self) -> None:
        """Ask the model for an order in each book where its last proposal does not stand."""
        program, forecaster = self._program, self.forecaster
        program.draw(self._market, self._rollout, self.seed)
        tokens, healthy = self._nothing, self._all
        if forecaster is not None and not (self._host and bool(self.progress[:, c.PROPOSED].all())):
            uniform = self.batch.rollout.draws[:, :NUM_SAMPLE_DRAWS]
            tokens = forecaster.sample(uniform, self.batch.market.market, self._types)
            healthy = forecaster.model.healthy(forecaster.reader.hidden)
        view = program.view
        asked = view(tokens), view(healthy), forecaster is not None
        program.plan(self._market, self._rollout, self._tables, *asked)

    def decide(self) -> None:
        """Ask the agents that are due before any order."""
        for number in range(len(self.seats)):
            self._decide(number)

    def trade(self) -> None:
        """Execute the earliest order of each book, unless an agent decides before."""
        arrays = self._market, self._rollout, self._agent, self._record
        self._program.act(*arrays, self._tables, self._queue_rule, self.limits)
        self.batch.record.cursor.add_(1)

    def read(self) -> None:
        """Let the model read the orders that were just accepted; the other books' states stay as they are."""
        accepted, market = self.batch.rollout.accepted, self.batch.market
        if self.forecaster is not None and not (self._host and not bool(accepted.any())):
            self.forecaster.reader.read(market.token, market.market, accepted, market.replaced)

    @torch.no_grad()
    def run(self, steps: int | None = None, after_step: Callable[[], None] | None = None) -> Iterator[Chunk]:
        """Step until every rollout has ended.

        Args:
            steps: At most so many.
            after_step: Called after every step; it must not wait for the device.

        Yields:
            What happened, a chunk at a time.
        """
        left = c.NEVER if steps is None else steps
        while left > 0 and bool(self.running.any()):
            for _ in range(min(left, len(self.batch.record.rows))):
                self._advance(self.step)
                left -= 1
                if after_step is not None:
                    after_step()
                if self._host and not bool(self.running.any()):
                    break
            yield self.flush()

    def send(self, number: int, orders: Tensor, time: int) -> None:
        """Send orders int64[B, NUM_QUEUED] in the name of an agent that sleeps, at a moment of all books.

        They are from a `View`, and reach the exchange as the agent's own do.
        """
        desk, seat = self.batch.agent.desk[:, number], self.seats[number]
        wake = desk[:, c.WAKE].clone()
        desk[:, c.WAKE], desk[:, c.DUE] = time, 1
        view = self._program.view
        arrays = self._market, self._rollout, self._agent
        rows = view(orders[:, None].contiguous()), view(self._nothing), view(self._nothing)
        self._program.send(*arrays, number, *rows, seat.see_latency, seat.send_latency)
        desk[:, c.WAKE], desk[:, c.DUE] = wake, 0

    def open_orders(self, number: int) -> Tensor:
        """An agent's orders in the books now, int64[B, M, NUM_OWN], oldest first."""
        self._program.track(self._market, self._agent, number)
        return self.batch.agent.own[:, number]

    def select(self, books: Tensor) -> RolloutEngine:
        """Copy into an engine whose book i is books[i], int64[N]; a book named twice is forked."""
        forecaster = self.forecaster and self.forecaster.select(books)
        states = ({name: value.index_select(0, books) for name, value in seat.state.items()} for seat in self.seats)
        seats = [replace(seat, state=state) for seat, state in zip(self.seats, states, strict=True)]
        batch = self.batch.select(books)
        settings = self.limits, self._queue_rule, self._use_graph
        return RolloutEngine(batch, self.coding, self.seed, forecaster, seats, *settings)

    def part(self, book: int, rollout: int, time: int) -> None:
        """Let a book's future differ from here on: as another rollout, whose next order is drawn anew.

        Args:
            book: The book.
            rollout: The new identity.
            time: The moment, nanoseconds since midnight; the next order comes no earlier.
        """
        progress = self.progress[book]
        progress[c.ROLLOUT], progress[c.PROPOSED], progress[c.NOT_BEFORE] = rollout, 0, time

    @property
    def full(self) -> bool:
        """Whether the next step needs a `flush` first."""
        return int(self.batch.record.cursor) == len(self.batch.record.rows)

    def flush(self) -> Chunk:
        """Take what is recorded to the host, and make room."""
        record, progress = self.batch.record, self.progress
        used = int(record.cursor)
        num_fills = progress[:, c.FILLS].to("cpu", copy=True)
        most = int(num_fills.max()) if len(num_fills) else 0
        chunk = Chunk(
            record.rows[:used].to("cpu", copy=True).numpy(),
            record.fills[:, :most].to("cpu", copy=True).numpy(),
            num_fills.numpy(),
        )
        record.cursor.zero_()
        progress[:, c.FILLS] = 0
        return chunk

    def _decide(self, number: int) -> None:
        seat, desk = self.seats[number], self.batch.agent.desk
        self._program.look(self._market, self._rollout, self._agent, self._record, number, self.seed)
        due = desk[:, number, c.DUE] != 0
        if self._host and not bool(due.any()):
            return
        decision = seat.agent.act(self.see(number), seat.state)
        orders = self._nothing.new_full((len(self), 1, c.NUM_QUEUED), t.IDLE)
        if decision.orders:
            orders = torch.stack(list(decision.orders), dim=1)
        wake = decision.wake.expand(len(self)).contiguous()
        on_order = self._nothing + int(decision.on_order)
        view = self._program.view
        arrays = self._market, self._rollout, self._agent
        self._program.send(
            *arrays, number, view(orders), view(wake), view(on_order), seat.see_latency, seat.send_latency
        )
        for name, old in seat.state.items():
            new = decision.state[name]
            mask = due.view(-1, *(1,) * (old.dim() - 1))
            old.copy_(torch.where(mask, new, old))

    def see(self, number: int) -> View:
        """What an agent sees, by its place among the seats: as of its last look."""
        market, agent, seat = self.batch.market, self.batch.agent, self.seats[number]
        return View(
            books=market.books,
            time=agent.desk[:, number, c.WAKE] + seat.see_latency,
            begin=self.progress[:, c.BEGIN_TIME],
            levels=market.snapshot,
            orders=agent.own[:, number],
            under_way=agent.desk[:, number, c.COUNT],
            answered=agent.desk[:, number, c.LAST_ARRIVAL] + seat.see_latency,
            draws=agent.draws[:, number],
            account_at=self._accounts_at + (number + 1) * t.NUM_ACCOUNT_COLUMNS,
            flags=c.BACKGROUND if seat.agent.background else 0,
        )


def _on_device(tables: tuple, device: torch.device, view: Any) -> tuple:
    """A coding's tables, with their arrays on a device."""
    return type(tables)(
        *(view(torch.from_numpy(part).to(device)) if isinstance(part, np.ndarray) else part for part in tables)
    )
