"""The command that proves a feed: its last line, its exit status, its words on standard error."""

import json
import os
from pathlib import Path

import pytest
from lobster_writer import NAME, record

from mars_lmm.data import verify
from mars_lmm.data.feeds import load_feed

SHARED = Path(os.environ.get("MARS_LMM_SHARED", Path(__file__).parents[2] / ".." / "shared"))
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


def test_unknown_feed():
    with pytest.raises(ValueError, match="no feed 'itch'; choose one of lobster"):
        load_feed("itch")


@pytest.mark.parametrize(
    ("name", "by_type"),
    [
        ("AAPL_2012-06-21_1", (54_818, 252, 28_437, 23_658, 11_332)),
        ("AMZN_2012-06-21_5", (77_381, 450, 66_685, 8_974, 2_445)),
        ("GOOG_2012-06-21_10", (71_258, 19, 64_961, 7_765, 3_913)),
    ],
)
def test_real_sessions(name, by_type):
    """Every row of the vendor's books, predicted; and the order flow makes the same books and trades."""
    path = SHARED / "data" / "lobster" / f"LOBSTER_SampleFile_{name}.zip"
    if not path.exists():
        pytest.skip("the LOBSTER samples are not here")
    feed = load_feed("lobster")
    (session,) = feed.find_sessions([path])
    counts = feed.verify(session).counts
    assert counts["rows"] == counts["compared"] == sum(by_type)
    assert counts["mismatches"] == counts["flow_mismatches"] == counts["trade_mismatches"] == 0
    flow = feed.to_order_flow(session)
    names = ("new", "reductions", "deletions", "executions", "hidden_executions")
    assert tuple(flow.counts[name] for name in names) == by_type
