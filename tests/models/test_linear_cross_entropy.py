"""The fused loss: the numbers of plain cross-entropy, in a fraction of its memory and without a second forward pass."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from mars_lmm.bench.loss import make_inputs, peak_bytes
from mars_lmm.models import linear_cross_entropy as fused
from mars_lmm.models.linear_cross_entropy import chunk_size, linear_cross_entropy

N, D, V = 37, 16, 50


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of 7 positions, softmax over 3 rows at a time: neither divides the 37."""
    monkeypatch.setattr(fused, "CHUNK_BYTES", 7 * V * 4)
    monkeypatch.setattr(fused, "CPU_ROWS", 3)


def make(dtype=torch.float32, device="cpu", orders=N, width=D, vocabulary=V):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(orders, width, generator=generator).to(device, dtype).requires_grad_()
    weight = torch.randn(vocabulary, width, generator=generator).to(device, dtype).requires_grad_()
    target = torch.randint(vocabulary, (orders,), generator=generator).to(device)
    scale = torch.rand(orders, generator=generator).to(device)
    return hidden, weight, target, scale


def plain(hidden, weight, target, scale):
    return (F.cross_entropy(hidden @ weight.t(), target, reduction="none") * scale).sum()


def with_gradients(loss, factor=1.0):
    def compute(hidden, weight, target, scale):
        value = loss(hidden, weight, target, scale)
        return value.detach(), *torch.autograd.grad(value * factor, (hidden, weight))

    return compute


def relative_error(one, other):
    return ((one.double() - other.double()).norm() / other.double().norm()).item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_is_cross_entropy_with_its_gradients(small_chunks, dtype):
    inputs = make(dtype)
    expected = with_gradients(plain, 0.3)(*inputs)
    assert_close(with_gradients(linear_cross_entropy, 0.3)(*inputs), expected)


def test_takes_a_mask_for_weights(small_chunks):
    hidden, weight, target, scale = make()
    mask = scale > 0.5
    expected = with_gradients(plain)(hidden, weight, target, mask.float())
    result = with_gradients(linear_cross_entropy)(hidden, weight, target, mask)
    assert_close(result, expected)
    assert not result[1][~mask].any()


@pytest.mark.parametrize(("dtype", "error"), [(torch.bfloat16, 0.02), (torch.float16, 0.003)])
def test_autocast_computes_in_half_and_adds_up_in_full(small_chunks, dtype, error):
    inputs = make()
    expected = with_gradients(plain)(*inputs)
    with torch.autocast("cpu", dtype):
        result = with_gradients(linear_cross_entropy)(*inputs)
    assert [tensor.dtype for tensor in result] == [torch.float32] * 3
    assert all(relative_error(*pair) < error for pair in zip(result, expected, strict=True))


def test_float16_keeps_the_gradients_of_rare_tokens():
    """A probability of e**-18 rounds to zero in float16, whatever a gradient scaler does afterwards."""
    hidden, weight = torch.ones(1, 1), torch.tensor([[0.0], [-18.0]], requires_grad=True)
    with torch.autocast("cpu", torch.float16):
        loss = linear_cross_entropy(hidden, weight, torch.tensor([0]), torch.ones(1))
    (loss * 65536).backward()
    assert torch.tensor(math.exp(-18)).half() == 0
    assert weight.grad[1].item() / 65536 == pytest.approx(math.exp(-18), rel=0.02)


def test_confident_targets_keep_their_gradients():
    """1 - p is exact where p rounds to 1 in bfloat16."""
    hidden, weight = torch.ones(1, 1), torch.tensor([[8.0], [0.0]], requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        linear_cross_entropy(hidden, weight, torch.tensor([0]), torch.ones(1)).backward()
    missing = 1 / (1 + math.exp(8))
    assert weight.grad.flatten().tolist() == pytest.approx([-missing, missing], rel=0.01)


def test_gradients_add_up_over_batches(small_chunks):
    first, second = make(), make()
    second = (second[0].detach() + 1, first[1], *second[2:])
    expected = with_gradients(plain)(*first)[2] + torch.autograd.grad(plain(*second), second[1])[0]
    linear_cross_entropy(*first).backward()
    linear_cross_entropy(*second).backward()
    assert_close(first[1].grad, expected)


def test_is_differentiated_once():
    loss = linear_cross_entropy(*make())
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="compute it again"):
        loss.backward()


def test_logits_are_computed_once(small_chunks):
    """Three products: the logits, and a gradient each of hidden states and weight."""
    inputs = make()
    with FlopCounterMode(display=False) as counter:
        linear_cross_entropy(*inputs).backward()
    assert counter.get_total_flops() == 6 * N * D * V


def test_chunks_are_a_sixteenth_of_the_positions_or_small():
    row = 49_152 * 4
    assert [chunk_size(n, row) for n in (10, 2048, 4096, 16_384, 10**6)] == [128, 128, 256, 512, 512]
    assert chunk_size(16_384, row // 2) == 1024


@pytest.mark.parametrize("head", ["joint", "fields", "tied"])
def test_peak_memory_is_under_a_tenth_of_whole_logits(head):
    head, *inputs = make_inputs(head, 8, 8192, "32-true", "cpu", bins=(3, 16, 8, 4))
    whole = 8192 * (3 * 16 * 8 * 4) * 4
    peak, gradients = peak_bytes(lambda: head.loss(*inputs), head, inputs[0])
    assert 0 < peak < whole / 10
    assert gradients == inputs[0].nbytes + sum(t.grad.nbytes for t in head.parameters()) + sum(
        table.weight.nbytes for table in head.tied_tables
    )


def test_validation_holds_few_logits_too():
    head, hidden, target, _ = make_inputs("joint", 8, 8192, "32-true", "cpu", bins=(3, 16, 8, 4))

    def validate():
        with torch.no_grad():
            head.field_nll(hidden, target)
        return (hidden.sum() + head.proj.weight.sum()) * 0  # something for the gauge to go backward through

    peak, _ = peak_bytes(validate, head, hidden)
    assert peak < 8192 * 1536 * 4 / 10


def test_the_gauge_sees_whole_logits():
    head, hidden, target, _ = make_inputs("joint", 8, 2048, "32-true", "cpu", bins=(3, 16, 8, 4))
    peak, _ = peak_bytes(lambda: F.cross_entropy(head.logits(hidden), target), head, hidden)
    assert peak >= 2 * 2048 * 1536 * 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    ("autocast", "error"), [(None, 1e-3), (torch.bfloat16, 0.02), (torch.float16, 0.003)], ids=["32", "bf16", "fp16"]
)
def test_cuda_agrees_with_the_cpu(autocast, error):
    shape = {"orders": 3000, "width": 64, "vocabulary": 4096}
    expected = with_gradients(plain)(*make(torch.float64, **shape))
    with torch.autocast("cuda", autocast or torch.bfloat16, enabled=autocast is not None):
        result = with_gradients(linear_cross_entropy)(*make(device="cuda", **shape))
    assert all(relative_error(one.cpu(), other) < error for one, other in zip(result, expected, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_peak_memory_is_under_a_tenth_of_whole_logits():
    head, *inputs = make_inputs("joint", 256, 16_384, "32-true", "cuda")
    with torch.autocast("cuda", torch.bfloat16):
        head.loss(*inputs).backward()  # compiles
        peak, _ = peak_bytes(lambda: head.loss(*inputs), head, inputs[0])
    assert peak < 16_384 * 49_152 * 2 / 10
