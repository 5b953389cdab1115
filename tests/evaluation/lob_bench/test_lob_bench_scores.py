"""Each score against its definition, message by message."""

import math

import numpy as np
import pytest
from made_sequences import made_sequences

from mars_lmm.evaluation.lob_bench.columns import Columns
from mars_lmm.evaluation.lob_bench.conditional import volatility
from mars_lmm.evaluation.lob_bench.scores import SCORES

MADE = made_sequences(length=330, empty=0.005)
COLUMNS = Columns(MADE, 4)


def rows_of(sequence):
    return range(MADE.offsets[sequence], MADE.offsets[sequence + 1])


def best(i):
    return MADE.book[i, 0].tolist()


def two_sided(i):
    return best(i)[1] > 0 and best(i)[3] > 0


def mid(i):
    return (best(i)[0] + best(i)[2]) / 2


def level(i, price, side):
    return next((at + 1 for at, row in enumerate(MADE.book[i]) if row[side] == price and row[side + 1] > 0), None)


def flow(i):
    (ask, asks, bid, bids), (ask_before, asks_before, bid_before, bids_before) = best(i), best(i - 1)
    up = (bids if bid >= bid_before else 0) - (bids_before if bid <= bid_before else 0)
    return up - (asks if ask <= ask_before else 0) + (asks_before if ask >= ask_before else 0)


def ofi(rows):
    """By row; None where a window is short or met a one-sided book."""
    found = {}
    for at in range(100, len(rows)):
        window = rows[at - 99 : at + 1]
        if all(two_sided(i) for i in [window[0] - 1, *window]):
            found[rows[at]] = sum(flow(i) for i in window) / 100
    return found


def ofi_before(rows, direction):
    known = ofi(rows)
    for i in rows[1:]:
        if i - 1 in known and two_sided(i) and np.sign(mid(i) - mid(i - 1)) == direction:
            yield known[i - 1]


def time_to_cancel(rows):
    by_id = {}
    for i in rows:
        if MADE.type[i] in (1, 2, 3):
            by_id.setdefault(MADE.order_id[i], []).append(i)
    for found in by_id.values():
        if len(found) > 1 and 1 in MADE.type[found]:
            yield math.log((MADE.time[found[1]] - MADE.time[found[0]]) / 1e9 or 1e-9)


def depths(rows, types, sign):
    for i in rows:
        if MADE.type[i] in types and two_sided(i) and sign * (MADE.price[i] - mid(i)) > 0:
            yield sign * (MADE.price[i] - mid(i))


def levels(rows, types, side, before):
    for i in rows[before:]:
        if MADE.type[i] in types and (found := level(i - before, MADE.price[i], side)):
            yield found


BY_HAND = {
    "spread": lambda rows: (best(i)[0] - best(i)[2] for i in rows if two_sided(i)),
    "orderbook_imbalance": lambda rows: (
        (best(i)[3] - best(i)[1]) / (best(i)[3] + best(i)[1]) for i in rows if two_sided(i)
    ),
    "log_inter_arrival_time": lambda rows: (
        math.log((MADE.time[i] - MADE.time[i - 1]) / 1e6 or 1e-9) for i in rows[1:]
    ),
    "log_time_to_cancel": time_to_cancel,
    "ask_volume_touch": lambda rows: (best(i)[1] for i in rows if best(i)[1] > 0),
    "bid_volume_touch": lambda rows: (best(i)[3] for i in rows if best(i)[3] > 0),
    "ask_volume": lambda rows: (MADE.book[i, :, 1].sum() for i in rows if best(i)[1] > 0),
    "bid_volume": lambda rows: (MADE.book[i, :, 3].sum() for i in rows if best(i)[3] > 0),
    "limit_ask_order_depth": lambda rows: depths(rows, (1,), 1),
    "limit_bid_order_depth": lambda rows: depths(rows, (1,), -1),
    "ask_cancellation_depth": lambda rows: depths(rows, (2, 3), 1),
    "bid_cancellation_depth": lambda rows: depths(rows, (2, 3), -1),
    "limit_ask_order_levels": lambda rows: levels(rows, (1,), 0, 0),
    "limit_bid_order_levels": lambda rows: levels(rows, (1,), 2, 0),
    "ask_cancellation_levels": lambda rows: levels(rows, (2, 3), 0, 1),
    "bid_cancellation_levels": lambda rows: levels(rows, (2, 3), 2, 1),
    "ofi": lambda rows: ofi(rows).values(),
    "ofi_up": lambda rows: ofi_before(rows, 1),
    "ofi_stay": lambda rows: ofi_before(rows, 0),
    "ofi_down": lambda rows: ofi_before(rows, -1),
}


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_score_by_hand(name):
    found = SCORES[name].sample(COLUMNS)
    assert len(found.values) > 10
    assert (np.diff(found.values) >= 0).all()
    for sequence in range(len(MADE)):
        expected = sorted(BY_HAND[name](list(rows_of(sequence))))
        np.testing.assert_allclose(found.values[found.sequence == sequence], expected, rtol=1e-12)
    np.testing.assert_array_equal(found.sequence, MADE.sequence[found.row])


def volume_per_minute(times, sizes):
    """Times in microseconds of one sequence's trades."""
    made = made_sequences(num_sequences=1, starts=1, length=40)
    rows = np.arange(len(times))
    made = made.select(np.array([0]))
    made.type[:], made.time[:] = 1, 10**9 * 10**4
    made.type[rows], made.time[rows], made.size[rows] = 4, np.array(times) * 1000, sizes
    return SCORES["vol_per_min"].sample(Columns(made, 1)).values.tolist()


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        # The first second is dropped unless trades began in its last tenth; the last is scaled up.
        ([500_000, 1_000_000, 1_500_000, 2_500_000], [60 * 2, 60 * 2]),
        ([950_000, 1_000_000, 1_500_000, 2_500_000], [60 * 2, 60 * 2, 60 / 0.05]),
        ([500_000, 1_000_000, 1_500_000, 2_050_000], [60 * 2]),
        # One second alone.
        ([200_000], [60]),
        ([200_000, 200_000], [120]),
        ([200_000, 250_000], []),
        ([200_000, 400_000], [60 * 2 / 0.2]),
        ([], []),
    ],
)
def test_volume_per_minute(times, expected):
    np.testing.assert_allclose(volume_per_minute(times, [1] * len(times)), expected, rtol=1e-12)


def test_volatility_by_hand():
    found = volatility(COLUMNS)
    for sequence in range(len(MADE)):
        last = {MADE.time[i] // 10**8: math.log(mid(i)) for i in rows_of(sequence) if two_sided(i)}
        changes = [value - last[span - 1] for span, value in last.items() if span - 1 in last]
        assert len(changes) > 10
        np.testing.assert_allclose(found[rows_of(sequence)], np.std(changes, ddof=1), rtol=1e-9)
