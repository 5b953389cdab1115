"""Response functions and the macro curve against loops over messages."""

import numpy as np
import pytest
from made_sequences import made_sequences

from mars_lmm.evaluation.lob_bench.columns import Columns
from mars_lmm.evaluation.lob_bench.distances import Draws, interval
from mars_lmm.evaluation.lob_bench.impact import EVENTS, LAGS, impact, response_sums
from mars_lmm.evaluation.lob_bench.macro_impact import NUM_BINS, WINDOW_NS, macro_impact, window_sums
from mars_lmm.evaluation.plain import dumps

MADE = made_sequences(length=330, empty=0.02, pace=2.0)


def events_by_hand(rows):
    """(kind, sign, mid) of each event of a sequence, in the words of the definition."""
    kept, before = [], None
    for place, i in enumerate(rows):
        touch = MADE.book[i, 0].tolist()
        changed = place == 0 or touch != MADE.book[i - 1, 0].tolist()
        if not changed or MADE.type[i] not in (1, 2, 3, 4) or touch[1] == 0 or touch[3] == 0:
            continue
        moved = before is None or (touch[0], touch[2]) != before
        before = (touch[0], touch[2])
        family = {1: "LO", 2: "CA", 3: "CA", 4: "MO"}[MADE.type[i]]
        sign = int(MADE.direction[i]) * (1 if family == "LO" else -1)
        event = (f"{family}_{int(moved)}", sign, (touch[0] + touch[2]) // 2)
        previous = kept[-1][0] if kept else None
        if (
            previous is not None
            and MADE.type[i] == 4
            and MADE.time[i] - MADE.time[previous] <= 1000
            and MADE.direction[i] == MADE.direction[previous]
            and MADE.price[i] == MADE.price[previous]
        ):
            kept.pop()
        kept.append((i, event))
    return [event for _, event in kept]


def test_responses_by_hand():
    """Executions at one price and moment are made so that some events merge."""
    together = np.flatnonzero(np.diff(MADE.time) == 0)[::3]
    MADE.type[together + 1] = 4
    MADE.price[together + 1], MADE.direction[together + 1] = MADE.price[together], MADE.direction[together]
    found = response_sums(Columns(MADE, 4))
    for sequence in range(len(MADE)):
        rows = list(range(MADE.offsets[sequence], MADE.offsets[sequence + 1]))
        events = events_by_hand(rows)
        for kind, name in enumerate(EVENTS):
            for at, lag in enumerate(LAGS.tolist()):
                moves = [
                    sign * (events[i + lag - 1][2] - events[i - 1][2]) / 100
                    for i, (event, sign, _) in enumerate(events)
                    if event == name and i > 0 and i + lag - 1 < len(events)
                ]
                assert found.number[sequence, kind, at] == len(moves)
                assert found.total[sequence, kind, at] == pytest.approx(sum(moves))


def draws(made, replicates=5):
    generator = np.random.default_rng(1)
    weights = np.ones((1 + replicates, len(made)))
    weights[1:] = generator.multinomial(len(made), np.full(len(made), 1 / len(made)), replicates)
    return weights


def test_the_score_of_a_replicate_is_that_of_its_sequences():
    other = made_sequences(seed=1, length=330)
    real, generated = (response_sums(Columns(one, 4)) for one in (MADE, other))
    weights = Draws(draws(MADE), draws(other))
    repeats = [np.repeat(np.arange(6), side[3].astype(int)) for side in weights]
    plain = Draws(*(np.ones((2, len(rows))) for rows in repeats))
    resampled = [response_sums(Columns(one.select(r), 4)) for one, r in zip((MADE, other), repeats, strict=True)]
    picked = Draws(*(side[[3, 3]] for side in weights))
    assert impact(real, generated, picked)["score"] == pytest.approx(impact(*resampled, plain)["score"])
    assert impact(real, real, Draws(weights.real, weights.real))["score"] == 0


def test_responses_have_the_bands_of_their_replicates():
    sums, weights = response_sums(Columns(MADE, 4)), Draws(draws(MADE, 100), draws(MADE, 100))
    found = impact(sums, sums, weights)
    replicates = sums.response(weights.generated)
    for at, event in enumerate(EVENTS):
        band = found["response_band"][event]["generated"]
        for lag in range(len(LAGS)):
            assert (band["low"][lag], band["high"][lag]) == pytest.approx(interval(replicates[:, at, lag]), nan_ok=True)
    widths = np.subtract(*(found["response_band"]["LO_0"]["real"][end] for end in ("high", "low")))
    assert (widths[np.isfinite(widths)] > 0).any()


def test_macro_impact_by_hand():
    found = window_sums(Columns(MADE, 4))
    for sequence in range(len(MADE)):
        rows = [i for i in range(*MADE.offsets[sequence : sequence + 2]) if (MADE.book[i, 0, [1, 3]] > 0).all()]
        mid = {i: (MADE.book[i, 0, 0] + MADE.book[i, 0, 2]) / 2 for i in rows}
        total, number = np.zeros(NUM_BINS), np.zeros(NUM_BINS)
        reached = mid[rows[0]]
        first = MADE.time[MADE.offsets[sequence]]
        for window in range(100):
            inside = [i for i in rows if (MADE.time[i] - first) // WINDOW_NS == window]
            if not inside:
                continue
            moved, reached = mid[inside[-1]] - reached, mid[inside[-1]]
            trades = [(MADE.size[i], -MADE.direction[i]) for i in inside if MADE.type[i] == 4]
            if trades:
                net, volume = sum(size * side for size, side in trades), sum(size for size, _ in trades)
                bin_ = min(int(abs(net) / volume * NUM_BINS), NUM_BINS - 1)
                total[bin_] += moved * np.sign(net) / 100
                number[bin_] += 1
        assert number.sum() > 2
        np.testing.assert_array_equal(found.windows[sequence], number)
        np.testing.assert_allclose(found.total[sequence], total)


def test_macro_impact_of_a_copy():
    sums, weights = window_sums(Columns(MADE, 4)), draws(MADE)
    found = macro_impact(sums, sums, Draws(weights, weights))
    assert found["difference"] == 0
    assert dumps(found["real"]) == dumps(found["generated"])
    assert sum(found["real"]["windows"]) == sums.windows.sum()
