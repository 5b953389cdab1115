"""What runs units: all of them, each once; and when one fails, none goes on."""

import multiprocessing
import time

import pytest

from mars_lmm.data.preparation.executors import run_units


def double(number):
    return 2 * number


def fail_or_sleep(number):
    if number == 1:
        raise ValueError("unit 1")
    time.sleep(60)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_unit_is_run_once(workers):
    results = list(run_units(double, [(number,) for number in range(20)], "processes", workers, lambda: None))
    assert sorted(results) == [(number, 2 * number) for number in range(20)]


def test_an_error_ends_the_units_that_run():
    started = time.monotonic()
    with pytest.raises(ValueError, match="unit 1"):
        list(run_units(fail_or_sleep, [(0,), (1,), (2,)], "processes", 2, lambda: None))
    assert time.monotonic() - started < 50
    assert multiprocessing.active_children() == []


def test_progress_is_told_while_a_unit_runs_here():
    calls = []
    list(run_units(time.sleep, [(1.2,)], "processes", 1, lambda: calls.append(time.monotonic())))
    assert len(calls) >= 2
    time.sleep(0.6)
    assert len(calls) <= 3  # and no more when it is done
