"""Finding and reading LOBSTER files; every fault names the file, the row and the reason."""

import gzip
import re
import shutil
import zipfile

import numpy as np
import pytest
from lobster_reading import read_flow, read_pair, sessions_of
from lobster_writer import NAME, record, seconds, write_pair

from mars_lmm.data.checksums import Checksums
from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds import load_feed
from mars_lmm.data.sessions import find_sources
from mars_lmm.market.types import BUY, NO_PRICE, SELL

MESSAGE, ORDERBOOK = NAME.format("message", 2), NAME.format("orderbook", 2)


@pytest.fixture(scope="module")
def recording():
    return record(seed=5, levels=2, num_orders=200)


@pytest.fixture
def folder(recording, tmp_path):
    recording.write(tmp_path / "lobster")
    return tmp_path / "lobster"


def faults(path):
    """Sources at a path that cannot be read: their files' names, and why."""
    return {str(source): fault for source, fault in find_sources(load_feed("lobster"), [path]).faulty}


def zipped(folder, path, inside=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, inside + file.name)
        archive.writestr("LOBSTER_ReadMe.txt", "words")
    return path


def packed(folder):
    """Both files, compressed, and they alone."""
    for file in list(folder.iterdir()):
        with gzip.open(file.with_name(file.name + ".gz"), "wb") as stream:
            stream.write(file.read_bytes())
        file.unlink()
    return folder


def check(part, recording):
    messages = part.messages
    sides = np.where(messages.side == BUY, 1, -1)
    columns = (messages.time, messages.kind, messages.order_id, messages.size, messages.price, sides)
    assert np.stack(columns, 1).tolist() == [list(message) for message in recording.messages]
    assert messages.row.tolist() == list(range(1, len(recording.messages) + 1))
    for row, expected in zip(part.books, recording.books, strict=True):
        flat = [value for level in zip(row[SELL], row[BUY], strict=True) for pair in level for value in pair]
        assert [value * 100 if i % 2 == 0 and value != NO_PRICE else value for i, value in enumerate(flat)] == [
            NO_PRICE if abs(value) == 9_999_999_999 else value for value in expected
        ]


FORMS = ["folder", "message file", "archive", "folder of archives", "compressed folder", "compressed file", "mixed"]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_path(folder, tmp_path, recording, form):
    archive = zipped(folder, tmp_path / "session.ZIP", inside="sub/")
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    shutil.copy(archive, shelf)
    compressed = packed(shutil.copytree(folder, tmp_path / "compressed"))
    mixed = shutil.copytree(folder, tmp_path / "mixed")
    (mixed / ORDERBOOK).unlink()
    shutil.copy(compressed / f"{ORDERBOOK}.gz", mixed)
    path = {
        "folder": folder,
        "message file": folder / MESSAGE,
        "archive": archive,
        "folder of archives": shelf,
        "compressed folder": compressed,
        "compressed file": compressed / f"{MESSAGE}.gz",
        "mixed": mixed / MESSAGE,
    }[form]
    (session,) = sessions_of(path)
    assert (session.symbol, session.date) == ("TEST", "2024-01-02")
    described = load_feed("lobster").describe(session)
    assert (described.open_time, described.close_time) == (34_200 * 10**9, 57_600 * 10**9)
    assert described.rebuilt_takers
    check(read_pair(path)[0], recording)


def test_several_sessions_and_paths(folder, tmp_path, recording):
    for kind in ("message", "orderbook"):
        name = NAME.format(kind, 2)
        shutil.copy(folder / name, folder / name.replace("TEST", "ALSO"))
    archive = zipped(folder, tmp_path / "both.zip")
    assert [session.symbol for session in sessions_of(folder)] == ["ALSO", "TEST"]
    assert len(sessions_of(folder, archive)) == 4
    assert len(sessions_of(folder, folder / MESSAGE)) == 2  # named twice, read once


def test_checksum_follows_the_content(folder, tmp_path):
    ((source,),) = (session.sources for session in sessions_of(folder))
    message, orderbook = source.files
    before = [Checksums(tmp_path).of(file) for file in source.files]
    lines = (folder / ORDERBOOK).read_text()
    (folder / ORDERBOOK).write_text(lines[:-1] + "0\n")
    assert Checksums(tmp_path).of(message) == before[0]
    assert Checksums(tmp_path).of(orderbook) != before[1]


@pytest.mark.parametrize("dialect", ["BOM", "CRLF", "no last line end", "MPID column"])
def test_dialects(folder, recording, dialect):
    data = {file: file.read_bytes() for file in (folder / MESSAGE, folder / ORDERBOOK)}
    for file, content in data.items():
        if dialect == "BOM":
            content = b"\xef\xbb\xbf" + content
        elif dialect == "CRLF":
            content = content.replace(b"\n", b"\r\n")
        elif dialect == "no last line end":
            content = content[:-1]
        elif file.name == MESSAGE:
            content = content.replace(b"\n", b",null\n", 1).replace(b"1\n", b"1,MPID\n")
        file.write_bytes(content)
    check(read_pair(folder)[0], recording)


def test_times_are_exact(tmp_path):
    """Nanoseconds beyond a double's reach, dropped zeros, and one of the vendor's own float accidents."""
    texts = ["34200", "34200.1", "34200.18960767", "40000.000000001", "43002.632812672004", "86399.999999999"]
    lines = [f"{text},5,0,5,1000000,1" for text in texts]
    write_pair(tmp_path, lines, ["1010000,10,990000,20"] * len(lines), 1)
    part, _ = read_pair(tmp_path)
    assert part.messages.time.tolist() == [
        34_200_000_000_000,
        34_200_100_000_000,
        34_200_189_607_670,
        40_000_000_000_001,
        43_002_632_812_672,
        86_399_999_999_999,
    ]


def test_every_nanosecond_survives(tmp_path):
    rng = np.random.default_rng(0)
    times = np.sort(rng.integers(0, 86_400 * 10**9, 5000))
    write_pair(
        tmp_path,
        [f"{seconds(int(time))},5,0,5,1000000,1" for time in times],
        ["1010000,10,990000,20"] * len(times),
        1,
    )
    part, _ = read_pair(tmp_path)
    assert np.array_equal(part.messages.time, times)


def edit(file, row, column=None, value=None, line=None):
    lines = file.read_text().split("\n")
    values = lines[row - 1].split(",")
    if column is not None:
        values[column - 1] = value
    lines[row - 1] = ",".join(values) if line is None else line
    file.write_text("\n".join(lines))


FAULTS = {
    "garbage integer": (MESSAGE, 7, 4, "1O", "malformed row: column 4: '1O' is not an integer"),
    "empty value": (MESSAGE, 7, 3, "", "malformed row: column 3: '' is not an integer"),
    "garbage time": (
        MESSAGE,
        7,
        1,
        "09:30:01",
        "malformed row: column 1: '09:30:01' is not a time in seconds since midnight",
    ),
    "time past midnight": (MESSAGE, 7, 1, "90000.5", "time out of range: time 90000500000000 ns lies past midnight"),
    "time going back": (MESSAGE, 7, 1, "34200", "time goes back: time 34200000000000 ns is earlier"),
    "type": (MESSAGE, 7, 2, "8", "unknown type: type 8 is not one of 1 to 7"),
    "direction": (MESSAGE, 7, 6, "0", "bad direction: direction 0 is not 1 or -1"),
    "size": (MESSAGE, 7, 4, "0", "bad size: size 0 is not from 1 to 2147483647"),
    "negative price": (MESSAGE, 7, 5, "-1", "bad price: price -1 is not from 1 unit"),
    "huge price": (MESSAGE, 7, 5, "999999999999900", "bad price: price 999999999999900 is not from 1 unit"),
    "huge size": (MESSAGE, 7, 4, "2147483648", "bad size: size 2147483648 is not from 1 to 2147483647"),
    "far price": (MESSAGE, 7, 5, "99999999900", "price far away: price 99999999900 is 20,000,000 ticks or more away"),
    "book price off the tick": (
        ORDERBOOK,
        7,
        5,
        "100150",
        "price off the tick: ask level 2: price 100150 is off the tick of 100",
    ),
    "book price": (ORDERBOOK, 7, 3, "0", "bad price: bid level 1: price 0 is not from 1 unit"),
    "book size": (ORDERBOOK, 7, 8, "-5", "bad size: bid level 2: size -5 is not from 1 to 2147483647"),
    "book garbage": (ORDERBOOK, 7, 2, "x", "malformed row: column 2: 'x' is not an integer"),
    "far book price": (ORDERBOOK, 7, 1, "99999999900", "price far away: ask level 1: price 99999999900 is 20,000,000"),
}


@pytest.mark.parametrize("archived", [False, True], ids=["file", "archive"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_names_file_row_and_reason(folder, tmp_path, fault, archived):
    name, row, column, value, reason = FAULTS[fault]
    edit(folder / MESSAGE, 7, 2, "1")  # a visible message, for which every rule holds
    edit(folder / name, row, column, value)
    path = zipped(folder, tmp_path / "x.zip") if archived else folder
    source = f"{path}!{name}" if archived else str(folder / name)
    with pytest.raises(DataError, match=re.escape(f"{source}, row {row}: {reason}")) as raised:
        read_pair(path)
    assert (raised.value.source, raised.value.row) == (source, row)


def test_visible_price_off_the_tick(folder):
    edit(folder / MESSAGE, 7, 5, "100150")
    edit(folder / MESSAGE, 7, 2, "4")
    with pytest.raises(DataError, match=r"message_2.csv, row 7: price off the tick: price 100150 is off"):
        read_pair(folder)
    edit(folder / MESSAGE, 7, 2, "5")  # hidden orders may trade between ticks
    read_pair(folder)


@pytest.mark.parametrize("line", ["34300.5,1,5,6,7", "34300.5,1,5,6,7,1,null,8", ""])
def test_wrong_number_of_columns(folder, line):
    edit(folder / MESSAGE, 9, line=line)
    with pytest.raises(DataError, match=rf"row 9: malformed row: {line.count(',') + 1} columns instead of 6"):
        read_pair(folder)


@pytest.mark.parametrize("name", [MESSAGE, ORDERBOOK])
def test_cut_last_line(folder, recording, name):
    text = (folder / name).read_text()
    (folder / name).write_text(text[: text.rindex(",")])
    row = len(recording.messages)
    with pytest.raises(DataError, match=rf"{name}, row {row}: malformed row: the last line is cut .*truncated"):
        read_pair(folder)


@pytest.mark.parametrize("name", [MESSAGE, ORDERBOOK])
def test_a_file_that_cannot_be_read_to_its_end(folder, name, monkeypatch):
    """The error is the packed file's that is cut, not the other's, which is open too."""
    monkeypatch.setattr("mars_lmm.data.feeds.common.number_rows.BLOCK", 500)
    packed(folder)
    whole = (folder / f"{name}.gz").read_bytes()
    (folder / f"{name}.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=rf"{name}.gz: cannot be read .*get the file again"):
        read_pair(folder)


@pytest.mark.parametrize("name", [MESSAGE, ORDERBOOK])
def test_empty_lines_at_the_end_of_a_file(folder, recording, name):
    with (folder / name).open("a") as file:
        file.write("\n\r\n\n")
    check(read_pair(folder)[0], recording)


@pytest.mark.parametrize("name", [MESSAGE, ORDERBOOK])
def test_missing_rows(folder, recording, name):
    lines = (folder / name).read_text().splitlines(keepends=True)
    (folder / name).write_text("".join(lines[:-3]))
    row = len(recording.messages) - 2
    longer = ORDERBOOK if name == MESSAGE else MESSAGE
    with pytest.raises(DataError, match=rf"{longer}, row {row}: without its .*{name} ends after row {row - 1}, and"):
        read_pair(folder)


def test_an_empty_file(folder):
    (folder / MESSAGE).write_text("")
    with pytest.raises(DataError, match=rf"{ORDERBOOK}, row 1: without its other half: .*{MESSAGE} ends after row 0"):
        read_pair(folder)


def test_two_empty_files_are_a_session_without_orders(folder):
    for name in (MESSAGE, ORDERBOOK):
        (folder / name).write_text("")
    flow, _ = read_flow(folder)
    assert len(flow) == flow.counts["messages"] == 0


def test_a_day_that_is_none(folder):
    for name in (MESSAGE, ORDERBOOK):
        (folder / name).rename(folder / name.replace("2024-01-02", "2024-02-30"))
    ((pair, fault),) = faults(folder).items()
    assert pair.count("2024-02-30") == 2
    assert fault == "there is no day 2024-02-30; rename both files of the pair"


@pytest.mark.parametrize(("gone", "left"), [(MESSAGE, ORDERBOOK), (ORDERBOOK, MESSAGE)])
def test_half_a_pair(folder, gone, left):
    (folder / gone).unlink()
    assert faults(folder) == {str(folder / left): f"its other half is missing; put {gone} beside it"}


def test_message_file_without_its_sibling(folder):
    (folder / ORDERBOOK).unlink()
    assert faults(folder / MESSAGE) == {str(folder / MESSAGE): f"its other half is missing; put {ORDERBOOK} beside it"}


@pytest.mark.parametrize("name", [MESSAGE, ORDERBOOK])
def test_one_half_twice(folder, name):
    """Which of the two is the session's, only its owner knows."""
    shutil.copy(folder / name, folder / f"{name}.zst")
    twice = f"{name} is there twice ({folder / name} and {folder / name}.zst); keep one"
    assert list(faults(folder).values()) == [twice]
    # Who names the message file has chosen.
    assert list(faults(folder / MESSAGE).values()) == ([] if name == MESSAGE else [twice])


@pytest.mark.parametrize("symbol", ["BRK_A", "x_message_y", "BRK.A", "^SPX"])
def test_symbols(folder, symbol):
    for name in (MESSAGE, ORDERBOOK):
        (folder / name).rename(folder / name.replace("TEST", symbol).replace(".csv", ".CSV"))
    for path in (folder, folder / MESSAGE.replace("TEST", symbol).replace(".csv", ".CSV")):
        (session,) = sessions_of(path)
        assert (session.symbol, session.date) == (symbol, "2024-01-02")


def test_a_name_that_is_almost_right(folder):
    other = folder / MESSAGE.replace("_message", "_Message")
    shutil.copy(folder / MESSAGE, other)
    (folder / "results.csv").write_text("a,b\n")
    found = find_sources(load_feed("lobster"), [folder])
    assert ([str(source) for source, _ in found.foreign], len(found.readable)) == ([str(other)], 1)
    assert found.foreign[0][1].startswith("its name is no LOBSTER file's; expected SYMBOL_")
    (folder / MESSAGE).unlink()
    (folder / ORDERBOOK).unlink()
    with pytest.raises(
        DataError, match=r"holds no file of this feed; .*_Message_2.csv is none: its name is no LOBSTER"
    ):
        find_sources(load_feed("lobster"), [folder])


def test_paths_without_lobster_files(folder, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.csv").write_text("a,b\n")
    with pytest.raises(DataError, match=r"empty: no LOBSTER files; expected SYMBOL_"):
        sessions_of(empty)
    with pytest.raises(DataError, match=r"notes\.csv: not a LOBSTER message file"):
        sessions_of(empty / "notes.csv")
    with pytest.raises(DataError, match="absent: no such file or folder"):
        sessions_of(tmp_path / "absent")


def test_corrupt_archives(folder, tmp_path):
    archive = zipped(folder, tmp_path / "session.zip")
    data = bytearray(archive.read_bytes())
    archive.write_bytes(data[: len(data) // 2])
    assert faults(archive).keys() == {str(archive)}
    assert "zip" in faults(archive)[str(archive)]
    data[200:260] = bytes(60)
    archive.write_bytes(data)
    with pytest.raises(DataError, match=rf"session\.zip!{MESSAGE}: cannot be read .* get the file again"):
        read_pair(archive)
