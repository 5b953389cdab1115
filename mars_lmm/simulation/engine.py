"""The rollout engine: the model proposes an order in every book, the exchange executes it, the model reads it.

B books step in lockstep, one order each. What enters a book's token stream is the order as it was executed; an
order that the exchange rejected is counted, stays off the tape, and the model draws again from the same history.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mars_lmm.market import types as t
from mars_lmm.models.order_model import OrderModel
from mars_lmm.simulation.coding import Coding
from mars_lmm.simulation.markets import NUM_DRAWS, NUM_SAMPLE_DRAWS, Markets, draw_uniforms
from mars_lmm.simulation.reading import Reader


@dataclass
class Proposal:
    """What the model wants to do next.

    Attributes:
        orders: int64[B, NUM_ORDER_COLUMNS].
        times: int64[B], nanoseconds since midnight.
    """

    orders: np.ndarray
    times: np.ndarray


class RolloutEngine:
    """Steps B rollouts.

    `active` (bool[B]) says which books still run, `accepted` (bool[B]) where the last step put an order on the tape.

    Args:
        model: In eval mode, on the device that it runs on; the books stay in host memory.
        coding: How the model codes orders.
        markets: The B markets, changed in place.
        reader: What the model knows of each market's history.
        rollout: int64[B], identities of the rollouts; with the seed they decide all random numbers.
        seed: Seed of the simulation.
        temperature: Divides the logits.
        queue_rule: Which end of a queue the model's cancels take.
    """

    def __init__(
        self,
        model: OrderModel,
        coding: Coding,
        markets: Markets,
        reader: Reader,
        rollout: np.ndarray,
        seed: int,
        temperature: float = 1.0,
        queue_rule: int = t.NEWEST_FIRST,
    ):
        self.model, self.coding, self.markets, self.reader = model, coding, markets, reader
        self.rollout, self.seed = np.asarray(rollout, dtype=np.int64), seed
        self.temperature, self.queue_rule = temperature, queue_rule
        self.steps = 0
        size = len(markets)
        self.active = np.ones(size, dtype=bool)
        self.accepted = np.zeros(size, dtype=bool)
        self._draws = np.empty((size, NUM_DRAWS))
        self._proposal = Proposal(np.zeros((size, t.NUM_ORDER_COLUMNS), dtype=np.int64), np.zeros(size, dtype=np.int64))
        self._nobody = np.zeros(size, dtype=bool)

    @property
    def hidden(self) -> Tensor:
        """The model's state after each book's last order, [B, D]."""
        return self.reader.hidden

    def propose(self) -> Proposal:
        """Draw each book's next order and its time; the result is overwritten by the next call."""
        draw_uniforms(self.seed, self.rollout, self.steps, self._draws)
        uniform = torch.from_numpy(self._draws[:, :NUM_SAMPLE_DRAWS]).to(self.hidden.device)
        token = self.model.sample(self.hidden, uniform, self.temperature).cpu().numpy()
        proposal = self._proposal
        self.coding.decode(self.markets, token, self._draws, self.steps, proposal.orders, proposal.times)
        self.steps += 1
        return proposal

    def execute(self, proposal: Proposal, anonymous: np.ndarray | None = None) -> np.ndarray:
        """Put orders through the exchange, in the books that are active.

        Args:
            proposal: An order and its time for every book, the model's or anybody's.
            anonymous: bool[B]; volume of a recorded session that is nobody's order.

        Returns:
            bool[B], the books where an order was accepted; overwritten by the next call.
        """
        self.markets.execute(
            proposal.orders,
            proposal.times,
            self.active,
            self._nobody if anonymous is None else anonymous,
            self.queue_rule,
            self.accepted,
        )
        self.coding.encode(self.markets, self.accepted)
        return self.accepted

    def read(self) -> None:
        """Let the model read the orders that were just accepted; other books' states stay as they are."""
        markets = self.markets
        self.reader.read(markets.token, markets.market, self.accepted, markets.replaced)

    @torch.inference_mode()
    def run(self, end_time: np.ndarray, max_steps: int) -> Iterator[np.ndarray]:
        """Step until every book's next order lies beyond its end.

        Args:
            end_time: int64[B], nanoseconds since midnight.
            max_steps: Steps after which a book ends all the same.

        Yields:
            bool[B] after every step: the books where an order was accepted; see `markets.tape`.
        """
        for _ in range(max_steps):
            proposal = self.propose()
            self.active &= proposal.times <= end_time
            if not self.active.any():
                return
            yield self.execute(proposal)
            self.read()
