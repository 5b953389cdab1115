"""Released MarS files made up: an order model written down from its description in plain torch, and converters."""

import math
import pickle
import sys
import types
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
import zstandard
from safetensors.torch import save_file

WIDTH, LAYERS, HEADS, ORDERS = 16, 3, 2, 24
PRICES, VOLUMES, INTERVALS = 5, 4, 3
VOCABULARY = 3 * PRICES * VOLUMES * INTERVALS
SHAPE = {
    "emb_dim": WIDTH,
    "num_layers": LAYERS,
    "num_heads": HEADS,
    "num_bins_price_level": PRICES,
    "num_bins_pred_order_volume": VOLUMES,
    "num_bins_order_interval": INTERVALS,
    "num_max_orders": ORDERS,
}
METADATA = {name: str(value) for name, value in SHAPE.items()}


def released_tensors(shares=None, seed=0):
    """Random tensors under the released names; `shares` names the two tables of ratios."""
    info, layer = "order_info_tokenizer", "decoder.model.layers"
    shapes = {
        f"{info}.emb_order_type.weight": (3, WIDTH),
        f"{info}.emb_price_level.weight": (PRICES, WIDTH),
        f"{info}.emb_pred_order_volume.weight": (VOLUMES, WIDTH),
        f"{info}.emb_order_interval.weight": (INTERVALS, WIDTH),
        f"{info}.emb_chg_to_open.weight": (4001, WIDTH),
        f"{info}.emb_time_to_open.weight": (2881, WIDTH),
        f"{info}.lob_tokenizer.0.weight": (WIDTH, 10),
        f"{info}.lob_tokenizer.0.bias": (WIDTH,),
        f"{info}.lob_tokenizer.1.weight": (WIDTH,),
        f"{info}.lob_tokenizer.1.bias": (WIDTH,),
        "decoder.model.embed_tokens.weight": (VOCABULARY, WIDTH),
        "decoder.model.norm.weight": (WIDTH,),
        "decoder.lm_head.weight": (VOCABULARY, WIDTH),
        "linear_head.0.weight": (WIDTH,),
        "linear_head.0.bias": (WIDTH,),
        "linear_head.1.weight": (VOCABULARY, WIDTH),
        "linear_head.1.bias": (VOCABULARY,),
    }
    for i in range(LAYERS):
        shapes |= {f"{layer}.{i}.{name}.weight": (WIDTH,) for name in ("input_layernorm", "post_attention_layernorm")}
        shapes |= {f"{layer}.{i}.self_attn.{name}_proj.weight": (WIDTH, WIDTH) for name in "qkvo"}
        shapes |= {f"{layer}.{i}.mlp.{name}_proj.weight": (4 * WIDTH, WIDTH) for name in ("gate", "up")}
        shapes[f"{layer}.{i}.mlp.down_proj.weight"] = (WIDTH, 4 * WIDTH)
    shapes |= {key: (11, WIDTH) for key in shares or ()}
    generator = torch.Generator().manual_seed(seed)
    return {key: torch.randn(shape, generator=generator) * 0.4 for key, shape in shapes.items()}


def reference_logits(tensors, features, shares=None):
    """What the released model makes of features int [T, 15]."""
    info = "order_info_tokenizer."
    index = features[:, 0].long()
    x = tensors[info + "emb_order_type.weight"][index // (PRICES * VOLUMES * INTERVALS)]
    x = x + tensors[info + "emb_price_level.weight"][index // (VOLUMES * INTERVALS) % PRICES]
    x = x + tensors[info + "emb_pred_order_volume.weight"][index // INTERVALS % VOLUMES]
    x = x + tensors[info + "emb_order_interval.weight"][index % INTERVALS]
    x = x + tensors[info + "emb_chg_to_open.weight"][(features[:, 3].clip(-2000, 2000) + 2000).long()]
    x = x + tensors[info + "emb_time_to_open.weight"][(features[:, 4] // 5).long()]
    lob = features[:, 5:].float() @ tensors[info + "lob_tokenizer.0.weight"].T + tensors[info + "lob_tokenizer.0.bias"]
    scale, shift = tensors[info + "lob_tokenizer.1.weight"], tensors[info + "lob_tokenizer.1.bias"]
    x = x + F.layer_norm(lob, (WIDTH,), scale, shift, eps=1e-5)
    for column, key in enumerate(shares or (), start=1):
        x = x + tensors[key][features[:, column].long()]
    for i in range(LAYERS):
        weight = {
            key.removeprefix(f"decoder.model.layers.{i}.").removesuffix(".weight"): value
            for key, value in tensors.items()
            if key.startswith(f"decoder.model.layers.{i}.")
        }
        x = x + _attention(_rms(x, weight["input_layernorm"]), weight)
        y = _rms(x, weight["post_attention_layernorm"])
        y = F.silu(y @ weight["mlp.gate_proj"].T) * (y @ weight["mlp.up_proj"].T)
        x = x + y @ weight["mlp.down_proj"].T
    return _rms(x, tensors["decoder.model.norm.weight"]) @ tensors["decoder.lm_head.weight"].T


def _rms(x, scale):
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * scale


def _attention(x, weight):
    length, channels = len(x), WIDTH // HEADS
    q, k, v = ((x @ weight[f"self_attn.{name}_proj"].T).view(length, HEADS, channels).transpose(0, 1) for name in "qkv")
    half = channels // 2
    angle = torch.arange(length)[:, None] * 10_000.0 ** (-torch.arange(half) / half)
    cos, sin = torch.cat((angle, angle), -1).cos(), torch.cat((angle, angle), -1).sin()
    q, k = (z * cos + torch.cat((-z[..., half:], z[..., :half]), -1) * sin for z in (q, k))
    scores = q @ k.transpose(1, 2) / math.sqrt(channels)
    scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -torch.inf)
    return (scores.softmax(-1) @ v).transpose(0, 1).reshape(length, WIDTH) @ weight["self_attn.o_proj"].T


def random_features(count, seed=0):
    """Features int32 [count, T, 15] within the released ranges, the change beyond it too."""
    rng = np.random.default_rng(seed)
    columns = [rng.integers(0, VOCABULARY, (count, ORDERS))]
    columns += [rng.integers(0, 10, (count, ORDERS)) for _ in range(2)]
    columns += [rng.integers(-2100, 2101, (count, ORDERS)), rng.integers(0, 14_405, (count, ORDERS))]
    columns += [rng.integers(0, 8, (count, ORDERS)) for _ in range(10)]
    return torch.from_numpy(np.stack(columns, -1).astype(np.int32))


def write_release(folder, tensors, metadata=METADATA):
    """A safetensors file of released tensors."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.safetensors"
    save_file(tensors, path, metadata=metadata)
    return path


class BinConverter:
    """The released class's data; pickled under the released name."""

    def __init__(self, bins, values, probabilities):
        self.num_bins = len(values)
        self.bins = np.array(bins)
        self.bin_values = [np.array(v) for v in values]
        self.bin_probs = [np.array(p) for p in probabilities]

    def bin_of(self, value):
        """The released rule."""
        return min(max(int(np.digitize(value, self.bins, right=True)) - 1, 0), self.num_bins - 1)


def pickled(value, protocol=4):
    """As the release pickles: under its own module's name."""
    with _released_module():
        return pickle.dumps(value, protocol=protocol)


@contextmanager
def _released_module():
    name = "market_simulation.utils.bin_converter"
    own = BinConverter.__module__
    parents = [name.rsplit(".", depth)[0] for depth in (2, 1)]
    sys.modules |= {part: types.ModuleType(part) for part in (*parents, name)}
    sys.modules[name].BinConverter = BinConverter
    BinConverter.__module__ = name
    try:
        yield
    finally:
        BinConverter.__module__ = own
        for part in (*parents, name):
            del sys.modules[part]


def released_converters():
    """The five converters, small, by file name."""
    return {
        "price-level": BinConverter(
            [-1500, -301, -101, 0, 200, 1500],
            [[-1200, -400], [-300, -200], [-100], [100, 200], [300, 500, 700]],
            [[0.25, 0.75], [0.5, 0.5], [1.0], [0.5, 0.5], [0.5, 0.25, 0.25]],
        ),
        "order-volume": BinConverter(
            [0, 1, 150, 400, 5000], [[1], [100, 150], [200], [500]], [[1.0], [0.5, 0.5], [1.0], [1.0]]
        ),
        "pred-order-volume": BinConverter(
            [0, 1, 120, 300, 5000],
            [[1], [50, 100], [150, 200, 300], [400, 1000]],
            [[1.0], [0.5, 0.5], [0.2, 0.3, 0.5], [0.9, 0.1]],
        ),
        "order-interval": BinConverter(
            [-1.0, 0.0, 0.29, 30.5], [[0.0], [0.01, 0.1, 0.29], [0.5, 1.25]], [[1.0], [0.25, 0.25, 0.5], [0.75, 0.25]]
        ),
        "lob-volume": BinConverter(
            [0, 100, 300, 700, 1500, 100_000], [[50], [200], [500], [], [2000]], [[1.0], [1.0], [1.0], [], [1.0]]
        ),
    }


def write_converters(folder, converters=None, protocol=4):
    """The converters' folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, converter in (converters or released_converters()).items():
        write_compressed(folder / f"{name}.zstd", pickled(converter, protocol))
    return folder


def write_compressed(path, data):
    """One file in the released form."""
    path.write_bytes(zstandard.ZstdCompressor(level=8).compress(data))
    return path
