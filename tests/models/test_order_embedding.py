"""The embedding of an order and the market after it."""

import torch
from torch.testing import assert_close

from mars_lmm.models import OrderModel, OrderModelConfig
from mars_lmm.models.embedding import split_token


def test_tokens_come_apart_as_they_were_put_together():
    types, prices, sizes, intervals = 3, 4, 5, 2
    grid = torch.cartesian_prod(*(torch.arange(n) for n in (types, prices, sizes, intervals)))
    kind, price, size, interval = grid.unbind(-1)
    token = ((kind * prices + price) * sizes + size) * intervals + interval
    assert token.tolist() == list(range(120))
    parts = split_token(token, sizes, intervals)
    assert_close(torch.stack(parts), torch.stack((kind * prices + price, size, interval)))


def test_unseen_market_rows_add_nothing(make_orders):
    model = OrderModel(OrderModelConfig(width=32, layers=1, heads=2, window=8))
    token, market = make_orders(1, 4, vocabulary=49152)
    moved = market.clone()
    moved[..., 0], moved[..., 1] = 2000, 1439
    assert torch.equal(model.embedding(token, market), model.embedding(token, moved))


def test_every_field_and_feature_shows(make_model, make_orders):
    model = make_model()
    token, market = make_orders(1, 1)
    token = torch.zeros_like(token)
    plain = model.embedding(token, market)
    for step in (1, 2, 2 * 5, 2 * 5 * 4):  # interval, size, price, type
        assert not torch.isclose(model.embedding(token + step, market), plain).all()
    for feature in range(42):
        changed = market.clone()
        changed[..., feature] += 1 if changed[..., feature] < 31 else -1
        assert not torch.isclose(model.embedding(token, changed), plain).all()
