import numpy as np
import pytest

from mars_lmm.data.replay import replay
from mars_lmm.market import types as t
from mars_lmm.market.book import empty_books
from mars_lmm.market.cpu import VENUE
from mars_lmm.market.exchange import Exchange
from mars_lmm.tokenizers import observation as o
from mars_lmm.tokenizers.bins import QuantileBins
from mars_lmm.tokenizers.coding import NUM_DECODE_DRAWS, make_coding
from mars_lmm.tokenizers.cpu import CODING
from mars_lmm.tokenizers.orders import OrderTokenizer


@pytest.fixture(scope="module")
def observed(synthetic_flow):
    return replay(synthetic_flow).observed


@pytest.fixture(scope="module")
def tokenizer(observed):
    return OrderTokenizer.fit(observed, takers_rest=True)


def test_what_adds_up_is_cut_by_amount(tokenizer, observed):
    cancels = observed[:, o.TYPE] == o.CANCEL_TYPE
    sizes = observed[:, o.LEVELS :].reshape(-1, 2, 2, t.DEPTH)
    fields = {
        "price": (observed[~cancels, o.PLACE], {"cuts": (0, o.CROSSING - 1)}),
        "size": (observed[:, o.SIZE], {"by_amount": True}),
        "interval": (observed[:, o.INTERVAL], {"by_amount": True}),
        "level_size": (sizes[:, :, 1][sizes[:, :, 0] >= 0], {"by_amount": True}),
    }
    for name, (values, settings) in fields.items():
        bins = getattr(tokenizer, name)
        count = bins.num_bins
        np.testing.assert_array_equal(bins.edges, QuantileBins.fit(values, count, **settings).edges)
        if "by_amount" in settings:
            assert not np.array_equal(bins.edges, QuantileBins.fit(values, count).edges)


def clock_of(bid, ask):
    """A clock that shows a touch."""
    clock = np.zeros(o.NUM_CLOCK, dtype=np.int64)
    clock[[o.BID, o.ASK, o.MID]] = bid, ask, (bid + ask) // 2
    return clock


def book_of(bid, ask, levels=300, step=3):
    """A book with orders every few ticks behind a touch."""
    sides = (t.BUY, bid, -1), (t.SELL, ask, 1)
    exchange = Exchange(empty_books(1, 2 * levels, 2 * levels * step + ask - bid, bid - levels * step))
    prices = [(side, best + sign * step * i) for side, best, sign in sides for i in range(levels)]
    exchange.run(np.array([(t.LIMIT, side, price, 100, i, 0) for i, (side, price) in enumerate(prices)]))
    return exchange.books[0]


WIDE = clock_of(10_000, 20_000)
WIDE_BOOK = book_of(10_000, 20_000)


def decode(tokenizer, token, draws, clock=WIDE, book=WIDE_BOOK):
    order = np.zeros(t.NUM_ORDER_COLUMNS, dtype=np.int64)
    CODING.decode(tokenizer.tables(), token, book, clock, draws, order)
    return order, CODING.waiting_time(tokenizer.tables(), token, draws)


def reencode(tokenizer, order, interval):
    """Observe a decoded order by the definition of a place, in the book that `WIDE` shows."""
    row = np.zeros((1, o.NUM_OBSERVED), dtype=np.int64)
    cancel, buy, price = order[t.KIND] == t.CANCEL_AT, order[t.SIDE] == t.BUY, order[t.PRICE]
    ahead = price - 10_000 if buy else 20_000 - price
    beyond = ahead - 10_000
    place = ahead if beyond < 0 else o.CROSSING + beyond
    if cancel:
        place = ahead // 3 if buy else 1 - ahead // 3  # the book has orders every three ticks
    row[0, o.TYPE] = o.CANCEL_TYPE if cancel else order[t.SIDE]
    row[0, [o.PLACE, o.SIZE, o.INTERVAL]] = place, order[t.SIZE], interval
    return int(tokenizer.encode(row)[0][0])


def test_vocabulary(tokenizer):
    assert tokenizer.bins == (3, 32, 32, 16)
    assert tokenizer.vocabulary == 49_152


def test_every_seen_token_decodes_to_an_order_of_the_same_token(tokenizer, observed):
    rng = np.random.default_rng(0)
    for token in np.unique(tokenizer.encode(observed)[0]).tolist():
        order, interval = decode(tokenizer, token, rng.random(NUM_DECODE_DRAWS))
        assert reencode(tokenizer, order, interval) == token


def test_every_token_decodes_to_a_possible_order(tokenizer):
    rng = np.random.default_rng(1)
    for token in range(0, tokenizer.vocabulary, 37):
        order, interval = decode(tokenizer, token, rng.random(NUM_DECODE_DRAWS), clock_of(10_000, 10_001))
        assert order[t.SIZE] > 0
        assert interval >= 0
        price_bin = token // (32 * 16) % 32
        crosses = tokenizer.price.values[price_bin][0] >= o.CROSSING
        if order[t.KIND] == t.LIMIT and not crosses:
            # However narrow the spread: what was placed inside it joins the touch and never trades.
            assert order[t.PRICE] <= 10_000 if order[t.SIDE] == t.BUY else order[t.PRICE] >= 10_001


def test_places_by_hand(tokenizer):
    """Each price bin with one value decodes to the price that its name says."""
    clock = clock_of(100, 110)
    bins = tokenizer.price
    for place, buy, sell in ((0, 100, 110), (1, 101, 109), (-1, 99, 111), (o.CROSSING, 110, 100)):
        price_bin = int(bins.encode(np.array([place]))[0])
        assert (bins.values[price_bin] == place).all(), "the synthetic market fills these places often"
        for side, price in ((t.BUY, buy), (t.SELL, sell)):
            order, _ = decode(tokenizer, (side * 32 + price_bin) * 32 * 16, np.zeros(NUM_DECODE_DRAWS), clock)
            assert order[t.PRICE] == price


def test_a_cancel_names_its_side_and_a_level(tokenizer):
    """Each of the first levels is common enough for a bin of its own."""
    book, draws = book_of(100, 110, levels=5), np.zeros(NUM_DECODE_DRAWS)
    for better in range(3):
        level_bin = int(tokenizer.cancel.encode(np.array([better]))[0])
        assert (tokenizer.cancel.values[level_bin] == better).all()
        for half, side, price in ((0, t.BUY, 100 - 3 * better), (16, t.SELL, 110 + 3 * better)):
            order, _ = decode(tokenizer, (2 * 32 + half + level_bin) * 32 * 16, draws, book=book)
            assert order[[t.KIND, t.SIDE, t.PRICE]].tolist() == [t.CANCEL_AT, side, price]


def test_an_empty_side_stands_next_to_the_mid(tokenizer):
    clock = clock_of(100, 110)
    clock[o.ASK], clock[o.MID] = t.NO_PRICE, 100
    join = int(tokenizer.price.encode(np.array([0]))[0])
    order, _ = decode(tokenizer, (t.SELL * 32 + join) * 32 * 16, np.zeros(NUM_DECODE_DRAWS), clock)
    assert order[t.PRICE] == 101


def test_draws_reach_the_ends_of_a_bin(tokenizer):
    bins = tokenizer.interval
    token = 5  # type 0, first price, first size, interval bin 5
    for draw, place in ((0.0, 0), (1 - 2**-53, -1)):
        assert decode(tokenizer, token, np.array([0.0, 0.0, draw]))[1] == bins.values[5][place]


def test_plain_python_codes_alike(tokenizer, observed):
    plain = make_coding(lambda function: function, VENUE.trading.nth_price)
    market = np.zeros((2, 42), dtype=np.int16)
    for row in observed[::997]:
        tokens = [c.encode(tokenizer.tables(), row, m) for c, m in zip((CODING, plain), market, strict=True)]
        assert tokens[0] == tokens[1]
        np.testing.assert_array_equal(market[0], market[1])


def test_features_of_a_book_with_missing_levels(tokenizer):
    row = np.zeros((1, o.NUM_OBSERVED), dtype=np.int64)
    row[0, o.CHANGE], row[0, o.MINUTE] = -17, 12
    levels = row[0, o.LEVELS :].reshape(2, 2, t.DEPTH)
    levels[:, 0] = -1
    levels[t.BUY, 0, :2], levels[t.BUY, 1, :2] = (1, 4), (300, 100)
    _, market = tokenizer.encode(row)
    levels[t.SELL, 0, 0] = 2
    _, both = tokenizer.encode(row)
    assert market[0, :2].tolist() == [-17, 12]
    features = market[0, 2:].reshape(2, 2, t.DEPTH)
    assert (features[t.SELL, 0] == 32).all()
    assert (features[t.SELL, 1] == 0).all()
    # The other side is empty, so there is no spread.
    assert features[t.BUY, 0, 0] == tokenizer.spread.encode(np.array([0]))[0]
    assert features[t.BUY, 0, 1:3].tolist() == [*tokenizer.level_gap.encode(np.array([3])), 32]
    assert (both[0, 2:].reshape(2, 2, t.DEPTH)[:, 0, 0] == tokenizer.spread.encode(np.array([3]))).all()
    assert features[t.BUY, 1, :3].tolist() == [*(1 + tokenizer.level_size.encode(np.array([300, 100]))), 0]


def test_gaps_of_a_crossed_book_have_bins(tokenizer):
    """In an auction the best bid is as far above the mid as lower ones are near it, or nearer than those far below."""
    row = np.zeros((1, o.NUM_OBSERVED), dtype=np.int64)
    levels = row[0, o.LEVELS :].reshape(2, 2, t.DEPTH)
    levels[:, 0] = -1
    levels[:, 0, :3] = (100_000, 4, 30_000)
    levels[:, 1, :3] = 100
    _, market = tokenizer.encode(row)
    found = market[0, 2:].reshape(2, 2, t.DEPTH)[:, 0, 1:3]
    assert (found == tokenizer.level_gap.encode(np.array([99_996, 29_996]))).all()


def test_takers_rest_only_where_their_sizes_were_submitted(observed, tokenizer):
    crossing = int(tokenizer.price.encode(np.array([o.CROSSING]))[0])
    for rest, kind in ((True, t.LIMIT), (False, t.IOC)):
        other = OrderTokenizer.fit(observed, takers_rest=rest)
        order, _ = decode(other, (t.BUY * 32 + crossing) * 32 * 16, np.zeros(NUM_DECODE_DRAWS))
        assert (order[t.KIND], order[t.PRICE]) == (kind, 20_000)


def test_json_round_trip(tokenizer, tmp_path):
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    again = OrderTokenizer.load(path)
    assert again.checksum == tokenizer.checksum
    assert again.takers_rest is tokenizer.takers_rest
    for ours, theirs in zip(again.tables(), tokenizer.tables(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_another_fit_has_another_checksum(tokenizer, observed):
    assert OrderTokenizer.fit(observed[: len(observed) // 2], takers_rest=True).checksum != tokenizer.checksum


def test_another_version_is_refused(tokenizer):
    with pytest.raises(ValueError, match="tokenizer version 0"):
        OrderTokenizer.from_dict(tokenizer.to_dict() | {"version": 0})
