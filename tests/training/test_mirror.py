"""Buys and sells exchanged: in tokens as in the market itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mars_lmm.data.flow import OrderFlow
from mars_lmm.data.replay import replay
from mars_lmm.market import types as t
from mars_lmm.models.mirror import mirror
from mars_lmm.tokenizers.coding import CHANGE_FEATURE
from mars_lmm.tokenizers.orders import OrderTokenizer
from mars_lmm.training.mirror import mirror_some


@pytest.fixture(scope="module")
def coded(synthetic_flow):
    """The bins, and tokens and features of a session and of the one with buys and sells exchanged."""
    priced = synthetic_flow.price > 0
    reflected = np.where(priced, 2 * synthetic_flow.price[priced].max() - synthetic_flow.price, synthetic_flow.price)
    other = {"side": 1 - synthetic_flow.side, "price": reflected}
    assert set(np.unique(synthetic_flow.side)) == {t.SELL, t.BUY}
    mirrored = OrderFlow(replace(synthetic_flow.session), synthetic_flow.columns | other)
    observed, exchanged = replay(synthetic_flow).observed, replay(mirrored).observed
    tokenizer = OrderTokenizer.fit(observed, takers_rest=True)
    tensors = ((torch.from_numpy(part.astype(np.int64)) for part in tokenizer.encode(o)) for o in (observed, exchanged))
    return tokenizer.bins, *map(tuple, tensors)


def test_a_mirrored_session_is_the_session_of_the_mirrored_market(coded):
    bins, (token, market), (other_token, other_market) = coded
    mirrored_token, mirrored_market = mirror(token, market, bins)
    assert torch.equal(mirrored_token, other_token)
    change = mirrored_market[:, CHANGE_FEATURE] - other_market[:, CHANGE_FEATURE]
    assert change.abs().max() <= 2
    assert torch.equal(mirrored_market[:, CHANGE_FEATURE + 1 :], other_market[:, CHANGE_FEATURE + 1 :])
    assert not torch.equal(token, other_token)


def test_twice_mirrored_is_as_before(coded):
    bins, (token, market), _ = coded
    again = mirror(*mirror(token, market, bins), bins)
    assert torch.equal(again[0], token)
    assert torch.equal(again[1], market)


def test_half_of_the_rows_are_mirrored_whole(coded):
    bins, (token, market), _ = coded
    rows = {"token": token[:10].expand(400, -1), "market": market[:10].expand(400, -1, -1), "scored": "kept"}
    made = mirror_some(rows, bins, torch.Generator().manual_seed(0))
    mirrored_token, mirrored_market = mirror(token[:10], market[:10], bins)
    flipped = (made["token"] == mirrored_token).all(dim=1)
    assert 160 < flipped.sum() < 240
    assert (made["market"][flipped] == mirrored_market).all()
    assert (made["token"][~flipped] == token[:10]).all()
    assert (made["market"][~flipped] == market[:10]).all()
    assert made["scored"] == "kept"
