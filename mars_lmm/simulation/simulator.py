"""A simulated market to play with, in a notebook or a program: step it, trade in it, look at it, fork it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch

from mars_lmm.market import types as t
from mars_lmm.market.quantities import nanoseconds
from mars_lmm.simulation.agents.protocol import NEVER, Agent, Decision, View
from mars_lmm.simulation.agents.registry import seat_plans
from mars_lmm.simulation.agents.seats import SeatPlan
from mars_lmm.simulation.config import RolloutConfig
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine.build import make_engine
from mars_lmm.simulation.engine.rollout_engine import RolloutEngine
from mars_lmm.simulation.loading import Trained, load_trained
from mars_lmm.simulation.output.levels import Levels
from mars_lmm.simulation.output.trajectories import fills_table, orders_table
from mars_lmm.simulation.starts.memory import Memory
from mars_lmm.simulation.starts.recorded import Moment, start_at
from mars_lmm.simulation.starts.saved import load_start, save_start
from mars_lmm.simulation.starts.session_time import closing_time
from mars_lmm.simulation.starts.start import Start

if TYPE_CHECKING:
    from matplotlib.figure import Figure

YOU = 0  # the user's seat; agents of the configuration sit behind
ORDER_LIMIT = 1 << 40  # a simulator's rollouts do not end by count


class You(Agent):
    """Whoever calls `Simulator.submit`."""

    open_orders = 256
    under_way = 256
    num_draws = 0

    def act(self, view: View, state: dict[str, torch.Tensor]) -> Decision:
        """Do nothing by itself."""
        return Decision(view.full(NEVER))


class Simulator:
    """Rollouts of one start, driven by hand.

    Args:
        trained: Model, coding and data.
        config: Sampling, rules, agents and so on; what it says of starts, rollouts and minutes is not used.
        cash: What you begin with, in ticks times units.
        position: Units that you begin with, all of which you may sell.
    """

    def __init__(self, trained: Trained, config: RolloutConfig | None = None, cash: int = 0, position: int = 0):
        self.trained = trained
        self.config = (config or RolloutConfig()).settled(trained.coding)
        self._account = (cash, position, position)
        self._engine: RolloutEngine | None = None

    @classmethod
    def load(
        cls,
        run: Path | str,
        checkpoint: str = "best",
        prepared: Path | str | None = None,
        device: str = "auto",
        cash: int = 0,
        position: int = 0,
        **config: Any,
    ) -> Simulator:
        """A simulator of the model that a `train.py` run made.

        Args:
            run: Its folder.
            checkpoint: best, last, or a path.
            prepared: A prepared set; None: the one that the run was trained on.
            device: auto, cpu or cuda.
            cash: What you begin with, in ticks times units.
            position: Units that you begin with.
            config: Fields of `RolloutConfig`: seed, sampling, rules, agents and so on.

        Raises:
            DataError: Something is not there.
            ValueError: The configuration, or the checkpoint, does not fit.
        """
        return cls(load_trained(run, checkpoint, prepared, device), RolloutConfig(**config), cash, position)

    def reset(self, start: Start | Path | str, rollouts: int = 1) -> Simulator:
        """Begin anew.

        Args:
            start: "SYMBOL [DATE] HH:MM[:SS]" of the prepared set; the path of a saved market; or a `Start`.
            rollouts: Books that begin alike and part by chance.

        Returns:
            The simulator itself.
        """
        start = start if isinstance(start, Start) else self._find(start)
        plans = [SeatPlan("you", You(), self._account), *seat_plans(self.config.agents)]
        books = np.arange(rollouts)
        trained = self.trained
        self._engine = make_engine(
            self.config, trained.model, trained.coding, [start], 0 * books, books, ORDER_LIMIT, plans
        )
        self._start, self._time = start, start.time
        self._memory = Memory([start] * rollouts, self._history)
        self._rows: list[list[np.ndarray]] = [[] for _ in books]
        self._fills: list[list[np.ndarray]] = [[] for _ in books]
        self._identities = count(rollouts)
        return self

    def __len__(self) -> int:
        return len(self._running)

    @property
    def time(self) -> int:
        """The market's time, nanoseconds since midnight, one for all books."""
        self._expect_start()
        return self._time

    @property
    def start(self) -> Start:
        """Where the books began."""
        self._expect_start()
        return self._start

    def step(self, seconds: float) -> Simulator:
        """Let so much time of day pass in all books."""
        return self.step_to(self.time + round(seconds * 10**9))

    def step_to(self, time: int | str) -> Simulator:
        """Let the market run up to a time of day, what happens at that moment included.

        Args:
            time: Nanoseconds since midnight, or HH:MM[:SS].

        Raises:
            ValueError: That time is over, or the session closes before.
        """
        time = nanoseconds("time", time) if isinstance(time, str) else time
        closing = closing_time(self.start.state.book[0], self.start.session)
        if not self.time <= time <= closing:
            raise ValueError(
                f"it is {_clock(self.time)}, and the session closes at {_clock(closing)}: no {_clock(time)}"
            )
        engine = self._running
        progress = engine.progress
        progress[progress[:, c.END] == c.HORIZON, c.END] = c.RUNNING
        progress[:, c.END_TIME] = time
        while bool(engine.running.any()):
            engine.step()
            self._memory.note(engine.batch)
            if engine.full:
                self._flush()
        self._flush()
        self._time = time
        return self

    def submit(
        self, side: int, price: int, size: int, kind: int = t.LIMIT, book: int | Sequence[int] | None = None
    ) -> list[int]:
        """Send an order; it reaches the exchange at once, and `step(0)` has it executed.

        Args:
            side: `t.BUY` or `t.SELL`.
            price: Ticks; of no meaning to market orders.
            size: Units.
            kind: Of `mars_lmm.market.types`.
            book: The book, or books, to send it to; None: all.

        Returns:
            The order's id in each of those books.

        Raises:
            ValueError: There is no such side, kind or book, or price or size is no number of an order.
        """
        if side not in (t.BUY, t.SELL) or kind not in range(t.NUM_KINDS):
            raise ValueError(f"side={side!r}, kind={kind!r}: give BUY or SELL, and a kind, of mars_lmm.market.types")
        for name, value, least in (("price", price, 0), ("size", size, 1)):
            if not isinstance(value, int | np.integer) or not least <= value <= t.MAX_SIZE:
                raise ValueError(f"{name}={value!r}: give a whole number from {least} to {t.MAX_SIZE}")
        chosen = self._chosen(book)
        sent = self._running.batch.agent.desk[:, YOU, c.SENT]
        ids = [c.agent_order_id(YOU, number) for number in sent[chosen].tolist()]
        self._running.send(YOU, self._see().order(kind, side, price, size, where=chosen), self.time)
        return ids

    def cancel(self, order_id: int, size: int = 0, book: int | Sequence[int] | None = None) -> None:
        """Cancel one of your orders, or so much of it; a size of 0 means all."""
        chosen = self._chosen(book)
        ids = torch.full_like(self._see().time, order_id)
        self._running.send(YOU, self._see().cancel(ids, size, where=chosen), self.time)

    def book(self, number: int = 0) -> Levels:
        """The best levels of a book now."""
        self._check(number)
        market = self._running.batch.market
        return Levels(market.snapshot[number].cpu().numpy().copy(), int(market.books[number, t.LAST_PRICE]), self.time)

    def account(self, number: int = 0) -> dict[str, int]:
        """Your account in a book: cash, position and so on; see `View`."""
        self._check(number)
        view = self._see()
        names = ("cash", "position", "sellable", "free_cash", "fees", "bought", "bought_value", "sold", "sold_value")
        return {name: int(getattr(view, name)[number]) for name in names}

    def open_orders(self, number: int = 0) -> list[dict[str, int]]:
        """Your orders in a book, oldest first."""
        self._check(number)
        rows = self._running.open_orders(YOU)[number].tolist()
        return [dict(zip(("order_id", "side", "price", "size"), row, strict=True)) for row in rows if row[c.OWN_ID]]

    def rejected(self, number: int = 0) -> dict[str, int]:
        """How many of your orders the exchange has rejected in a book, by reason; see `mars_lmm.market.types`."""
        self._check(number)
        counts = self._running.batch.rollout.outcomes[number, 1 + YOU].tolist()
        return {t.OUTCOMES[i]: count for i, count in enumerate(counts) if count and i != t.ACCEPTED}

    def orders(self) -> pa.Table:
        """All accepted orders so far, as in rollouts.parquet."""
        return orders_table(np.zeros(len(self), int), np.arange(len(self)), [_stack(rows) for rows in self._rows])

    def fills(self) -> pa.Table:
        """All trades of yours and of agents so far, as in fills.parquet."""
        return fills_table(
            np.zeros(len(self), int), np.arange(len(self)), [_stack(rows, c.NUM_FILL) for rows in self._fills]
        )

    def ends(self) -> list[str]:
        """Of each book, "running", or why its rollout ended."""
        reasons = self._running.progress[:, c.END].tolist()
        return ["running" if reason == c.HORIZON else c.ENDS[reason] for reason in reasons]

    def fork(self, copies: int) -> Simulator:
        """A simulator with so many copies of every book, which part by chance from here on.

        The first copy of each goes on as its book would have gone on.
        """
        engine = self._running
        books = torch.arange(len(self), device=engine.progress.device).repeat_interleave(copies)
        forked = copy(self)
        forked._engine = engine.select(books)
        number = books.tolist()
        forked._memory = self._memory.select(number)
        forked._rows = [list(self._rows[b]) for b in number]
        forked._fills = [list(self._fills[b]) for b in number]
        for place in range(len(number)):
            if place % copies:
                forked._engine.part(place, next(self._identities), self.time)
        return forked

    def save(self, path: Path | str, number: int = 0) -> None:
        """Write a book's market to a file from which rollouts can start: `reset(path)`, `simulate.py saved=[...]`."""
        save_start(path, self.state(number), self.trained.coding)

    def state(self, number: int = 0) -> Start:
        """A book's market now, as a start."""
        self._check(number)
        batch = self._running.batch
        token, market = self._memory.history(number)
        rows = _stack(self._rows[number])
        touch = rows[-1, : len(self.start.touch)] if len(rows) else self.start.touch
        arrays = (batch.market.books, batch.market.clock, batch.market.stream)
        book, clock, stream = (array[number].cpu().numpy() for array in arrays)
        next_id = int(batch.rollout.progress[number, c.NEXT_ID])
        return self.start.continued(self.time, book, clock, token, market, stream, touch, next_id)

    def plot(self) -> Figure:
        """The mid-price of every book since the start, with the real continuation where there is one."""
        from mars_lmm.simulation.output.path_figure import draw_paths

        return draw_paths(self.start, [_stack(rows) for rows in self._rows], self.time)

    @property
    def _running(self) -> RolloutEngine:
        self._expect_start()
        return self._engine

    @property
    def _history(self) -> int:
        return self.trained.coding.kept_history(self.trained.model.config.window, self.config.recalibration)

    def _find(self, start: Path | str) -> Start:
        trained = self.trained
        if Path(start).exists():
            return load_start(start, trained.coding)
        moment = Moment.parse(str(start))
        return start_at(trained.prepared, trained.coding, moment.symbol, moment.date, moment.time, self._history)

    def _see(self) -> View:
        return self._running.see(YOU)

    def _chosen(self, book: int | Sequence[int] | None) -> torch.Tensor:
        numbers = range(len(self)) if book is None else [book] if isinstance(book, int) else book
        self._check(*numbers)
        chosen = torch.zeros(len(self), dtype=torch.bool, device=self._running.progress.device)
        chosen[list(numbers)] = True
        return chosen

    def _expect_start(self) -> None:
        if self._engine is None:
            raise ValueError('nothing is simulated yet: call reset("SYMBOL [DATE] HH:MM") first')

    def _check(self, *numbers: int) -> None:
        for number in numbers:
            if not 0 <= number < len(self):
                raise ValueError(f"there is no book {number}: they are numbered from 0 to {len(self) - 1}")

    def _flush(self) -> None:
        chunk = self._running.flush()
        for b in range(len(self)):
            rows = chunk.rows[:, b]
            self._rows[b].append(rows[rows[:, c.ROW_SOURCE] != c.NOBODY])
            self._fills[b].append(chunk.fills[b, : chunk.num_fills[b]])


def _stack(rows: list[np.ndarray], columns: int = c.NUM_ROW) -> np.ndarray:
    return np.concatenate(rows) if rows else np.zeros((0, columns), dtype=np.int64)


def _clock(time: int) -> str:
    seconds, nanos = divmod(time, 10**9)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}" + (f".{nanos:09}" if nanos else "")
