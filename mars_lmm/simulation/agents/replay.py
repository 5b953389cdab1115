"""The replay agent: follows the real order flow of each start's session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mars_lmm.data.flow import AUCTION, HIDDEN, OrderFlow
from mars_lmm.data.replay import is_order
from mars_lmm.market import types as t
from mars_lmm.simulation.agents.protocol import NEVER, Agent, Decision, View
from mars_lmm.simulation.engine import columns as c

if TYPE_CHECKING:
    from mars_lmm.simulation.starts.start import Start


class ReplayAgent(Agent):
    """Sends what was recorded after the start, at the recorded times and with the recorded ids.

    Without a model and other agents, the rollout is the session itself. Beside them, recorded orders meet another book
    than they did; those that the exchange then rejects are counted.

    Args:
        block: Rows that are sent in one decision. They are on their way before their time, whatever the latency.

    Raises:
        ValueError: The block is empty.
    """

    num_draws = 0
    recorded = True
    open_orders = 1

    def __init__(self, block: int = 64):
        if block < 1:
            raise ValueError(f"block={block}: it must be at least 1")
        self._block = block
        # A block is sent when the first row of the one before it has arrived.
        self.under_way = 2 * block

    def meet(self, starts: Sequence[Start], start_of: Tensor) -> None:
        """Lay the sessions' rows out in one tensor, each session once.

        Raises:
            ValueError: A start is of no recorded session.
        """
        used, book_start = np.unique(start_of.cpu().numpy(), return_inverse=True)
        if any(starts[index].flow is None for index in used.tolist()):
            raise ValueError(
                "a start has no recorded session to follow: the replay agent needs starts of a prepared set"
            )
        flows = {id(starts[index].flow): starts[index].flow for index in used.tolist()}
        visible = {key: np.flatnonzero(flow.flags & HIDDEN == 0) for key, flow in flows.items()}
        length = np.array([len(rows) for rows in visible.values()])
        table = np.zeros((len(flows), max(length.max(), 1), c.NUM_QUEUED), dtype=np.int64)
        for place, (key, flow) in enumerate(flows.items()):
            table[place, : length[place]] = _rows(flow, visible[key])
        places = {key: place for place, key in enumerate(flows)}
        of_start = np.array([places[id(starts[index].flow)] for index in used.tolist()])
        first = np.array(
            [
                np.searchsorted(starts[index].flow.time[visible[id(starts[index].flow)]], starts[index].time, "right")
                for index in used.tolist()
            ]
        )
        self._table = torch.from_numpy(table).to(start_of.device)
        columns = {"flow": of_start, "length": length[of_start], "next": first}
        self._begin = {
            name: torch.from_numpy(column[book_start].astype(np.int64)).to(start_of.device)
            for name, column in columns.items()
        }

    def begin(self, view: View) -> dict[str, Tensor]:
        """Which rows each book follows, how many there are, and the next one to send."""
        return {name: column.clone() for name, column in self._begin.items()}

    def act(self, view: View, state: dict[str, Tensor]) -> Decision:
        """Send the next block."""
        flow, length = state["flow"], state["length"]
        rows = state["next"][:, None] + torch.arange(self._block, device=view.time.device)
        # With slow market data it decides early, and the queue may not be free yet.
        free = view.under_way <= self._block
        within = (rows < length[:, None]) & free[:, None]
        last = (length - 1).clamp(min=0)[:, None]
        orders = self._table[flow[:, None], torch.minimum(rows, last)]
        orders[..., t.KIND] = torch.where(within, orders[..., t.KIND], t.IDLE)
        wake = torch.where(within[:, 0], orders[:, 0, c.ARRIVAL], NEVER)
        wake = torch.where(free, wake, view.answered)
        following = torch.where(free, state["next"] + self._block, state["next"])
        return Decision(wake, list(orders.unbind(dim=1)), state | {"next": following})


def _rows(flow: OrderFlow, rows: np.ndarray) -> np.ndarray:
    """Rows of a flow as orders under way, int64[N, NUM_QUEUED]."""
    columns = {name: column[rows] for name, column in flow.columns.items()}
    learned = is_order(flow.session, columns)
    # Without a schedule, the flow alone says which orders a call auction collects.
    collected = (columns["flags"] & AUCTION != 0) & (not flow.session.rules)
    queued = np.empty((len(rows), c.NUM_QUEUED), dtype=np.int64)
    queued[:, : t.NUM_ORDER_COLUMNS] = flow.orders()[rows]
    queued[:, t.OWNER] = t.BACKGROUND  # agents have the other owners
    queued[:, c.ARRIVAL] = columns["time"]
    queued[:, c.FLAGS] = c.RECORDED | np.where(learned, 0, c.ANONYMOUS) | np.where(collected, c.COLLECTED, 0)
    return queued
