import time

import numpy as np
import pytest
from prepared_sets import VOCABULARY, numbered_rows, with_packed, write_prepared

from mars_lmm.data.prepared import TRAIN, VALIDATION
from mars_lmm.training.baselines import (
    Bigram,
    Uniform,
    Unigram,
    discount,
    score_baselines,
    scored_pairs,
)

STATES = 8


def markov_chain(length, seed=0):
    """Tokens of a chain with planted transitions: states 0..7, spread over the vocabulary."""
    transition = np.random.default_rng(99).dirichlet(np.full(STATES, 0.3), size=STATES)
    draws = np.random.default_rng(seed).random(length)
    cumulative = transition.cumsum(axis=1)
    states = np.zeros(length, dtype=np.int64)
    for i in range(1, length):
        states[i] = min(np.searchsorted(cumulative[states[i - 1]], draws[i]), STATES - 1)
    return transition, states * 6_000


def stationary(transition):
    values, vectors = np.linalg.eig(transition.T)
    weights = np.real(vectors[:, np.argmax(np.real(values))])
    return weights / weights.sum()


def entropy(p):
    return -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=-1)


def windows(token, row_length):
    """Consecutive rows that share one order."""
    return np.stack([token[i : i + row_length + 1] for i in range(0, len(token) - row_length, row_length)])


def test_pairs_are_the_scored_targets(tmp_path):
    first_target = np.array([0, 3, 1])
    validation = numbered_rows(3, 4)
    prepared = write_prepared(tmp_path, windows(np.arange(21), 4), validation, first_target)
    previous, target = scored_pairs(prepared, TRAIN)
    assert previous.tolist() == list(range(20))  # each order of the session is a target once, but the first
    assert target.tolist() == list(range(1, 21))
    previous, target = scored_pairs(prepared, VALIDATION)
    expected = [
        (a, b)
        for row, first in zip(validation, first_target, strict=True)
        for a, b in zip(row[first:], row[first + 1 :], strict=False)
    ]
    assert list(zip(previous, target, strict=True)) == expected


def test_pairs_do_not_cross_sessions(tmp_path):
    prepared = write_prepared(tmp_path, windows(np.arange(21), 4), numbered_rows(3, 4))
    packed = with_packed(prepared, TRAIN, [np.array([100, 101, 102]), np.array([200, 201]), np.array([300, 301])])
    previous, target = scored_pairs(packed, TRAIN)
    assert previous.tolist() == [*range(20), 100, 101, 200, 300]
    assert (target == previous + 1).all()


def test_discount_is_neys_estimate():
    assert discount(np.array([1, 1, 1, 2, 2, 5, 0])) == pytest.approx(3 / (3 + 2 * 2))
    assert discount(np.array([2, 2, 7])) == pytest.approx(1 / 5)
    assert discount(np.array([9])) == 1


def test_by_hand():
    """0 1 0 1 0 2: the unigram's and the bigram's discounts are both 1 / (1 + 2 * 2)."""
    token = np.array([0, 1, 0, 1, 0, 2])
    unigram, bigram = Unigram(token[1:], 3), Bigram(token[:-1], token[1:], 3)
    assert unigram.probability(None, np.arange(3)) == pytest.approx([0.4, 0.4, 0.2])
    after_0 = [0.2 * 2 / 3 * 0.4, 1.8 / 3 + 0.2 * 2 / 3 * 0.4, 0.8 / 3 + 0.2 * 2 / 3 * 0.2]
    assert bigram.probability(np.zeros(3, dtype=int), np.arange(3)) == pytest.approx(after_0)
    assert bigram.probability(np.full(3, 2), np.arange(3)) == pytest.approx([0.4, 0.4, 0.2])  # never followed


@pytest.mark.parametrize(
    "make",
    [
        lambda p, t: Uniform(VOCABULARY),
        lambda p, t: Unigram(t, VOCABULARY),
        lambda p, t: Bigram(p, t, VOCABULARY),
    ],
)
@pytest.mark.parametrize("kind", ["sparse", "dense", "constant"])
def test_proper_after_any_token(make, kind):
    """Adds up to 1 over the vocabulary and leaves nothing impossible, after any context."""
    rng = np.random.default_rng(0)
    token = {
        "sparse": rng.zipf(1.3, 3000) % VOCABULARY,
        "dense": rng.integers(0, 3, 3000),
        "constant": np.full(50, 7),
    }[kind]
    baseline = make(token[:-1], token[1:])
    everything = np.arange(VOCABULARY)
    for context in {int(token[0]), int(token[-1]), int(token[100 % len(token)]), VOCABULARY - 1, 12_345}:
        p = baseline.probability(np.full(VOCABULARY, context), everything)
        assert p.min() > 0
        assert p.sum() == pytest.approx(1, abs=1e-12)


def test_finds_the_entropy_of_a_planted_chain(tmp_path):
    """Uniform ln V; unigram the entropy of the stationary distribution; bigram the chain's entropy rate."""
    transition, token = markov_chain(60_000)
    rows = windows(token, 20)
    prepared = write_prepared(tmp_path, rows[:2500], rows[2500:])
    nats = score_baselines(prepared)
    weights = stationary(transition)
    assert nats["uniform"] == pytest.approx(np.log(VOCABULARY))
    assert nats["unigram"] == pytest.approx(entropy(weights), abs=0.02)
    assert nats["bigram"] == pytest.approx(weights @ entropy(transition), abs=0.02)
    assert nats["bigram"] < nats["unigram"] - 0.3


def test_a_bigram_of_independent_tokens_falls_back_to_the_unigram():
    """Tokens that do not depend on each other: almost every pair is new, and backing off costs little."""
    rng = np.random.default_rng(1)
    token = rng.zipf(1.2, 40_000) % 5000
    train, validation = token[:30_000], token[30_000:]
    bigram, unigram = Bigram(train[:-1], train[1:], 5000), Unigram(train[1:], 5000)
    nats = [-np.log(b.probability(validation[:-1], validation[1:])).mean() for b in (bigram, unigram)]
    assert nats[0] < nats[1] + 0.2
    assert nats[1] < np.log(5000)


@pytest.mark.slow
def test_a_million_orders_in_seconds():
    token = np.random.default_rng(0).zipf(1.2, 1_000_001) % VOCABULARY
    started = time.perf_counter()
    bigram = Bigram(token[:-1], token[1:], VOCABULARY)
    bigram.probability(token[:-1], token[1:])
    assert time.perf_counter() - started < 5
