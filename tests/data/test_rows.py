import tracemalloc

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mars_lmm.data.rows import (
    CODED,
    PADDING,
    ROWS_PER_GROUP,
    RowWriter,
    coded_orders,
    decode_market,
    decode_pieces,
    decode_tokens,
    packed_file,
    row_groups,
    segments,
    shard_file,
)
from mars_lmm.data.windows import PIECE, cut, pack
from mars_lmm.tokenizers.coding import NUM_MARKET_FEATURES

T = 6


def random_orders(count, seed=0):
    """uint16[N] tokens and int16[N, F] market features."""
    rng = np.random.default_rng(seed)
    market = rng.integers(0, 34, (count, NUM_MARKET_FEATURES)).astype(np.int16)
    market[:, 0] = rng.integers(-2000, 2001, count)
    market[:, 1] = rng.integers(0, 1440, count)
    return rng.integers(0, 49_152, count).astype(np.uint16), market


def session_orders(number):
    return coded_orders(*random_orders(40, number))


def write(path, pieces, counts=None):
    with RowWriter(path, T) as writer:
        writer.write(pieces, session_orders, counts)
    return writer


def test_an_order_takes_46_bytes_and_comes_back():
    token, market = random_orders(100)
    coded = coded_orders(token, market)
    assert coded.nbytes == 46 * len(token)
    assert np.array_equal(coded["token"], token)
    assert np.array_equal(np.column_stack([coded["change"], coded["minute"], coded["levels"]]), market)


@pytest.mark.parametrize("value", [-1, 256])
def test_a_bin_that_does_not_fit_is_refused(value):
    token, market = random_orders(3)
    market[1, 5] = value
    with pytest.raises(ValueError, match="rows keep 0 to 255"):
        coded_orders(token, market)


def test_rows_of_a_session_come_back(tmp_path):
    pieces = cut(3, 0, 40, T, 2)
    writer = write(tmp_path / "rows" / "shard.parquet", pieces)
    table = pq.read_table(tmp_path / "rows" / "shard.parquet")
    assert writer.num_rows == len(table) == len(pieces)
    assert writer.num_targets == 39
    token, market = random_orders(40, 3)
    place = pieces["start"][:, None] + np.arange(T + 1)
    assert np.array_equal(decode_tokens(table), token[place])
    assert np.array_equal(decode_market(table), market[place])
    found, counts = decode_pieces(table)
    assert np.array_equal(found, pieces)
    assert counts.tolist() == [1] * len(pieces)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12))
def test_packed_rows_hold_their_sessions_and_padding(tmp_path_factory, ends):
    """Parts [first, end) of short sessions: every scored order is there once, with the one before it."""
    path = tmp_path_factory.mktemp("rows") / "packed.parquet"
    parts = [(min(pair), max(pair)) for pair in ends]
    short = np.concatenate([cut(number, *part, T, 1) for number, part in enumerate(parts)])
    pieces, counts = pack(short, T)
    writer = write(path, pieces, counts)
    table = pq.read_table(path)
    token, market = decode_tokens(table), decode_market(table)
    segment, scored = segments(*decode_pieces(table), T)
    pairs = sorted(zip(token[:, :-1][scored].tolist(), token[:, 1:][scored].tolist(), strict=True))
    expected = [
        (int(orders["token"][target - 1]), int(orders["token"][target]))
        for number, (first, end) in enumerate(parts)
        for orders in [session_orders(number)]
        for target in range(max(first, 1), end)
    ]
    assert pairs == sorted(expected)
    assert writer.num_targets == len(expected)
    assert not token[segment == PADDING].any()
    assert not market[segment == PADDING].any()


def test_segments_by_hand():
    """A row of sessions of 3 and 2 orders, of which the first has one order of context, then 2 of padding; a row."""
    pieces = np.array([(4, 0, 3, 2), (9, 5, 2, 1), (1, 0, 7, 1)], PIECE)
    segment, scored = segments(pieces, np.array([2, 1]), T)
    assert segment.tolist() == [[0, 0, 0, 1, 1, PADDING, PADDING], [0] * 7]
    assert scored.tolist() == [[False, True, False, True, False, False], [True] * 6]


def test_row_groups_are_full_whatever_the_writes(tmp_path):
    pieces = np.concatenate([cut(number, 0, 40, T, 5) for number in range(20)])
    assert len(pieces) > 2 * ROWS_PER_GROUP
    whole = write(tmp_path / "whole.parquet", pieces)
    with RowWriter(tmp_path / "parts.parquet", T) as parts:
        for part in np.array_split(pieces, 7):
            parts.write(part, session_orders)
    assert (tmp_path / "whole.parquet").read_bytes() == (tmp_path / "parts.parquet").read_bytes()
    assert whole.digest == parts.digest
    file = pq.ParquetFile(tmp_path / "whole.parquet")
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    assert set(sizes[:-1]) == {ROWS_PER_GROUP}
    shard = {"file": "whole.parquet", "rows": len(pieces)}
    groups, bounds = row_groups([shard, shard | {"file": "again.parquet"}])
    assert [number for name, number in groups if name == "whole.parquet"] == list(range(len(sizes)))
    assert np.diff(bounds).tolist() == sizes * 2


def test_the_digest_tells_contents_apart(tmp_path):
    pieces = cut(0, 0, 40, T, 2)
    digest = write(tmp_path / "a.parquet", pieces).digest
    assert write(tmp_path / "b.parquet", pieces).digest == digest
    assert write(tmp_path / "c.parquet", pieces[:-1]).digest != digest
    assert write(tmp_path / "d.parquet", cut(1, 0, 40, T, 2)).digest != digest
    later = pieces.copy()
    later["first_target"] += 1
    assert write(tmp_path / "e.parquet", later).digest != digest


def test_a_broken_write_leaves_nothing(tmp_path):
    def fail(number):
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"), RowWriter(tmp_path / "shard.parquet", T) as writer:
        writer.write(cut(0, 0, 40, T, 2), fail)
    assert list(tmp_path.iterdir()) == []


def test_memory_holds_one_row_group(tmp_path):
    """18 MB of orders in a file: the writer holds a few hundred rows of them at a time."""
    coded = np.memmap(tmp_path / "coded", CODED, "w+", shape=400_000)
    tracemalloc.start()
    with RowWriter(tmp_path / "shard.parquet", 64) as writer:
        writer.write(cut(0, 0, len(coded), 64, 0), lambda number: coded)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert writer.num_targets == len(coded) - 1
    assert peak < 4 * ROWS_PER_GROUP * 65 * CODED.itemsize


def test_file_names_are_safe():
    assert shard_file("train", {"symbol": "BRK/B", "date": "2024-01-02"}) == "rows/train/BRK%2FB_2024-01-02.parquet"
    assert packed_file("validation") == "rows/validation/packed.parquet"
