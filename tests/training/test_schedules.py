from itertools import pairwise

import pytest

from mars_lmm.training.schedules import ScheduleConfig, decay_progress, learning_rate_factor


@pytest.mark.parametrize("decay", ["cosine", "linear"])
def test_rises_to_one_and_falls_to_zero(decay):
    schedule = ScheduleConfig(max_steps=100, warmup_steps=10, decay=decay)
    factors = [learning_rate_factor(step, schedule) for step in range(101)]
    assert factors[:11] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.0])
    assert factors[55] == pytest.approx(0.5)  # half-way through the decay, for both
    assert all(a > b for a, b in pairwise(factors[10:]))
    assert factors[100] == pytest.approx(0)
    assert learning_rate_factor(1000, schedule) == pytest.approx(0)


def test_without_warm_up_it_starts_in_full():
    assert learning_rate_factor(0, ScheduleConfig(max_steps=10, warmup_steps=0)) == 1


def wsd(max_steps=200, decay_points=(40, 100), decay_fraction=0.25):
    return ScheduleConfig(max_steps, 10, "wsd", list(decay_points), decay_fraction)


def test_falls_to_zero_before_each_decay_point():
    """By 1 - sqrt(progress), over a quarter of the steps since the point before: 10, 15 and 25."""
    schedule = wsd()
    factors = [learning_rate_factor(step, schedule) for step in range(201)]
    assert factors[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    full = [*range(10, 31), *range(40, 86), *range(100, 176)]
    assert all(factors[step] == 1 for step in full)
    for start, end in ((30, 40), (85, 100), (175, 200)):
        falling = [1 - ((step - start) / (end - start)) ** 0.5 for step in range(start, end)]
        assert factors[start:end] == pytest.approx(falling)
        assert factors[end - 1] < 0.06
    assert factors[200] == learning_rate_factor(1000, schedule) == 0


def test_decay_points_are_the_ends_of_shorter_runs():
    """Up to a decay point, a run is the one that ends there."""
    schedule = wsd()
    for points, end in (((), 40), ((40,), 100)):
        shorter = wsd(end, points)
        for step in range(end):
            assert learning_rate_factor(step, schedule) == learning_rate_factor(step, shorter)


def test_progress_is_zero_outside_of_decays():
    schedule = wsd()
    inside = [step for step in range(200) if decay_progress(step, schedule) > 0]
    assert inside == [*range(31, 40), *range(86, 100), *range(176, 200)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"warmup_steps": 10, "max_steps": 10},
        {"warmup_steps": -1},
        {"decay": "step"},
        {"decay_points": [300]},  # not wsd
        {"decay": "wsd", "decay_points": [5000, 3000]},
        {"decay": "wsd", "decay_points": [10_000]},
        {"decay": "wsd", "decay_points": [0]},
        {"decay": "wsd", "decay_points": [220], "decay_fraction": 0.1},  # within the warm-up
        {"decay": "wsd", "decay_fraction": 0.0},
        {"decay": "wsd", "decay_fraction": 1.1},
    ],
)
def test_wrong_settings(wrong):
    with pytest.raises(ValueError, match=[*wrong][-1]):
        ScheduleConfig(**wrong)
