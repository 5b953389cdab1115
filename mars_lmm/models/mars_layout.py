"""Names and shapes of the tensors of a released MarS order model.

The released class (market_simulation.models.order_model.OrderModel) is an order embedding, a transformers
LlamaForCausalLM whose own input table is never looked up, and a second head that its forward pass does not use.
"""

from __future__ import annotations

from mars_lmm.models.mars_embedding import NUM_SHARES, SECONDS_PER_ROW
from mars_lmm.tokenizers import mars_coding as m
from mars_lmm.tokenizers.coding import NUM_TYPES
from mars_lmm.tokenizers.observation import MAX_CHANGE

ORDER, _DECODER, _HEAD = "order_info_tokenizer", "decoder", "linear_head"
_LAYER = f"{_DECODER}.model.layers"

# What the tables of shares may be called. No published description of a checkpoint names them; these follow the names
# of the other tables, and of the features in the released code.
SIZE_SHARE_KEYS = tuple(f"{ORDER}.emb_{name}.weight" for name in ("volume_ratio", "order_volume_ratio", "vol_ratio"))
FILLED_SHARE_KEYS = tuple(
    f"{ORDER}.emb_{name}.weight" for name in ("trans_ratio", "order_trans_ratio", "transaction_ratio")
)


def count_layers(keys: set[str]) -> int:
    """Layers without a gap, at least 1."""
    layers = 0
    while any(key.startswith(f"{_LAYER}.{layers}.") for key in keys):
        layers += 1
    return max(layers, 1)


def sources(layers: int) -> dict[str, tuple[str, ...]]:
    """Our tensors by name, each with the source's that it is made of, one below the other."""
    tensors = {
        "embedding.kind.weight": (f"{ORDER}.emb_order_type.weight",),
        "embedding.price.weight": (f"{ORDER}.emb_price_level.weight",),
        "embedding.size.weight": (f"{ORDER}.emb_pred_order_volume.weight",),
        "embedding.interval.weight": (f"{ORDER}.emb_order_interval.weight",),
        "embedding.change.weight": (f"{ORDER}.emb_chg_to_open.weight",),
        "embedding.time.weight": (f"{ORDER}.emb_time_to_open.weight",),
        "embedding.book.weight": (f"{ORDER}.lob_tokenizer.0.weight",),
        "embedding.book.bias": (f"{ORDER}.lob_tokenizer.0.bias",),
        "embedding.book_norm.weight": (f"{ORDER}.lob_tokenizer.1.weight",),
        "embedding.book_norm.bias": (f"{ORDER}.lob_tokenizer.1.bias",),
        "transformer.norm.weight": (f"{_DECODER}.model.norm.weight",),
        "head.proj.weight": (f"{_DECODER}.lm_head.weight",),
    }
    parts = {
        "attention_norm": ("input_layernorm",),
        "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "attention.out": ("self_attn.o_proj",),
        "mlp_norm": ("post_attention_layernorm",),
        "mlp.gate_up": ("mlp.gate_proj", "mlp.up_proj"),
        "mlp.down": ("mlp.down_proj",),
    }
    for layer in range(layers):
        for name, below in parts.items():
            tensors[f"transformer.blocks.{layer}.{name}.weight"] = tuple(
                f"{_LAYER}.{layer}.{part}.weight" for part in below
            )
    return tensors


def unused() -> list[str]:
    """Tensors that the forward pass does not use."""
    head = [f"{_HEAD}.{part}.{name}" for part in (0, 1) for name in ("weight", "bias")]
    return [f"{_DECODER}.model.embed_tokens.weight", *head]


def sizes_of(shapes: dict[str, tuple[int, ...]]) -> dict[str, int]:
    """The sizes that tensors tell, each from one of them."""
    tables = {"prices": "price_level", "sizes": "pred_order_volume", "intervals": "order_interval"}
    sizes = {name: (shapes[f"{ORDER}.emb_{table}.weight"] or (0,))[0] for name, table in tables.items()}
    sizes["width"] = (shapes[f"{ORDER}.emb_price_level.weight"] or (0,))[-1]
    sizes["mlp"] = (shapes[f"{_LAYER}.0.mlp.gate_proj.weight"] or (0,))[0]
    return sizes


def expected_shapes(
    sizes: dict[str, int], layers: int, shares: dict[str, tuple[str, ...]]
) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors."""
    width, mlp = sizes["width"], sizes["mlp"]
    vocabulary = NUM_TYPES * sizes["prices"] * sizes["sizes"] * sizes["intervals"]
    rows = {
        "emb_order_type": NUM_TYPES,
        "emb_price_level": sizes["prices"],
        "emb_pred_order_volume": sizes["sizes"],
        "emb_order_interval": sizes["intervals"],
        "emb_chg_to_open": 2 * MAX_CHANGE + 1,
        "emb_time_to_open": m.MAX_SECONDS // SECONDS_PER_ROW + 1,
    }
    shapes = {f"{ORDER}.{name}.weight": (count, width) for name, count in rows.items()}
    shapes |= {key: (NUM_SHARES, width) for (key,) in shares.values()}
    shapes |= {
        f"{ORDER}.lob_tokenizer.0.weight": (width, m.NUM_BOOK_PRICES),
        f"{ORDER}.lob_tokenizer.0.bias": (width,),
        f"{ORDER}.lob_tokenizer.1.weight": (width,),
        f"{ORDER}.lob_tokenizer.1.bias": (width,),
        f"{_DECODER}.model.embed_tokens.weight": (vocabulary, width),
        f"{_DECODER}.model.norm.weight": (width,),
        f"{_DECODER}.lm_head.weight": (vocabulary, width),
        f"{_HEAD}.0.weight": (width,),
        f"{_HEAD}.0.bias": (width,),
        f"{_HEAD}.1.weight": (vocabulary, width),
        f"{_HEAD}.1.bias": (vocabulary,),
    }
    block = {
        "input_layernorm": (width,),
        "post_attention_layernorm": (width,),
        **{f"self_attn.{name}_proj": (width, width) for name in "qkvo"},
        **{f"mlp.{name}_proj": (mlp, width) for name in ("gate", "up")},
        "mlp.down_proj": (width, mlp),
    }
    for layer in range(layers):
        shapes |= {f"{_LAYER}.{layer}.{name}.weight": shape for name, shape in block.items()}
    return shapes
