import csv

from mars_lmm.training.curves import CurveLogger, join_curves


def read(folder):
    join_curves(folder)
    return list(csv.reader((folder / "metrics.csv").open()))


def test_the_later_start_counts(tmp_path):
    first, second = CurveLogger(tmp_path), CurveLogger(tmp_path)
    for step in range(4):
        first.log_metrics({"train/nats": 1.0 + step, "epoch": 0}, step)
    first.log_metrics({"validation/nats": 0.1 + 0.2, "epoch": 0}, 3)
    for step in range(2, 5):
        second.log_metrics({"train/nats": 10.0 + step, "epoch": 1}, step)
    assert (first.version, second.version) == (0, 1)
    assert read(tmp_path) == [
        ["step", "epoch", "train/nats", "validation/nats"],
        ["0", "0", "1.0", ""],
        ["1", "0", "2.0", ""],
        ["2", "1", "12.0", ""],
        ["3", "1", "13.0", ""],
        ["3", "0", "", "0.30000000000000004"],
        ["4", "1", "14.0", ""],
    ]


def test_a_row_that_was_cut_off_is_left_out(tmp_path):
    logger = CurveLogger(tmp_path)
    logger.log_metrics({"train/nats": 1.0}, 0)
    logger.log_metrics({"train/nats": 2.0}, 1)
    (file,) = (tmp_path / "curves").iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    assert read(tmp_path) == [["step", "epoch", "train/nats"], ["0", "", "1.0"]]


def test_a_run_without_rows(tmp_path):
    assert read(tmp_path) == [["step", "epoch"]]
