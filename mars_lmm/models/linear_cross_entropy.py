"""A linear layer and the cross-entropy of its logits, with few positions' logits in memory at a time.

The sum of weighted cross-entropies is all that training needs, so its gradient is known as soon as a chunk's logits
are: softmax minus target, times the weight. One pass over the positions computes loss and both gradients, keeps
nothing but those, and computes no logits a second time; the backward pass scales the gradients by what comes in.

`torch.nn.functional.linear_cross_entropy` does the same in plain torch operations, but has no weights of positions,
adds bfloat16 losses up in bfloat16, and passes over the logits a dozen times (docs/log.md has the figures).

Shape letters: N positions, D width, V tokens, n positions of a chunk.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_BYTES = 96 << 20
"""Of a chunk's logits, at most: at 49,152 tokens 512 positions in float32, 1,024 in 16 bits. Fewer positions make
matrix products that wait for memory, the gradient of the weight above all, which every chunk reads and writes."""
MIN_CHUNK = 128
MIN_CHUNKS = 16
"""Chunks that positions are split into, where that leaves `MIN_CHUNK` of them in each."""
CPU_ROWS = 32
"""Rows whose softmax the CPU computes at a time: they stay in its caches."""
HALF_SCALE = 2.0**8
"""Multiplies gradients in float16 until the backward pass: it lacks the range for probabilities of rare tokens."""


def chunk_size(positions: int, logits_bytes: int) -> int:
    """Positions whose logits are in memory at a time, where those of one take so many bytes."""
    return min(max(positions // MIN_CHUNKS, MIN_CHUNK), max(CHUNK_BYTES // logits_bytes, 1))


def linear_cross_entropy(hidden: Tensor, weight: Tensor, target: Tensor, scale: Tensor) -> Tensor:
    """Sum over positions of scale * -log softmax(hidden @ weight.T)[target].

    Differentiable once, and only once, with respect to hidden and weight. Under autocast the products are computed
    in its dtype; softmax, loss and the gradient of the weight are accumulated in float32 or better.

    Args:
        hidden: [N, D].
        weight: [V, D].
        target: int64 [N].
        scale: [N], of any dtype, bool included.

    Returns:
        A scalar, float32 or better.
    """
    return _LinearCrossEntropy.apply(hidden, weight, target, scale)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, target: Tensor, scale: Tensor) -> Tensor:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        exact = torch.promote_types(dtype, torch.float32)
        gradient_scale = HALF_SCALE if dtype == torch.float16 else 1.0
        with torch.autocast(device, enabled=False):
            matrix, states, scale = weight.to(dtype), hidden.to(dtype), scale.to(exact)
            loss = torch.zeros((), dtype=exact, device=hidden.device)
            hidden_gradient = torch.empty_like(states)
            weight_gradient = torch.zeros_like(weight, dtype=exact)
            size = chunk_size(len(states), len(weight) * dtype.itemsize)
            buffer = states.new_empty(min(size, len(states)), len(weight))
            parts = (tensor.split(size) for tensor in (states, target, scale, hidden_gradient))
            for h, t, s, h_gradient in zip(*parts, strict=True):
                logits = torch.mm(h, matrix.t(), out=buffer[: len(h)])
                nats = logits_to_gradient(logits, t, s * gradient_scale)
                loss += nats @ s
                torch.mm(logits, matrix, out=h_gradient)
                _add_product(weight_gradient, logits.t(), h)
        ctx.gradients = hidden_gradient, weight_gradient
        ctx.gradient_scale = gradient_scale
        ctx.dtypes = hidden.dtype, weight.dtype
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("the loss was differentiated before, which used its gradients up; compute it again")
        gradients, ctx.gradients = ctx.gradients, None
        factor = grad / ctx.gradient_scale
        scaled = [g.mul_(factor).to(dtype) for g, dtype in zip(gradients, ctx.dtypes, strict=True)]
        return *scaled, None, None


def logits_to_gradient(logits: Tensor, target: Tensor, scale: Tensor) -> Tensor:
    """Overwrite logits [n, V] by the gradient of sum(scale * nats), and return the nats [n] of target [n]."""
    if logits.is_cuda:
        nats = _compiled(_logits_to_softmax)(logits, target, scale)
    else:
        rows = zip(*(tensor.split(CPU_ROWS) for tensor in (logits, target, scale)), strict=True)
        nats = torch.cat([_logits_to_softmax(*row) for row in rows])
    # Of a probability near 1, as it is in 16 bits, 1 could not be taken away any more.
    logits.scatter_(1, target[:, None], (torch.expm1(-nats) * scale).to(logits.dtype)[:, None])
    return nats


def _logits_to_softmax(logits: Tensor, target: Tensor, scale: Tensor) -> Tensor:
    log_p = logits.log_softmax(-1, dtype=scale.dtype)
    nats = -log_p.gather(-1, target[:, None]).squeeze(-1)
    logits.copy_(log_p.exp_().mul_(scale[:, None]))
    return nats


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left @ right in the precision of the total."""
    if total.dtype == left.dtype:
        torch.addmm(total, left, right, out=total)
    elif total.is_cuda:
        torch.addmm(total, left, right, out_dtype=total.dtype, out=total)
    else:
        total += left @ right


@cache
def _compiled(function: Callable) -> Callable:
    # At the first use: importing the compiler takes seconds that the CPU has no use for.
    return torch.compile(function)
