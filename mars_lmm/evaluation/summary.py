"""What `evaluation.json` says: what was simulated, how every source came out, and what to know before believing it."""

from __future__ import annotations

import csv
from pathlib import Path

from mars_lmm.data.errors import DataError
from mars_lmm.evaluation.activity import activity, fan
from mars_lmm.evaluation.facts.bootstrap import FEWEST_UNITS, START
from mars_lmm.evaluation.grid import MINUTE
from mars_lmm.evaluation.likelihood.validity import validity
from mars_lmm.evaluation.material import Material
from mars_lmm.evaluation.trajectories import REPLAY, SIMULATION, SimulationRun
from mars_lmm.simulation.engine.columns import PLANNED_ENDS

TABLE7_NUMBERS = ("overlap", "accuracy")


def summarize(
    material: Material, results: dict[str, dict | None], training: dict | None, commands: list[str], curves: dict | None
) -> dict:
    """The content of `evaluation.json`.

    Args:
        material: What was scored.
        results: The result of each task; None of one that was not done.
        training: What is known of the training run, if anything.
        commands: How to repeat it all.
        curves: Its loss curves, as `read_curves` gives them.

    Returns:
        `verdict`, the answers in short: `facts` and `order_flow` (`shown_by_replay`, and how many of these each source
        has in `agreed`) and `lob_bench` (as that task gives it). `sources`, a few numbers of each source. `simulation`,
        `training`, `notes`, `commands`. For the figures: `rates`, `curves`, `fan`, `activity`.
    """
    run = material.run
    orders = activity(run)
    return {
        "verdict": _verdict(results),
        "sources": {source: _source(run, source, results) for source in run.simulated},
        "simulation": _simulation(run),
        "training": training,
        "rates": orders["rates"],
        "notes": material.notes + _notes(run, results["facts"]),
        "commands": commands,
        "curves": curves,
        "fan": fan(run, material.bars),
        "activity": orders,
    }


def _verdict(results: dict[str, dict | None]) -> dict:
    facts, lob_bench = results["facts"], results["lob_bench"]
    return {
        "facts": _agreement(facts["comparison"]) if facts else None,
        "order_flow": _agreement(facts["order_flow"]["comparison"]) if facts else None,
        "lob_bench": lob_bench["verdict"] if lob_bench else None,
    }


def _agreement(comparison: dict) -> dict:
    return {key: comparison[key] for key in ("shown_by_replay", "agreed")}


def _source(run: SimulationRun, source: str, results: dict[str, dict | None]) -> dict:
    """Of each task that was done, a source's few main numbers."""
    facts, lob_bench, table7, likelihood = (results[task] for task in ("facts", "lob_bench", "table7", "likelihood"))
    found = {"rollouts": run.num_rollouts(source), "orders": len(run.orders[source]["time"])}
    if facts:
        found["facts"] = facts["comparison"]["agreed"][source]
        found["order_flow"] = facts["order_flow"]["comparison"]["agreed"][source]
    if lob_bench:
        found |= lob_bench["summary"][source]
        found["auc"] = lob_bench["tests"][source]["discriminator"]["auc"]
        found["divergence"] = lob_bench["tests"][source]["neighbours"]["divergence"]
    if table7:
        rows = table7["sources"][source]["rows"]
        for number in TABLE7_NUMBERS:
            known = [row[number]["value"] for row in rows if row[number]["value"] is not None]
            found[number] = sum(known) / len(known) if known else None
    if likelihood:
        bands = likelihood["calibration"][source]["price"]["coverage"]
        found["coverage"] = {band: found_["value"] for band, found_ in bands.items()}
        found["rejected"] = likelihood["validity"][source]["rejected"]
    return found


def _simulation(run: SimulationRun) -> dict:
    """What was simulated."""
    manifest = run.manifest
    sent = validity(run)
    return {
        "symbols": sorted({start["symbol"] for start in manifest["starts"]}),
        "dates": sorted({start["date"] for start in manifest["starts"]}),
        "starts": len(manifest["starts"]),
        "left_out": run.left_out,
        "rollouts": manifest["rollouts"],
        "minutes": manifest["horizon_ns"] / MINUTE,
        "tick_size": manifest["tick_size"],
        "seed": manifest["seed"],
        "checkpoint": manifest["checkpoint"],
        "orders": len(run.orders[SIMULATION]["time"]),
        "replay_orders": len(run.orders[REPLAY]["time"]),
        "orders_per_second": manifest["orders_per_second"],
        "seconds": manifest["seconds"],
        "rejected": sent["rejected"],
        "rejected_interval": sent["interval"],
        "rejected_by_reason": sent["by_reason"],
        "ended": manifest["ended"],
    }


def _notes(run: SimulationRun, facts: dict | None) -> list[str]:
    """What a reader has to know before believing the numbers."""
    notes = []
    if run.left_out:
        every = len(run.manifest["starts"]) + run.left_out
        notes.append(
            f"{run.left_out} of {every} starts are left out: nobody knows what really came after them, or on which "
            "day, or a break or the close falls into their minutes."
        )
    fitted = run.manifest.get("recalibration")  # simulations of older versions tell nothing of it
    if fitted:
        notes.append(
            f"The model's fields were fitted anew to the last orders before each start, {fitted:,} at most. Baselines "
            "that are not called recent know the training part alone."
        )
    if facts:
        notes += _notes_on_facts(run, facts["sources"][REPLAY])
    for source, manifest in run.simulated.items():
        cut_off = {reason: count for reason, count in manifest["ended"].items() if reason not in PLANNED_ENDS and count}
        if cut_off:
            reasons = ", ".join(f"{count} by {reason}" for reason, count in cut_off.items())
            notes.append(
                f"{source}: some rollouts ended before the horizon ({reasons}); their last prices are carried forward, "
                "which makes their returns too small."
            )
    return notes


def _notes_on_facts(run: SimulationRun, replay: dict) -> list[str]:
    notes = []
    if replay["units"] < FEWEST_UNITS:
        notes.append(
            f"There are {replay['units']} starts per symbol; with fewer than {FEWEST_UNITS} no interval is worth a "
            "verdict, so every fact says “cannot tell”. Simulate more starts."
        )
    elif replay["unit"] == START:
        notes.append(
            f"There are too few sessions to draw, so intervals come from {replay['units']} starts per symbol: they say "
            "what other starts of these sessions would show, not what other days would."
        )
    notes.append(
        f"The replay is one path per start, the simulation {run.manifest['rollouts']}, so the replay's intervals are "
        "wider. A fact that the replay cannot show on so few paths may still be a fact."
    )
    return notes


def read_curves(path: Path) -> dict[str, list[list[float]]]:
    """The loss curves of a CSV log, as pairs of step and nats.

    Raises:
        DataError: The file is missing or holds no validation loss.
    """
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError as error:
        raise DataError(path, "not found; it is the log of the training run") from error
    curves = {
        name: [[int(row["step"]), float(row[f"{name}/nats"])] for row in rows if row.get(f"{name}/nats")]
        for name in ("train", "validation")
    }
    if not curves["validation"]:
        raise DataError(path, "holds no values of validation/nats; train past the first validation")
    return curves
