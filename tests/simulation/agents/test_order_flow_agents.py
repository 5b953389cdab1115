"""Baseline order flows: what they were told is what comes out, refitted; alone or in company."""

import json

import numpy as np
import pytest
from agent_markets import OPEN, SECOND, clock, run, start_at
from flow_markets import deep_book, recorded, rollouts

from mars_lmm.market import types as t
from mars_lmm.simulation.agents.registry import BUILT_IN, seat_plans
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.fitting import fit_baselines
from mars_lmm.simulation.fitting.cont_stoikov_talreja import band_edges, fit_cst
from mars_lmm.simulation.fitting.hawkes import MIRROR, NUM_TYPES, Hawkes, climb
from mars_lmm.simulation.starts.recorded import Moment, held_out_starts

MINUTE = 60 * SECOND
FLOWS = ("cst", "hawkes", "bootstrap")


@pytest.fixture(scope="module")
def fits(small_set, tmp_path_factory):
    return fit_baselines(small_set, tmp_path_factory.mktemp("fits"))


@pytest.fixture(scope="module")
def start(small_set, coding):
    (start,) = held_out_starts(small_set, coding, count=1, horizon=3 * MINUTE, history=64)
    return start


def agent_of(tmp_path, model, **fit):
    """The agent with these parameters of the instrument TEST."""
    path = tmp_path / f"{model}.json"
    path.write_text(json.dumps({"model": model, "fits": {"TEST": fit}}))
    return BUILT_IN[model](path)


def bands(*rates):
    """Rates of the nearest distances, and 0 at all others."""
    return [*rates, *[0.0] * (len(band_edges()) - 1 - len(rates))]


@pytest.mark.parametrize("model", FLOWS)
def test_it_trades_on_from_a_recorded_start_and_the_exchange_takes_its_orders(coding, fits, start, model):
    rows, engine = rollouts(coding, BUILT_IN[model](fits[model]), start, np.arange(8), 120)
    assert [c.ENDS[end] for end in engine.progress[:, c.END].tolist()] == ["horizon"] * 8
    outcomes = engine.batch.rollout.outcomes[:, 1].sum(dim=0)
    assert outcomes[t.ACCEPTED] > 8 * 300
    assert outcomes[t.ACCEPTED + 1 :].sum() < 0.005 * outcomes.sum()
    joined = np.concatenate(rows)
    assert set(np.unique(joined[:, 1]).tolist()) >= {t.LIMIT, t.CANCEL_AT}
    assert (joined[:, 5] > 0).any()
    # What the synthetic market sends in a second, give or take what bursts of orders make of it.
    assert 4 < len(joined) / (8 * 120) < 16


@pytest.mark.parametrize("model", FLOWS)
def test_a_rollout_depends_on_the_seed_and_its_number_alone(coding, fits, start, model):
    def rows(number, seed=0):
        return rollouts(coding, BUILT_IN[model](fits[model]), start, number, 30, seed=seed)[0]

    together, again = rows(np.arange(6)), rows(np.arange(6))
    for one, other in zip(together, again, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(rows(4)[0], together[4])
    assert not np.array_equal(together[3], together[4])
    assert not np.array_equal(rows(4, seed=1)[0], together[4])


@pytest.mark.parametrize("model", FLOWS)
def test_it_sends_nothing_in_breaks_and_auctions(coding, fits, model, tmp_path):
    content = json.loads(fits[model].read_text())
    content["fits"]["TEST"] = content["fits"].pop("SYN")
    path = tmp_path / "fits.json"
    path.write_text(json.dumps(content))
    for begin, end, shut in ((clock(11, 29), clock(13, 1), (11.5, 13)), (clock(14, 56), clock(15, 1), (14.95, 24))):
        start = start_at(time=begin, rules="sse_main", sent=clock(9, 40), book=deep_book())
        outcome = run(coding, [BUILT_IN[model](path)], start, end=end)
        hours = outcome.rows[:, 0] / 3600 / SECOND
        assert not ((hours >= shut[0]) & (hours < shut[1])).any()
        assert (hours < shut[0]).sum() > 100
        assert (end < clock(14)) == bool((hours >= shut[1]).sum() > 100)
        assert set(outcome.outcomes(1)) <= {"accepted", "bad_price"}


def test_parameters_of_the_start_come_before_those_of_the_instrument(coding, fits, start, tmp_path):
    content = json.loads(fits["bootstrap"].read_text())
    session = start.session
    own = content["fits"][session.symbol] | {"size": [7] * len(content["fits"][session.symbol]["size"])}
    path = tmp_path / "fits.json"
    path.write_text(json.dumps(content | {"fits": {str(Moment(session.symbol, session.date, start.time)): own}}))
    rows, _ = rollouts(coding, BUILT_IN["bootstrap"](path), start, np.arange(2), 30)
    sent = np.concatenate(rows)
    assert set(sent[sent[:, 1] == t.LIMIT, 4].tolist()) == {7}


def test_an_instrument_that_was_not_fitted(coding, fits):
    with pytest.raises(ValueError, match=r"no parameters of TEST: it was fitted to SYN"):
        run(coding, [BUILT_IN["cst"](fits["cst"])])


def test_parameters_that_are_not_there_or_of_another_model(fits, tmp_path):
    for model, path, message in (
        ("cst", tmp_path / "none.json", r"agents\.mine: parameters=.*python -m mars_lmm\.simulation\.fitting"),
        ("cst", fits["hawkes"], "parameters of hawkes, not of cst"),
    ):
        with pytest.raises(ValueError, match=message):
            seat_plans({"mine": {"agent": model, "parameters": str(path)}})


def test_a_fit_to_simulated_poisson_orders_finds_the_rates_that_made_them(coding, tmp_path):
    limit, market, cancel, seconds = [0.3, 0.5, 0.4, 0.2, 0.1], 0.4, [0.3, 0.2, 0.15, 0.1, 0.1], 900
    told = {
        "unit": 10,
        "edges": band_edges().tolist(),
        "limit": bands(*limit),
        "market": market,
        "cancel": bands(*cancel),
    }
    book = deep_book(size=40, levels=4)
    rows, _ = rollouts(coding, agent_of(tmp_path, "cst", **told), start_at(book=book), np.arange(16), seconds)
    found = fit_cst([recorded(book, part) for part in rows])
    assert found["unit"] == 10
    time = 2 * 16 * seconds  # of both sides
    for name, rates in (("limit", limit), ("market", [market])):
        got = np.atleast_1d(found[name])[: len(rates)]
        assert (np.abs(got - rates) < 5 * np.sqrt(np.array(rates) / time)).all(), (name, got)
    assert np.allclose(found["limit"][5:], 0)
    np.testing.assert_allclose(found["cancel"][:5], cancel, rtol=0.1)


@pytest.fixture(scope="module")
def excited(coding, tmp_path_factory):
    """A Hawkes flow whose orders all rest, each where it cannot trade, so that all of them are taken."""
    rng = np.random.default_rng(5)
    decays = np.array([30.0, 0.5])
    excitation = rng.uniform(0, 0.12, (NUM_TYPES, NUM_TYPES, 2))
    excitation[2:4] = excitation[:, 2:4] = 0  # no takers
    excitation = (excitation + excitation[MIRROR][:, MIRROR]) / 2
    hawkes = Hawkes(np.array([0.3, 0.3, 0, 0, 0.2, 0.2]), excitation, decays)
    mark = {"away": [5], "size": [1]}
    told = {name: getattr(hawkes, name).tolist() for name in ("base", "excitation", "decays")}
    told |= {"marks": [mark] * 3, "takers_rest": False, "edges": band_edges().tolist(), "cancel": bands(1.0, 1.0)}
    agent = agent_of(tmp_path_factory.mktemp("hawkes"), "hawkes", **told)
    book = [(t.BUY, 999, 10**8), (t.SELL, 1001, 10**8)]
    rows, engine = rollouts(coding, agent, start_at(book=book), np.arange(24), 300)
    assert engine.batch.rollout.outcomes[:, 1, t.ACCEPTED + 1 :].sum() == 0
    events = [
        (np.where(part[:, 1] == t.CANCEL_AT, 4, 0) + part[:, 2], np.diff(part[:, 0], prepend=OPEN) / SECOND)
        for part in rows
    ]
    return hawkes, events


def test_simulated_waiting_times_are_exponential_on_the_clock_of_their_intensity(excited):
    """Time rescaling: the intensity's integral between two orders is exponential, with mean 1."""
    hawkes, events = excited
    residuals = []
    for kinds, waits in events:
        state = hawkes.mean_excitation.copy()  # [K, D]
        for kind, wait in zip(kinds, waits, strict=True):
            decay = np.exp(-hawkes.decays * wait)
            due = (state.sum(axis=1) / hawkes.decays * (1 - decay)).sum()
            residuals.append(hawkes.base.sum() * wait + due)
            state = state * decay[:, None] + (hawkes.excitation[:, kind] * hawkes.decays).T
    uniform = np.sort(1 - np.exp(-np.array(residuals)))
    count = len(uniform)
    assert count > 10_000
    distance = np.abs(uniform - (np.arange(count) + 0.5) / count).max()
    # Kolmogorov and Smirnov: beyond 1.95 once in a thousand times.
    assert distance * np.sqrt(count) < 1.95


def test_simulated_types_follow_their_shares_of_the_intensity(excited):
    """Given when orders come, each type's count less the sum of its chances is a martingale."""
    hawkes, events = excited
    score, variance = np.zeros(NUM_TYPES), np.zeros(NUM_TYPES)
    for kinds, waits in events:
        state = hawkes.mean_excitation.copy()
        for kind, wait in zip(kinds, waits, strict=True):
            state *= np.exp(-hawkes.decays * wait)[:, None]
            chance = (hawkes.base + state.sum(axis=0)) / (hawkes.base.sum() + state.sum())
            score += (np.arange(NUM_TYPES) == kind) - chance
            variance += chance * (1 - chance)
            state += (hawkes.excitation[:, kind] * hawkes.decays).T
    assert (np.abs(score) <= 4 * np.sqrt(variance)).all()


def test_a_fit_to_simulated_excited_orders_finds_what_excites(excited):
    hawkes, events = excited
    found, _ = climb(events, NUM_TYPES, hawkes.decays, MIRROR)
    assert found.branching_ratio == pytest.approx(hawkes.branching_ratio, abs=0.05)
    np.testing.assert_allclose(found.branching, hawkes.branching, atol=0.06)
    np.testing.assert_allclose(found.base, hawkes.base, atol=0.06)
    np.testing.assert_allclose(found.excitation.sum(axis=(0, 1)), hawkes.excitation.sum(axis=(0, 1)), rtol=0.15)


def test_the_bootstrap_has_the_distributions_of_what_it_draws_from(coding, fits, start):
    table = json.loads(fits["bootstrap"].read_text())["fits"]["SYN"]
    rows, _ = rollouts(coding, BUILT_IN["bootstrap"](fits["bootstrap"]), start, np.arange(16), 120)
    wait = np.concatenate([np.diff(part[:, 0]) for part in rows])
    for share in (0.1, 0.5, 0.9):
        assert np.mean(wait <= np.quantile(table["wait"], share)) == pytest.approx(share, abs=0.02)
    joined, action = np.concatenate(rows), np.array(table["action"])
    cancels = joined[:, 1] == t.CANCEL_AT
    assert cancels.mean() == pytest.approx((action == 2).mean(), abs=0.02)
    sizes = np.array(table["size"])
    assert np.mean(joined[~cancels, 4]) == pytest.approx(sizes[action != 2].mean(), rel=0.1)


def test_the_bootstrap_counts_distances_from_the_other_side(coding, tmp_path):
    def sent(action, side, away, takers_rest=False):
        orders = {"action": [action], "side": [side], "away": [away], "size": [7], "wait": [SECOND]}
        agent = agent_of(tmp_path, "bootstrap", takers_rest=takers_rest, **orders)
        return run(coding, [agent], end=OPEN + SECOND).rows[0, 1:6].tolist()

    assert sent(0, t.BUY, 1) == [t.LIMIT, t.BUY, 1000, 7, 0]
    assert sent(0, t.SELL, 4) == [t.LIMIT, t.SELL, 1003, 7, 0]
    assert sent(1, t.BUY, 0) == [t.IOC, t.BUY, 1001, 7, 7]
    assert sent(1, t.SELL, -1, takers_rest=True) == [t.LIMIT, t.SELL, 998, 7, 7]
    assert sent(2, t.SELL, 9) == [t.CANCEL_AT, t.SELL, 1003, 500, 0]  # the whole of the order there
