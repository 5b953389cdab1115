"""Facts of order flow where they are planted, and where they are not."""

import numpy as np
import pytest
import torch
from fabricate import write_simulation

from mars_lmm.evaluation.facts import order_samples as samples
from mars_lmm.evaluation.facts.comparison import compare
from mars_lmm.evaluation.facts.order_flow import ORDER_FLOW_FACTS, judge_order_flow
from mars_lmm.evaluation.facts.order_panel import OrderPanel
from mars_lmm.evaluation.facts.rules import ABSENT, CANNOT_TELL, PRESENT
from mars_lmm.evaluation.plain import dumps
from mars_lmm.evaluation.trajectories import SimulationRun
from mars_lmm.market.types import BUY, CANCEL_AT, LIMIT, MARKET, SELL

SECOND, HOUR = 10**9, 3600 * 10**9
OPENS, CLOSES = 10 * HOUR, 12 * HOUR


def fractional_noise(generator, count, memory):
    """Gaussian noise with autocorrelation ~ l^(2 memory - 1): (1 - L)^-memory applied to white noise."""
    weights = np.cumprod((np.arange(1, count) - 1 + memory) / np.arange(1, count))
    white = generator.standard_normal(2 * count)
    filtered = np.fft.irfft(np.fft.rfft(white, 4 * count) * np.fft.rfft(np.r_[1, weights], 4 * count))
    return filtered[count : 2 * count]


def planted(real, sessions=24, orders=2500, symbols=1):
    """Sessions from open to close, one path each; `real` ones have every fact, the others none."""
    generator = np.random.default_rng(5)
    columns = {name: [] for name in ("path", "time", "kind", "side", "price", "size", "filled")}
    for path in range(sessions * symbols):
        if real:  # busy at both ends, in bursts; Gamma volume a minute by 40 trades of Gamma size
            part = generator.beta(0.5, 0.5, orders // 25)
            time = np.sort(np.repeat(part, 25) + 1e-4 * generator.gamma(0.3, 1.0, len(part) * 25)) % 1
            time = np.sort(time)
            size = np.ceil(10 * generator.pareto(1.4, orders)).astype(int) + 1
            size = np.where(generator.random(orders) < 0.6, generator.choice([10, 100, 500], orders), size)
            sign = np.sign(fractional_noise(generator, orders, 0.4))
            distance = np.floor(generator.random(orders) ** (-1 / 0.8)).astype(int)
        else:
            time = np.sort(generator.random(orders))
            size = np.ceil(generator.exponential(100, orders)).astype(int)
            sign = generator.choice([-1, 1], orders)
            distance = np.ceil(generator.exponential(10, orders)).astype(int)
        trades = np.arange(orders) % 2 == 0
        kind = np.where(trades, MARKET, LIMIT)
        side = np.where(sign > 0, BUY, SELL)
        price = np.where(side == BUY, 1000 - distance, 1002 + distance)
        add = {
            "path": np.full(orders, path),
            "time": (OPENS + time * (CLOSES - OPENS)).astype(np.int64),
            **{"kind": kind, "side": side, "price": np.where(trades, 0, price), "size": size},
            "filled": np.where(trades, size, 0),
        }
        for name, values in add.items():
            columns[name].append(values)
    tensors = {name: torch.from_numpy(np.concatenate(parts).astype(np.int64)) for name, parts in columns.items()}
    paths, count = torch.arange(sessions * symbols), len(tensors["path"])
    ends = {"begin": torch.full_like(paths, OPENS), "end": torch.full_like(paths, CLOSES)}
    touch = {"bid": torch.full((count,), 1000), "ask": torch.full((count,), 1002)}
    names = [chr(65 + number) for number in range(symbols)]
    return OrderPanel(names, paths % symbols, paths // symbols, paths, **ends, **tensors, **touch)


def verdicts(judgement):
    return {fact.number: found["verdict"] for fact, found in zip(ORDER_FLOW_FACTS, judgement.estimates, strict=True)}


@pytest.fixture(scope="module")
def judgements():
    return {
        "Replay": judge_order_flow(planted(real=True), (OPENS, CLOSES)),
        "Simulation": judge_order_flow(planted(real=False), (OPENS, CLOSES)),
    }


def test_planted_facts_are_present_and_others_absent(judgements):
    real, fake = (verdicts(judgement) for judgement in judgements.values())
    assert {number for number, verdict in real.items() if verdict == PRESENT} >= set("abcefghi")
    assert {number for number, verdict in fake.items() if verdict == ABSENT} >= set("abcefi")
    compared = compare(judgements, ORDER_FLOW_FACTS)
    assert compared["shown_by_replay"] >= 8
    assert compared["agreed"] == {"Simulation": 0}


def test_numbers_are_those_planted(judgements):
    real, fake = (judgement.curves for judgement in judgements.values())
    assert real["depth_tail_exponent"]["value"][0] == pytest.approx(0.8, abs=0.05)
    assert real["depth_tail_exponent"]["low"][0] < 0.8 < real["depth_tail_exponent"]["high"][0] + 0.03
    assert real["depth_tail_nats"]["low"][0] > 0.3
    assert fake["depth_tail_exponent"]["value"][0] == pytest.approx(3.07, abs=0.3)  # of any exponential law
    assert fake["depth_tail_nats"]["high"][0] < 0
    assert fake["wait_weibull_shape"]["value"][0] == pytest.approx(1, abs=0.01)
    assert fake["wait_gamma_shape"]["value"][0] == pytest.approx(1, abs=0.01)
    assert fake["sign_hurst"]["value"][0] == pytest.approx(0.5, abs=0.04)
    # Signs of every second value of noise with memory d = 0.4: H = d + 1/2.
    assert real["sign_hurst"]["value"][0] == pytest.approx(0.85, abs=0.1)
    assert real["sign_correlation"]["points"] == list(samples.SIGN_LAGS)
    details = judgements["Simulation"].details["A"]
    assert details["waits"]["best"] in ("exponential", "gamma", "weibull")
    assert judgements["Replay"].details["A"]["common_sizes"][0]["share"] == pytest.approx(0.2, abs=0.02)
    assert dumps(vars(judgements["Replay"]))


def test_a_part_of_the_day_has_no_shape(judgements):
    part = planted(real=True, sessions=6, orders=500)
    assert verdicts(judge_order_flow(part))["e"] == CANNOT_TELL
    assert verdicts(judge_order_flow(part, (OPENS - HOUR, CLOSES)))["e"] == CANNOT_TELL


def test_the_shape_of_a_day_is_measured():
    """Orders with the density 1 + c (u^2 - 1/3), a third of the paths seeing only the second half of the day."""
    generator, c, paths = np.random.default_rng(9), 0.6, 24
    u = generator.uniform(-1, 1, 200_000)
    u = u[generator.uniform(0, 1 + c, len(u)) < 1 + c * (u**2 - 1 / 3)]
    path = np.arange(len(u)) % paths
    seen = (u > 0) | (path % 3 > 0)
    rows = np.lexsort((u[seen], path[seen]))
    u, path = u[seen][rows], torch.from_numpy(path[seen][rows])
    time = torch.from_numpy((OPENS + (u + 1) / 2 * (CLOSES - OPENS)).astype(np.int64))
    number = torch.arange(paths)
    begin = torch.where(number % 3 > 0, OPENS, (OPENS + CLOSES) // 2)
    columns = {name: torch.ones_like(path) for name in ("kind", "side", "price", "size", "filled", "bid", "ask")}
    orders = OrderPanel(["A"], 0 * number, number, number, begin, torch.full_like(begin, CLOSES), path, time, **columns)
    assert judge_order_flow(orders, (OPENS, CLOSES)).curves["u_shape"]["value"][0] == pytest.approx(c, abs=0.05)


def test_volume_of_gamma_minutes():
    flow = planted(real=True)
    minutes = 120
    path = torch.arange(24).repeat_interleave(minutes)
    time = OPENS + torch.arange(minutes).repeat(24) * 60 * SECOND + SECOND
    filled = torch.from_numpy(np.ceil(np.random.default_rng(0).gamma(0.8, 5000, len(path)))).long()
    columns = {name: torch.ones_like(path) for name in ("kind", "side", "price", "size", "bid", "ask")}
    flow = OrderPanel(
        flow.symbols, flow.symbol, flow.session, flow.start, flow.begin, flow.end, path, time, filled=filled, **columns
    )
    judgement = judge_order_flow(flow)
    assert verdicts(judgement)["d"] == PRESENT
    assert judgement.curves["volume_gamma_shape"]["value"][0] == pytest.approx(0.8, abs=0.05)
    assert judgement.details["A"]["volumes"]["best"] in ("gamma", "weibull")


def test_symbols_are_judged_apart():
    """Two symbols: each one's numbers are those of its orders alone, and the headline is their mean."""
    both = planted(real=True, sessions=6, orders=600, symbols=2)
    alone = []
    for number in range(2):
        rows = both.symbol == number
        kept = both.of_symbol(number)
        paths = torch.cumsum(rows, 0) - 1
        place = {name: getattr(both, name)[rows] for name in ("session", "start", "begin", "end")}
        orders = {
            name: getattr(kept, name) for name in ("time", "kind", "side", "price", "size", "filled", "bid", "ask")
        }
        alone.append(
            judge_order_flow(OrderPanel(["A"], torch.zeros(6).long(), **place, path=paths[kept.path], **orders))
        )
    together = judge_order_flow(both)
    for name, curve in together.curves.items():
        mean = np.mean([judgement.curves[name]["value"] for judgement in alone], axis=0)
        assert curve["value"] == pytest.approx(mean.tolist(), rel=1e-9, nan_ok=True), name


def flow(rows, **other):
    """Rows of (time, kind, side, price, size, filled, bid, ask) on one path."""
    names = ("time", "kind", "side", "price", "size", "filled", "bid", "ask")
    columns = dict(zip(names, torch.tensor(rows).T, strict=True))
    zero = torch.zeros(1).long()
    base = {"symbol": zero, "session": zero, "start": zero, "begin": zero, "end": zero + 2 * 60 * SECOND}
    return OrderPanel(["A"], **base | other, path=torch.zeros(len(rows)).long(), **columns)


def test_samples_by_hand():
    orders = flow(
        [
            (10, LIMIT, BUY, 97, 30, 0, 100, 103),  # three ticks behind
            (10, LIMIT, SELL, 103, 5, 0, 100, 103),  # at the touch
            (40, LIMIT, SELL, 108, 200, 0, 100, -1),  # no touch to be behind of
            (40, MARKET, BUY, 0, 120, 70, 100, 103),
            (90 * SECOND, CANCEL_AT, SELL, 108, 200, 0, 100, 103),
            (100 * SECOND, LIMIT, SELL, 105, 40, 10, 104, 106),  # trades: not placed
        ]
    )
    assert samples.resolution(orders) == 10
    assert samples.distances(orders)[0].tolist() == [3]
    assert samples.waits(orders)[0][:3].tolist() == pytest.approx([5e-9, 30e-9, 5e-9])
    assert samples.sizes(orders)[0].tolist() == [30, 5, 200, 120, 40]
    assert samples.signs(orders)[0].tolist() == [1, -1]
    assert samples.minute_volumes(orders)[0].tolist() == [70, 10]


def test_round_sizes():
    assert samples.is_round(torch.tensor([10, 90, 100, 500, 1000, 30_000])).all()
    assert not samples.is_round(torch.tensor([11, 99, 110, 150, 1100, 10_001])).any()


def test_sign_sums_pair_by_pair():
    generator = np.random.default_rng(6)
    sign, path = generator.choice([-1.0, 1.0], 300), np.sort(generator.integers(0, 5, 300))
    unit = path % 2
    arrays = (torch.from_numpy(array) for array in (sign, path, unit))
    sign_t, path_t, unit_t = arrays
    products, blocks = (f(sign_t, path_t, unit_t, 2) for f in (samples.sign_products, samples.block_sums))
    for column, lag in enumerate(samples.SIGN_LAGS):
        pairs = [(sign[i], sign[i + lag], unit[i]) for i in range(300 - lag) if path[i] == path[i + lag]]
        for u in range(2):
            mine = [(a, b) for a, b, of in pairs if of == u]
            expected = [len(mine), sum(a * b for a, b in mine), sum(a for a, _ in mine), sum(b for _, b in mine)]
            assert products[:, u, column].tolist() == expected
    for column, m in enumerate(samples.BLOCKS):
        for u in range(2):
            means = []
            for p in range(u, 5, 2):
                mine = sign[path == p]
                means += [mine[i : i + m].mean() for i in range(0, len(mine) - m + 1, m)]
            assert blocks[:, u, column].tolist() == pytest.approx([len(means), sum(means), sum(x * x for x in means)])


def test_a_simulation_is_read_with_the_touch_before_each_order(tmp_path):
    manifest = write_simulation(tmp_path, starts=6, rollouts=2, minutes=3)
    run = SimulationRun.read(tmp_path)
    for source, rollouts in (("Replay", 1), ("Simulation", 2)):
        orders = OrderPanel.from_run(run, source)
        assert len(orders.symbol) == 6 * rollouts
        first = torch.cat([torch.tensor([True]), orders.path.diff() != 0])
        start = orders.start[orders.path]
        assert orders.bid[first].tolist() == [manifest["starts"][s]["bid"] for s in start[first].tolist()]
        assert torch.equal(
            orders.ask[~first], torch.from_numpy(run.orders[source]["ask"].astype(np.int64))[:-1][~first[1:]]
        )
        judgement = judge_order_flow(orders)
        assert (judgement.unit, judgement.num_units) == ("start", 6)


def test_too_few_orders_cannot_tell():
    orders = flow([(10, LIMIT, BUY, 97, 30, 0, 100, 103), (20, MARKET, SELL, 0, 30, 30, 100, 103)])
    assert set(verdicts(judge_order_flow(orders, (0, HOUR))).values()) == {CANNOT_TELL}
