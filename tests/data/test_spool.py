"""Sorting messages by session: each comes back once, in its source's order, whatever the symbol is called."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mars_lmm.data import spool
from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import Feed, SortedFeed, Source
from mars_lmm.data.feeds.common.files import RawFile
from mars_lmm.data.ledger import SKIP, Ledger
from mars_lmm.data.sessions import find_sessions, sort_source
from mars_lmm.data.spool import SNAPSHOTS, Spool, read_records, spooled_sessions

RECORD = np.dtype([("row", "<i8"), ("price", "<i4")])
SNAPSHOT = np.dtype([("row", "<i8")])
DAYS = ["2024-01-02", "2024-01-03"]
LEDGER = Ledger()


class OneSession(Feed):
    """A feed of files that hold one session each."""

    def find_sources(self, paths):
        raise NotImplementedError

    describe = order_flow = verify = find_sources


class ManySessions(OneSession, SortedFeed):
    """A feed of files that hold many; what one holds is given."""

    record = RECORD

    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def decode(self, source, ledger):
        yield from self.parts


def records(*rows):
    return np.array([(row, 100 * row) for row in rows], RECORD)


def source(name="a", symbol="", date=""):
    return Source((RawFile(Path(name)),), symbol, date)


@given(
    st.lists(
        st.tuples(st.sampled_from(["A", "B/C", "_A", "%41", "SH.600519", "a", "...A", "É"]), st.sampled_from(DAYS)),
        max_size=30,
    )
)
def test_each_record_comes_back_once_and_in_order(tmp_path_factory, keys):
    folder = tmp_path_factory.mktemp("spool") / "inner"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "MAX_BUFFERED", 4)
        writing = Spool(folder)
        wanted = {}
        for row, key in enumerate(keys):
            writing.append(*key, records(row, row + 1000))
            wanted.setdefault(key, []).extend([row, row + 1000])
        writing.flush()
    found = {key: read_records(path, RECORD)["row"].tolist() for key, path in spooled_sessions(folder).items()}
    assert found == wanted
    assert [path.name for path in folder.parent.iterdir()] == ["inner"]


def test_records_are_copied(tmp_path):
    """Feeds decode into the same memory again and again."""
    writing, memory = Spool(tmp_path), records(1)
    writing.append("A", DAYS[0], memory)
    memory["row"] = 2
    writing.flush()
    (path,) = spooled_sessions(tmp_path).values()
    assert read_records(path, RECORD)["row"].tolist() == [1]


def test_part_of_a_file(tmp_path):
    writing = Spool(tmp_path)
    writing.append("A", DAYS[0], records(*range(10)))
    writing.flush()
    (path,) = spooled_sessions(tmp_path).values()
    assert read_records(path, RECORD, 3, 4)["row"].tolist() == [3, 4, 5, 6]
    assert read_records(path, RECORD, 8, 4)["row"].tolist() == [8, 9]
    assert read_records(path, RECORD, 8)["price"].tolist() == [800, 900]


def test_sources_become_sessions_by_date_and_symbol(tmp_path):
    sources = [source("a"), source("b")]
    folders = [tmp_path / "0", tmp_path / "1"]
    feeds = [
        ManySessions([("B", DAYS[1], records(1)), ("A", DAYS[1], records(2)), ("B", DAYS[0], records(3))]),
        ManySessions([("A", DAYS[1], records(4)), ("C", DAYS[0], records(5))]),
    ]
    for feed, each, folder in zip(feeds, sources, folders, strict=True):
        sort_source(feed, each, folder, ["A", "B"], LEDGER)
    sessions = find_sessions(feeds[0], sources, folders)
    assert [(session.date, session.symbol) for session in sessions] == [(DAYS[0], "B"), (DAYS[1], "A"), (DAYS[1], "B")]
    assert sessions[1].sources == tuple(sources)
    assert [read_records(path, RECORD)["row"].tolist() for path in sessions[1].records] == [[2], [4]]
    assert sessions[0].sources == (sources[0],)


@pytest.mark.parametrize("symbol", ["", ".", "..", "A" * 200])
def test_a_symbol_that_names_no_file(tmp_path, symbol):
    ledger, feed = Ledger(SKIP), ManySessions([(symbol, DAYS[0], records(1, 2)), ("A", DAYS[0], records(3))])
    sort_source(feed, source(), tmp_path / "0", [], ledger)
    assert list(spooled_sessions(tmp_path / "0")) == [("A", DAYS[0])]
    assert [(rejection.row, rejection.reason) for rejection in ledger.rejections] == [(None, "bad symbol")]
    assert ledger.rejections[0].detail.startswith("2 messages of ")
    with pytest.raises(DataError, match="bad symbol"):
        sort_source(feed, source(), tmp_path / "1", [], Ledger())


def test_snapshots_lie_beside_the_records(tmp_path):
    parts = [("A", DAYS[0], records(1)), ("A", DAYS[0], np.array([(7,)], SNAPSHOT))]
    sort_source(ManySessions(parts), source(), tmp_path / "0", [], LEDGER)
    (session,) = find_sessions(ManySessions([]), [source()], [tmp_path / "0"])
    (path,) = session.records
    assert read_records(path.with_suffix(SNAPSHOTS), SNAPSHOT)["row"].tolist() == [7]
    assert read_records(path, RECORD)["row"].tolist() == [1]


def test_a_spool_appears_whole_or_not_at_all(tmp_path):
    def parts(good):
        yield "A", DAYS[0], records(1)
        if not good:
            raise DataError("a", "damaged")

    with pytest.raises(DataError):
        sort_source(ManySessions(parts(good=False)), source(), tmp_path / "0", [], LEDGER)
    assert not (tmp_path / "0").exists()
    sort_source(ManySessions(parts(good=True)), source(), tmp_path / "0", [], LEDGER)
    sort_source(ManySessions(parts(good=True)), source(), tmp_path / "0", [], LEDGER)  # again: not appended
    (path,) = spooled_sessions(tmp_path / "0").values()
    assert len(read_records(path, RECORD)) == 1


def test_a_file_a_session():
    sources = [source("b", "B", DAYS[0]), source("a", "A", DAYS[1])]
    sessions = find_sessions(OneSession(), sources, [])
    assert [(session.symbol, session.date, session.sources) for session in sessions] == [
        ("B", DAYS[0], (sources[0],)),
        ("A", DAYS[1], (sources[1],)),
    ]
    assert [session.symbol for session in find_sessions(OneSession(), sources, [], ["A"])] == ["A"]
