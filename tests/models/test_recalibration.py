"""Biases against the conditions of their optimum, the truth that drew the orders, and the enumerated tilted model."""

from dataclasses import replace

import pytest
import torch
from head_stages import BINS, HEADS, STAGES, draw_by_stages
from torch.testing import assert_close

from mars_lmm.models.field_biases import FieldBiases
from mars_lmm.models.mirror import mirror
from mars_lmm.models.recalibration import recent_biases, spread_of
from mars_lmm.models.sampling import Sampling, SamplingConfig
from mars_lmm.models.spread_biases import PRIOR_ORDERS, SpreadBiases

FIELDS = ("type", "price", "size", "interval")


def random_biases(books, scale=1.5):
    generator = torch.Generator().manual_seed(4)
    groups = (1, 3, 3, 3)
    tables = (torch.randn(books, g, k, generator=generator) * scale for g, k in zip(groups, BINS, strict=True))
    return FieldBiases(*tables)


def tilted(model, head, hidden, biases, forbidden_sizes=()):
    """Probabilities [120] of a book's next order by the chain rule: each field's distribution, tilted by its biases.

    A type and price of the joint head count by their allowed sizes.
    """
    p = model.logits(hidden[None])[0].double().softmax(-1).view(BINS)
    allowed = p.clone()
    allowed[:, :, list(forbidden_sizes)] = 0
    p = allowed if head == "joint" else p
    result = torch.zeros_like(p)

    def tilt(weights, bias):
        weights = weights * bias.double().exp()
        return weights / weights.sum()

    for kind, p_kind in enumerate(tilt(p.sum((1, 2, 3)), biases.type[0])):
        for price, p_price in enumerate(tilt(p[kind].sum((1, 2)), biases.price[kind])):
            for size, p_size in enumerate(tilt(allowed[kind, price].sum(1), biases.size[kind])):
                if size not in forbidden_sizes:
                    last = tilt(p[kind, price, size], biases.interval[kind])
                    result[kind, price, size] = p_kind * p_price * p_size * last
    return result.flatten()


@HEADS
@pytest.mark.parametrize("forbidden", [(), (0, 3)])
def test_draws_invert_the_tilted_distribution(make_model, head, forbidden):
    model, books = make_model(head=head), 40
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(books, 32, generator=generator)
    uniform = torch.rand(books, 4, generator=generator, dtype=torch.float64)
    biases = random_biases(books)
    sampling = Sampling.build(SamplingConfig(forbid={"size": list(forbidden)}), BINS)
    sampling = Sampling(size=sampling.size, size_and_interval=sampling.size_and_interval, biases=biases)
    drawn = model.sample(hidden, uniform, sampling)
    for book in range(books):
        one = FieldBiases(*(getattr(biases, field)[book] for field in FIELDS))
        p = tilted(model, head, hidden[book], one, forbidden)
        assert drawn[book] == draw_by_stages(p, STAGES[head], uniform[book])


@HEADS
def test_biases_of_zero_draw_what_the_model_learned(make_model, head):
    model = make_model(head=head)
    generator = torch.Generator().manual_seed(2)
    hidden, uniform = torch.randn(50, 32, generator=generator), torch.rand(50, 4, generator=generator)
    nothing = random_biases(50, 0.0)
    for settings in ({}, {"temperature": 0.5, "top_p": 0.8}):
        plain, biased = Sampling(**settings), Sampling(**settings, biases=nothing)
        assert torch.equal(model.sample(hidden, uniform, plain), model.sample(hidden, uniform, biased))


def test_a_field_has_the_biases_of_each_books_type():
    biases, kind = random_biases(3), torch.tensor([1, 0, 2])
    assert torch.equal(biases.of("size", kind), torch.stack([biases.size[b, k] for b, k in enumerate(kind)]))


@HEADS
def test_the_last_orders_of_a_history_come_to_be_expected(make_model, make_orders, head):
    model = make_model(head=head)
    token, market = (part[0] for part in make_orders(1, 900))
    late = torch.arange(900) >= 500
    token[late] %= 40  # nothing but sells
    fitted = recent_biases(model, token, market, 400)
    both = [(token, market), mirror(token, market, BINS)]
    hidden = torch.cat([model(one[None], after[None])[0, 499:-1] for one, after in both])
    kind = next(model.head.field_logits(hidden, torch.cat([one[500:] for one, _ in both])))
    met = torch.cat([spread_of(model, after[499:-1]) for _, after in both])
    expected = (kind + fitted.select(torch.zeros_like(met)).given(met).type[:, 0]).softmax(-1).sum(0)
    # Sells are no habit: the mirror image has as many buys. That nothing was cancelled is one.
    shared = fitted.tables[0][0, :, 0].sum(0) / 5  # by the sum of the four classes' conditions and the shared one
    assert_close(expected + 2 * PRIOR_ORDERS * shared, torch.tensor([400.0, 400.0, 0.0]), atol=0.5, rtol=0)
    # Neither what came long before, nor more orders than there are, make a difference.
    short, long = (recent_biases(model, token[first:], market[first:], 400) for first in (300, 0))
    assert_close(short.tables, long.tables, atol=1e-4, rtol=1e-4)
    whole, more = (recent_biases(model, token, market, orders) for orders in (899, 5000))
    assert_close(whole.tables, more.tables, atol=0, rtol=0)


def test_a_history_and_its_mirror_image_teach_the_same(make_model, make_orders):
    model = make_model(head="fields")
    token, market = (part[0] for part in make_orders(1, 200))
    one, other = (recent_biases(model, *history, 150) for history in ((token, market), mirror(token, market, BINS)))
    assert torch.equal(one.edges, other.edges)
    assert_close(one.tables, other.tables, atol=1e-4, rtol=1e-4)


def test_the_spread_that_an_order_meets(make_model, make_orders):
    model = make_model(head="fields")
    market = make_orders(1, 50)[1][0]
    market[:, 22] = market[:, 2]
    assert spread_of(model, market).tolist() == market[:, 2].tolist()
    for missing in (2, 22):  # a side that is not there: its gap is the last bin, the other side's that of no spread
        one_sided = market.clone()
        one_sided[:, [2, 22]] = 0
        one_sided[:, missing] = 32
        assert (spread_of(model, one_sided) == 32).all()


def test_a_market_that_tells_no_spread_has_one_class(make_model, make_orders):
    model = make_model(head="fields")
    model.config = replace(model.config, embedding="mars")  # tells whether to mirror, and where the spread is
    token, market = (part[0] for part in make_orders(1, 200))
    assert not spread_of(model, market).any()
    logits = model.head.field_logits(model(token[None], market[None])[0, 99:-1], token[100:])
    alike = SpreadBiases.fit(list(logits), torch.unravel_index(token[100:], BINS), torch.zeros(100, dtype=torch.int64))
    assert_close(recent_biases(model, token, market, 100).tables, alike.tables)
