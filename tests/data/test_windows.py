import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mars_lmm.data.windows import MAX_PIECES, PIECE, cut, pack

ROW_LENGTHS = st.integers(2, 12)


@st.composite
def parts(draw):
    """A part [first, end) of a session, a row length and a context shorter than it."""
    end = draw(st.integers(0, 200))
    row_length = draw(ROW_LENGTHS)
    return draw(st.integers(0, end)), end, row_length, draw(st.integers(0, row_length - 1))


def targets(pieces):
    """Every scored order of some pieces, in order."""
    return [
        order
        for _, start, length, first_target in pieces.tolist()
        for order in range(start + first_target, start + length)
    ]


@given(parts())
def test_each_order_of_a_part_is_scored_once_but_the_sessions_first(part):
    first, end, row_length, context = part
    assert targets(cut(7, first, end, row_length, context)) == list(range(max(first, 1), end))


@given(parts())
def test_pieces_are_whole_rows_or_one_that_is_too_short(part):
    first, end, row_length, context = part
    pieces = cut(7, first, end, row_length, context)
    assert set(pieces["session"].tolist()) <= {7}
    assert all(pieces["start"] >= 0)
    assert all(pieces["start"] + pieces["length"] <= end)
    assert all(pieces["first_target"] >= 1)
    assert all(pieces["first_target"] < pieces["length"])
    whole = end > row_length
    if whole:
        assert all(pieces["length"] == row_length + 1)
    else:
        assert len(pieces) <= 1


@given(parts())
def test_scored_orders_have_their_context(part):
    """As many orders as asked for before a row's first scored one, or all that the session has."""
    first, end, row_length, context = part
    pieces = cut(0, first, end, row_length, context)
    assert all(pieces["first_target"] >= np.minimum(context + 1, pieces["start"] + pieces["first_target"]))


def test_by_hand():
    """17 orders, 6 a row, the second half held out with a context of 2."""
    rows = [tuple(row) for row in cut(3, 8, 17, 5, 2).tolist()]
    assert rows == [(3, 5, 6, 3), (3, 8, 6, 3), (3, 11, 6, 3)]
    assert [tuple(row) for row in cut(3, 0, 8, 5, 0).tolist()] == [(3, 0, 6, 1), (3, 2, 6, 4)]
    assert [tuple(row) for row in cut(3, 3, 5, 5, 1).tolist()] == [(3, 1, 4, 2)]
    assert len(cut(3, 0, 1, 5, 0)) == len(cut(3, 4, 4, 5, 0)) == 0


@st.composite
def short_pieces(draw):
    row_length = draw(ROW_LENGTHS)
    lengths = draw(st.lists(st.integers(2, row_length + 1), max_size=40))
    pieces = np.zeros(len(lengths), PIECE)
    pieces["session"], pieces["length"], pieces["first_target"] = np.arange(len(lengths)), lengths, 1
    return pieces, row_length


@given(short_pieces())
def test_packing_keeps_every_piece_and_no_row_overflows(short):
    pieces, row_length = short
    packed, counts = pack(pieces, row_length)
    assert sorted(packed["session"].tolist()) == pieces["session"].tolist()
    assert counts.sum() == len(pieces)
    assert (counts > 0).all()
    rows = np.split(packed, np.cumsum(counts)[:-1]) if len(counts) else []
    for row in rows:
        assert row["length"].sum() <= row_length + 1
        assert (np.diff(row["session"]) > 0).all()
    # First fit: no earlier row had room for a piece when it was its turn.
    for later in range(len(rows)):
        for earlier in range(later):
            for piece in rows[later]:
                before = rows[earlier][rows[earlier]["session"] < piece["session"]]
                assert before["length"].sum() + piece["length"] > row_length + 1


def test_rows_hold_no_more_pieces_than_segments_can_number():
    pieces = np.zeros(1000, PIECE)
    pieces["length"] = 2
    _, counts = pack(pieces, 4095)
    assert counts.tolist() == [MAX_PIECES] * 3 + [1000 - 3 * MAX_PIECES]
