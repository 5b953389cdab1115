"""The model card: what is known of an exported model, what it must not be used for, and how to use it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jinja2

MAX_NAMED = 12
"""Symbols that the card names; of more it gives the number."""
TOKENS_PER_PARAMETER = 20
"""Of compute-optimal language models, roughly (Hoffmann et al. 2022)."""
SYNTHETIC = "synthetic"


def render(config: Mapping[str, Any], checkpoint: str) -> str:
    """Fill the card.

    Args:
        config: The content of an exported `config.json`.
        checkpoint: Name of the file that was exported.

    Returns:
        Markdown.
    """
    run, scores = config["run"], config["scores"]
    text = _ENVIRONMENT.get_template("card.md.jinja").render(
        name=run["config"].get("name", checkpoint),
        checkpoint=checkpoint,
        config=config,
        run=run,
        data=run.get("data"),
        validation=run.get("validation"),
        scores=scores,
        evaluation=scores and scores.get("evaluation"),
        synthetic=SYNTHETIC,
        tokens=math.prod(config["bins"].values()),
        limits=list(limits(config)),
        provenance=list(
            _flat({"seed": run["config"].get("seed"), **run.get("imported", {}), **run.get("provenance", {})})
        ),
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def limits(config: Mapping[str, Any]) -> Iterator[str]:
    """What the data and the scores say against relying on the model, a sentence or two each."""
    run, scores = config["run"], config["scores"]
    data, validation = run.get("data"), run.get("validation")
    if data is None:
        yield "What it was trained on is not recorded in its checkpoint."
    else:
        yield from _limits_of_data(data, run["cutoff"], config["parameters"]["total"])
    if validation is None and scores is None:
        yield "Nothing is known of its loss on held-out orders."
    if scores:
        reached = validation["nats"] if validation else scores["nats"]
        if better := [f"{name} ({nats:.3f})" for name, nats in scores["baselines"].items() if nats <= reached]:
            yield f"It does not beat counting: {', '.join(better)} against its {reached:.3f} nats per order."
    if not (scores and "evaluation" in scores):
        yield "Its rollouts have not been scored: how real the markets are that it makes is not known."
    if "bfloat16" in config["dtype"]:
        yield "The weights are rounded to bfloat16; the scores are those of the run, in the precision of its training."


def _limits_of_data(data: Mapping[str, Any], cutoff: Mapping[str, str], parameters: int) -> Iterator[str]:
    if set(data["feeds"]) == {SYNTHETIC}:
        yield "Its market is made up by a program. It has seen no real order, and says nothing of any real market."
    if len(data["symbols"]) == 1:
        yield f"It knows one instrument, {data['symbols'][0]}; tick, sizes and rhythm of another are foreign to it."
    if len(data["days"]) == 1:
        yield f"It knows one day, {data['days'][0]}; nothing says how it does on another."
    if cutoff["kind"] == "time":
        yield (
            f"Training and validation share their days: it is validated from {cutoff['value']} on, on days whose "
            "earlier hours it was trained on."
        )
    ratio = data["orders"]["train"] / parameters
    if ratio < TOKENS_PER_PARAMETER:
        yield (
            f"It was trained on {ratio:.2g} different orders a parameter; language models that use their compute "
            f"best see about {TOKENS_PER_PARAMETER} tokens (Hoffmann et al. 2022)."
        )


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values, each with its path."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value not in (None, "", []):
            yield f"{prefix}{name}", value


def _named(values: list[str]) -> str:
    """Values in words: all of a few, else how many and the ends."""
    if len(values) <= MAX_NAMED:
        return ", ".join(values)
    return f"{len(values):,}, {values[0]} to {values[-1]}"


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("mars_lmm.models", "."),
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=jinja2.StrictUndefined,
)
_ENVIRONMENT.filters |= {
    "count": "{:,}".format,
    "three": "{:.3f}".format,
    "bits": lambda nats: f"{nats / math.log(2):.3f}",
    "nats_of_bits": lambda bits: f"{bits * math.log(2):.3f}",
    "percent": lambda share: f"{100 * share:.3g} %",
    "named": _named,
    "number": "{:,.4g}".format,
}
