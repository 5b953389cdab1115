"""`python -m mars_lmm.models.sizes`: the models of `conf/model` with their counts, as a Markdown table."""

from pathlib import Path

import torch
import yaml

from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.paths import CONF

LADDER = ("2m", "5m", "10m", "19m", "44m", "107m", "221m", "1b")
"""The configs of the scaling ladder, each named by its total number of parameters."""


def names() -> list[str]:
    """The models of `conf/model`."""
    return sorted(path.stem for path in Path(CONF, "model").glob("*.yaml"))


def read_config(size: str) -> OrderModelConfig:
    """The model config of that name."""
    return OrderModelConfig(**yaml.safe_load(Path(CONF, "model", f"{size}.yaml").read_text()))


def build_on_meta(config: OrderModelConfig) -> OrderModel:
    """A model that takes no memory, over the tokens of the default tokenizer: enough to count."""
    with torch.device("meta"):
        return OrderModel(config)


def table() -> str:
    """One row a model, in the ladder's order."""
    columns = (
        "model", "width", "layers", "heads", "window", "head",
        "embedding", "blocks", "head parameters", "total", "non-embedding",
        "FLOPs per token, training", "decoding", "KV bytes per book",
    )  # fmt: skip
    lines = [columns, ["---"] * len(columns)]
    for size in (*LADDER, "default", "small", "tiny"):
        config = read_config(size)
        model = build_on_meta(config)
        counts = model.num_parameters()
        shape = (config.width, config.layers, config.heads, config.window, config.head)
        numbers = [f"{counts[name]:,}" for name in ("embedding", "blocks", "head", "total", "non_embedding")]
        flops = (model.flops_per_token(config.window), model.decode_flops_per_token())
        lines.append([size, *shape, *numbers, *(f"{count:.3g}" for count in flops), f"{model.kv_bytes(1):,}"])
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


if __name__ == "__main__":
    print(table())
