"""The order model: what it sees, what it counts, and that it learns."""

import copy
import math

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

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
    embedding = (96 + 32 + 16 + 4001 + 1440) * 256 + 3 * 33 * 4 + 40 * 4 * 256 + 256 + 256 * 256
    blocks = 8 * (4 * 256 * 256 + 3 * 256 * 704 + 2 * 256) + 256
    head = 49152 * 256
    assert model.num_parameters() == {
        "embedding": embedding,
        "blocks": blocks,
        "head": head,
        "total": embedding + blocks + head,
        "non_embedding": 8 * (4 * 256 * 256 + 3 * 256 * 704) + 40 * 4 * 256 + 256 * 256 + head,
    }
    assert model.num_parameters()["total"] == sum(p.numel() for p in model.parameters())
    assert set(model.state_dict()) == dict(model.named_parameters()).keys()


def test_flops_and_bytes_follow_their_formulas(make_model):
    model = make_model(kv_heads=2, mlp_width=64)
    block = 32 * (4 + 2 * 2) * 8 + 32 * 32 + 3 * 32 * 64
    products = 2 * block + 40 * 4 * 32 + 32 * 32 + 120 * 32
    assert model.num_parameters()["non_embedding"] == products
    assert model.flops_per_token(1) == 6 * products + 12 * 2 * 32
    assert model.flops_per_token(WINDOW) == 6 * products + 12 * 2 * 32 * 8.5
    seen = (WINDOW * 8.5 + 48 * WINDOW) / 64
    assert model.flops_per_token(64) == 6 * products + 12 * 2 * 32 * seen
    assert model.forward_flops_per_token(64) == model.flops_per_token(64) / 3
    assert model.decode_flops_per_token() == 2 * products + 4 * 2 * 32 * WINDOW
    norms = (2 * 2 + 1 + 1) * 32
    written = model.kv_bytes(5) // WINDOW
    expected = 4 * (products + norms + 3 * 33 * 4 + 5 * (5 * 32 + 120)) + model.kv_bytes(5) + written
    assert model.bytes_per_step(5) == expected


def test_counts_with_windows_of_their_own(make_model):
    model = make_model(layers=3, windows=[4, WINDOW])
    assert model.config.layer_windows == [4, WINDOW, 4]
    plain = make_model(layers=3)
    products = plain.num_parameters()["non_embedding"]
    # Of 8 orders, the first of a window of 4 attend to 1, 2, 3, 4, 4, ...; of a window of 16, to 1, 2, ..., 8.
    assert model.flops_per_token(8) == 6 * products + 12 * 32 * (2 * 26 / 8 + 4.5)
    assert model.decode_flops_per_token() == 2 * products + 4 * 32 * (4 + WINDOW + 4)
    assert model.kv_bytes(5) == plain.kv_bytes(5) * (4 + WINDOW + 4) // (3 * WINDOW)
    written = 3 * 5 * 2 * 32 * 4
    assert model.bytes_per_step(5) - model.kv_bytes(5) == plain.bytes_per_step(5) - plain.kv_bytes(5)
    assert model.bytes_per_step(5) > model.kv_bytes(5) + written


@pytest.mark.parametrize("head", ["joint", "fields", "tied"])
def test_flops_are_those_that_torch_counts(make_model, make_orders, head):
    """Of a whole training step; torch counts the scores of the whole square, unseen ones too."""
    model = make_model(head=head, kv_heads=2)
    token, market = make_orders(3, WINDOW + 1)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        hidden = model(token[:, :-1], market[:, :-1])
        model.loss(hidden, token[:, 1:], torch.ones(3, WINDOW)).backward()
    scores = 12 * 2 * 32
    unseen = scores * (WINDOW - 1) / 2
    expected = model.flops_per_token(WINDOW) + unseen
    assert counter.get_total_flops() == 3 * WINDOW * expected


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
        ({"windows": []}, "windows is"),
        ({"windows": [1024, 0]}, "at least 1"),
        ({"windows": [64, 512]}, "window is 1024, but the longest of windows is 512"),
        ({"layers": 1, "windows": [64, 1024]}, "names 2 layers of 1"),
    ],
)
def test_impossible_shapes_are_refused(overrides, message):
    with pytest.raises(ValueError, match=message):
        OrderModelConfig(**overrides)


def test_dropout_acts_in_training_alone(make_model, make_orders):
    model = make_model(dropout=0.3)
    token, market = make_orders(2, 20)
    plain = make_model()
    assert torch.equal(model(token, market), plain(token, market))
    model.train()
    first, second = model(token, market), model(token, market)
    assert not torch.isclose(first, second).any(dim=-1).all()
    block = plain.transformer.blocks[0].train()
    block.dropout.p = 0.3
    x = torch.zeros(1, 4096, 32)
    block.mlp.forward = lambda x: torch.ones_like(x)
    block.attention.forward = lambda x, *_: torch.ones_like(x)
    added = block(x, None, None, None)
    # Each of two sub-layers adds 0 or 1 / 0.7.
    shares = [(added * 0.7).round().eq(count).float().mean().item() for count in range(3)]
    assert shares == pytest.approx([0.09, 0.42, 0.49], abs=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_tied_head_shares_the_tables(make_model, make_orders, dtype):
    model = make_model(head="tied").to(dtype)
    tables = [getattr(model.embedding, name).weight for name in ("price", "size", "interval")]
    counts = model.num_parameters()
    assert counts["total"] == sum(p.numel() for p in model.parameters())
    assert counts["head"] == 3 * (32 * 32 + 32) + 2 * 32
    assert counts["non_embedding"] == sum(
        m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear)
    ) + sum(table.numel() for table in tables)
    assert not [
        name for name in model.state_dict() if name.startswith("head.") and "field" not in name and "norm" not in name
    ]
    other = make_model(head="tied").to(dtype)
    for parameter in other.parameters():
        torch.nn.init.zeros_(parameter)
    other.load_state_dict(model.state_dict())
    hidden = torch.randn(5, 32, generator=torch.Generator().manual_seed(0)).to(dtype)
    target = torch.tensor([0, 37, 88, 119, 60])
    before = model.nll(hidden, target)
    assert torch.equal(other.nll(hidden, target), before)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        copied.embedding.size.weight.zero_()
    assert not torch.isclose(copied.nll(hidden, target), before).any()
    assert torch.equal(model.nll(hidden, target), before)
    # The rows of all tables learn from both of their uses: also those that no order of the history has.
    token, market = make_orders(1, 2)
    model.loss(model(token[:, :1], market[:, :1]), token[:, 1:], torch.ones(1, 1)).backward()
    assert all(table.grad.any(dim=-1).all() for table in tables)
