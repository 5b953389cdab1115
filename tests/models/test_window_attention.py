"""Both ways of windowed attention against the definition, and against each other."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mars_lmm.models import OrderModel, OrderModelConfig, window_attention
from mars_lmm.models.window_attention import BandedAttention, FlexWindowAttention

HEADS, CHANNELS = 4, 16
KINDS = pytest.mark.parametrize("kind", [BandedAttention, FlexWindowAttention])


def dense_attention(q, k, v, window, segment=None):
    """Attention by its definition."""
    score = q @ k.repeat_interleave(q.shape[1] // k.shape[1], 1).transpose(-1, -2) / math.sqrt(q.shape[-1])
    age = torch.arange(q.shape[2])[:, None] - torch.arange(q.shape[2])
    unseen = (age < 0) | (age >= window)
    if segment is not None:
        unseen = unseen | (segment[:, None, :, None] != segment[:, None, None, :])
    return F.softmax(score.masked_fill(unseen, -math.inf), -1) @ v.repeat_interleave(q.shape[1] // k.shape[1], 1)


def queries_keys_values(length, kv_heads=HEADS, device="cpu"):
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, HEADS, length, CHANNELS, generator=generator)
    k, v = torch.randn(2, 2, kv_heads, length, CHANNELS, generator=generator)
    return [tensor.to(device).requires_grad_() for tensor in (q, k, v)]


def segments(length, device="cpu"):
    return torch.stack([torch.arange(length) // 5, torch.arange(length) // 13]).to(device, torch.uint8)


@KINDS
@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("length", [1, 8, 9, 43])
def test_equals_the_dense_definition(kind, length, kv_heads):
    window = 8
    q, k, v = (tensor.detach() for tensor in queries_keys_values(length, kv_heads))
    for segment in (None, segments(length)):
        attention = kind(window, length, q.device, segment)
        assert_close(attention(q, k, v), dense_attention(q, k, v, window, segment), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("length", [100, 300])
def test_flex_equals_banded_over_several_blocks_of_its_mask(length):
    """Its mask has blocks of 128; windows below, across and beyond them."""
    q, k, v = (tensor.detach() for tensor in queries_keys_values(length, 2))
    for window in (1, 50, 200):
        for segment in (None, segments(length) // 8):
            banded, flex = (kind(window, length, q.device, segment) for kind in (BandedAttention, FlexWindowAttention))
            assert_close(flex(q, k, v), banded(q, k, v), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("packed", [False, True])
def test_a_model_with_flex_is_the_model_without(make_model, make_orders, monkeypatch, packed):
    model = make_model(layers=3, heads=2, kv_heads=1, windows=[4, 16])
    token, market = make_orders(2, 40)
    segment = segments(40) if packed else None
    with torch.no_grad():
        expected = model(token, market, segment)
        monkeypatch.setattr(window_attention, "BandedAttention", FlexWindowAttention)
        assert_close(model(token, market, segment), expected, atol=1e-5, rtol=1e-5)


def test_the_device_decides():
    def kinds(device, length, channels=CHANNELS, segment=None):
        chosen = window_attention.window_attention([8, 32], channels, length, torch.device(device), segment)
        return [type(attend) for attend in chosen]

    assert kinds("cpu", 40) == [BandedAttention] * 2
    assert kinds("cpu", 40, segment=segments(40)) == [BandedAttention] * 2


def test_masks_are_made_once_a_shape():
    masks = [FlexWindowAttention(8, 40, torch.device("cpu")).mask for _ in range(2)]
    assert masks[0] is masks[1]
    assert FlexWindowAttention(9, 40, torch.device("cpu")).mask is not masks[0]
    attends = window_attention.window_attention([4, 64, 4, 99], CHANNELS, 40, torch.device("cpu"))
    assert attends[0] is attends[2]
    assert attends[1] is attends[3]  # neither window hides anything


@pytest.mark.parametrize(("kind", "packed"), [(BandedAttention, False), (FlexWindowAttention, True)])
def test_a_block_compiles_whole(make_model, make_orders, monkeypatch, kind, packed):
    """In place, without a break of the graph, and once for all layers with the same window."""
    monkeypatch.setattr(window_attention, "BandedAttention", kind)
    model = make_model(layers=4, heads=2, kv_heads=1, windows=[4, 16])
    token, market = make_orders(2, 40)
    segment = segments(40) if packed else None
    with torch.no_grad():
        expected = model(token, market, segment)
        torch.compiler.reset()
        compiled = torch._dynamo.testing.CompileCounterWithBackend("eager")
        for block in model.transformer.blocks:
            block.compile(backend=compiled, fullgraph=True)
        for _ in range(2):
            assert_close(model(token, market, segment), expected, atol=1e-5, rtol=1e-5)
    assert compiled.frame_count == 2
    torch.compiler.reset()


def test_a_compiled_block_learns_the_same(make_model, make_orders):
    def gradients(compiled):
        model = make_model(kv_heads=2)
        if compiled:
            for block in model.transformer.blocks:
                block.compile(backend="aot_eager", fullgraph=True)
        token, market = make_orders(2, 33)
        model.loss(model(token[:, :-1], market[:, :-1]), token[:, 1:], torch.ones(2, 32)).backward()
        return [parameter.grad for parameter in model.parameters()]

    assert_close(gradients(True), gradients(False), atol=1e-4, rtol=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("packed", [False, True])
def test_flex_on_cuda_has_the_gradients_of_banded(kv_heads, packed):
    results = []
    for kind in (BandedAttention, FlexWindowAttention):
        inputs = queries_keys_values(300, kv_heads, "cuda")
        segment = segments(300, "cuda") // 8 if packed else None
        attended = kind(50, 300, inputs[0].device, segment)(*inputs)
        weight = torch.linspace(-1, 1, attended.numel(), device="cuda").view_as(attended)
        results.append([attended.detach(), *torch.autograd.grad((attended * weight).sum(), inputs)])
    assert_close(*results, atol=2e-2, rtol=2e-2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("packed", [False, True])
def test_a_model_on_cuda_has_the_gradients_of_the_cpu(make_orders, packed):
    torch.manual_seed(0)
    model = OrderModel(OrderModelConfig(width=64, layers=3, heads=4, kv_heads=2, window=64, windows=[16, 64]))
    token, market = make_orders(2, 300, vocabulary=49152)
    segment = segments(300) // 8 if packed else None

    def gradients(device):
        model.to(device).zero_grad(set_to_none=True)
        inputs = [None if tensor is None else tensor.to(device) for tensor in (token, market, segment)]
        model.loss(model(*inputs), inputs[0], torch.ones(2, 300, device=device)).backward()
        return torch.cat([parameter.grad.flatten().cpu() for parameter in model.parameters()])

    on_cpu, on_cuda = gradients("cpu"), gradients("cuda")
    assert (on_cuda - on_cpu).norm() < 0.01 * on_cpu.norm()
    assert not math.isnan(on_cuda.norm())
