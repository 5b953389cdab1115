"""Draws against the enumerated distribution: temperature, top-p, forbidden bins, and the types that a book may draw."""

import math

import pytest
import torch
from head_stages import BINS, HEADS, STAGES, draw_by_stages
from torch.testing import assert_close

from mars_lmm.models.sampling import MODEL_DISTRIBUTION, Sampling, SamplingConfig, inverse_cdf, nucleus

FORBID = {"type": ["sell"], "price": [0, 3], "size": [2], "interval": [1]}
TYPES = [(True, True, True), (False, True, False), (True, False, True), (False, False, True)]


def random_hidden(*shape, seed=0):
    return torch.randn(*shape, 32, generator=torch.Generator().manual_seed(seed))


def random_uniform(books, dtype=torch.float64):
    return torch.rand(books, 4, dtype=dtype, generator=torch.Generator().manual_seed(1))


def fields_of(token):
    return torch.stack(torch.unravel_index(token, BINS), dim=-1)


def kept_nucleus(p, top_p):
    """Outcomes from the most probable on until their sum reaches top_p, added one by one."""
    kept, mass = torch.zeros_like(p), 0.0
    for index in p.argsort(descending=True, stable=True).tolist():
        if mass >= top_p:
            break
        kept[index] = p[index]
        mass += p[index].item()
    return kept / kept.sum()


def allowed_bins(forbid, types):
    """Bool [n] of each field."""
    names = ("type", "price", "size", "interval")
    barred = [[{"sell": 0, "buy": 1, "cancel": 2}.get(bin, bin) for bin in forbid.get(name, [])] for name in names]
    allowed = [torch.tensor([bin not in bins for bin in range(n)]) for bins, n in zip(barred, BINS, strict=True)]
    return [allowed[0] & torch.tensor(types), *allowed[1:]]


def expected_distribution(model, hidden, head, temperature=1.0, top_p=1.0, forbid=None, types=TYPES[0]):
    """Probabilities [120] of one book's next token, from the joint log-probabilities of the model.

    What is forbidden leaves the joint head's distribution as a whole, and a chain's softmaxes one by one.
    """
    log_p = model.logits(hidden[None])[0].double().log_softmax(-1)
    kind, price, size, interval = allowed_bins(forbid or {}, types)
    pair, rest = (kind[:, None] & price).flatten(), (size[:, None] & interval).flatten()
    if head == "joint":
        p = (log_p / temperature).softmax(-1) * (pair[:, None] & rest).flatten()
        masks, temperature = [torch.ones(12), torch.ones(10)], 1.0
    else:
        p = log_p.exp()
        masks = [kind, price, size, interval] if head == "fields" else [pair, size, interval]

    def after(p, stages, masks):
        if not stages or not p.any():
            return torch.ones_like(p)  # one token, or tokens of a branch that is not drawn
        p = p.view(stages[0], -1)
        drawn = (p.sum(-1) / p.sum()) ** (1 / temperature) * masks[0]
        drawn = kept_nucleus(drawn / drawn.sum(), top_p)
        return torch.cat([share * after(branch, stages[1:], masks[1:]) for share, branch in zip(drawn, p, strict=True)])

    return after(p, STAGES[head], masks)


CASES = pytest.mark.parametrize(
    ("config", "typed"),
    [
        ({"top_p": 0.7}, False),
        ({"forbid": FORBID}, False),
        ({}, True),
        ({"temperature": 1.7, "top_p": 0.9, "forbid": {"size": [0, 4], "price": [1]}}, True),
        ({"temperature": 0.6, "top_p": 0.4, "forbid": {"type": [0]}}, False),
    ],
    ids=["top-p", "forbidden bins", "types by book", "all at once", "sharp"],
)


@HEADS
@CASES
def test_draws_invert_the_enumerated_distribution(make_model, head, config, typed):
    model = make_model(head=head)
    books = 60
    hidden, uniform = random_hidden(books), random_uniform(books)
    types = [TYPES[book % len(TYPES)] if typed else TYPES[0] for book in range(books)]
    expected = []
    for book in range(books):
        p = expected_distribution(model, hidden[book], head, types=types[book], **config)
        assert_close(p.sum().item(), 1.0)
        expected.append(draw_by_stages(p, STAGES[head], uniform[book]))
    sampling = Sampling.build(SamplingConfig(**config), model.bins)
    drawn = model.sample(hidden, uniform, sampling, torch.tensor(types) if typed else None)
    assert drawn.tolist() == expected


@HEADS
def test_draws_have_the_frequencies_of_what_is_allowed(make_model, head):
    """Pearson's statistic over all tokens, within five standard deviations of its mean; no other token comes."""
    model = make_model(head=head)
    draws, config = 40_000, {"temperature": 1.5, "top_p": 0.95, "forbid": FORBID}
    hidden, types = random_hidden(1), (True, True, False)
    sampling = Sampling.build(SamplingConfig(**config), model.bins)
    uniform = random_uniform(draws, torch.float32)
    token = model.sample(hidden.expand(draws, -1), uniform, sampling, torch.tensor([types]).expand(draws, -1))
    expected = draws * expected_distribution(model, hidden[0], head, types=types, **config)
    counts = token.bincount(minlength=120)
    assert not counts[expected == 0].any()
    common = expected > 5
    statistic = ((counts - expected)[common] ** 2 / expected[common]).sum()
    freedom = int(common.sum()) - 1
    assert freedom >= 4
    assert statistic < freedom + 5 * math.sqrt(2 * freedom)


@HEADS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_forbidden_is_never_drawn(make_model, head, dtype):
    """With the uniforms at both ends too, and types that differ from book to book."""
    model = make_model(head=head)
    one = torch.ones(400, 4, dtype=dtype)
    types = torch.tensor(TYPES).repeat(100, 1)
    forbid = {"price": [0, 3], "size": [0, 4], "interval": [1]}
    for uniform in (0 * one, one.nextafter(0 * one), one, random_uniform(400, dtype)):
        sampling = Sampling.build(SamplingConfig(forbid=forbid), model.bins)
        kind, price, size, interval = fields_of(model.sample(random_hidden(400), uniform, sampling, types)).T
        assert types[torch.arange(400), kind].all()
        assert set(price.tolist()) <= {1, 2}
        assert set(size.tolist()) <= {1, 2, 3}
        assert set(interval.tolist()) == {0}


def test_a_forbidden_type_stays_out_where_a_book_may_draw_it(make_model):
    sampling = Sampling.build(SamplingConfig(forbid={"type": ["cancel"]}), BINS)
    types = torch.tensor([[True, False, True], [False, True, True]]).repeat(100, 1)
    for head in STAGES:
        kind = fields_of(make_model(head=head).sample(random_hidden(200), random_uniform(200), sampling, types))[:, 0]
        assert torch.equal(kind, torch.tensor([0, 1]).repeat(100))


@HEADS
def test_a_tiny_nucleus_is_the_most_probable_of_each_softmax(make_model, head):
    model = make_model(head=head)
    hidden = random_hidden(50)
    drawn = model.sample(hidden, random_uniform(50), Sampling(top_p=1e-9))
    for book, p in enumerate(model.logits(hidden).double().softmax(-1)):
        token = 0
        for stage in STAGES[head]:
            p = p.view(stage, -1)
            best = int(p.sum(-1).argmax())
            token, p = token * stage + best, p[best]
        assert drawn[book] == token


def test_the_joint_head_weighs_pairs_by_their_allowed_sizes_and_intervals(make_model):
    """A pair that is likely only with a forbidden size must not be."""
    model = make_model()
    likely, other = 5 * 10 + 2 * 2, 7 * 10 + 1
    weight = model.head.proj.weight.data.zero_()
    weight[likely, 0], weight[other, 0] = 9.0, 5.0
    hidden = torch.zeros(2000, 32)
    hidden[:, 0] = 1.0
    sampling = Sampling.build(SamplingConfig(forbid={"size": [2]}), BINS)
    pair = model.sample(hidden, random_uniform(2000), sampling) // 10
    # Of 12 pairs with 8 allowed members each: exp(5) + 7 of exp(5) + 95 is in the pair of the other, 8 in this one.
    total = math.exp(5) + 95
    assert (pair == 5).float().mean().item() == pytest.approx(8 / total, abs=0.02)
    assert (pair == 7).float().mean().item() == pytest.approx((math.exp(5) + 7) / total, abs=0.04)


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(1e-6, [1]), (0.4, [1]), (0.5, [1, 3]), (0.7, [1, 3]), (0.71, [0, 1, 3]), (0.99, [0, 1, 2, 3])],
)
def test_the_nucleus_is_the_smallest_set_that_reaches_p(top_p, kept):
    logits = torch.tensor([[0.2, 0.4, 0.1, 0.3]], dtype=torch.float64).log()
    left = nucleus(logits, top_p - 1e-12, torch.float64)
    assert left.isfinite().nonzero()[:, 1].tolist() == kept
    assert torch.equal(left[left.isfinite()], logits[0, kept])


def test_of_equals_the_nucleus_keeps_the_first():
    left = nucleus(torch.zeros(2, 4), 0.5, torch.float32)
    assert left.isfinite().tolist() == [[True, True, False, False]] * 2


@HEADS
@pytest.mark.parametrize("types", [None, torch.ones(300, 3, dtype=torch.bool)])
def test_leaving_everything_as_it_is_changes_no_bit(make_model, head, types):
    """Against the plain chain of inverse distributions, written out."""
    model = make_model(head=head)
    hidden, uniform = random_hidden(300), random_uniform(300)
    chain = model.head
    if head == "joint":
        logits = torch.matmul(hidden, chain.proj.weight.view(12, 10, 32).transpose(1, 2))
        pair = inverse_cdf(logits.logsumexp(-1).t(), uniform[:, 0])
        expected = pair * 10 + inverse_cdf(logits[pair, torch.arange(300)], uniform[:, 1])
    elif head == "fields":
        kind = inverse_cdf(chain.fields[0](hidden), uniform[:, 0])
        pair = kind * 4 + inverse_cdf(chain.fields[1](hidden + chain.kind(kind)), uniform[:, 1])
        known = hidden + chain.price(pair)
        size = inverse_cdf(chain.fields[2](known), uniform[:, 2])
        expected = (pair * 5 + size) * 2 + inverse_cdf(chain.fields[3](known + chain.size(size)), uniform[:, 3])
    else:
        price_table, size_table, interval_table = (table.weight for table in chain.tied_tables)
        pair = inverse_cdf(chain.fields[0](hidden) @ price_table.T, uniform[:, 0])
        known = hidden + chain.price_norm(price_table[pair])
        size = inverse_cdf(chain.fields[1](known) @ size_table.T, uniform[:, 1])
        known = known + chain.size_norm(size_table[size])
        expected = (pair * 5 + size) * 2 + inverse_cdf(chain.fields[2](known) @ interval_table.T, uniform[:, 2])
    for sampling in (MODEL_DISTRIBUTION, Sampling.build(SamplingConfig(), BINS), Sampling(top_p=1.0)):
        assert torch.equal(model.sample(hidden, uniform, sampling, types), expected)


@HEADS
def test_a_plain_draw_neither_masks_nor_sorts(make_model, head, monkeypatch):
    model = make_model(head=head)
    for name in ("masked_fill", "masked_fill_", "sort"):
        monkeypatch.setattr(torch.Tensor, name, None)
    model.sample(random_hidden(4), random_uniform(4), Sampling.build(SamplingConfig(temperature=0.5), BINS))


@HEADS
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("sampling", [Sampling(), Sampling.build(SamplingConfig(1.3, 0.5, FORBID), BINS)])
def test_a_sick_book_is_seen_and_draws_a_token_all_the_same(make_model, head, value, sampling):
    model = make_model(head=head)
    hidden, uniform = random_hidden(6), random_uniform(6)
    well = model.sample(hidden, uniform, sampling)
    hidden[2, 7], hidden[4] = value, value
    assert model.healthy(hidden).tolist() == [True, True, False, True, False, True]
    drawn = model.sample(hidden, uniform, sampling, torch.ones(6, 3, dtype=torch.bool))
    assert torch.equal(drawn[model.healthy(hidden)], well[model.healthy(hidden)])
    assert (drawn >= 0).all()
    assert (drawn < 120).all()


@pytest.mark.parametrize("head", ["joint", "fields", "tied"])
def test_a_draw_is_one_graph(make_model, head):
    """No host round trip and nothing that depends on values: it traces whole, and only once."""
    model = make_model(head=head)
    sampling = Sampling.build(SamplingConfig(0.8, 0.6, FORBID), BINS)
    types = torch.tensor(TYPES)
    traced = torch.compile(lambda h, u, t: model.sample(h, u, sampling, t), backend="eager", fullgraph=True)
    traced(random_hidden(4), random_uniform(4), types)
    with torch.compiler.set_stance("fail_on_recompile"):
        for seed in range(1, 5):
            order = random_hidden(4, seed=seed), random_uniform(4), types.roll(seed, 0)
            assert torch.equal(traced(*order), model.sample(order[0], order[1], sampling, order[2]))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"temperature": math.inf}, "temperature is inf"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_p": 1.1}, "top_p is 1.1"),
        ({"forbid": {"side": [0]}}, "'side'; an order's fields are type, price, size, interval"),
        ({"forbid": {"type": "cancel"}}, "give a list"),
        ({"forbid": {"type": ["market"]}}, "sell, buy, cancel"),
        ({"forbid": {"price": ["sell"]}}, "a bin is a whole number"),
        ({"forbid": {"size": [-1]}}, "forbid.size names -1"),
        ({"forbid": {"size": [True]}}, "forbid.size names True"),
        ({"forbid": {"size": [1.0]}}, "forbid.size names 1.0"),
    ],
)
def test_impossible_settings_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        SamplingConfig(**config)


@pytest.mark.parametrize(
    ("forbid", "message"),
    [
        ({"size": [5]}, "names bin 5; the model has bins 0 to 4"),
        ({"type": ["sell", "buy", 2]}, "all 3 bins"),
    ],
)
def test_settings_that_do_not_fit_the_model_are_refused(forbid, message):
    with pytest.raises(ValueError, match=message):
        Sampling.build(SamplingConfig(forbid=forbid), BINS)
