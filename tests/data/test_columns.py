"""Columns of numbers and times, and what is left of orders: vectorised code beside the obvious one."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from mars_lmm.data.feeds.bitstamp.live_orders import ORDER, LiveOrders
from mars_lmm.data.feeds.bitstamp.pairing import pair_executions
from mars_lmm.data.feeds.common.by_order.messages import UNTOLD
from mars_lmm.data.feeds.common.columns.dates import NO_DAY, iso_date
from mars_lmm.data.feeds.common.columns.numbers import (
    EMPTY,
    LARGEST,
    LARGEST_ID,
    NO_NUMBER,
    NOISE,
    TOO_FINE,
    TOO_LARGE,
    WHOLE,
    whole_units,
)
from mars_lmm.data.feeds.common.columns.times import DAY, read_times

NUMBERS = st.builds(
    lambda sign, whole, part, power: f"{sign}{whole}{part}{power}",
    st.sampled_from(["", "-", "+"]),
    st.integers(0, 10**12).map(str),
    st.sampled_from(["", ".", ".5", ".25", ".000000001", ".120000000000000000000", ".333"]),
    st.sampled_from(["", "e0", "E2", "e-3", "e+1", "e-30", "e40"]),
)
FACTORS = st.sampled_from(
    [Fraction(1), Fraction(100), Fraction(10**8), Fraction(1, 100), Fraction(1, 4), Fraction(8, 3)]
)


@example(texts=["4611686019.000000001", "461168601842738790.90"], per_one=Fraction(10**8))
@example(texts=["4611686019.000000001", "461168601842738790.90"], per_one=Fraction(1))
@given(texts=st.lists(NUMBERS, min_size=1, max_size=8), per_one=FACTORS)
def test_numbers_are_read_exactly(texts, per_one):
    units = whole_units(pa.array(texts), per_one)
    for text, value, state in zip(texts, units.value.tolist(), units.state.tolist(), strict=True):
        exact = Fraction(Decimal(text)) * per_one
        if state == WHOLE:
            # What is finer than a millionth of a unit is rounded away, before the factor's own denominator divides.
            assert abs(exact - value) * 2 * 10**NOISE <= 1
        elif state == TOO_FINE:
            assert exact.denominator > 1
        else:
            # Room for the digits and the factor is needed on the way.
            assert state == TOO_LARGE
            assert abs(exact) * max(per_one.denominator, 1) > LARGEST // 10


@given(st.integers(2**63 - 20, 2**63 + 20) | st.integers(2**62 - 20, 2**62 + 20), st.sampled_from(["", "-"]))
@example(2**63 - 1, "")
def test_ids_may_be_any_integer(number, sign):
    units = whole_units(pa.array([f"{sign}{number}"]), 1, largest=LARGEST_ID)
    assert units.state.tolist() == [WHOLE if number <= LARGEST_ID else TOO_LARGE]
    assert units.value.tolist() == [int(f"{sign}{number}") if number <= LARGEST_ID else 0]


@given(st.integers(0, 24 * 60 * 60 * 1000 - 1), st.sampled_from([pa.time32("ms"), pa.time64("us"), pa.time64("ns")]))
def test_times_of_the_day_tell_their_format_by_themselves(milliseconds, kind):
    per_one = {"ms": 1, "us": 10**3, "ns": 10**6}[kind.unit]
    column = pa.array([milliseconds * per_one, None]).cast(pa.int32() if kind == pa.time32("ms") else pa.int64())
    for style in ("nanoseconds", "seconds", "iso", "hhmmss", "epoch_seconds"):
        day, nanoseconds, state = read_times(column.cast(kind), style, ZoneInfo("UTC"))
        assert day.tolist() == [NO_DAY] * 2
        assert nanoseconds[0] == milliseconds * 10**6
        assert state.tolist() == [WHOLE, EMPTY]


@given(text=st.text("0123456789.eE+- x", max_size=12))
def test_what_is_no_number_is_refused(text):
    (state,) = whole_units(pa.array([text]), Fraction(1)).state.tolist()
    try:
        number = Decimal(text) if text == text.strip() else None
    except ArithmeticError:
        number = None
    assert (number is None) == (state == NO_NUMBER or not text)


@given(
    moment=st.datetimes(datetime(1971, 1, 1), datetime(2090, 1, 1)),
    zone=st.sampled_from(["America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"]),
)
def test_times_are_those_of_the_calendar(moment, zone):
    moment = moment.replace(tzinfo=UTC)
    local = moment.astimezone(ZoneInfo(zone))
    since_epoch = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    expected = (local.date().isoformat(), (local.replace(tzinfo=None) - midnight) // timedelta(microseconds=1) * 1000)
    spellings = {
        "epoch_microseconds": pa.array([since_epoch]),
        "epoch_seconds": pa.array([Decimal(since_epoch) / 10**6]),
        "iso": pa.array([moment.isoformat()]),
    }
    for style, column in spellings.items():
        day, nanoseconds, state = read_times(column, style, ZoneInfo(zone))
        assert state.tolist() == [WHOLE]
        assert (iso_date(int(day[0])), int(nanoseconds[0])) == expected
        assert nanoseconds[0] < DAY


@given(
    messages=st.lists(
        st.tuples(st.integers(1, 4), st.integers(0, 9), st.sampled_from(["created", "changed", "deleted"])), max_size=40
    ),
    cuts=st.lists(st.integers(0, 40), max_size=4),
)
def test_what_is_left_of_orders_is_what_a_dictionary_says(messages, cuts):
    live, found = LiveOrders(), []
    for chunk in np.split(np.arange(len(messages)), sorted(cuts)):
        orders = np.zeros(len(chunk), ORDER)
        orders["shown"] = True
        actions = np.array([messages[i][2] for i in chunk], dtype="<U7")
        for place, i in enumerate(chunk):
            orders["order_id"][place], orders["left"][place], orders["row"][place] = *messages[i][:2], i
        before, _ = live.update(orders, actions == "created", actions == "deleted")
        found += before.tolist()
    left = {}
    for (order_id, size, action), before in zip(messages, found, strict=True):
        assert before == (UNTOLD if action == "created" else left.get(order_id, UNTOLD))
        if action == "created" or order_id in left:
            left[order_id] = size
        if action == "deleted":
            left.pop(order_id, None)
    kept = {order["order_id"]: order["left"] for order in live.orders}
    assert kept == left


def test_the_nearest_half_of_the_same_size_belongs_to_an_execution():
    time = np.array([1, 2, 2, 3, 9])
    order_id = np.array([1, 2, 3, 4, 5])
    side = np.array([0, 0, 1, 1, 0])
    size = np.array([5, 5, 5, 5, 5])
    assert pair_executions(time, order_id, side, size, 2).tolist() == [3, 2, 1, 0, -1]
