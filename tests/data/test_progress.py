"""Progress: messages and bytes of units that run and of those that are done."""

import zipfile

import pytest

from mars_lmm.data.feeds.common.files import RawFile
from mars_lmm.data.preparation import progress
from mars_lmm.data.preparation.progress import Progress, UnitProgress


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(progress, "TELL_SECONDS", 0)
    monkeypatch.setattr(progress, "LOG_SECONDS", 0)


def test_a_unit_tells_how_far_it_is(tmp_path, capsys):
    running = tmp_path / "running"
    running.mkdir()
    with Progress("replay", "session", [1000, 3000], running) as shown:
        shown.finish(0, 50)
        with UnitProgress(running / "b", record_bytes=20) as unit:
            unit.tell(100)
            shown.refresh()
            assert "75%" in capsys.readouterr().err.rpartition("\r")[2]
        shown.finish(1, 150)
    last = capsys.readouterr().err.rpartition("\r")[2]
    assert "100%" in last
    assert "2/2 sessions" in last
    assert list(running.iterdir()) == []


def test_raw_files_count_as_they_lie_on_disk(tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("x.csv", "1,2\n" * 50_000)
    file = RawFile(archive, "x.csv")
    with UnitProgress(tmp_path / "unit") as unit:
        with file.open() as stream:
            stream.read(100_000)
            unit.tell(1)
            assert (tmp_path / "unit").read_text() == f"1 {file.num_bytes // 2}"
            stream.read()
        unit.tell(2)
        assert (tmp_path / "unit").read_text() == f"2 {file.num_bytes}"
    assert not (tmp_path / "unit").exists()


def test_what_an_earlier_run_did_is_not_counted_twice(tmp_path, capsys):
    with Progress("rows", "session", [1000, 1000], tmp_path) as shown:
        shown.resume(0)
        shown.refresh()
        assert "50%" in capsys.readouterr().err.rpartition("\r")[2]
