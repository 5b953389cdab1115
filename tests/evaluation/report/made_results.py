"""Results of all tasks on made-up simulations and sequences, as their JSON files hold them."""

import json
from dataclasses import replace

import numpy as np
from fabricate import write_simulation, write_training
from sequence_laws import make_sequences

from mars_lmm.evaluation.activity import activity, fan, tails
from mars_lmm.evaluation.bars import minute_bars
from mars_lmm.evaluation.facts.comparison import compare
from mars_lmm.evaluation.facts.eleven import judge
from mars_lmm.evaluation.facts.order_flow import ORDER_FLOW_FACTS, judge_order_flow
from mars_lmm.evaluation.facts.order_panel import OrderPanel
from mars_lmm.evaluation.facts.panel import panels
from mars_lmm.evaluation.likelihood.calibration import calibration
from mars_lmm.evaluation.likelihood.validity import validity
from mars_lmm.evaluation.lob_bench.benchmark import benchmark
from mars_lmm.evaluation.plain import dumps
from mars_lmm.evaluation.summary import read_curves
from mars_lmm.evaluation.table7.table import table7
from mars_lmm.evaluation.tasks.lob_bench import over_symbols, verdict
from mars_lmm.evaluation.trajectories import SimulationRun

RIVAL = "Cont-Stoikov-Talreja"
SOURCES = ("Simulation", RIVAL)


def as_read(result):
    """As a JSON file gives it back."""
    return json.loads(dumps(result))


def made_results(folder, starts=6, rollouts=3, minutes=8, messages=350, symbols=("AAPL", "MSFT")):
    """`evaluation`, `facts`, `lob_bench`, `table7`, `likelihood`, in this order."""
    write_simulation(folder / "simulation", starts=starts, rollouts=rollouts, minutes=minutes)
    write_simulation(folder / "rival", starts=starts, rollouts=rollouts, minutes=minutes, clustering=0.1, seed=1)
    run = SimulationRun.read(folder / "simulation").beside(RIVAL, folder / "rival")
    write_training(folder)
    training = json.loads((folder / "training.json").read_text())
    return tuple(
        as_read(result)
        for result in (
            _evaluation(run, training, read_curves(folder / "metrics.csv")),
            _facts(run),
            _lob_bench(starts, messages, symbols),
            {"sources": {source: table7(run, source) for source in SOURCES}},
            {
                "orders": _likelihood(),
                "calibration": {source: calibration(run, source) for source in SOURCES},
                "validity": {source: validity(run, source) for source in SOURCES},
            },
        )
    )


def _evaluation(run, training, curves):
    manifest = run.manifest
    orders = activity(run)
    sent = validity(run)
    return {
        "simulation": {
            **{name: manifest[name] for name in ("rollouts", "seed", "checkpoint", "orders", "seconds", "ended")},
            "orders_per_second": manifest["orders_per_second"],
            "symbols": ["AAPL"],
            "dates": ["2012-06-21"],
            "starts": len(manifest["starts"]),
            "minutes": manifest["horizon_ns"] / 60e9,
            "replay_orders": 4321,
            "rejected": sent["rejected"],
            "rejected_interval": sent["interval"],
            "rejected_by_reason": sent["by_reason"],
        },
        "sources": {source: {"rollouts": manifest["rollouts"], "orders": manifest["orders"]} for source in SOURCES},
        "training": training,
        "curves": curves,
        "rates": orders["rates"],
        "notes": ["A note."],
        "commands": ["python evaluate.py run=outputs/demo"],
        "fan": fan(run, minute_bars(run)),
        "activity": orders,
    }


def _facts(run):
    found = panels(minute_bars(run))
    found = {source: found[source] for source in run.orders}
    returns = {source: judge(panel) for source, panel in found.items()}
    flow = {source: judge_order_flow(OrderPanel.from_run(run, source)) for source in run.orders}
    return {
        "comparison": compare(returns),
        "sources": _rest(returns),
        "tails": tails(found),
        "order_flow": {"comparison": compare(flow, ORDER_FLOW_FACTS), "sources": _rest(flow)},
    }


def _rest(judgements):
    return {
        source: {"paths": one.num_paths, "unit": one.unit, "units": one.num_units, "curves": one.curves}
        for source, one in judgements.items()
    }


def _lob_bench(starts, messages, symbols):
    found, floors = {}, []
    summaries, replicates = {source: [] for source in SOURCES}, {source: [] for source in SOURCES}
    for seed, symbol in enumerate(symbols):
        real = make_sequences(starts, messages=messages, seed=seed)
        generated = {
            "Simulation": make_sequences(starts, 2, messages, seed=seed + 10, persistence=0.55),
            RIVAL: make_sequences(starts, 4, messages, seed=seed + 20, persistence=0.1, typical_size=400.0),
        }
        # Four fifths of all sizes at the ask are equal: no width for a bin.
        sequences = generated[RIVAL]
        book = sequences.book.copy()
        book[:, :, 1] = real.book[:, :, 1].max()
        generated[RIVAL] = replace(sequences, book=book)
        entry = benchmark(real, generated, replicates=9)
        even = np.arange(starts) % 2 == 0
        entry["floor"] = None
        if starts > 1:
            entry["floor"] = benchmark(real.select(even), {"": real.select(~even)}, replicates=9)["models"][""]
            floors.append(entry["floor"]["summary"]["all_24"])
        for source in SOURCES:
            summaries[source].append(entry["models"][source]["summary"]["all_24"])
            replicates[source].append(entry["models"][source].pop("l1_replicates"))
        found[symbol] = entry
    summary = {source: over_symbols(all_symbols) for source, all_symbols in summaries.items()}
    return {
        "symbols": found,
        "summary": summary,
        "floor": over_symbols(floors) if floors else None,
        "tests": {source: _two_samples(starts, value) for source, value in zip(SOURCES, (0.61, 0.93), strict=True)},
        "verdict": verdict(summary, replicates),
        "notes": [],
        "replicates": 9,
        "seed": 0,
    }


def _two_samples(starts, value):
    """What both tests would say; they take long."""
    few = starts < 6
    known = {"low": value - 0.05, "high": value + 0.05, "control_low": 0.4, "control_high": 0.6}
    found = {
        "discriminator": {"auc": value, "control_auc": 0.51} | known,
        "neighbours": {"divergence": value, "control": 0.02} | known,
    }
    rests = {"starts": starts, "groups": starts, "reason": "there are too few starts" if few else None, "windows": 240}
    return {
        name: {key: None if few else number for key, number in numbers.items()} | rests | {"window_messages": 64}
        for name, numbers in found.items()
    }


def _about(value):
    return {"value": value, "low": value - 0.125, "high": value + 0.125}


def _likelihood():
    return {
        "nats": _about(5.6523),
        "bits": _about(8.1547),
        "bits_by_field": {name: _about(2.0387) for name in ("type", "price", "size", "interval")},
        "baselines": {
            "unigram": {"nats": _about(7.3119), "gain": _about(1.6596)},
            "bigram": {"nats": _about(6.4242), "gain": _about(0.7719)},
        },
        "orders": 54321,
        "rows": 20,
        "rows_left_out": 3,
        "units": 20,
        "unit": "session",
        "seconds": 1.0,
    }
