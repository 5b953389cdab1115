"""Starts: what rollouts begin with, wherever it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mars_lmm.data.flow import OrderFlow, Session
from mars_lmm.data.replay import MarketState
from mars_lmm.market import types as t
from mars_lmm.market.book import NO_SLOT, sections
from mars_lmm.simulation.engine.coding import Coding
from mars_lmm.simulation.engine.columns import FIRST_SIMULATED_ID
from mars_lmm.simulation.starts.handover import without_agents
from mars_lmm.simulation.starts.session_time import closing_time, passed
from mars_lmm.simulation.starts.unseen import completed
from mars_lmm.tokenizers import observation as o


@dataclass
class Start:
    """A moment of a session from which rollouts begin, and what really came after where that is known.

    Attributes:
        session: The instrument and day.
        time: Nanoseconds since midnight.
        state: The market at `time`: all that happened until then, auctions included, is done.
        token: int[H], the last orders before the start.
        market: int16[H, F], the market after each.
        touch: int64[NUM_TAPE], the last tape row before the start; all zeros where no order came before it.
        continuation: int64[N, NUM_TAPE], the tape of the real continuation; None where there is none.
        stream: int64[S], what the model's coding remembers of the session.
        next_id: The id of the next simulated order.
        flow: The recorded session, for agents that follow it; None where there is none.
        unseen: int64[K, NUM_ORDER_COLUMNS], orders that complete the book for rollouts; see
            `mars_lmm.simulation.starts.unseen`.
        held_out: Whether the moment lies in the part of the prepared set that is not trained on; None where it comes
            from no such set.
        artificial: Whether agents alone made the history, so that it tells nothing of a market's habits.
    """

    session: Session
    time: int
    state: MarketState
    token: np.ndarray
    market: np.ndarray
    touch: np.ndarray
    continuation: np.ndarray | None = None
    stream: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    next_id: int = FIRST_SIMULATED_ID
    flow: OrderFlow | None = None
    unseen: np.ndarray = field(default_factory=lambda: np.zeros((0, t.NUM_ORDER_COLUMNS), dtype=np.int64))
    held_out: bool | None = None
    artificial: bool = False

    def book(self, as_seen: bool = False) -> np.ndarray:
        """A copy of the book, int64[N], whose orders are all the background's, whoever a feed says sent them.

        Args:
            as_seen: Leave it as the feed showed it, for whoever follows the recorded session.
        """
        book = self.state.book[0].copy() if as_seen else completed(self.state.book[0], self.unseen)
        live = sections(book).index[0]
        book[live[live[:, 1] != NO_SLOT, 1] + t.OWNER] = t.BACKGROUND
        return book

    def end_time(self, horizon: int) -> int:
        """When a rollout ends, at the latest when the session closes; see `session_time`.

        Args:
            horizon: Nanoseconds of open market, above 0.

        Returns:
            Nanoseconds since midnight.
        """
        return min(passed(self.state.book[0], self.time, horizon), self.closing_time())

    def closing_time(self) -> int:
        """When the session closes, nanoseconds since midnight: at the moment that its closing auction trades."""
        return closing_time(self.state.book[0], self.session)

    def check_history(self, coding: Coding, window: int) -> None:
        """Refuse a start that a model cannot go on from.

        Args:
            coding: The model's.
            window: The model's.

        Raises:
            ValueError: Fewer orders come before it than the model needs.
        """
        needed = coding.needed_history(window)
        if len(self.token) < needed:
            raise ValueError(
                f"the start at {self.time / 60e9:.1f} minutes of {self.session.name} has {len(self.token)} orders "
                f"before it, and the model reads {needed}: start later"
            )

    def describe(self) -> dict[str, Any]:
        """The start for a manifest: plain values, prices in ticks (-1: an empty side; 0: no trade yet)."""
        return {
            "symbol": self.session.symbol,
            "date": self.session.date,
            "time_ns": self.time,
            "held_out": self.held_out,
            "recorded": self.continuation is not None,
            "bid": int(self.state.clock[o.BID]),
            "ask": int(self.state.clock[o.ASK]),
            "last_price": int(self.state.book[0, t.LAST_PRICE]),
        }

    def continued(
        self,
        time: int,
        book: np.ndarray,
        clock: np.ndarray,
        token: np.ndarray,
        market: np.ndarray,
        stream: np.ndarray,
        touch: np.ndarray,
        next_id: int,
    ) -> Start:
        """A start in a simulated continuation of this one. Nothing is shared with the arguments.

        Agents do not come along: their resting orders become background orders, and their accounts end.

        Args:
            time: Nanoseconds since midnight, not before the last order.
            book: int64[N], the book, at `time`.
            clock: int64[NUM_CLOCK], its stream of orders.
            token: int[H], the last orders before `time`, in this start's history or simulated since; see
                `mars_lmm.simulation.starts.memory`.
            market: int16[H, F], the market after each.
            stream: int64[S], what the coding remembers.
            touch: int64[NUM_TAPE], the last tape row.
            next_id: The id of the model's next order.

        Raises:
            ValueError: The time lies before the last order.
        """
        if time < clock[o.LAST_TIME]:
            raise ValueError(f"time={time}: the market is at {int(clock[o.LAST_TIME])} already")
        book, next_id = without_agents(book, int(next_id))
        return Start(
            self.session,
            int(time),
            MarketState(book[None], clock.copy()),
            token.copy(),
            market.copy(),
            touch.copy(),
            stream=stream.copy(),
            next_id=next_id,
            artificial=self.artificial,
        )
