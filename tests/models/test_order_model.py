"""The order model: what it sees, what it counts, and that it learns."""

import math

import pytest
import torch
from torch.testing import assert_close

from mars_lmm.models import OrderModel, OrderModelConfig

BINS = (3, 4, 5, 2)
WINDOW = 16


def test_hidden_states_ignore_the_future(make_model, make_orders):
    model = make_model()
    token, market = make_orders(1, 40)
    before = model(token, market)
    token[0, 25:], market[0, 25:] = 0, 7
    after = model(token, market)
    assert torch.equal(before[:, :25], after[:, :25])
    assert not torch.isclose(before[:, 25], after[:, 25]).all()


def test_one_layer_sees_the_window_and_no_more(make_model, make_orders):
    model = make_model(layers=1)
    token, market = make_orders(1, 50)
    before = model(token, market)[0, -1]
    for age, seen in [(WINDOW - 1, True), (WINDOW, False)]:
        changed = token.clone()
        changed[0, 49 - age] = (token[0, 49 - age] + 41) % 120
        assert torch.equal(before, model(changed, market)[0, -1]) is not seen


def test_layers_see_window_upon_window(make_model, make_orders):
    model = make_model(layers=3)
    token, market = make_orders(1, 100)
    before = model(token, market)[0, -1]
    reach = 3 * (WINDOW - 1)
    for age, seen in [(0, True), (WINDOW - 1, True), (2 * WINDOW, True), (reach + 1, False), (99, False)]:
        changed = market.clone()
        changed[0, 99 - age, 2:] = 31 - changed[0, 99 - age, 2:]
        assert torch.equal(before, model(token, changed)[0, -1]) is not seen


@pytest.mark.parametrize("lengths", [[5, 3, 8], [30, 2, 12]], ids=["within the window", "beyond it"])
def test_a_packed_row_is_its_sessions_one_by_one(make_model, make_orders, lengths):
    """Hidden states and gradients; behind the sessions lies padding."""
    model = make_model(kv_heads=2)
    end = sum(lengths)
    token, market = make_orders(2, end + 4)
    segment = torch.full((2, end + 4), 255, dtype=torch.uint8)
    segment[:, :end] = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))

    def loss_and_gradients(hidden, target):
        model.zero_grad()
        loss = torch.cat([model.nll(h, t).flatten() for h, t in zip(hidden, target, strict=True)]).mean()
        loss.backward()
        return loss.detach(), [parameter.grad.clone() for parameter in model.parameters()]

    packed = model(token, market, segment)[:, :end].split(lengths, dim=1)
    alone = [
        model(t, m) for t, m in zip(token[:, :end].split(lengths, 1), market[:, :end].split(lengths, 1), strict=True)
    ]
    for one, other in zip(packed, alone, strict=True):
        assert_close(one, other, atol=1e-5, rtol=1e-5)
    targets = token[:, :end].split(lengths, 1)
    assert_close(loss_and_gradients(packed, targets), loss_and_gradients(alone, targets), atol=1e-5, rtol=1e-5)
    assert not torch.isclose(model(token, market)[:, lengths[0]], packed[1][:, 0]).all()


@pytest.mark.parametrize("length", [WINDOW, 40])
def test_rows_of_one_segment_are_rows_without(make_model, make_orders, length):
    model = make_model()
    token, market = make_orders(2, length)
    segment = torch.tensor([[3], [0]]).expand(2, length)
    assert_close(model(token, market, segment), model(token, market), atol=1e-5, rtol=1e-5)


def test_default_shape():
    config = OrderModelConfig()
    assert (config.head_dim, config.num_kv_heads, config.num_mlp_channels) == (64, 4, 704)
    model = OrderModel(config)
    embedding = (96 + 32 + 16 + 4001 + 1440) * 256 + 40 * 256 + 256 + 256 * 256
    blocks = 8 * (4 * 256 * 256 + 3 * 256 * 704 + 2 * 256) + 256
    head = 49152 * 256
    assert model.num_parameters() == {
        "embedding": embedding,
        "blocks": blocks,
        "head": head,
        "total": embedding + blocks + head,
        "non_embedding": 8 * (4 * 256 * 256 + 3 * 256 * 704) + 40 * 256 + 256 * 256 + head,
    }
    assert model.num_parameters()["total"] == sum(p.numel() for p in model.parameters())
    assert set(model.state_dict()) == dict(model.named_parameters()).keys()


def test_flops_and_bytes_follow_their_formulas(make_model):
    model = make_model(kv_heads=2, mlp_width=64)
    block = 32 * (4 + 2 * 2) * 8 + 32 * 32 + 3 * 32 * 64
    products = 2 * block + 40 * 32 + 32 * 32 + 120 * 32
    assert model.flops_per_token(1) == 6 * products + 12 * 2 * 32
    assert model.flops_per_token(WINDOW) == 6 * products + 12 * 2 * 32 * 8.5
    seen = (WINDOW * 8.5 + 48 * WINDOW) / 64
    assert model.flops_per_token(64) == 6 * products + 12 * 2 * 32 * seen
    norms = (2 * 2 + 1 + 1) * 32
    written = model.kv_bytes(5) // WINDOW
    expected = 4 * (products + norms + 5 * (5 * 32 + 120)) + model.kv_bytes(5) + written
    assert model.bytes_per_step(5) == expected


@pytest.mark.parametrize("head", ["joint", "fields", "tied"])
def test_initialization(head):
    torch.manual_seed(0)
    model = OrderModel(OrderModelConfig(width=256, layers=8, head=head))
    attention = model.transformer.blocks[3].attention
    assert attention.qkv.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert attention.out.weight.std().item() == pytest.approx(0.02 / 4, rel=0.05)
    assert not model.embedding.change.weight.any()
    assert not model.embedding.minute.weight.any()
    hidden = torch.randn(4, 256)
    assert_close(
        model.nll(hidden, torch.arange(4)), torch.full((4,), math.log(49152)), atol=2.0, rtol=0
    )  # nearly uniform


@pytest.mark.parametrize("head", ["joint", "fields", "tied"])
def test_every_parameter_learns(make_model, make_orders, head):
    model = make_model(head=head)
    token, market = make_orders(2, 33)
    model.nll(model(token[:, :-1], market[:, :-1]), token[:, 1:]).mean().backward()
    assert all(parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize("head", ["joint", "fields", "tied"])
def test_training_learns_a_pattern(make_orders, head):
    torch.manual_seed(0)
    model = OrderModel(OrderModelConfig(width=32, layers=2, heads=4, window=WINDOW, head=head), BINS)
    token, market = make_orders(4, 5)
    token, market = token.repeat(1, 5), market.repeat(1, 5, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        loss = model.nll(model(token[:, :-1], market[:, :-1]), token[:, 1:]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.2


def test_dropout_acts_in_training_only(make_model, make_orders):
    model = make_model(dropout=0.5)
    token, market = make_orders(1, 8)
    assert torch.equal(model(token, market), model(token, market))
    model.train()
    assert not torch.equal(model(token, market), model(token, market))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"width": 100, "heads": 8}, "multiple of 16"),
        ({"heads": 4, "kv_heads": 3}, "multiple of kv_heads"),
        ({"window": 0}, "window is 0"),
        ({"kv_heads": 0}, "num_kv_heads is 0"),
        ({"dropout": 1.0}, "dropout"),
        ({"head": "softmax"}, "joint, fields, tied"),
    ],
)
def test_impossible_shapes_are_refused(overrides, message):
    with pytest.raises(ValueError, match=message):
        OrderModelConfig(**overrides)
