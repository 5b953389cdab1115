"""The table of a ladder's runs, read from the `metrics.json` that each of them wrote."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from mars_lmm.data.prepared import TRAIN, PreparedSet
from mars_lmm.training.fit import METRICS
from mars_lmm.training.scaling.plan import Cell
from mars_lmm.whole_files import write_text


def read_row(cell: Cell, folder: Path, prepared: PreparedSet) -> dict[str, Any]:
    """What a finished run says of itself.

    Args:
        cell: The run.
        folder: Its folder.
        prepared: The data.

    Returns:
        Plain values. `nats` is that of the last validation, at the end of the decay, not the best one.
    """
    metrics = json.loads((folder / METRICS).read_text())
    orders = metrics["orders_seen"]
    unique = prepared.splits[TRAIN]["orders"]
    return {
        "cell": cell.name,
        "size": cell.size,
        "budget": cell.budget,
        "seed": cell.seed,
        **metrics["parameters"],
        "orders": orders,
        "unique_orders": min(orders, unique),
        "epochs": orders / unique,
        "steps": metrics["step"],
        "batch_orders": metrics["batch_orders"],
        "learning_rate": metrics["learning_rate"],
        "flops": metrics["flops"],
        "nats": metrics["final_validation_nats"],
        "seconds": metrics["seconds"],
        "data_fingerprint": metrics["data_fingerprint"],
    }


def write_table(rows: list[dict[str, Any]], folder: Path) -> None:
    """Write `runs.csv` and `runs.json`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / "runs.csv", text.getvalue())
    write_text(folder / "runs.json", json.dumps(rows, indent=1) + "\n")
