"""The command that proves a feed: its last line, its exit status, its words on standard error."""

import json

import pytest
from lobster_reading import read_flow
from lobster_writer import NAME, record

from mars_lmm.data import verify

KEYS = {"feed", "rows", "compared", "mismatches", "unknown_ids", "rows_per_second"}


@pytest.fixture
def folder(tmp_path):
    record(seed=7, levels=2, num_orders=300).write(tmp_path)
    return tmp_path


def run(capsys, *arguments):
    status = verify.main(list(map(str, arguments)))
    out, err = capsys.readouterr()
    return status, json.loads(out.splitlines()[-1]) if out else None, err


def test_a_sound_feed(folder, capsys):
    status, result, progress = run(capsys, "lobster", folder)
    assert status == 0
    assert result.keys() >= KEYS | {"sessions", "revealed_levels", "flow_mismatches", "trade_mismatches"}
    assert result["feed"] == "lobster"
    assert result["rows"] == result["compared"] > 200
    assert result["mismatches"] == result["flow_mismatches"] == result["trade_mismatches"] == 0
    assert "[1/1] TEST_2024-01-02: " in progress


def test_a_corrupted_size_is_caught(folder, capsys):
    file = folder / NAME.format("orderbook", 2)
    lines = file.read_text().splitlines()
    values = lines[99].split(",")
    values[1] = str(int(values[1]) + 1)
    lines[99] = ",".join(values)
    file.write_text("\n".join(lines) + "\n")
    status, result, progress = run(capsys, "lobster", folder)
    assert status == 1
    assert result["mismatches"] == 1
    assert f"{file}, row 100: ask level 1 is [{int(values[0]) // 100}, {values[1]}]" in progress


def test_unreadable_data(tmp_path, capsys):
    status, result, progress = run(capsys, "lobster", tmp_path)
    assert (status, result) == (2, None)
    assert progress.startswith(f"error: {tmp_path}: no LOBSTER files")


def test_what_the_command_cannot_do(folder, capsys):
    assert run(capsys, "nothing", folder)[2].startswith("error: no feed 'nothing'")
    assert "unknown option tick" in run(capsys, "lobster", folder, "--option", "tick=1")[2]
    assert run(capsys, "lobster", folder, "--option", "price_tick=[")[0] == 2
    assert "OTHER: no session: asked for" in run(capsys, "lobster", folder, "--symbols", "OTHER")[2]


def test_options_and_symbols(folder, capsys):
    status, result, _ = run(capsys, "lobster", folder, "--option", "price_tick=50", "--symbols", "TEST")
    assert (status, result["mismatches"], result["flow_mismatches"]) == (0, 0, 0)


def test_bad_rows_are_listed(folder, capsys):
    file = folder / NAME.format("message", 2)
    lines = file.read_text().splitlines()
    rows = len(lines)
    lines[99] = "garbage"
    file.write_text("\n".join(lines) + "\n")
    status, result, progress = run(capsys, "lobster", folder)
    assert (status, result["rows"], result["rejected"]) == (1, rows - 1, {"malformed row": 1})
    assert f"{file}, row 100: malformed row: 1 columns" in progress


def test_one_session_that_cannot_be_read_does_not_end_it(folder, capsys):
    later = {path.name: path.read_text() for path in folder.iterdir()}
    for name, content in later.items():
        (folder / name.replace("2024-01-02", "2024-01-03")).write_text("" if "orderbook" in name else content)
    status, result, progress = run(capsys, "lobster", folder)
    assert (status, result["sessions"]) == (1, 2)
    assert result["rows"] > 200
    assert sum(result["rejected"].values()) > 0
    assert "2024-01-03" in progress


@pytest.mark.parametrize(
    ("symbol", "levels", "by_type", "others"),
    [
        ("AAPL", 1, (54_818, 252, 28_437, 23_658, 11_332), (10_301, 15_599)),
        ("AMZN", 5, (77_381, 450, 66_685, 8_974, 2_445), (6_865, 8_462)),
        ("GOOG", 10, (71_258, 19, 64_961, 7_765, 3_913), (3_939, 4_393)),
    ],
)
def test_real_sessions(lobster_zip, symbol, levels, by_type, others):
    """Every row of the vendor's books, predicted; and the order flow makes the same books and trades."""
    path = lobster_zip(symbol, levels)
    counts = verify.verify("lobster", [path])
    assert counts["rows"] == counts["compared"] == sum(by_type)
    assert counts["mismatches"] == counts["flow_mismatches"] == counts["trade_mismatches"] == 0
    assert (counts["revealed_levels"], counts["stale_levels"]) == others
    flow, _ = read_flow(path)
    names = ("new", "reductions", "deletions", "executions", "hidden_executions")
    assert tuple(flow.counts[name] for name in names) == by_type
