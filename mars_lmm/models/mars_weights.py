"""A released MarS order model's tensors as the weights of our order model.

RMSNorm's epsilon, RoPE's base and its pairs of channels are LLaMA's, and ours.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mars_lmm.models import mars_layout as layout
from mars_lmm.models.order_model import OrderModelConfig
from mars_lmm.tokenizers.coding import NUM_TYPES

DTYPES = {"F32", "F16", "BF16"}
CONFIG = "config.json"

# The names of the shape in a file's metadata, or in the config.json beside it.
_SHAPE = ("emb_dim", "num_layers", "num_bins_price_level", "num_bins_pred_order_volume", "num_bins_order_interval")
_HEADS, _WINDOW = "num_heads", "num_max_orders"


@dataclass(frozen=True)
class MarsOptions:
    """What a file may leave open.

    Attributes:
        heads: Attention heads; None: as the file says.
        window: Orders that the model reads; None: as the file says.
        size_share_key: Name of the table of an order's share in the volume at its price; None: one of
            `mars_layout.SIZE_SHARE_KEYS`.
        filled_share_key: Name of the table of how much of it traded; None: one of
            `mars_layout.FILLED_SHARE_KEYS`.
    """

    heads: int | None = None
    window: int | None = None
    size_share_key: str | None = None
    filled_share_key: str | None = None


@dataclass(frozen=True)
class MarsWeights:
    """A released model in our terms.

    Attributes:
        config: Shape of our model.
        bins: Numbers of types, prices, sizes and intervals.
        weights: float32 tensors of our model by name.
        parameters: Numbers in the source.
        unused: Tensors of the source that the forward pass does not use.
    """

    config: OrderModelConfig
    bins: tuple[int, int, int, int]
    weights: dict[str, Tensor]
    parameters: int
    unused: list[str]


def read_mars_weights(path: Path, options: MarsOptions) -> MarsWeights:
    """Read a released order model.

    Args:
        path: Its safetensors file. What the tensors do not tell of the shape comes from the file's metadata, the
            config.json beside it, or the options.
        options: What they leave open.

    Raises:
        ValueError: It is no such file; tensors are missing, unknown, or of another shape or dtype (the message lists
            all); or the shape is not told, or told in two ways.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return _read(file, path, options)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error


def _read(file: safe_open, path: Path, options: MarsOptions) -> MarsWeights:
    keys = set(file.keys())
    slices = {key: file.get_slice(key) for key in keys}
    shapes = {key: tuple(part.get_shape()) for key, part in slices.items()}
    layers = layout.count_layers(keys)
    sources = layout.sources(layers)
    shares = _find_shares(keys, options)
    sources |= shares
    unused = layout.unused()
    expected_keys = {key for parts in sources.values() for key in parts} | set(unused)
    _check_keys(path, keys, expected_keys, bool(shares))

    sizes = layout.sizes_of(shapes)
    faults = [
        f"{key} is {list(shapes[key])} instead of {list(shape)}"
        for key, shape in sorted(layout.expected_shapes(sizes, layers, shares).items())
        if shapes[key] != shape
    ]
    dtypes = {key: part.get_dtype() for key, part in slices.items()}
    faults += [
        f"{key} is {dtype}, not {', '.join(sorted(DTYPES))}"
        for key, dtype in sorted(dtypes.items())
        if dtype not in DTYPES
    ]
    if faults:
        raise ValueError(f"{path} does not fit a released order model: {'; '.join(faults)}")

    heads, window = _heads_and_window(path, file.metadata() or {}, sizes, layers, options)
    config = OrderModelConfig(
        width=sizes["width"],
        layers=layers,
        heads=heads,
        window=window,
        mlp_width=sizes["mlp"],
        embedding="mars_shares" if shares else "mars",
    )
    weights = {name: torch.cat([file.get_tensor(key).float() for key in parts]) for name, parts in sources.items()}
    bins = (NUM_TYPES, sizes["prices"], sizes["sizes"], sizes["intervals"])
    parameters = sum(torch.Size(shape).numel() for shape in shapes.values())
    return MarsWeights(config, bins, weights, parameters, sorted(unused))


def _find_shares(keys: set[str], options: MarsOptions) -> dict[str, tuple[str, ...]]:
    """Where the tables of shares are, if the file has any."""
    shares = {}
    for name, known, given in (
        ("size_share", layout.SIZE_SHARE_KEYS, options.size_share_key),
        ("filled_share", layout.FILLED_SHARE_KEYS, options.filled_share_key),
    ):
        found = [given] if given else [key for key in known if key in keys]
        if found:
            shares[f"embedding.{name}.weight"] = (found[0],)
    if len(shares) == 1:
        # With one of them, the other is missing.
        shares.setdefault("embedding.size_share.weight", layout.SIZE_SHARE_KEYS[:1])
        shares.setdefault("embedding.filled_share.weight", layout.FILLED_SHARE_KEYS[:1])
    return shares


def _check_keys(path: Path, keys: set[str], expected: set[str], has_shares: bool) -> None:
    missing, unknown = sorted(expected - keys), sorted(keys - expected)
    if not missing and not unknown:
        return
    told = [f"{what}: {', '.join(names)}" for what, names in (("missing", missing), ("unknown", unknown)) if names]
    advice = ""
    if any(key.startswith(layout.ORDER) for key in unknown) and not has_shares:
        advice = (
            ". If two of the unknown ones are the tables of the volume and the trade ratio, name them with "
            "--volume-ratio-key and --trans-ratio-key"
        )
    raise ValueError(f"{path} is not a released order model as this program knows it; {'; '.join(told)}{advice}")


def _heads_and_window(
    path: Path, metadata: dict[str, str], sizes: dict[str, int], layers: int, options: MarsOptions
) -> tuple[int, int]:
    """What no tensor tells; what is told is checked against the tensors."""
    told = _told(path.with_name(CONFIG)) | _numbers(metadata)
    actual = zip(_SHAPE, (sizes["width"], layers, sizes["prices"], sizes["sizes"], sizes["intervals"]), strict=True)
    faults = [
        f"{name} is {told[name]}, the tensors say {size}" for name, size in actual if told.get(name, size) != size
    ]
    given = {_HEADS: options.heads, _WINDOW: options.window}
    for name, option in (("--heads", _HEADS), ("--window", _WINDOW)):
        if given[option] is None and option not in told:
            faults.append(f"it does not tell {option}: give {name}")
        elif None not in (given[option], told.get(option)) and given[option] != told[option]:
            faults.append(f"it says that {option} is {told[option]}, {name} says {given[option]}")
    if faults:
        raise ValueError(f"the shape of {path} is not clear: {'; '.join(faults)}")
    heads, window = (told[name] if given[name] is None else given[name] for name in (_HEADS, _WINDOW))
    return heads, window


def _told(path: Path) -> dict[str, int]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    return _numbers(content if isinstance(content, dict) else {})


def _numbers(values: dict) -> dict[str, int]:
    return {
        name: int(values[name])
        for name in (*_SHAPE, _HEADS, _WINDOW)
        if isinstance(values.get(name), int | str) and str(values[name]).isdecimal()
    }
