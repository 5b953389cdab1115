"""Biases given the spread against the conditions of their optimum, and against the truth that drew the orders."""

import pytest
import torch
from head_stages import BINS
from torch.testing import assert_close

from mars_lmm.models.field_biases import FieldBiases
from mars_lmm.models.spread_biases import PRIOR_ORDERS, SpreadBiases

FIELDS = ("type", "price", "size", "interval")
GROUPS = (1, 3, 3, 3)


def random_biases(seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return FieldBiases(*(torch.randn(1, g, k, generator=generator) * scale for g, k in zip(GROUPS, BINS, strict=True)))


def random_logits(orders, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(orders, k, generator=generator) * scale for k in BINS]


def drawn(logits, biases, seed=1):
    """Orders [N] of the biased chain: fields do not depend on each other but for the type."""
    generator = torch.Generator().manual_seed(seed)

    def draw(z):
        return torch.multinomial(z.softmax(-1), 1, generator=generator)[:, 0]

    kind = draw(logits[0] + biases.type[0, 0])
    tables = biases.price, biases.size, biases.interval
    return [kind, *(draw(z + table[0, kind]) for z, table in zip(logits[1:], tables, strict=True))]


def joined(*parts):
    return [torch.cat(part) for part in zip(*parts, strict=True)]


def centred(table):
    """A constant over all bins changes nothing."""
    return table - table.mean(-1, keepdim=True)


@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0])
def test_every_bin_is_expected_as_often_as_it_came_but_for_the_prior(scale):
    logits = random_logits(2000, scale=scale)
    values, spread = drawn(logits, random_biases(0, 3.0)), torch.full((2000,), 4)
    fitted = SpreadBiases.fit(logits, values, spread)
    for table, z, value in zip(fitted.tables, logits, values, strict=True):
        for group, bias in enumerate(table[0, 0]):  # spreads up to this one
            chosen = values[0] == group if table.shape[2] > 1 else torch.ones_like(value, dtype=torch.bool)
            count = torch.bincount(value[chosen], minlength=z.shape[1])
            expected = (z[chosen] + bias).softmax(-1).sum(0)
            assert_close(expected + PRIOR_ORDERS * bias, count.float(), atol=0.5, rtol=1e-3)


def test_every_class_departs_from_what_all_share_by_its_own_orders():
    logits, spread = random_logits(4000), torch.arange(4000) % 8
    values = drawn(logits, random_biases(0, 2.0))
    fitted = SpreadBiases.fit(logits, values, spread)
    kind, place = values[0], (spread[:, None] > fitted.edges[0]).sum(1)
    prices = fitted.tables[1][0]
    shared = prices.sum(0) / (len(prices) + 1)  # as the sum of all classes' conditions has it
    for number, table in enumerate(prices):
        for group in range(3):
            chosen = (place == number) & (kind == group)
            count = torch.bincount(values[1][chosen], minlength=prices.shape[-1])
            expected = (logits[1][chosen] + table[group]).softmax(-1).sum(0)
            own = table[group] - shared[group]
            assert_close(expected + 2 * PRIOR_ORDERS * own, count.float(), atol=0.5, rtol=1e-3)


def test_without_orders_there_is_no_bias():
    nothing = torch.zeros(0, dtype=torch.int64)
    fitted = SpreadBiases.fit([torch.zeros(0, k) for k in BINS], [nothing] * 4, nothing)
    assert not any(table.any() for table in fitted.tables)


def test_biases_that_drew_the_orders_at_each_spread_are_found_again():
    orders, spreads = 40_000, (1, 2, 3, 7)
    truth = [random_biases(seed, 0.7) for seed in range(4)]
    logits = [random_logits(orders, seed) for seed in range(4)]
    values = [drawn(*pair) for pair in zip(logits, truth, strict=True)]
    spread = torch.tensor(spreads).repeat_interleave(orders)
    fitted = SpreadBiases.fit(joined(*logits), joined(*values), spread)
    assert fitted.edges.tolist() == [[1, 2, 3]]
    for wanted, at in zip(truth, spreads, strict=True):
        found = fitted.given(torch.tensor([at]))
        for field in FIELDS:
            assert_close(*(centred(getattr(biases, field)) for biases in (found, wanted)), atol=0.2, rtol=0)


def test_a_spread_that_was_hardly_met_goes_half_of_the_way_of_the_others():
    logits, spread = random_logits(20_000), torch.ones(20_000, dtype=torch.int64)
    values = drawn(logits, random_biases(3))
    spread[:3] = 5
    fitted = SpreadBiases.fit(logits, values, spread)
    common, rare = (fitted.given(torch.tensor([at])) for at in (1, 5))
    for field in FIELDS:
        assert_close(getattr(rare, field), getattr(common, field) / 2, atol=0.15, rtol=0)


@pytest.mark.parametrize(
    ("spread", "edges"),
    [([1] * 9, [1, 1, 1]), ([1] * 9 + [2] * 3, [1, 1, 2]), (range(1, 9), [2, 4, 6]), ([], [0, 0, 0])],
)
def test_classes_are_the_quarters_of_what_was_met(spread, edges):
    logits = random_logits(len(spread))
    values = drawn(logits, random_biases(0)) if len(spread) else [torch.zeros(0, dtype=torch.int64)] * 4
    fitted = SpreadBiases.fit(logits, values, torch.tensor(list(spread), dtype=torch.int64))
    assert fitted.edges.tolist() == [edges]


def test_each_book_has_its_own_classes():
    logits = random_logits(600)
    values = drawn(logits, random_biases(0, 2.0))
    spread = torch.arange(600) % 8
    one, other = SpreadBiases.fit(logits, values, spread), SpreadBiases.fit(logits, values, spread + 10)
    both = SpreadBiases.concatenate([one, other]).select(torch.tensor([1, 0, 1]))
    found = both.given(torch.tensor([17, 7, 7]))
    widest, narrowest = one.given(torch.tensor([7])), one.given(torch.tensor([0]))
    for field in FIELDS:
        wide, narrow = (getattr(biases, field) for biases in (widest, narrowest))
        assert torch.equal(getattr(found, field), torch.cat([wide, wide, narrow]))
    assert not torch.equal(widest.price, narrowest.price)
