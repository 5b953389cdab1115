import numpy as np
import pytest

from mars_lmm.data.feeds.synthetic import SyntheticConfig, synthetic_session
from mars_lmm.data.flow import ANONYMOUS
from mars_lmm.data.replay import replay
from mars_lmm.market import types as t


@pytest.fixture(scope="module")
def session():
    config = SyntheticConfig(minutes=60, seed=5)
    flow = synthetic_session(config, 0)
    return config, flow, replay(flow)


def test_seeded(session):
    config, flow, _ = session
    again = synthetic_session(config, 0)
    for name, column in flow.columns.items():
        np.testing.assert_array_equal(again.columns[name], column)
    assert len(synthetic_session(config, 1)) != len(flow)


def test_mean_rate_is_the_configured_one(session):
    config, flow, _ = session
    rate = np.count_nonzero(flow.flags & ANONYMOUS == 0) / (config.minutes * 60)
    assert rate == pytest.approx(config.orders_per_second, rel=0.1)


def test_times_order_and_stay_in_the_session(session):
    _, flow, _ = session
    assert (np.diff(flow.time) >= 0).all()
    assert flow.session.open_time <= flow.time[0]
    assert flow.time[-1] < flow.session.close_time


def test_arrivals_cluster_and_sizes_have_a_heavy_tail(session):
    _, flow, replayed = session
    counts = np.bincount((replayed.tape[:, 0] - flow.session.open_time) // 10**9)
    assert counts.var() / counts.mean() > 2  # 1 for a Poisson process
    sizes = flow.size[flow.kind == t.LIMIT]
    assert np.quantile(sizes, 0.999) > 20 * np.median(sizes)


def test_orders_of_all_kinds_and_a_moving_price(session):
    _, _, replayed = session
    shares = np.bincount(replayed.observed[:, 0], minlength=3) / len(replayed.observed)
    assert (shares > 0.2).all()
    taking = (replayed.tape[:, 5] > 0).mean()
    assert 0.03 < taking < 0.3
    mid = replayed.tape[:, 8:10].sum(axis=1) / 2
    assert mid.std() > 3
    assert (replayed.tape[:, 8] > 0).all()
    assert (replayed.tape[:, 9] > replayed.tape[:, 8]).all()


def test_settings_are_checked():
    with pytest.raises(ValueError, match="orders_per_second > 0"):
        SyntheticConfig(orders_per_second=0)
