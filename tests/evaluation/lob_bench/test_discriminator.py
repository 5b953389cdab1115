"""What the discriminator may and may not find, and its AUC against the definition."""

import numpy as np
import pytest
import torch
from sequence_laws import make_sequences

from mars_lmm.evaluation.lob_bench.discriminator import auc, held_out_scores, two_sample_test


@pytest.fixture(scope="module")
def real():
    return make_sequences(starts=12, seed=1)


@pytest.fixture(scope="module")
def same_law(real):
    return two_sample_test(real, make_sequences(starts=12, rollouts=2, seed=2))


def test_a_sample_of_the_same_law_cannot_be_told_apart(same_law):
    assert same_law["low"] < 0.5 < same_law["high"]
    assert same_law["control_low"] < 0.5 < same_law["control_high"]
    assert same_law["gap"] == abs(same_law["auc"] - 0.5) < 0.1
    assert abs(same_law["control_auc"] - 0.5) < 0.1
    assert (same_law["starts"], same_law["windows"], same_law["reason"]) == (12, 120, None)


@pytest.mark.parametrize("fault", [{"persistence": 0.0}, {"typical_size": 150}], ids=["no memory", "large sizes"])
def test_another_law_is_told_apart(real, same_law, fault):
    result = two_sample_test(real, make_sequences(starts=12, rollouts=2, seed=2, **fault))
    assert result["auc"] > 0.8
    assert result["low"] > result["control_high"]
    assert result["control_auc"] == same_law["control_auc"]  # it knows only the real ones


def test_remembering_starts_gains_nothing():
    """Every sequence has a mark of its own, which tells its class only to those who have seen it."""
    starts = 16
    sequence = np.repeat(np.arange(2 * starts), 8)
    start, is_generated = sequence % starts, sequence >= starts
    remembered, disjoint = [], []
    for seed in range(5):
        generator = np.random.default_rng(seed)
        marks = generator.standard_normal((2 * starts, 24, 1))
        inputs = (marks[sequence] + generator.standard_normal((len(sequence), 24, 8))).astype(np.float32)
        for values, fold in ((remembered, generator.permutation(len(sequence)) % 4), (disjoint, start % 4)):
            scores = held_out_scores(inputs, is_generated, fold, seed)
            values.append(auc(scores, is_generated, start, np.arange(starts) % 4, np.ones((1, starts)))[0])
    assert min(remembered) > 0.85  # windows of one sequence in training and in the test
    assert np.mean(disjoint) == pytest.approx(0.5, abs=0.12)


def test_the_same_seed_gives_the_same_result():
    real, generated = make_sequences(6, messages=140, seed=1), make_sequences(6, 2, messages=140, seed=2)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = two_sample_test(real, generated, seed=3)
    assert (torch.get_rng_state() == state).all()
    torch.manual_seed(6)
    assert two_sample_test(real, generated, seed=3) == first


def test_too_few_starts_give_a_reason():
    few, many = make_sequences(starts=5), make_sequences(starts=12)
    for real, generated, starts in ((few, many, 5), (many, few, 5), (many, make_sequences(12, messages=64), 0)):
        result = two_sample_test(real, generated)
        assert np.isnan([value for key, value in result.items() if "auc" in key or key == "gap"]).all()
        assert result["reason"].startswith(f"{starts} starts have")
        assert result["starts"] == starts


def test_six_starts_are_enough():
    result = two_sample_test(make_sequences(starts=6, messages=140), make_sequences(starts=6, messages=140, seed=1))
    assert np.isfinite([result["low"], result["high"], result["control_low"], result["control_high"]]).all()


def test_auc_is_the_share_of_pairs_within_a_fold():
    generator = np.random.default_rng(0)
    scores, start = generator.integers(0, 5, 60).astype(np.float32), generator.integers(0, 4, 60)
    is_generated, fold = generator.random(60) < 0.5, np.array([0, 0, 1, 1])
    weights = np.array([[1.0, 1, 1, 1], [2, 0, 1, 1]])
    for weight, value in zip(weights, auc(scores, is_generated, start, fold, weights), strict=True):
        right = total = 0.0
        for i in np.flatnonzero(~is_generated):
            for j in np.flatnonzero(is_generated):
                if fold[start[i]] == fold[start[j]]:
                    pair = weight[start[i]] * weight[start[j]]
                    right += pair * ((scores[j] > scores[i]) + (scores[j] == scores[i]) / 2)
                    total += pair
        assert value == pytest.approx(right / total)
