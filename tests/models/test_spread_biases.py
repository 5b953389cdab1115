"""Biases given the spread against the truth that drew the orders, and against those that know no spread."""

import pytest
import torch
from head_stages import BINS
from torch.testing import assert_close

from mars_lmm.models.field_biases import FieldBiases
from mars_lmm.models.spread_biases import SpreadBiases

GROUPS = (1, 3, 3, 3)


def random_biases(seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return FieldBiases(*(torch.randn(1, g, k, generator=generator) * scale for g, k in zip(GROUPS, BINS, strict=True)))


def drawn(logits, biases, seed=1):
    """Orders [N] of the biased chain."""
    generator = torch.Generator().manual_seed(seed)

    def draw(z):
        return torch.multinomial(z.softmax(-1), 1, generator=generator)[:, 0]

    kind = draw(logits[0] + biases.type[0, 0])
    return [kind, *(draw(z) for z in biases.added_to(logits, kind)[1:])]


def joined(*parts):
    return [torch.cat(part) for part in zip(*parts, strict=True)]


def random_logits(orders, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(orders, k, generator=generator) for k in BINS]


def centred(table):
    """A constant over all bins changes nothing."""
    return table - table.mean(-1, keepdim=True)


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
        for one, other in zip(found.tables(), wanted.tables(), strict=True):
            assert_close(centred(one), centred(other), atol=0.2, rtol=0)


def test_a_spread_that_is_hardly_ever_met_has_the_biases_of_all():
    logits, rare = random_logits(20_000), random_logits(3, seed=9)
    values, other = drawn(logits, random_biases(3)), drawn(rare, random_biases(4))
    spread = torch.cat([torch.ones(20_000), torch.full((3,), 5)]).long()
    fitted = SpreadBiases.fit(joined(logits, rare), joined(values, other), spread)
    shared = FieldBiases.fit(logits, values)
    for at in (1, 5, 30):
        for one, all_ in zip(fitted.given(torch.tensor([at])).tables(), shared.tables(), strict=True):
            assert_close(one, all_, atol=0.3, rtol=0)


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
    for table, wide, narrow in zip(found.tables(), widest.tables(), narrowest.tables(), strict=True):
        assert torch.equal(table, torch.cat([wide, wide, narrow]))
    assert not torch.equal(widest.price, narrowest.price)
