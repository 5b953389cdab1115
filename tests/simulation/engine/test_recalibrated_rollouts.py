"""Rollouts of a model that is fitted to each start's own last orders."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mars_lmm.models import OrderModel, OrderModelConfig
from mars_lmm.models.recalibration import recent_biases, spread_of
from mars_lmm.models.sampling import Sampling
from mars_lmm.models.spread_biases import SpreadBiases
from mars_lmm.simulation.config import RolloutConfig
from mars_lmm.simulation.engine.build import make_engine
from mars_lmm.simulation.engine.coding import MarsRolloutCoding, OrderCoding
from mars_lmm.simulation.starts.listing import list_starts
from mars_lmm.tokenizers.coding import LEVEL_FEATURES


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return OrderModel(OrderModelConfig(width=32, layers=1, heads=2, window=16, head="fields")).eval()


@pytest.fixture(scope="module")
def coding(small_set):
    return OrderCoding(small_set.tokenizer())


def starts_of(small_set, coding, recalibration):
    config = RolloutConfig(starts=2, minutes=1, recalibration=recalibration)
    return list_starts(config, small_set, coding, 16)


def engine_of(model, coding, starts, recalibration, books):
    config = RolloutConfig(recalibration=recalibration)
    return make_engine(config, model, coding, starts, np.array(books), np.arange(len(books)), 10)


def biases_of(model, coding, starts, recalibration, books=(0, 0, 1)):
    return engine_of(model, coding, starts, recalibration, books).forecaster.biases


def test_each_book_has_the_biases_of_its_start(small_set, model, coding):
    starts = starts_of(small_set, coding, 200)
    assert len(starts[0].token) < len(starts[1].token) == 216  # the first one has not as many before it
    found = biases_of(model, coding, starts, 200)
    for book, start in zip((0, 1, 2), (starts[0], *starts), strict=True):
        token, market = torch.from_numpy(start.token.astype(np.int64)), torch.from_numpy(start.market)
        expected = recent_biases(model, token, market, 200)
        assert torch.equal(found.edges[book], expected.edges[0])
        for mine, wanted in zip(found.tables, expected.tables, strict=True):
            assert torch.equal(mine[book], wanted[0])
    assert not torch.equal(found.tables[0][0], found.tables[0][2])


def test_orders_are_drawn_by_the_biases_of_the_spread_as_it_is(small_set, model, coding):
    engine = engine_of(model, coding, starts_of(small_set, coding, 200), 200, np.arange(400) % 2)
    forecaster, market = engine.forecaster, engine.batch.market.market
    uniform = torch.rand(400, 4, generator=torch.Generator().manual_seed(0))
    drawn = []
    for spread in (0, 31):
        market[:, LEVEL_FEATURES] = spread
        sampling = Sampling(biases=forecaster.biases.given(torch.full((400,), spread)))
        drawn.append(forecaster.sample(uniform, market))
        assert torch.equal(drawn[-1], model.sample(forecaster.reader.hidden, uniform, sampling))
    assert not torch.equal(*drawn)


def test_each_step_knows_the_spread_of_every_book(small_set, model, coding, monkeypatch):
    engine = engine_of(model, coding, starts_of(small_set, coding, 200), 200, [0, 1, 0])
    given, met = SpreadBiases.given, []

    def noted(biases, spread):
        assert torch.equal(spread, spread_of(model, engine.batch.market.market))
        met.append(tuple(spread.tolist()))
        return given(biases, spread)

    monkeypatch.setattr(SpreadBiases, "given", noted)
    for _ in range(5):
        engine.step()
    assert len(set(met)) > 1
    assert len({spread for spreads in met for spread in spreads}) > 1


def test_orders_that_are_fitted_to_do_not_delay_the_first_start(small_set, coding):
    few, many = (starts_of(small_set, coding, orders) for orders in (0, 10**6))
    assert [start.time for start in few] == [start.time for start in many]
    assert len(few[0].token) == 32 < len(many[0].token)
    np.testing.assert_array_equal(few[0].token, many[0].token[-32:])


def test_history_of_agents_alone_is_not_fitted_to(small_set, model, coding):
    real, other = starts_of(small_set, coding, 200)
    found = biases_of(model, coding, [real, replace(other, artificial=True)], 200)
    assert all(table[:2].any() and not table[2].any() for table in found.tables)


def test_a_model_may_stay_as_it_was_trained(small_set, model, coding):
    assert biases_of(model, coding, starts_of(small_set, coding, 0), 0) is None
    assert (OrderCoding.recalibration, MarsRolloutCoding.recalibration) == (4096, 0)
    with pytest.raises(ValueError, match="recalibration=-1: a number of orders"):
        RolloutConfig(recalibration=-1)
