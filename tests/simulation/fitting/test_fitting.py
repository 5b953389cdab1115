"""Fits of baseline order flows: formulas by hand, the slow way, and without a look at what is held out."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from mars_lmm.data.errors import DataError
from mars_lmm.data.flow import OrderFlow
from mars_lmm.data.prepared import PreparedSet
from mars_lmm.market import types as t
from mars_lmm.simulation.fitting import fit_baselines, fit_recent
from mars_lmm.simulation.fitting.__main__ import main
from mars_lmm.simulation.fitting.cont_stoikov_talreja import band_edges, fit_cst
from mars_lmm.simulation.fitting.files import FITS
from mars_lmm.simulation.fitting.hawkes import climb
from mars_lmm.simulation.fitting.orders import CANCEL, LIMIT, TAKE, SessionOrders, evenly, training_orders
from mars_lmm.simulation.starts.recorded import Moment

SECOND = 10**9


@pytest.fixture(scope="module")
def half_set(small_set):
    """The set, with the second half of its first session held out and the second session whole."""
    first, second = small_set.sessions
    middle = (first["open_time"] + first["close_time"]) // 2
    return replace(small_set, sessions=[first | {"held_out_from": middle}, second])


def test_nothing_held_out_is_read(half_set, monkeypatch, tmp_path):
    original = PreparedSet.flow

    def changed(self, number):
        flow = original(self, number)
        held_out = flow.time >= self.sessions[number]["held_out_from"]
        assert held_out.any()
        columns = {name: column.copy() for name, column in flow.columns.items()}
        columns["size"][held_out] *= 3
        columns["price"][held_out] += 100
        columns["kind"][held_out] = t.LIMIT
        return OrderFlow(flow.session, columns)

    before = fit_baselines(half_set, tmp_path / "before")
    monkeypatch.setattr(PreparedSet, "flow", changed)
    after = fit_baselines(half_set, tmp_path / "after")
    assert sorted(before) == sorted(FITS)
    for name, file in before.items():
        assert file.read_text() == after[name].read_text()
        assert list(json.loads(file.read_text())["fits"]) == ["SYN"]


def test_recent_orders_are_the_last_before_the_start(half_set, tmp_path):
    first = half_set.sessions[0]
    moment = Moment(first["symbol"], first["date"], first["held_out_from"] - 1)
    whole = json.loads(fit_baselines(half_set, tmp_path / "whole")["bootstrap"].read_text())["fits"]["SYN"]
    recent = json.loads(fit_recent(half_set, tmp_path / "recent", [moment], 300)["bootstrap"].read_text())["fits"]
    found = recent[str(moment)]
    assert len(found["size"]) == 300
    # The training part is the first half of the one session, and all of the other.
    ends = [
        place for place in range(300, len(whole["wait"]) + 1) if whole["wait"][place - 300 : place] == found["wait"]
    ]
    assert len(ends) == 1
    for name in ("action", "side", "away", "size"):
        assert found[name] == whole[name][ends[0] - 300 : ends[0]]


def test_the_command_fits_and_tells_what_it_found(half_set, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["fitting", str(half_set.path), str(tmp_path / "fits")])
    main()
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert sorted(told["files"]) == sorted(FITS)
    assert 0 < told["hawkes"]["SYN"]["branching_ratio"] < 1
    assert told["hawkes"]["SYN"]["log_likelihood"] > told["hawkes"]["SYN"]["poisson"]
    assert told["cst"]["SYN"]["unit"] > 0


def test_training_orders_end_where_the_held_out_part_begins(half_set):
    (part,) = training_orders(half_set, "SYN")
    span = half_set.sessions[0]["held_out_from"] - half_set.sessions[0]["open_time"]
    assert 0.9 * span < part.wait.sum() <= span
    assert len(part) > 1000
    assert set(np.unique(part.action).tolist()) == {LIMIT, TAKE, CANCEL}
    assert (part.away[part.action == TAKE] <= 0).all()
    assert (part.away[part.action != TAKE] >= 1).all()
    # A cancel takes from a level that it met, if it lies among the best ten.
    cancels = np.flatnonzero(part.action == CANCEL)
    levels = part.level_away[cancels, part.side[cancels]]
    shown = part.away[cancels] <= levels.max(axis=1)
    assert (levels == part.away[cancels][:, None]).any(axis=1)[shown].all()


def test_an_instrument_without_a_training_part(half_set):
    with pytest.raises(DataError, match="no session of NONE has a training part"):
        training_orders(half_set, "NONE")


def orders(*rows, levels=((1, 50),)):
    """Orders given as action, side, away, size and seconds, in a book with these levels (away, size) on both sides."""
    action, side, away, size, wait = (np.array(column) for column in zip(*rows, strict=True))
    level_away, level_size = np.zeros((2, len(rows), 2, t.DEPTH), dtype=np.int64)
    for place, (ticks, units) in enumerate(levels):
        level_away[..., place], level_size[..., place] = ticks, units
    wait = (wait * SECOND).astype(np.int64)
    return SessionOrders(action, side, away, size, wait, level_away, level_size, takers_rest=False)


def test_poisson_rates_are_the_papers():
    """Ten seconds: limit orders of 10 on average, a market order of 20, cancels of 5; 50 units rest at 1, 5 at 30."""
    part = orders(
        (LIMIT, t.BUY, 1, 7, 2),
        (LIMIT, t.SELL, 1, 13, 3),
        (LIMIT, t.SELL, 25, 10, 1),
        (TAKE, t.BUY, 0, 20, 1),
        (CANCEL, t.BUY, 1, 5, 1),
        (CANCEL, t.SELL, 30, 5, 2),
        levels=((1, 50), (30, 5)),
    )
    fit = fit_cst([part])
    edges = band_edges()
    assert fit["unit"] == 7  # lots of the buyers' limit orders
    assert edges[:21].tolist() == [*range(1, 21), 24]
    first, near, far = (np.searchsorted(edges, away, side="right") - 1 for away in (1, 25, 30))
    assert fit["limit"][first] == pytest.approx(2 * 10 / 7 / 10 / 2)
    assert fit["limit"][near] == pytest.approx(1 * 10 / 7 / 10 / 2)
    assert fit["market"] == pytest.approx(20 / 7 / 10 / 2)
    # 50 units of size 1 rested on either side for ten seconds, and 5 of them went.
    assert fit["cancel"][first] == pytest.approx(5 / (2 * 50 * 10))
    assert fit["cancel"][far] == pytest.approx(5 / (2 * 5 * 10))
    assert sum(rate > 0 for rate in fit["limit"]) == 2


def test_a_part_without_market_orders_cannot_be_fitted():
    with pytest.raises(ValueError, match="lacks limit orders, market orders or cancels"):
        fit_cst([orders((LIMIT, t.BUY, 1, 10, 1), (CANCEL, t.BUY, 1, 10, 1))])


def slow_likelihood(hawkes, kinds, times):
    """The definition, with a sum over all pairs; the sequence ends with its last event."""
    end, total = times[-1], 0.0
    for n, (kind, time) in enumerate(zip(kinds, times, strict=True)):
        rate = hawkes.base[kind]
        for cause, before in zip(kinds[:n], times[:n], strict=True):
            rate += (hawkes.excitation[kind, cause] * hawkes.decays * np.exp(-hawkes.decays * (time - before))).sum()
        total += np.log(rate) - (hawkes.excitation[:, kind] * (1 - np.exp(-hawkes.decays * (end - time)))).sum()
    return total - hawkes.base.sum() * end


def random_events(seed, num_types, count):
    rng = np.random.default_rng(seed)
    return rng.integers(0, num_types, count), rng.exponential(0.3, count) * rng.choice([0.01, 1.0], count)


def test_the_likelihood_is_the_definitions_and_never_descends():
    sequences = [random_events(seed, 3, 60) for seed in (1, 2)]
    climbed = []
    for steps in range(1, 30, 4):
        found, _ = climb(sequences, 3, (20.0, 1.0), most=steps, tolerance=0)
        _, told = climb(sequences, 3, (20.0, 1.0), most=steps + 1, tolerance=-np.inf)
        slow = sum(slow_likelihood(found, kinds, np.cumsum(waits)) for kinds, waits in sequences) / 120
        climbed.append(slow)
        if steps > 1:
            assert told == pytest.approx(slow, abs=1e-10)
    assert (np.diff(climbed) > 0).all()


def test_mirrored_types_have_mirrored_parameters():
    mirror = np.array([1, 0, 3, 2])
    found, _ = climb([random_events(3, 4, 400)], 4, (5.0,), mirror)
    np.testing.assert_allclose(found.base, found.base[mirror])
    np.testing.assert_allclose(found.excitation, found.excitation[mirror][:, mirror])
    # As many orders are expected as came: what was not brought about came by itself.
    np.testing.assert_allclose(found.rates.sum(), 400 / random_events(3, 4, 400)[1].sum(), rtol=0.05)


def test_an_explosive_process_is_scaled_down_with_a_warning():
    waits = 1.0 / 1.02 ** np.arange(400)  # ever faster
    with pytest.warns(UserWarning, match="would not be stationary"):
        found, _ = climb([(np.zeros(400, int), waits)], 1, (0.5,))
    assert found.branching_ratio == pytest.approx(0.98)


def test_rows_are_thinned_out_evenly():
    assert evenly(np.arange(5), 10).tolist() == [0, 1, 2, 3, 4]
    assert evenly(np.arange(101), 5).tolist() == [0, 25, 50, 75, 100]
    assert evenly(np.arange(0), 5).tolist() == []
