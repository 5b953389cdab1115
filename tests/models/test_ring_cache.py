"""Cached generation against the full forward pass."""

import pytest
import torch
from torch.testing import assert_close

WINDOW = 16
TIGHT = {"atol": 1e-5, "rtol": 1e-5}


def step_all(model, token, market, cache):
    """Step through token [B, T]; hidden states [B, T, D]."""
    steps = [model.step(token[:, t], market[:, t], cache) for t in range(token.shape[1])]
    return torch.stack(steps, dim=1)


@pytest.mark.parametrize("kv_heads", [None, 2, 1])
@pytest.mark.parametrize("length", [7, 16, 17, 48])
def test_stepping_from_empty_equals_forward(make_model, make_orders, length, kv_heads):
    model = make_model(kv_heads=kv_heads)
    token, market = make_orders(3, length)
    stepped = step_all(model, token, market, model.new_cache(3))
    assert_close(stepped, model(token, market), **TIGHT)


@pytest.mark.parametrize("kv_heads", [None, 2])
def test_ragged_prefill_and_steps_equal_forward(make_model, make_orders, kv_heads):
    """Books at positions below, at and far beyond the window, stepped together."""
    model = make_model(kv_heads=kv_heads)
    length = torch.tensor([1, 7, 15, 16, 17, 40, 64])
    more = 20
    token, market = make_orders(len(length), int(length.max()) + more)
    history = length.max()
    hidden, cache = model.prefill(token[:, :history], market[:, :history], length)
    books = torch.arange(len(length))
    stepped = [hidden]
    for t in range(more):
        now = length + t
        stepped.append(model.step(token[books, now], market[books, now], cache))
    stepped = torch.stack(stepped, dim=1)
    full = model(token, market)
    expected = torch.stack([full[b, n - 1 : n + more] for b, n in enumerate(length)])
    assert_close(stepped, expected, **TIGHT)
    assert_close(cache.position, length + more)


def test_prefill_equals_stepping_slot_by_slot(make_model, make_orders):
    model = make_model()
    token, market = make_orders(2, 41)
    hidden, prefilled = model.prefill(token, market)
    stepped = model.new_cache(2)
    last = step_all(model, token, market, stepped)[:, -1]
    assert_close(hidden, last, **TIGHT)
    assert_close(prefilled.k, stepped.k, **TIGHT)
    assert_close(prefilled.v, stepped.v, **TIGHT)
    assert_close(prefilled.position, stepped.position)


def test_padding_is_never_read(make_model, make_orders):
    model = make_model()
    token, market = make_orders(2, 30)
    length = torch.tensor([12, 30])
    hidden, cache = model.prefill(token, market, length)
    token[0, 12:], market[0, 12:] = 0, 31
    other_hidden, other_cache = model.prefill(token, market, length)
    next_token, next_market = make_orders(2, 1, seed=1)
    assert_close(hidden, other_hidden)
    assert_close(
        model.step(next_token[:, 0], next_market[:, 0], cache),
        model.step(next_token[:, 0], next_market[:, 0], other_cache),
    )


@pytest.mark.parametrize("length", [5, 15, 16, 35])
def test_rewind_redraws_the_last_order(make_model, make_orders, length):
    """A rewound book goes on as if the rejected order had never been there; the others keep theirs."""
    model = make_model()
    token, market = make_orders(2, length + 22)
    _, cache = model.prefill(token[:, :length], market[:, :length])
    rejected_token, rejected_market = make_orders(2, 1, seed=9)
    drawn = torch.stack((rejected_token[0, 0], token[1, length]))
    seen = torch.stack((rejected_market[0, 0], market[1, length]))
    kept = model.step(drawn, seen, cache)[1]
    cache.rewind(torch.tensor([True, False]))
    assert cache.position.tolist() == [length, length + 1]
    full = model(token, market)
    assert_close(kept, full[1, length], **TIGHT)
    for t in range(length, length + 20):
        now = torch.tensor([t, t + 1])
        hidden = model.step(token[range(2), now], market[range(2), now], cache)
        assert_close(hidden, torch.stack((full[0, t], full[1, t + 1])), **TIGHT)


def test_select_forks_independent_books(make_model, make_orders):
    model = make_model()
    token, market = make_orders(2, 21)
    _, start = model.prefill(token, market, torch.tensor([9, 21]))
    forks = start.select(torch.tensor([0, 0, 0, 1, 1, 1]))
    assert forks.position.tolist() == [9, 9, 9, 21, 21, 21]
    next_token, next_market = make_orders(6, 5, seed=1)
    together = step_all(model, next_token, next_market, forks)
    for fork in range(6):
        _, alone = model.prefill(token, market, torch.tensor([9, 21]))
        pair_token, pair_market = next_token[[fork, fork]], next_market[[fork, fork]]
        assert_close(together[fork], step_all(model, pair_token, pair_market, alone)[fork // 3], **TIGHT)
    assert start.position.tolist() == [9, 21]


def test_select_copies_the_named_books(make_model, make_orders):
    model = make_model()
    token, market = make_orders(3, 21)
    _, start = model.prefill(token, market, torch.tensor([5, 9, 21]))
    books = torch.tensor([2, 0, 2])
    chosen = start.select(books)
    assert chosen.position.tolist() == [21, 5, 21]
    next_token, next_market = make_orders(3, 1, seed=1)
    order = next_token[books, 0], next_market[books, 0]
    after = model.step(*order, chosen)
    assert_close(after, model.step(next_token[:, 0], next_market[:, 0], start)[books], **TIGHT)


def test_a_book_does_not_depend_on_its_neighbours(make_model, make_orders):
    model = make_model()
    token, market = make_orders(4, 40)
    length = torch.tensor([3, 16, 20, 11])
    hidden, cache = model.prefill(token[:, :20], market[:, :20], length)
    stepped = step_all(model, token[:, 20:], market[:, 20:], cache)
    for book in range(4):
        one = slice(book, book + 1)
        alone_hidden, alone = model.prefill(token[one, :20], market[one, :20], length[one])
        assert_close(hidden[one], alone_hidden, **TIGHT)
        assert_close(stepped[one], step_all(model, token[one, 20:], market[one, 20:], alone), **TIGHT)


def test_steps_write_in_place(make_model, make_orders):
    model = make_model()
    token, market = make_orders(2, 20)
    cache = model.new_cache(2)
    storage = [tensor.data_ptr() for tensor in (*cache.k, *cache.v, cache.position)]
    step_all(model, token, market, cache)
    assert [tensor.data_ptr() for tensor in (*cache.k, *cache.v, cache.position)] == storage


@pytest.mark.parametrize("head", ["joint", "fields", "tied"])
def test_decoding_is_one_graph_for_all_positions(make_model, make_orders, head):
    """No host round trip and no dependence on the position's value: it traces whole, and only once."""
    model = make_model(head=head)
    token, market = make_orders(2, 18)
    uniform = torch.rand(2, 4, generator=torch.Generator().manual_seed(0))
    cache, traced_cache = model.new_cache(2), model.new_cache(2)

    def decode(token, market, cache):
        return model.sample(model.step(token, market, cache), uniform)

    traced = torch.compile(decode, backend="eager", fullgraph=True)
    traced(token[:, 0], market[:, 0], traced_cache)
    decode(token[:, 0], market[:, 0], cache)
    with torch.compiler.set_stance("fail_on_recompile"):
        for t in range(1, 18):
            expected = decode(token[:, t], market[:, t], cache)
            assert torch.equal(traced(token[:, t], market[:, t], traced_cache), expected)


def test_bfloat16_decoding_follows_forward(make_model, make_orders):
    model = make_model().bfloat16()
    token, market = make_orders(2, 48)
    stepped = step_all(model, token, market, model.new_cache(2))
    assert stepped.dtype == torch.bfloat16
    error = (stepped - model(token, market)).float().pow(2).mean().sqrt()
    assert error < 0.1 * stepped.float().pow(2).mean().sqrt()


def test_bytes_are_those_of_the_ring(make_model):
    model = make_model(kv_heads=2)
    assert model.kv_bytes(5) == model.new_cache(5).nbytes == 2 * 2 * 5 * 2 * WINDOW * 8 * 4


MIXED = {"layers": 4, "windows": [3, WINDOW, 5]}


@pytest.mark.parametrize("kv_heads", [None, 2])
def test_layers_with_windows_of_their_own(make_model, make_orders, kv_heads):
    """Ragged prefill and steps below, at and beyond each of the windows, with forks and orders taken back."""
    model = make_model(kv_heads=kv_heads, **MIXED)
    length = torch.tensor([1, 2, 3, 4, 5, 6, 15, 16, 17, 40, 64])
    more = 20
    token, market = make_orders(len(length), int(length.max()) + more)
    hidden, cache = model.prefill(token[:, :64], market[:, :64], length)
    assert [ring.shape[2] for ring in cache.k] == [3, WINDOW, 5, 3]
    full = model(token, market)
    books = torch.arange(len(length))
    assert_close(hidden, full[books, length - 1], **TIGHT)
    other_token, other_market = make_orders(len(length), more, seed=1)
    for t in range(more):
        now = length + t
        taken_back = books % 2 == t % 2
        drawn = torch.where(taken_back, other_token[:, t], token[books, now])
        seen = torch.where(taken_back[:, None], other_market[:, t], market[books, now])
        cache = cache.select(books)
        model.step(drawn, seen, cache)
        cache.rewind(taken_back)
        # Books that took nothing back read their order once more at its place, as the rollout engine does.
        cache.rewind(~taken_back)
        assert_close(model.step(token[books, now], market[books, now], cache), full[books, now], **TIGHT)


def test_bytes_of_mixed_windows_are_those_of_the_rings(make_model):
    model = make_model(kv_heads=2, **MIXED)
    assert model.kv_bytes(5) == model.new_cache(5).nbytes == 2 * 5 * 2 * (3 + WINDOW + 5 + 3) * 8 * 4


@pytest.mark.parametrize("length", [WINDOW, WINDOW + 1, 3 * WINDOW])
def test_a_full_ring_needs_no_mask(make_model, make_orders, length):
    model = make_model()
    token, market = make_orders(2, length + 4)
    _, bare = model.prefill(token[:, :length], market[:, :length])
    masked = bare.select(torch.arange(2))
    masked.full = False
    assert bare.full
    for t in range(length, length + 4):
        for cache in (bare, masked):
            cache.rewind(torch.tensor([t == length, False]))  # the first order is read once more
        hidden = [model.step(token[:, t], market[:, t], cache) for cache in (bare, masked)]
        assert_close(*hidden, **TIGHT)


def test_one_short_history_leaves_the_mask_on(make_model, make_orders):
    model = make_model()
    token, market = make_orders(2, 2 * WINDOW)
    _, cache = model.prefill(token, market, torch.tensor([2 * WINDOW, WINDOW - 1]))
    assert not cache.full
    assert cache.select(torch.tensor([0])).full is False
