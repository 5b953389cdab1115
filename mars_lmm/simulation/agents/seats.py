"""Agents before they take their seats: what each begins with, and how far it is from the exchange."""

from __future__ import annotations

from dataclasses import dataclass

from mars_lmm.simulation.agents.protocol import Agent
from mars_lmm.simulation.engine.rollout_engine import Seat

# More than anybody can spend or sell, and far from overflowing.
ENOUGH_CASH, ENOUGH_SIZE = 1 << 55, 1 << 40


@dataclass
class SeatPlan:
    """An agent before it takes its seat in an engine.

    Attributes:
        name: For the reader of results.
        agent: It.
        account: What it begins with: cash in ticks times units, position, and how much it may sell today. By default
            it holds nothing, and neither cash nor holdings limit it.
        see_latency: Nanoseconds that market data and its own fills take to reach it.
        send_latency: Nanoseconds that its orders take to reach the exchange.
    """

    name: str
    agent: Agent
    account: tuple[int, int, int] = (ENOUGH_CASH, 0, ENOUGH_SIZE)
    see_latency: int = 0
    send_latency: int = 0

    def take(self) -> Seat:
        """The seat in an engine."""
        return Seat(self.agent, self.name, self.see_latency, self.send_latency)
