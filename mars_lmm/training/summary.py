"""What a finished run tells the steps after it: its data, its scores and where its curves are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mars_lmm.data.prepared import PreparedSet
from mars_lmm.training.baselines import score_baselines
from mars_lmm.training.curves import join_curves
from mars_lmm.training.identity import describe_data


def summarize(
    folder: Path, prepared: PreparedSet, config: dict[str, Any], metrics: dict[str, Any], command: str
) -> dict[str, Any]:
    """Join the run's logged curves into one file and describe the run.

    Args:
        folder: The run folder.
        prepared: The data that it was trained on.
        config: The resolved run config.
        metrics: What `train` returned.
        command: The command line that repeats it.
    """
    join_curves(folder)
    data = describe_data(prepared)
    first, last = data["days"][0], data["days"][-1]
    days = first if first == last else f"{first} to {last}"
    return {
        "nats": metrics["validation_nats"],
        "baselines": score_baselines(prepared),
        "model": config["model"],
        "parameters": metrics["parameters"],
        "seconds": metrics["seconds"],
        "orders": data["orders"],
        "data": f"{', '.join(data['symbols'])}, {days}, trained before {prepared.cutoff['value']}",
        "prepared": prepared.address,
        "commands": [command],
    }
