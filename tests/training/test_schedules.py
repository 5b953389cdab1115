from itertools import pairwise

import pytest

from mars_lmm.training.schedules import DECAYS, ScheduleConfig, learning_rate_factor


@pytest.mark.parametrize("decay", DECAYS)
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


@pytest.mark.parametrize("wrong", [{"warmup_steps": 10, "max_steps": 10}, {"warmup_steps": -1}, {"decay": "step"}])
def test_wrong_settings(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ScheduleConfig(**wrong)
