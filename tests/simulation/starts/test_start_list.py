import numpy as np
import pytest
from omegaconf import OmegaConf
from start_cases import MINUTE, at, prepared_of, shanghai_flow

from mars_lmm.simulation.config import RolloutConfig, WarmUpConfig
from mars_lmm.simulation.engine.coding import OrderCoding
from mars_lmm.simulation.starts.listing import list_starts
from mars_lmm.simulation.starts.recorded import start_at
from mars_lmm.simulation.starts.saved import save_start


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepared_of(tmp_path_factory.mktemp("shanghai"), [shanghai_flow()], held_out_from=at("13:00"))


def test_all_kinds_of_starts_in_order(coding, prepared, tmp_path):
    save_start(tmp_path / "saved", start_at(prepared, coding, "600000", None, "14:00", 40), coding)
    config = RolloutConfig(
        starts=2,
        at=["600000 2024-01-02 09:27", "600000 11:20"],
        saved=[str(tmp_path / "saved")],
        warm_up=WarmUpConfig(minutes=3, symbol="NEW"),
        minutes=20,
        recalibration=20,
    )
    starts = list_starts(config, prepared, coding, 20)
    assert [(start.session.symbol, start.time) for start in starts] == [
        ("600000", at("13:00")),
        ("600000", at("14:40")),
        ("600000", at("09:27")),
        ("600000", at("11:20")),
        ("600000", at("14:00")),
        ("NEW", at("09:33")),
    ]
    assert [start.describe()["held_out"] for start in starts] == [True, True, False, False, True, None]
    assert [start.describe()["recorded"] for start in starts] == [True] * 5 + [False]
    assert [len(start.token) for start in starts] == [40] * 6
    again = list_starts(config, prepared, coding, 20)
    np.testing.assert_array_equal(again[-1].state.book, starts[-1].state.book)
    assert starts[3].end_time(20 * MINUTE) == at("13:10")
    assert starts[3].continuation[-1, 0] <= at("13:10")


def test_without_a_prepared_set_only_other_starts_can_be_made(coding):
    config = RolloutConfig(starts=0, warm_up=WarmUpConfig(minutes=3))
    (start,) = list_starts(config, None, coding, 20)
    assert start.session.rules == "bare"
    with pytest.raises(ValueError, match="give prepared=SET"):
        list_starts(RolloutConfig(), None, coding, 20)


def test_a_model_that_needs_its_window_is_not_given_less(coding, prepared):
    class Whole(OrderCoding):
        needs_window = True

    whole = Whole(coding._tokenizer)
    config = RolloutConfig(starts=0, at=["600000 09:16"])
    assert len(list_starts(config, prepared, coding, 1024)[0].token) < 1024
    with pytest.raises(ValueError, match="orders before it, and the model reads 1024: start later"):
        list_starts(config, prepared, whole, 1024)
    config = RolloutConfig(starts=0, warm_up=WarmUpConfig(minutes=3))
    with pytest.raises(ValueError, match="the model needs 1024 before it begins"):
        list_starts(config, prepared, whole, 1024)


def test_something_has_to_start():
    for settings in ({"starts": 0}, {"starts": -1, "at": ["X 10:00"]}):
        with pytest.raises(ValueError, match=r"starts=(0|-1): it must be positive, or 0 where"):
            RolloutConfig(**settings)
    assert RolloutConfig(starts=0, at=["X 10:00"]).starts == 0
    assert RolloutConfig().starts == 6


def test_a_warm_up_is_composed_from_its_settings():
    schema = OmegaConf.structured(RolloutConfig)
    config = OmegaConf.merge(schema, {"starts": 0, "at": ["GOOG 13:30"], "warm_up": {"minutes": 5, "seed": 2}})
    built = OmegaConf.to_object(config)
    assert built.warm_up == WarmUpConfig(minutes=5, seed=2)
    assert OmegaConf.to_object(schema).warm_up is None
    for settings, message in (
        ({"minute": 5}, r"warm_up.minute: unknown; it has agents, minutes"),
        ({"price": "high"}, r"warm_up.price: .*'high'"),
        ({"minutes": 0}, r"warm_up.minutes=0.0"),
        (5, r"warm_up=5: give settings"),
    ):
        with pytest.raises(ValueError, match=message):
            RolloutConfig(warm_up=settings)
    with pytest.raises(ValueError, match=r"warm_up.agents.noise: 'speed' is unknown"):
        WarmUpConfig(agents={"noise": {"agent": "noise", "speed": 2}})


def test_half_an_hour_of_noise_makes_the_history_that_mars_needs(coding):
    class Whole(OrderCoding):
        needs_window = True

    config = RolloutConfig(starts=0, warm_up=WarmUpConfig())
    (start,) = list_starts(config, None, Whole(coding._tokenizer), 1024)
    assert 1024 <= len(start.token) < 2048  # about an order a second, cancels of nothing left out
    assert start.time == at("10:00")
    assert start.describe()["bid"] < start.describe()["ask"]
