"""Lowered weights: the whole way of a rollout, how far they are from what was trained, and what they weigh."""

import importlib.util
import sys

import pytest
import torch
from torch.testing import assert_close

from mars_lmm.models.precision import PRECISIONS, loss_change, lower_precision
from mars_lmm.models.sampling import Sampling, SamplingConfig

torchao = pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="needs torchao")
LOWERED = pytest.mark.parametrize("precision", ["bfloat16", pytest.param("int8", marks=torchao)])
HEADS = pytest.mark.parametrize("head", ["joint", "fields", "tied"])


@pytest.fixture
def make_trained(make_model, make_orders):
    """A model that has learned a pattern, so that its nats say something, and batches of it."""

    def make(head="joint"):
        model = make_model(head=head)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.1)
            else:
                torch.nn.init.ones_(parameter)
        token, market = make_orders(4, 5)
        batch = {"token": token.repeat(1, 8), "market": market.repeat(1, 8, 1), "scored": torch.ones(4, 39).bool()}
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        for _ in range(15):
            hidden = model(batch["token"][:, :-1], batch["market"][:, :-1])
            loss = model.loss(hidden, batch["token"][:, 1:], batch["scored"]) / batch["scored"].sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return model.eval(), batch

    return make


@HEADS
@LOWERED
def test_the_loss_changes_little(make_trained, head, precision):
    """By less than a hundredth of a nat, where the model has learned and far from all it could."""
    model, batch = make_trained(head)
    before, after = loss_change(model, lower_precision(model, precision), [batch])
    assert 0.5 < before < 4.5
    assert after != before
    assert abs(after - before) < 0.01


def test_loss_change_is_the_mean_over_scored_orders(make_trained):
    """Over batches of unequal numbers of them, packed rows included."""
    model, batch = make_trained()
    packed = batch | {"segment": torch.arange(40).div(20, rounding_mode="floor").expand(4, 40)}
    packed["scored"] = batch["scored"].clone()
    packed["scored"][:, :25] = False
    lowered = lower_precision(model, "bfloat16")
    for one, nats in zip((model, lowered), loss_change(model, lowered, iter([batch, packed])), strict=True):
        with torch.no_grad():
            whole = one.nll(one(batch["token"][:, :-1], batch["market"][:, :-1]), batch["token"][:, 1:])
            second = one.nll(one(batch["token"][:, 20:-1], batch["market"][:, 20:-1]), batch["token"][:, 21:])
        expected = torch.cat((whole.flatten(), second[:, 5:].flatten())).mean().item()
        assert nats == pytest.approx(expected, abs=2e-3)
    with pytest.raises(ValueError, match="no order"):
        loss_change(model, lowered, [])


@HEADS
@LOWERED
def test_cached_decoding_is_that_of_whole_histories(make_trained, make_orders, head, precision):
    """Prefill of unequal histories, steps beyond the window and draws, against the forward pass."""
    model, _ = make_trained(head)
    lowered = lower_precision(model, precision)
    length, more = torch.tensor([3, 16, 21]), 20
    token, market = make_orders(3, 41)
    books = torch.arange(3)
    hidden, cache = lowered.prefill(token[:, :21], market[:, :21], length)
    assert {ring.dtype for ring in (*cache.k, *cache.v)} == {torch.bfloat16}
    full = lowered(token, market)
    sampling = Sampling.build(SamplingConfig(0.9, 0.95, {"size": [0]}), model.bins)
    uniform = torch.rand(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for t in range(more):
        assert_close(hidden.float(), full[books, length + t - 1].float(), atol=0.06, rtol=0.05)
        assert lowered.healthy(hidden).all()
        drawn = lowered.sample(hidden, uniform, sampling)
        assert drawn.max() < 120
        assert (drawn // 2 % 5 != 0).all()
        now = length + t
        hidden = lowered.step(token[books, now], market[books, now], cache)
    assert lowered.kv_bytes(3) == cache.nbytes == model.kv_bytes(3) // 2


@LOWERED
def test_lowered_states_follow_those_of_the_model(make_trained, make_orders, precision):
    model, _ = make_trained()
    token, market = make_orders(2, 48)
    expected = model(token, market)
    error = (lower_precision(model, precision)(token, market).float() - expected).pow(2).mean().sqrt()
    assert 0 < error < 0.03 * expected.pow(2).mean().sqrt()


def test_draws_of_a_lowered_head_are_summed_in_the_uniforms_precision(make_model):
    """Two uniforms that bfloat16 and float32 cannot tell apart decide between neighbours."""
    model = lower_precision(make_model(head="fields"), "bfloat16")
    hidden = torch.randn(1, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    hidden = hidden.expand(2, -1)
    edge = model.head.fields[0](hidden).double().softmax(-1)[0, 0].item()
    uniform = torch.full((2, 4), 0.5, dtype=torch.float64)
    uniform[:, 0] = torch.tensor([edge - 1e-12, edge + 1e-12], dtype=torch.float64)
    assert (model.sample(hidden, uniform) // 40).tolist() == [0, 1]


def test_float32_is_the_same_model_and_a_copy(make_model, make_orders):
    model = make_model()
    copied = lower_precision(model, "float32")
    token, market = make_orders(2, 20)
    assert torch.equal(copied(token, market), model(token, market))
    assert not any(parameter.requires_grad for parameter in copied.parameters())
    with torch.no_grad():
        copied.transformer.norm.weight.zero_()
    assert model.transformer.norm.weight.any()
    assert all(parameter.requires_grad for parameter in model.parameters())


@HEADS
def test_bfloat16_bytes_are_half(make_model, head):
    model = make_model(head=head)
    assert 2 * lower_precision(model, "bfloat16").bytes_per_step(5) == model.bytes_per_step(5)


@torchao
@HEADS
def test_int8_bytes_are_those_that_are_stored(make_model, head):
    """One byte a number of the blocks' matrices, with a float32 scale and an int8 zero point a row."""
    model = make_model(head=head, kv_heads=2)
    half, lowered = (lower_precision(model, name) for name in ("bfloat16", "int8"))
    matrices = [m.weight for m in model.transformer.blocks.modules() if isinstance(m, torch.nn.Linear)]
    saved = sum(matrix.numel() for matrix in matrices) - sum(len(matrix) * (4 + 1) for matrix in matrices)
    assert half.bytes_per_step(5) - lowered.bytes_per_step(5) == saved
    assert lowered.kv_bytes(5) == half.kv_bytes(5)
    assert lowered.num_parameters() == model.num_parameters()


@torchao
def test_int8_quantises_the_blocks_alone(make_model):
    lowered = lower_precision(make_model(), "int8")
    plain = {name for name, p in lowered.named_parameters() if type(p) is torch.nn.Parameter}
    quantised = dict(lowered.named_parameters()).keys() - plain
    assert quantised == {
        f"transformer.blocks.{layer}.{name}.weight"
        for layer in range(2)
        for name in ("attention.qkv", "attention.out", "mlp.gate_up", "mlp.down")
    }
    assert {p.dtype for p in lowered.parameters()} == {torch.bfloat16}


@torchao
def test_int8_weights_are_the_nearest_of_each_row(make_model):
    model = make_model()
    weight = model.transformer.blocks[0].mlp.down.weight.detach().bfloat16().float()
    stored = lower_precision(model, "int8").transformer.blocks[0].mlp.down.weight.dequantize().float()
    step = weight.abs().amax(dim=1, keepdim=True) / 127
    # Half a step, and the rounding of what comes back to bfloat16.
    assert ((stored - weight).abs() <= 0.51 * step + weight.abs() / 128).all()
    assert not torch.equal(stored, weight)


def test_what_cannot_be_is_refused(make_model, monkeypatch):
    model = make_model()
    with pytest.raises(ValueError, match=", ".join(PRECISIONS)):
        lower_precision(model, "float16")
    with pytest.raises(ValueError, match=r"compute capability 8\.9 or better, and the model is on cpu"):
        lower_precision(model, "float8")
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(ValueError, match=r"mars-lmm\[quantized\]"):
        lower_precision(model, "int8")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@torchao
def test_float8_on_a_card_that_has_it(make_trained, make_orders):
    if torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("the card has no float8")
    model, batch = make_trained()
    model = model.cuda()
    lowered = lower_precision(model, "float8")
    before, after = loss_change(model, lowered, [batch])
    assert 0 < abs(after - before) < 0.05
    token, market = (orders.cuda() for orders in make_orders(2, 40))
    _, cache = lowered.prefill(token[:, :39], market[:, :39])
    stepped = lowered.step(token[:, 39], market[:, 39], cache)
    assert_close(stepped.float(), lowered(token, market)[:, 39].float(), atol=0.06, rtol=0.05)
    assert lowered.bytes_per_step(2) < lower_precision(model, "bfloat16").bytes_per_step(2)
