"""Both heads: exact nats, and draws that follow the distribution that the nats are of."""

import math

import pytest
import torch
from torch.testing import assert_close

from mars_lmm.models import field_heads, joint_head, linear_cross_entropy
from mars_lmm.models.sampling import Sampling, inverse_cdf

HEADS = pytest.mark.parametrize("head", ["joint", "fields", "tied"])
BINS = pytest.mark.parametrize("bins", [(3, 4, 5, 2), (2, 3, 3, 7)])


def random_hidden(*shape, seed=0):
    return torch.randn(*shape, 32, generator=torch.Generator().manual_seed(seed))


def random_uniform(batch, dtype=torch.float64):
    return torch.rand(batch, 4, dtype=dtype, generator=torch.Generator().manual_seed(1))


def log_probabilities(model, hidden):
    return model.logits(hidden).double().log_softmax(-1)


@HEADS
@BINS
def test_nll_is_that_of_the_logits(make_model, head, bins):
    model = make_model(bins=bins, head=head)
    hidden = random_hidden(2, 5)
    target = torch.randint(math.prod(bins), (2, 5), generator=torch.Generator().manual_seed(2))
    expected = -log_probabilities(model, hidden).gather(-1, target.unsqueeze(-1)).squeeze(-1)
    assert_close(model.nll(hidden, target).double(), expected, atol=1e-5, rtol=1e-5)


@BINS
@pytest.mark.parametrize("head", ["fields", "tied"])
def test_field_log_probabilities_sum_to_one(make_model, bins, head):
    model = make_model(bins=bins, head=head)
    total = model.logits(random_hidden(3)).double().exp().sum(-1)
    assert_close(total, torch.ones(3, dtype=torch.float64), atol=1e-5, rtol=0)


@HEADS
def test_field_terms_are_the_conditionals_of_the_joint(make_model, head):
    model = make_model(head=head)
    hidden, target = random_hidden(4), torch.tensor([0, 37, 88, 119])
    joint = log_probabilities(model, hidden).view(4, 3, 4, 5, 2)
    index = torch.stack(torch.unravel_index(target, (3, 4, 5, 2)), -1)
    expected = []
    for p, (kind, price, size, interval) in zip(joint, index, strict=True):
        prefix = (p, p[kind], p[kind, price], p[kind, price, size], p[kind, price, size, interval])
        marginals = torch.stack([part.flatten().logsumexp(0) for part in prefix])
        expected.append(marginals[:-1] - marginals[1:])
    terms = model.field_nll(hidden, target)
    assert_close(terms.double(), torch.stack(expected), atol=1e-5, rtol=1e-5)
    assert_close(terms.sum(-1), model.nll(hidden, target))


@HEADS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss_is_the_weighted_sum_of_nats(make_model, monkeypatch, head, dtype):
    """Value and gradients, in chunks of a few positions; nats per position have the same gradients."""
    monkeypatch.setattr(field_heads, "FIELD_CHUNK", 4)
    monkeypatch.setattr(joint_head, "MIN_CHUNK", 4)
    monkeypatch.setattr(linear_cross_entropy, "CHUNK_BYTES", 5 * 120 * dtype.itemsize)
    model = make_model(head=head).to(dtype)
    hidden = random_hidden(2, 7).to(dtype).requires_grad_()
    target = torch.randint(120, (2, 7), generator=torch.Generator().manual_seed(2))
    weight = torch.rand(2, 7, generator=torch.Generator().manual_seed(3))
    log_p = model.logits(hidden).float().log_softmax(-1)
    whole = -(log_p.gather(-1, target.unsqueeze(-1)).squeeze(-1) * weight).sum()
    parameters = [hidden, *model.head.parameters(), *(table.weight for table in model.head.tied_tables)]
    expected = torch.autograd.grad(whole, parameters)
    tolerance = {"atol": 1e-4, "rtol": 1e-4} if dtype == torch.float32 else {"atol": 0.3, "rtol": 0.1}
    for loss in (model.loss(hidden, target, weight), (model.nll(hidden, target) * weight).sum()):
        assert_close(loss, whole, **tolerance)
        assert_close(torch.autograd.grad(loss, parameters), expected, **tolerance)
    with torch.no_grad():
        assert_close(model.loss(hidden, target, weight), whole, **tolerance)


def draw(probabilities, uniform):
    """The first index whose cumulative probability exceeds the uniform, in float64."""
    return int(torch.searchsorted(probabilities.cumsum(0) / probabilities.sum(), uniform, right=True))


@HEADS
@BINS
def test_sample_inverts_the_enumerated_distribution(make_model, head, bins):
    """Stage by stage, each stage's conditional taken from the joint distribution over all tokens."""
    model = make_model(bins=bins, head=head)
    hidden, uniform = random_hidden(200), random_uniform(200)
    types, prices, sizes, intervals = bins
    stages = {
        "joint": (types * prices, sizes * intervals),
        "fields": bins,
        "tied": (types * prices, sizes, intervals),
    }[head]
    expected = []
    for p, u in zip(log_probabilities(model, hidden).exp(), uniform, strict=True):
        token, rest = 0, p
        for stage, stage_uniform in zip(stages, u, strict=False):
            rest = rest.view(stage, -1)
            index = draw(rest.sum(-1), stage_uniform)
            token, rest = token * stage + index, rest[index]
        expected.append(token)
    assert model.sample(hidden, uniform).tolist() == expected


@HEADS
def test_draws_have_the_frequencies_of_the_model(make_model, head):
    """Pearson's statistic over all tokens, within five standard deviations of its mean."""
    model = make_model(head=head)
    draws = 40_000
    hidden = random_hidden(1)
    token = model.sample(hidden.expand(draws, -1), random_uniform(draws, torch.float32))
    expected = draws * log_probabilities(model, hidden)[0].exp()
    common = expected > 5
    counts = token.bincount(minlength=120)[common]
    statistic = ((counts - expected[common]) ** 2 / expected[common]).sum()
    freedom = int(common.sum())
    assert freedom > 20
    assert statistic < freedom + 5 * math.sqrt(2 * freedom)


@HEADS
def test_temperature_sharpens_and_flattens(make_model, head):
    model = make_model(head=head)
    hidden = random_hidden(1).expand(2000, -1)
    uniform = random_uniform(2000)
    distinct = [len(model.sample(hidden, uniform, Sampling(t)).unique()) for t in (1e-4, 0.5, 1.0, 100.0)]
    assert distinct[0] == 1
    assert distinct == sorted(distinct)
    assert distinct[-1] > 100


def test_joint_temperature_divides_the_logits(make_model):
    model = make_model()
    hidden, uniform = random_hidden(100), random_uniform(100)
    sampled = model.sample(hidden, uniform, Sampling(2.5))
    model.head.proj.weight.data /= 2.5
    assert torch.equal(sampled, model.sample(hidden, uniform))


@HEADS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_uniforms_stay_in_range(make_model, head, dtype):
    model = make_model(head=head)
    one = torch.ones(500, 4, dtype=dtype)
    for uniform in (one, one.nextafter(0 * one), 0 * one):
        token = model.sample(random_hidden(500), uniform)
        assert token.min() >= 0
        assert token.max() < 120


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_impossible_tokens_are_never_drawn(dtype):
    logits = torch.tensor([-math.inf, 0.0, -math.inf, 1.0, -math.inf]).expand(3, -1)
    assert inverse_cdf(logits, torch.tensor([0.0, 0.5, 1.0], dtype=dtype)).tolist() == [1, 3, 3]
