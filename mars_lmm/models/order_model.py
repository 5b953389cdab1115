"""The order model: given the orders so far and the market after each, a distribution over the next order.

Shape letters: B books, T orders, F market features, D width, V tokens.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from mars_lmm.models.embedding import OrderEmbedding
from mars_lmm.models.heads import HEADS, build_head
from mars_lmm.models.mars_embedding import MarsEmbedding
from mars_lmm.models.ring_cache import RingCache
from mars_lmm.models.sampling import MODEL_DISTRIBUTION, Sampling
from mars_lmm.models.transformer import Transformer
from mars_lmm.models.window_attention import Attend, BandedAttention, window_attention

INIT_STD = 0.02
EMBEDDINGS = ("orders", "mars", "mars_shares")


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
    windows: list[int] | None = None
    """Windows of the layers, a pattern repeated from the first layer on, the longest of them equal to `window`;
    None: `window` in every layer."""
    mlp_width: int | None = None
    """Channels inside the gated MLP; None: 8/3 of the width, rounded up to a multiple of 32."""
    dropout: float = 0.0
    """Probability of dropping a channel of what a block adds to the residual stream."""
    session: bool = True
    """Embed the move since the open and the minute of the session. Worth it over many sessions; of a few, these
    numbers only name moments that do not come back."""
    head: str = "joint"
    """"joint": one softmax over all tokens; "fields": type, price, size, interval in a chain; "tied": a chain over the
    rows of the embedding's own tables."""
    embedding: str = "orders"
    """"orders": ours; of imported MarS models, "mars", or "mars_shares" with two more tables."""

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
        if self.windows is not None:
            if not self.windows or min(self.windows) < 1:
                raise ValueError(f"windows is {self.windows}; it must name windows of at least 1 order")
            if len(self.windows) > self.layers:
                raise ValueError(
                    f"windows names {len(self.windows)} layers of {self.layers}; name fewer, or add layers"
                )
            if max(self.windows) != self.window:
                raise ValueError(
                    f"window is {self.window}, but the longest of windows is {max(self.windows)}: set window to that"
                )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; it must be in [0, 1)")
        if self.head not in HEADS:
            raise ValueError(f"head is {self.head!r}; choose one of {', '.join(HEADS)}")
        if self.embedding not in EMBEDDINGS:
            raise ValueError(f"embedding is {self.embedding!r}; choose one of {', '.join(EMBEDDINGS)}")
        if self.head == "tied" and self.embedding != "orders":
            raise ValueError(f"the tied head shares tables that embedding {self.embedding!r} does not have")

    @property
    def head_dim(self) -> int:
        """Channels of a head."""
        return self.width // self.heads

    @property
    def num_kv_heads(self) -> int:
        """kv_heads with its default resolved."""
        return self.heads if self.kv_heads is None else self.kv_heads

    @property
    def layer_windows(self) -> list[int]:
        """The window of each layer."""
        pattern = [self.window] if self.windows is None else self.windows
        return [pattern[layer % len(pattern)] for layer in range(self.layers)]

    @property
    def num_mlp_channels(self) -> int:
        """mlp_width with its default resolved."""
        return math.ceil(8 * self.width / 96) * 32 if self.mlp_width is None else self.mlp_width


class OrderModel(nn.Module):
    """A sliding-window transformer over orders, with one of three heads.

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
        self.bins = bins
        self.vocabulary = math.prod(bins)
        if config.embedding == "orders":
            self.embedding = OrderEmbedding(config.width, bins, num_market, config.session)
        else:
            self.embedding = MarsEmbedding(config.width, bins, shares=config.embedding == "mars_shares")
        self.transformer = Transformer(
            config.width,
            config.layers,
            config.heads,
            config.num_kv_heads,
            config.num_mlp_channels,
            config.dropout,
        )
        self.head = build_head(config.head, config.width, bins, self.embedding)
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
        if self.config.embedding != "orders":
            return
        self.embedding.book.init_tables()
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
        config, length = self.config, token.shape[1]
        attends = window_attention(config.layer_windows, config.head_dim, length, token.device, segment)
        position = torch.arange(length, device=token.device)
        return self.transformer(self.embedding(token, market), position, attends)

    @torch.no_grad()
    def states(self, token: Tensor, market: Tensor) -> Tensor:
        """What `forward` gives, for histories of many lengths: nothing is compiled for each, as FlexAttention would be.

        Args:
            token: int64 [B, T].
            market: int [B, T, F].
        """
        attends = self._attends(token.shape[1], token.device)
        position = torch.arange(token.shape[1], device=token.device)
        return self.transformer(self.embedding(token, market), position, attends)

    def loss(self, hidden: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Weighted sum of the nats of next orders, to be minimised; never holds the logits of many positions.

        Args:
            hidden: [..., D].
            target: int64 [...].
            weight: [...], of any dtype, bool included.

        Returns:
            A scalar, in float32 or better; differentiable once.
        """
        return self.head.loss(hidden, target, weight)

    def nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Nats [...] of the next order's token, int64 [...], given hidden [..., D]."""
        return self.head.nll(hidden, target)

    def field_nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Nats [..., 4] of the next order's `FIELDS`, each given those before it; they add up to `nll`."""
        return self.head.field_nll(hidden, target)

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

        def attend_and_store(layer: int, attend: Attend) -> Attend:
            def attend_layer(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
                store(layer, k, v)
                return attend(q, k, v)

            return attend_layer

        attends = [attend_and_store(layer, attend) for layer, attend in enumerate(self._attends(T, token.device))]
        position = torch.arange(T, device=token.device)
        hidden = self.transformer(self.embedding(token, market), position, attends)
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
    def sample(
        self,
        hidden: Tensor,
        uniform: Tensor,
        sampling: Sampling = MODEL_DISTRIBUTION,
        types: Tensor | None = None,
    ) -> Tensor:
        """Draw the next order by inverse cumulative distributions.

        Args:
            hidden: [B, D].
            uniform: float32 or float64 [B, 4] in [0, 1); equal uniforms give equal orders.
            sampling: temperature, top-p and bins that are not drawn; the default draws from what the model learned.
            types: bool [B, types], those that each book may draw now, and at least one of those that `sampling` leaves;
                None: all of these. Of a book that may draw none, an order of type 0 comes all the same.

        Returns:
            Tokens, int64 [B], each below the vocabulary also where a book is not `healthy`.
        """
        return self.head.sample(hidden, uniform, sampling, types)

    @staticmethod
    def healthy(hidden: Tensor) -> Tensor:
        """Bool [B]: whether hidden states [B, D] are all finite, so that their draw means something.

        A state that is not makes logits that are not. As the last norm bounds the states, finite weights make finite
        logits of finite states. Nothing is read back to the host.
        """
        return hidden.isfinite().all(dim=-1)

    def _attends(self, length: int, device: torch.device) -> list[Attend]:
        """The attention of each layer in a history, without a kernel of its own."""
        attentions = {window: BandedAttention(window, length, device) for window in set(self.config.layer_windows)}
        return [attentions[window] for window in self.config.layer_windows]

    def new_cache(self, batch: int) -> RingCache:
        """An empty cache for this many books, on the model's device and in its dtype."""
        weight = self.transformer.norm.weight
        config = self.config
        return RingCache.empty(
            config.layer_windows,
            batch,
            config.num_kv_heads,
            config.head_dim,
            weight.device,
            weight.dtype,
        )

    def num_parameters(self) -> dict[str, int]:
        """Parameters of the parts and in total; each is counted once, tied tables in the embedding.

        Returns:
            `embedding`, `blocks` (with the final norm) and `head` add up to `total`. `non_embedding` is the count that
            compute goes by: the weights of matrix products, the head's included, without norms and lookup tables.
        """
        parts = {"embedding": self.embedding, "blocks": self.transformer, "head": self.head}
        counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
        products = sum(module.weight.numel() for module in self.modules() if isinstance(module, nn.Linear))
        tied = sum(table.weight.numel() for table in self.head.tied_tables)
        return counts | {"total": sum(counts.values()), "non_embedding": products + tied}

    def flops_per_token(self, sequence_length: int) -> float:
        """Floating-point operations of a training step (forward and backward) per order.

        6 * P + 12 * width * A (Chowdhery et al. 2022, appendix B), where P is `non_embedding` of `num_parameters` and
        A the mean number of orders that an order attends to, causally and within the window, added up over the
        layers. The backward pass costs twice the forward pass; recomputation is not counted.
        """
        return 3 * self.forward_flops_per_token(sequence_length)

    def forward_flops_per_token(self, sequence_length: int) -> float:
        """Floating-point operations of the forward pass per order: a third of `flops_per_token`."""
        attended = 0.0
        for window in self.config.layer_windows:
            full = min(sequence_length, window)
            attended += (full * (full + 1) / 2 + (sequence_length - full) * full) / sequence_length
        return self._flops(attended)

    def decode_flops_per_token(self) -> float:
        """Floating-point operations of one cached step per book, its rings read whole: 2 * P + 4 * width * windows."""
        return self._flops(sum(self.config.layer_windows))

    def _flops(self, attended: float) -> float:
        return 2 * self.num_parameters()["non_embedding"] + 4 * self.config.width * attended

    def kv_bytes(self, batch: int) -> int:
        """Bytes of keys and values that one decode step reads.

        2 * batch * kv_heads * head_dim * (sum of the layers' windows) numbers: whole rings, also while they fill.
        """
        return batch * self._kv_bytes_per_order() * sum(self.config.layer_windows)

    def bytes_per_step(self, batch: int) -> int:
        """Bytes that one decode step has to move, at least.

        P + s * R * batch * width + kv_bytes + w * layers * batch + s * batch * V, with P the bytes that all parameters
        but the wide tables that are only looked up are stored in (read once a step whatever the batch), s the bytes of
        a number of the rest, R the wide tables, of which each book reads one row, w the bytes of a slot, written in
        every layer, and V logits written (joint head only).
        """
        tied = {id(table) for table in self.head.tied_tables}
        width = self.config.width
        wide = [m for m in self.modules() if isinstance(m, nn.Embedding) and m.embedding_dim == width]
        tables = [m.weight for m in wide if id(m) not in tied]
        weights = sum(map(stored_bytes, self.parameters())) - sum(map(stored_bytes, tables))
        logits = self.vocabulary if self.config.head == "joint" else 0
        numbers = batch * (len(tables) * width + logits)
        written = batch * self.config.layers * self._kv_bytes_per_order()
        return weights + numbers * self.transformer.norm.weight.itemsize + self.kv_bytes(batch) + written

    def _kv_bytes_per_order(self) -> int:
        """Of one order's key and value in one layer."""
        return 2 * self.config.num_kv_heads * self.config.head_dim * self.transformer.norm.weight.itemsize


def stored_bytes(tensor: Tensor) -> int:
    """Bytes that a tensor is kept in: of a quantised one, those of its numbers and scales."""
    if not is_traceable_wrapper_subclass(tensor):
        return tensor.nbytes
    names, _ = tensor.__tensor_flatten__()
    return sum(stored_bytes(getattr(tensor, name)) for name in names)
