import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from mars_lmm.data.errors import DataError
from mars_lmm.data.market import load_rules
from mars_lmm.market import types as t
from mars_lmm.market.rules import MODES, ORDER_KINDS, MarketRules
from mars_lmm.paths import CONF

FILES = sorted(Path(CONF, "market").glob("*.yaml"))
PRESETS = [path.stem for path in FILES]
CHINA = ["sse_main", "sse_star", "szse_main", "szse_chinext"]
MINUTE = 60 * 10**9


def row_of(name, *overrides, previous_close=1005):
    return load_rules(name, overrides).day(previous_close).row


def kinds_of(row):
    return {kind for number, kind in enumerate(t.KINDS) if row[t.KINDS_TAKEN] >> number & 1}


def phases_of(name):
    """The schedule as text: (HH:MM, mode, cancels)."""
    return [
        (f"{start // (60 * MINUTE):02}:{start // MINUTE % 60:02}", MODES[mode], cancels)
        for start, mode, cancels in load_rules(name).day(1005).schedule.tolist()
    ]


def written(path, text):
    path.write_text(text)
    return path


def test_the_venues_are_there():
    assert PRESETS == ["bare", "crypto_spot", "nasdaq", "sse_main", "sse_star", "szse_chinext", "szse_main"]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_gives_a_day(name):
    row, schedule = load_rules(name).day(previous_close=1005)
    assert row.shape == (t.NUM_RULE_COLUMNS,)
    assert row.dtype == schedule.dtype == np.int64
    assert schedule.shape[1] == t.NUM_PHASE_COLUMNS
    assert schedule[0, t.PHASE_START] == 0
    assert (np.diff(schedule[:, t.PHASE_START]) > 0).all()
    assert row[t.LOT] >= 1
    assert row[t.TICK] >= 1
    assert row[t.PREVIOUS_CLOSE] == 1005
    assert row[t.ENFORCED] == (name != "bare" and 1)


@pytest.mark.parametrize("path", FILES, ids=PRESETS)
def test_the_changes_that_comments_name_can_be_made(path):
    comments = " ".join(re.findall(r"#(.*)", path.read_text()))
    overrides = re.findall(r"\b[a-z_]+\.[a-z_.]+=(?:\[[^]]*\]|[\w.:]+\w)", comments)
    assert len(overrides) >= (4 if path.stem in CHINA else 0)
    for override in overrides:
        assert load_rules(path, [override]) != load_rules(path), override


def test_bare_is_what_the_schema_gives_without_a_file():
    assert np.array_equal(load_rules("bare").day().row, MarketRules().day().row)
    assert kinds_of(load_rules("bare").day().row) == set(ORDER_KINDS)
    assert load_rules("bare").day().schedule.tolist() == [[0, t.CONTINUOUS, 1]]


@pytest.mark.parametrize(
    "override",
    [
        "orders.kinds=[limit]",
        "prices.tick=5",
        "orders.lot=100",
        "orders.minimum=2",
        "orders.largest_limit=10",
        "prices.daily_limit=0.5",
        "orders.market_needs_limits=true",
        "prices.cage={rate: 0.02}",
        "halts={rates: [0.05], duration: 00:05}",
        "session.phases=[{start: 09:30, mode: continuous}]",
        "session.phases=[{start: 00:00, mode: continuous, cancels: false}]",
    ],
)
def test_any_rule_that_binds_an_order_is_enforced(override):
    assert load_rules("bare", [override]).day(1000).row[t.ENFORCED] == 1


@pytest.mark.parametrize("override", ["self_trade=cancel_both", "fees.taker=0.001", "accounts.credit=false"])
def test_what_the_core_and_the_accounts_see_to_is_not(override):
    assert load_rules("bare", [override]).day(1000).row[t.ENFORCED] == 0


@pytest.mark.parametrize(
    ("name", "previous_close", "down", "up"),
    [
        ("sse_main", "10.05", "9.05", "11.06"),  # 9.045 and 11.055, both rounded half up
        ("sse_main", "1818.00", "1636.20", "1999.80"),
        ("szse_main", "10.04", "9.04", "11.04"),  # 9.036 and 11.044
        ("sse_star", "10.03", "8.02", "12.04"),  # 8.024 and 12.036
        ("szse_chinext", "25.55", "20.44", "30.66"),
        ("sse_main", "0.04", "0.03", "0.05"),  # 10 % is less than a tick
        ("sse_main", "0.01", "0.01", "0.02"),
    ],
)
def test_daily_limits(name, previous_close, down, up):
    rules = load_rules(name)
    row = rules.day(rules.to_ticks(previous_close)).row
    limits = [rules.to_price(row[column]) for column in (t.LIMIT_DOWN, t.LIMIT_UP)]
    assert limits == [Decimal(down), Decimal(up)]


def test_daily_limits_are_on_the_tick():
    row = row_of("sse_main", "prices.tick=5", previous_close=1005)
    assert (row[t.LIMIT_DOWN], row[t.LIMIT_UP]) == (905, 1105)  # 904.5 and 1105.5


@pytest.mark.parametrize("name", CHINA)
def test_a_daily_limit_needs_the_previous_close(name):
    with pytest.raises(ValueError, match=r"prices\.daily_limit needs the previous close"):
        load_rules(name).day()
    row = load_rules(name, ["prices.daily_limit=null"]).day().row
    assert (row[t.LIMIT_DOWN], row[t.LIMIT_UP], row[t.PREVIOUS_CLOSE]) == (0, t.MAX_PRICE, 0)


@pytest.mark.parametrize("previous_close", [0, -1, t.MAX_PRICE, t.MAX_PRICE + 1])
def test_a_previous_close_that_cannot_be(previous_close):
    with pytest.raises(ValueError, match="must be from 1 to"):
        load_rules("sse_main").day(previous_close)


def test_a_previous_close_in_currency_is_refused():
    with pytest.raises(TypeError):
        load_rules("sse_main").day(10.05)


@pytest.mark.parametrize("name", ["sse_main", "sse_star"])
def test_a_day_in_shanghai(name):
    assert phases_of(name) == [
        ("00:00", "shut", 1),
        ("09:15", "call", 1),
        ("09:20", "call", 0),
        ("09:25", "shut", 1),
        ("09:30", "continuous", 1),
        ("11:30", "shut", 1),
        ("13:00", "continuous", 1),
        ("14:57", "call", 0),
        ("15:00", "shut", 1),
    ]


@pytest.mark.parametrize("name", ["szse_main", "szse_chinext"])
def test_a_day_in_shenzhen_differs_by_the_queue_before_trading(name):
    shanghai = phases_of("sse_main")
    shanghai[3] = ("09:25", "queue", 1)
    assert phases_of(name) == shanghai


def test_other_days():
    assert phases_of("nasdaq") == [("00:00", "shut", 1), ("09:30", "continuous", 1), ("16:00", "shut", 1)]
    assert phases_of("crypto_spot") == [("00:00", "continuous", 1)]


@pytest.mark.parametrize(
    ("name", "lot", "minimum", "odd", "limit", "market"),
    [
        ("sse_main", 100, 100, 1, 1_000_000, 1_000_000),
        ("sse_star", 1, 200, 1, 100_000, 50_000),
        ("szse_main", 100, 100, 1, 1_000_000, 1_000_000),
        ("szse_chinext", 100, 100, 1, 300_000, 150_000),
        ("nasdaq", 1, 1, 0, 999_999, 999_999),
        ("crypto_spot", 1, 1, 0, 0, 0),
    ],
)
def test_sizes(name, lot, minimum, odd, limit, market):
    row = row_of(name)
    columns = [t.LOT, t.MIN_ORDER, t.ODD_LOT_SELLS, t.MAX_LIMIT_ORDER, t.MAX_MARKET_ORDER]
    assert row[columns].tolist() == [lot, minimum, odd, limit, market]


def test_kinds():
    shanghai = {"limit", "best_five", "best_five_limit", "own_best", "opposite_best"}
    shenzhen = {"limit", "market", "market_fok", "best_five", "own_best", "opposite_best"}
    elsewhere = {"limit", "market", "ioc", "fok", "post_only", "replace"}
    assert kinds_of(row_of("sse_main")) == kinds_of(row_of("sse_star")) == shanghai
    assert kinds_of(row_of("szse_main")) == kinds_of(row_of("szse_chinext")) == shenzhen
    assert kinds_of(row_of("nasdaq")) == kinds_of(row_of("crypto_spot")) == elsewhere


def test_cages_and_their_earlier_rules():
    cage = [t.CAGE_RATE, t.CAGE_TICKS, t.CAGE_PARKS]
    assert row_of("sse_main")[cage].tolist() == row_of("szse_main")[cage].tolist() == [20_000, 10, 0]
    assert row_of("sse_star")[cage].tolist() == row_of("szse_chinext")[cage].tolist() == [20_000, 0, 0]
    assert row_of("nasdaq")[cage].tolist() == [100_000, 50, 0]
    assert row_of("szse_chinext", "prices.cage.parks=true")[cage].tolist() == [20_000, 0, 1]
    assert row_of("sse_main", "prices.cage=null")[cage].tolist() == [0, 0, 0]
    assert row_of("sse_main", "prices.cage.rate=0")[t.CAGE_RATE] == 0


def test_auctions():
    auction = [t.AUCTION_TIE, t.AUCTION_AT_ORDERS]
    assert row_of("sse_main")[auction].tolist() == [t.MIDDLE, 1]
    assert row_of("szse_main")[auction].tolist() == [t.NEAREST, 0]


@pytest.mark.parametrize("name", CHINA)
def test_volatility_interruptions_are_for_days_without_limits(name):
    rates = [t.HALT_RATE_1, t.HALT_RATE_2]
    assert row_of(name)[rates].tolist() == [0, 0]
    row = row_of(name, "prices.daily_limit=null")
    assert row[rates].tolist() == [300_000, 600_000]
    assert row[t.HALT_DURATION] == 10 * MINUTE
    assert row[t.HALT_LATEST] == (14 * 60 + 57) * MINUTE
    assert row[t.HALT_WINDOW] == 0
    assert row[t.HALT_MODE] == t.CALL


def test_limit_up_limit_down():
    row = row_of("nasdaq")
    columns = [t.HALT_RATE_1, t.HALT_RATE_2, t.HALT_DURATION, t.HALT_WINDOW, t.HALT_LATEST, t.HALT_MODE]
    assert row[columns].tolist() == [50_000, 0, 5 * MINUTE, 5 * MINUTE, 16 * 60 * MINUTE, t.CALL]


def test_fees_and_accounts():
    fees = [t.MAKER_FEE, t.TAKER_FEE, t.MAKER_FEE_PER_UNIT, t.TAKER_FEE_PER_UNIT, t.SELL_DUTY]
    accounts = [t.SETTLEMENT_DAYS, t.SHORT_SALES, t.CREDIT]
    for name in CHINA:
        assert row_of(name)[fees].tolist() == [54, 54, 0, 0, 500]
        assert row_of(name)[accounts].tolist() == [1, 0, 0]
    # -0.0020 and 0.0030 USD are -0.2 and 0.3 of a cent.
    assert row_of("nasdaq")[fees].tolist() == [0, 0, -200_000, 300_000, 0]
    assert row_of("nasdaq")[accounts].tolist() == [0, 1, 0]
    assert row_of("crypto_spot")[fees].tolist() == [1000, 1000, 0, 0, 0]
    assert row_of("crypto_spot")[t.SELF_TRADE] == t.CANCEL_RESTING
    assert row_of("sse_main")[t.SELF_TRADE] == row_of("nasdaq")[t.SELF_TRADE] == t.ALLOW


@pytest.mark.parametrize("rate", ["0.00001", "1e-5", "'0.00001'", "0.0000100"])
def test_a_rate_may_be_written_as_one_likes(rate):
    assert row_of("crypto_spot", f"fees.maker={rate}")[t.MAKER_FEE] == 10


def test_times_to_the_millisecond():
    schedule = load_rules(
        "bare", ["session.phases=[{start: 09:30:01.5, mode: continuous}, {start: 13:00, mode: shut}]"]
    ).day()[1]
    assert schedule[:, t.PHASE_START].tolist() == [0, 34_201_500_000_000, 13 * 60 * MINUTE]


def test_prices_become_ticks_exactly():
    rules = load_rules("sse_main")
    assert [rules.to_ticks(price) for price in ("10.05", Decimal("10.050"), 10.05, 1818, 0.29)] == [
        *(1005, 1005, 1005, 181_800, 29)
    ]
    assert rules.to_price(np.int64(1005)) == Decimal("10.05")
    assert load_rules("bare").to_ticks(7) == 7


@pytest.mark.parametrize("price", ["10.055", 10.001, "ten", "nan", "inf", 0, -1, "21474836.48"])
def test_a_price_that_is_none(price):
    with pytest.raises(ValueError, match="price"):
        load_rules("sse_main").to_ticks(price)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["prices.tik=1"], "prices.tik: Key 'tik' not in 'Prices'"),
        (["prise.tick=1"], "prise: Key 'prise' not in"),
        (["orders.lot=many"], "orders.lot: .*'many'"),
        (["orders.lot=1.5"], "orders.lot: .*1.5"),
        (["orders.lot=null"], "orders.lot"),
        (["orders.lot=0"], "orders.lot=0: must be from 1"),
        (["orders.minimum=-100"], "orders.minimum=-100"),
        (["orders.largest_limit=50"], "orders.largest_limit=50: must be from 100"),
        (["orders.largest_market=3000000000"], "orders.largest_market=3000000000"),
        (["orders.kinds=[limit,iceberg]"], "orders.kinds='iceberg': choose limit, market, ioc"),
        (["orders.kinds=[limit,cancel]"], "orders.kinds='cancel'"),
        (["orders.kinds=[limit,limit]"], "orders.kinds=.*once"),
        (["orders.kinds=[]"], "orders.kinds"),
        (["orders.odd_lot_sells=perhaps"], "orders.odd_lot_sells: .*'perhaps'"),
        (["prices.unit=0"], "prices.unit=0: must be above 0"),
        (["prices.unit=cent"], "prices.unit='cent'"),
        (["prices.tick=0"], "prices.tick=0"),
        (["prices.daily_limit=1"], "prices.daily_limit=1: must be from 0 to 0.999999"),
        (["prices.daily_limit=-0.1"], "prices.daily_limit"),
        (["prices.daily_limit=0.0000001"], "prices.daily_limit=1e-07: not a multiple of 0.000001"),
        (["prices.cage={ticks: 3}", "prices.cage.rate=null"], "prices.cage.rate"),
        (["prices.cage.rate=2"], "prices.cage.rate=2: must be"),
        (["prices.cage.ticks=-1"], "prices.cage.ticks=-1"),
        (["session.phases=[]"], "session.phases: name at least one"),
        (["session.phases=[{start: 10:00, mode: continuous}, {start: 09:00, mode: shut}]"], "09:00 must come after"),
        (["session.phases=[{start: 10:00, mode: continuous}, {start: 10:00, mode: shut}]"], "10:00 must come after"),
        (["session.phases=[{start: 14:57, mode: call}]"], "14:57 call is the last phase"),
        (["session.phases=[{start: 14:57, mode: queue}]"], "14:57 queue is the last phase"),
        (["session.phases=[{start: 10:00, mode: open}]"], "session.phases.mode='open': choose shut, continuous"),
        (["session.phases=[{start: 10:00}]"], r"session.phases\[0\].mode: .*missing"),
        (["session.phases=[{start: 25:00, mode: shut}]"], "session.phases.start='25:00': write a time"),
        (["session.phases=[{start: 9:30, mode: shut}]"], "session.phases.start='9:30': write a time"),
        (["auction.tie=first"], "auction.tie='first': choose middle, nearest"),
        (["halts.mode=queue"], "halts.mode='queue': choose shut, call"),
        (["halts.rates=[0.6,0.3]"], "halts.rates=.*smaller one first"),
        (["halts.rates=[0.1,0.2,0.3]"], "halts.rates=.*at most two"),
        (["halts.rates=[0]"], "halts.rates=.*above 0"),
        (["halts.duration=null"], "halts.duration=None: halts.rates needs a time"),
        (["prices.daily_limit=''"], "prices.daily_limit='': write a decimal"),
        (["halts.latest=''"], "halts.latest='': write a time"),
        (["halts.duration=ten"], "halts.duration='ten': write a time"),
        (["halts.window=00:05"], "halts.window=00:05: .*takes one rate"),
        (["halts.latest=1457"], "halts.latest='1457'"),
        (["fees.maker=0.0000541"], "fees.maker=5.41e-05: not a multiple of 0.000001"),
        (["fees.taker=2"], "fees.taker=2: must be from -1 to 1"),
        (["fees.sell_duty=-0.1"], "fees.sell_duty=-0.1: must be from 0 to 1"),
        (["fees.maker_per_unit=0.000000001"], "fees.maker_per_unit=1e-09: not a multiple"),
        (["fees.taker_per_unit=30"], "fees.taker_per_unit=.*2,147 price units"),
        (["self_trade=both"], "self_trade='both': choose allow, cancel_incoming"),
        (["accounts.settlement_days=2"], "accounts.settlement_days=2"),
        (["accounts=3"], "accounts: .*3"),
        (["+prices.tick=2"], "write a change as key=value"),
        (["prices.tick=1,2"], "write a change as key=value"),
        (["prices.tick"], "prices.tick"),
    ],
)
def test_a_mistake_is_an_error_that_names_the_key(overrides, message):
    with pytest.raises(DataError, match=message) as raised:
        load_rules("sse_main", overrides)
    assert "sse_main.yaml" in str(raised.value)


def test_a_file_of_ones_own(tmp_path):
    path = written(tmp_path / "mine.yaml", "orders: {lot: 10}\nprices: {cage: {rate: 0.05}}\n")
    row = load_rules(path).day().row
    assert (row[t.LOT], row[t.CAGE_RATE], row[t.ENFORCED]) == (10, 50_000, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prices: {cage: {ticks: 3}}", "prices.cage.rate: .*missing"),
        ("session: {phases: [{start: 13:00, mode: continuous}]}", "session.phases.start='780': .*in quotes"),
        ("- limit", "holds keys and values"),
        ("prices: {", "mine.yaml"),
        ("prices: 3", "prices: .*3"),
        ("3: 3", "3: Key"),
    ],
)
def test_a_file_that_is_none(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        load_rules(written(tmp_path / "mine.yaml", text))


@pytest.mark.parametrize("name", ["nyse", "nowhere/mine.yaml"])
def test_a_file_that_is_not_there(name):
    with pytest.raises(DataError, match=r"choose bare, crypto_spot, .* or give the path"):
        load_rules(name)
