"""Open books for a day: empty, under a venue's rules, with accounts."""

from collections.abc import Sequence

import numpy as np

from mars_lmm.market import types as t
from mars_lmm.market.book import empty_books, sections
from mars_lmm.market.rules import DayRules


def open_books(
    num_books: int,
    num_orders: int,
    num_ticks: int,
    base_price: int,
    day: DayRules | Sequence[DayRules],
    accounts: np.ndarray | None = None,
) -> np.ndarray:
    """Allocate a batch of empty books under rules.

    Args:
        num_books: B, how many books.
        num_orders: S, how many orders a book can hold at once.
        num_ticks: P, how many prices the ladder has: `base_price` to `base_price + num_ticks - 1`.
        base_price: the ladder's lowest price in ticks.
        day: the rules of the day, of every book or one for each.
        accounts: int[A, 3], what the owners of each book begin with: cash in ticks times units, position, and how
            much of it may be sold today. Row o is owner o's; row 0, the background's, is not used.

    Returns:
        int64[B, N], for an `Exchange`; `mars_lmm.market.book.sections` tells its parts.

    Raises:
        ValueError: the numbers do not fit, or the book's room is impossible (see `empty_books`).
    """
    days = [day] * num_books if isinstance(day, DayRules) else list(day)
    if len(days) != num_books:
        raise ValueError(f"give one day's rules, or one for each of the {num_books} books; got {len(days)}")
    accounts = np.zeros((0, 3), np.int64) if accounts is None else account_rows(accounts)
    num_phases = max(len(rules.schedule) for rules in days)
    books = empty_books(num_books, num_orders, num_ticks, base_price, num_phases, len(accounts))
    parts = sections(books)
    for b, rules in enumerate(days):
        parts.rules[b] = rules.row
        parts.phases[b, : len(rules.schedule)] = rules.schedule
    parts.accounts[:, :, [t.CASH, t.POSITION, t.SELLABLE]] = accounts
    return books


def account_rows(accounts: np.ndarray) -> np.ndarray:
    """What owners begin with, as integers [A, 3]: cash, position, sellable.

    Raises:
        ValueError: it is something else.
    """
    accounts = np.asarray(accounts)
    if accounts.ndim != 2 or accounts.shape[1] != 3 or accounts.dtype.kind not in "iu":
        raise ValueError(
            "accounts must be integers of shape [A, 3] (cash, position, sellable), "
            f"got {accounts.dtype} {list(accounts.shape)}"
        )
    return accounts
