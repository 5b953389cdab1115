"""The order model: given the orders so far and the market after each, a distribution over the next order.

Shape letters: B books, T orders, F market features, D width, V tokens.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mars_lmm.models.embedding import OrderEmbedding
from mars_lmm.models.heads import HEADS
from mars_lmm.models.ring_cache import RingCache
from mars_lmm.models.transformer import Transformer, WindowAttention

INIT_STD = 0.02


@dataclass
class OrderModelConfig:
    """Shape of an order model."""

    width: int = 256
    """Channels of the residual stream."""
    layers: int = 8
    """Number of blocks."""
    heads: int = 4
    """Query heads; each has width / heads channels."""
    kv_heads: int | None = None
    """Key/value heads, shared by heads / kv_heads query heads each; None: as many as query heads."""
    window: int = 1024
    """Orders that a layer attends to, the newest included."""
    mlp_width: int | None = None
    """Channels inside the gated MLP; None: 8/3 of the width, rounded up to a multiple of 32."""
    dropout: float = 0.0
    """Probability of dropping a channel of what a block adds to the residual stream."""
    session: bool = True
    """Embed the move since the open and the minute of the session. Worth it over many sessions; of a few, these
    numbers only name moments that do not come back."""
    head: str = "joint"
    """"joint": one softmax over all tokens; "fields": type, price, size, interval in a chain."""

    def __post_init__(self):
        for name in ("width", "layers", "heads", "num_kv_heads", "window", "num_mlp_channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.width % (2 * self.heads):
            raise ValueError(
                f"width {self.width} does not give {self.heads} heads an even number of channels each, "
                f"which RoPE turns in pairs; choose a multiple of {2 * self.heads}"
            )
        if self.heads % self.num_kv_heads:
            raise ValueError(f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; it must be in [0, 1)")
        if self.head not in HEADS:
            raise ValueError(f"head is {self.head!r}; choose one of {', '.join(HEADS)}")

    @property
    def head_dim(self) -> int:
        """Channels of a head."""
        return self.width // self.heads

    @property
    def num_kv_heads(self) -> int:
        """kv_heads with its default resolved."""
        return self.heads if self.kv_heads is None else self.kv_heads

    @property
    def num_mlp_channels(self) -> int:
        """mlp_width with its default resolved."""
        return math.ceil(8 * self.width / 96) * 32 if self.mlp_width is None else self.mlp_width


class OrderModel(nn.Module):
    """A sliding-window transformer over orders, with one of two heads.

    Args:
        config: the shape.
        bins: numbers of types, prices, sizes and intervals of the tokenizer.
        num_market: market features of an order.
    """

    def __init__(
        self,
        config: OrderModelConfig,
        bins: tuple[int, int, int, int] = (3, 32, 32, 16),
        num_market: int = 42,
    ):
        super().__init__()
        self.config = config
        self.vocabulary = math.prod(bins)
        self.embedding = OrderEmbedding(config.width, bins, num_market, config.session)
        self.transformer = Transformer(
            config.width,
            config.layers,
            config.heads,
            config.num_kv_heads,
            config.num_mlp_channels,
            config.dropout,
        )
        self.head = HEADS[config.head](config.width, bins)
        self._init_weights()

    def _init_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=INIT_STD)
        # The field head's tables keep the unit variance of the normed hidden states that they are added to.
        for module in self.embedding.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=INIT_STD)
        # The residual stream adds up 2 * layers projections; its variance should not grow with depth.
        for block in self.transformer.blocks:
            for projection in (block.attention.out, block.mlp.down):
                nn.init.normal_(projection.weight, std=INIT_STD / math.sqrt(2 * self.config.layers))
        # The book starts about as loud as a field's row, instead of drowning the order.
        nn.init.normal_(self.embedding.book.out.weight, std=INIT_STD / math.sqrt(self.config.width))
        # Rows that training never meets add nothing.
        if self.config.session:
            nn.init.zeros_(self.embedding.change.weight)
            nn.init.zeros_(self.embedding.minute.weight)

    def forward(self, token: Tensor, market: Tensor, segment: Tensor | None = None) -> Tensor:
        """Hidden states of a history; each depends on its own order and those before it in its segment.

        Args:
            token: int64 [B, T].
            market: int [B, T, F], after each order.
            segment: int [B, T], one number for each of several histories in a row; None: each row is one history.

        Returns:
            [B, T, D].
        """
        length = token.shape[1]
        if segment is not None and bool((segment == segment[:, :1]).all()):
            segment = None  # attention without a mask is faster
        attention = WindowAttention(self.config.window, length, token.device, segment)
        position = torch.arange(length, device=token.device)
        return self.transformer(self.embedding(token, market), position, attention)

    def nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Nats [...] of the next order's token, int64 [...], given hidden [..., D]."""
        return self.head.nll(hidden, target)

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits or log-probabilities [..., V] over all tokens, given hidden [..., D]."""
        return self.head.logits(hidden)

    @torch.no_grad()
    def prefill(self, token: Tensor, market: Tensor, length: Tensor | None = None) -> tuple[Tensor, RingCache]:
        """Read whole histories at once.

        Args:
            token: int64 [B, T], padded on the right by any valid token.
            market: int [B, T, F].
            length: int64 [B], orders of each history, at least 1; None: T of each.

        Returns:
            The hidden state [B, D] of each history's last order, and the cache to `step` on from there.
        """
        B, T = token.shape
        if length is None:
            length = torch.full((B,), T, device=token.device)
        cache = self.new_cache(B)
        store = cache.store(length)
        attention = WindowAttention(self.config.window, T, token.device)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            store(layer, k, v)
            return attention(layer, q, k, v)

        position = torch.arange(T, device=token.device)
        hidden = self.transformer(self.embedding(token, market), position, attend)
        return hidden[torch.arange(B, device=token.device), length - 1], cache

    @torch.no_grad()
    def step(self, token: Tensor, market: Tensor, cache: RingCache) -> Tensor:
        """Read one more order of each book; writes the cache in place and advances its positions by 1.

        Args:
            token: int64 [B].
            market: int [B, F].
            cache: from `prefill` or `new_cache`.

        Returns:
            Hidden states [B, D].
        """
        x = self.embedding(token, market).unsqueeze(1)
        hidden = self.transformer(x, cache.position.unsqueeze(1), cache.attend())
        cache.position.add_(1)
        return hidden.squeeze(1)

    @torch.no_grad()
    def sample(self, hidden: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """Draw the next order by inverse cumulative distributions.

        Args:
            hidden: [B, D].
            uniform: float32 or float64 [B, 4] in [0, 1); equal uniforms give equal orders.
            temperature: divides the logits; above 0.

        Returns:
            Tokens, int64 [B].
        """
        return self.head.sample(hidden, uniform, temperature)

    def new_cache(self, batch: int) -> RingCache:
        """An empty cache for this many books, on the model's device and in its dtype."""
        weight = self.transformer.norm.weight
        config = self.config
        return RingCache.empty(
            config.layers,
            batch,
            config.num_kv_heads,
            config.window,
            config.head_dim,
            weight.device,
            weight.dtype,
        )

    def num_parameters(self) -> dict[str, int]:
        """Parameters of the embedding, the blocks with the final norm, the head, and in total."""
        parts = {"embedding": self.embedding, "blocks": self.transformer, "head": self.head}
        counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
        return counts | {"total": sum(counts.values())}

    def flops_per_token(self, sequence_length: int) -> float:
        """Floating-point operations of a training step (forward and backward) per order.

        6 * P + 12 * layers * width * A (Chowdhery et al. 2022, appendix B), where P are the weights of matrix
        products, tables left out, and A is the mean number of orders that an order attends to, causally and
        within the window. Recomputation is not counted.
        """
        weights = sum(module.weight.numel() for module in self.modules() if isinstance(module, nn.Linear))
        full = min(sequence_length, self.config.window)
        attended = (full * (full + 1) / 2 + (sequence_length - full) * full) / sequence_length
        return 6 * weights + 12 * self.config.layers * self.config.width * attended

    def kv_bytes(self, batch: int) -> int:
        """Bytes of keys and values that one decode step reads.

        2 * layers * batch * kv_heads * window * head_dim numbers: the whole ring, also while it fills.
        """
        config = self.config
        numbers = 2 * config.layers * batch * config.num_kv_heads * config.window * config.head_dim
        return numbers * self.transformer.norm.weight.itemsize

    def bytes_per_step(self, batch: int) -> int:
        """Bytes that one decode step has to move, at least.

        s * (P + R * batch * width) + kv_bytes * (1 + 1 / window) + s * batch * V, with s the bytes of a
        number, P all parameters but the embedding tables (read once a step whatever the batch), R the tables
        of which each book reads one row, kv_bytes read and one slot in `window` written, and V logits written
        (joint head only).
        """
        tables = [module.weight for module in self.modules() if isinstance(module, nn.Embedding)]
        weights = sum(p.numel() for p in self.parameters()) - sum(table.numel() for table in tables)
        logits = self.vocabulary if self.config.head == "joint" else 0
        numbers = weights + batch * (len(tables) * self.config.width + logits)
        itemsize = self.transformer.norm.weight.itemsize
        return numbers * itemsize + self.kv_bytes(batch) * (self.config.window + 1) // self.config.window
