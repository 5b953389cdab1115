"""Attention of a whole history to itself within a sliding window: order t sees orders t-W+1..t of its own segment.

Two ways to the same numbers. On the CPU, and where nothing is gained by another, `BandedAttention` calls SDPA on
blocks of the band. On CUDA `FlexWindowAttention` skips what the window or the segments hide, block by block of
128 x 128, in one kernel; FlexAttention has no backward pass on the CPU.

Shape letters: B books, T orders, H query heads, K key/value heads, C channels of a head, W window.
"""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""A layer's attention: (q[B, H, T, C], k[B, K, T, C], v[B, K, T, C]) -> [B, H, T, C]."""

FLEX_MIN_CHANNELS = 16
"""FlexAttention's kernels take no narrower heads."""
CACHED_MASKS = 16


def window_attention(
    windows: Sequence[int], channels: int, length: int, device: torch.device, segment: Tensor | None = None
) -> list[Attend]:
    """The attention of each layer, chosen by device; layers with the same window share theirs.

    Args:
        windows: W of each layer.
        channels: C.
        length: T.
        device: Where the history is.
        segment: int [B, T], one number for the orders of a book that attend to each other; None: all do.
    """
    flex = device.type == "cuda" and channels >= FLEX_MIN_CHANNELS
    # A window that hides nothing is plain causal attention, for which SDPA has the faster kernels.
    attends = {
        window: FlexWindowAttention(window, length, device, segment)
        if flex and (segment is not None or length > window)
        else BandedAttention(window, length, device, segment)
        for window in {min(window, length) for window in windows}
    }
    return [attends[min(window, length)] for window in windows]


class BandedAttention:
    """SDPA over blocks of the band.

    A block of W queries sees the W keys before it and its own: cost and memory grow with T * W instead of T * T.

    Args:
        window: W.
        length: T.
        device: Where the history is.
        segment: int [B, T] or None, as in `window_attention`.
    """

    def __init__(self, window: int, length: int, device: torch.device, segment: Tensor | None = None):
        # One band serves all blocks.
        self.blocks: list[tuple[slice, slice, Tensor | None]] = []
        band = None
        if length > window:
            band = torch.ones(window, 2 * window, dtype=torch.bool, device=device).triu(1).tril(window)
        for start in range(0, length, window):
            stop = min(start + window, length)
            queries, keys = slice(start, stop), slice(max(start - window, 0), stop)
            # The first block sees no keys but its own; that needs no mask, and has faster kernels.
            mask = None if start == 0 else band[: stop - start, : stop - start + window]
            if segment is not None:
                if mask is None:
                    mask = torch.ones(stop, stop, dtype=torch.bool, device=device).tril()
                mask = (segment[:, None, queries, None] == segment[:, None, None, keys]) & mask
            self.blocks.append((queries, keys, mask))

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend."""
        gqa = q.shape[1] != k.shape[1]
        attended = [
            F.scaled_dot_product_attention(
                q[:, :, queries], k[:, :, keys], v[:, :, keys], mask, is_causal=mask is None, enable_gqa=gqa
            )
            for queries, keys, mask in self.blocks
        ]
        return attended[0] if len(attended) == 1 else torch.cat(attended, dim=2)


class FlexWindowAttention:
    """FlexAttention under the mask of the window and the segments; the arguments are those of `BandedAttention`."""

    def __init__(self, window: int, length: int, device: torch.device, segment: Tensor | None = None):
        self.mask = (
            _window_mask(window, length, device) if segment is None else _segment_mask(window, length, device, segment)
        )
        self.kernel = _compiled(flex_attention) if device.type == "cuda" else flex_attention

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend."""
        return self.kernel(q, k, v, block_mask=self.mask, enable_gqa=q.shape[1] != k.shape[1])


@lru_cache(CACHED_MASKS)
def _window_mask(window: int, length: int, device: torch.device) -> BlockMask:
    def visible(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (query - key < window)

    return create_block_mask(visible, None, None, length, length, device)


def _segment_mask(window: int, length: int, device: torch.device, segment: Tensor) -> BlockMask:
    def visible(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (query - key < window) & (segment[b, query] == segment[b, key])

    # Every batch has its own; compiled, making it never writes the T x T mask out.
    create = _compiled(create_block_mask) if device.type == "cuda" else create_block_mask
    return create(visible, len(segment), None, length, length, device)


@cache
def _compiled(function: Callable) -> Callable:
    # At the first use: importing the compiler takes seconds that the CPU has no use for.
    return torch.compile(function)
