"""What a batch of rollouts is made of: tensors on one device, seen by compiled code as arrays.

Shape letters: B books, A agents, Q orders under way, M open orders of an agent, C steps of a chunk, F fills of a chunk.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class MarketArrays(NamedTuple):
    """B markets.

    Attributes:
        books: int64[B, N], a batch of books.
        clock: int64[B, NUM_CLOCK], where each stream of orders stands.
        observed: int64[B, NUM_OBSERVED], what the last accepted order looked like.
        tape: int64[B, NUM_TAPE], its tape row.
        token: int64[B], its token.
        market: int16[B, F], the market after it.
        stream: int64[B, S], what the model's coding remembers of earlier orders.
        replaced: bool[B], whether token and market stand for the order before as well.
        report: int64[B, NUM_REPORT_COLUMNS], what became of the last order, accepted or not.
        snapshot: int64[B, 2, DEPTH, 2], the best levels.
        trades: int64[B, K, NUM_TRADE_COLUMNS], of the last order.
    """

    books: Any
    clock: Any
    observed: Any
    tape: Any
    token: Any
    market: Any
    stream: Any
    replaced: Any
    report: Any
    snapshot: Any
    trades: Any


class RolloutArrays(NamedTuple):
    """The rollouts in those markets.

    Attributes:
        progress: int64[B, NUM_PROGRESS].
        draws: float64[B, NUM_DRAWS], the random numbers of each proposal.
        order: int64[B, NUM_QUEUED], the order of the last step.
        accepted: bool[B], whether it is on the tape.
        outcomes: int64[B, 1 + A, len(OUTCOMES)], orders by who sent them and what became of them.
        types: bool[B, 3], the order types that the venue takes now.
    """

    progress: Any
    draws: Any
    order: Any
    accepted: Any
    outcomes: Any
    types: Any


class AgentArrays(NamedTuple):
    """The agents in those markets.

    Attributes:
        desk: int64[B, A, NUM_DESK].
        queue: int64[B, A, Q, NUM_QUEUED], orders under way.
        own: int64[B, A, M, NUM_OWN], orders in the book, oldest first; rows without an id are empty.
        draws: float64[B, A, D], random numbers for the decision.
    """

    desk: Any
    queue: Any
    own: Any
    draws: Any


class RecordArrays(NamedTuple):
    """What happened since the last flush.

    Attributes:
        rows: int64[C, B, NUM_ROW].
        cursor: int64[1], rows that are used.
        fills: int64[B, F, NUM_FILL], of agents.
    """

    rows: Any
    cursor: Any
    fills: Any


class Limits(NamedTuple):
    """What ends a rollout before its time.

    Attributes:
        empty_side: Nanoseconds of open market for which a side may be empty.
        in_a_row: Rejections in a row.
    """

    empty_side: int
    in_a_row: int
