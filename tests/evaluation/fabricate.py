"""A seeded simulation folder with the shape of a real one: random-walk mid-prices and orders around them."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mars_lmm.market.types import BUY, CANCEL, CANCEL_AT, LIMIT, SELL

MINUTE = 60 * 10**9
HOUR = 60 * MINUTE


def write_simulation(folder, starts=6, rollouts=8, minutes=12, seed=0, orders_per_minute=60, clustering=0.6):
    """Write `simulation.json`, `rollouts.parquet` and `replay.parquet`; returns the manifest."""
    generator = np.random.default_rng(seed)
    begins = [
        {
            "start": number,
            "symbol": "AAPL",
            "date": "2012-06-21",
            "time_ns": int(10 * HOUR + number * (minutes + 5) * MINUTE),
            "end_ns": int(10 * HOUR + number * (minutes + 5) * MINUTE + minutes * MINUTE),
            "recorded": True,
            "tick_size": 0.01,
            "bid": 58_500 + 40 * number,
            "ask": 58_503 + 40 * number,
            "last_price": 58_501 + 40 * number,
        }
        for number in range(starts)
    ]
    replay = [_orders(generator, b, 0, minutes, orders_per_minute, 2.0, clustering, CANCEL) for b in begins]
    simulated = [
        _orders(generator, b, rollout, minutes, 1.2 * orders_per_minute, 1.6, clustering / 2, CANCEL_AT)
        for b in begins
        for rollout in range(rollouts)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.concat_tables(replay), folder / "replay.parquet")
    rows = pa.concat_tables(simulated)
    rejected = {"nothing_to_cancel": len(rows) // 90, "bad_price": len(rows) // 900}
    share = np.bincount(np.arange(sum(rejected.values())) * 7 % starts, minlength=starts).tolist()
    begins = [begin | {"rejected": count, "rejected_agents": 0} for begin, count in zip(begins, share, strict=True)]
    pq.write_table(rows, folder / "rollouts.parquet")
    manifest = {
        "symbol": "AAPL",
        "date": "2012-06-21",
        "tick_size": 0.01,
        "checkpoint": "outputs/demo/checkpoints/best.ckpt",
        "command": "python simulate.py run=outputs/demo",
        "seed": seed,
        "horizon_ns": minutes * MINUTE,
        "rollouts": rollouts,
        "starts": begins,
        "orders": len(rows),
        "by_kind": {"model": {"limit": len(rows)}},
        "orders_per_second": 5_432.1,
        "rejected": rejected,
        "ended": {"horizon": starts * rollouts, "orders": 0},
        "seconds": len(rows) / 5_432.1,
    }
    (folder / "simulation.json").write_text(json.dumps(manifest))
    return manifest


def _orders(generator, start, rollout, minutes, orders_per_minute, tick_step, clustering, cancel_kind):
    num_orders = max(generator.poisson(minutes * orders_per_minute), 1)
    wait = generator.gamma(0.35, size=num_orders + 1)
    time = start["time_ns"] + (np.cumsum(wait)[:-1] / wait.sum() * minutes * MINUTE).astype(np.int64)
    # A slowly moving log volatility makes absolute returns cluster.
    volatility = np.cumsum(generator.standard_normal(num_orders)) * clustering / np.sqrt(orders_per_minute)
    step = generator.standard_t(4, num_orders) * tick_step * np.exp(np.clip(volatility, -2, 2)) / 3
    mid = start["bid"] + np.cumsum(step)
    half_spread = 1 + generator.geometric(0.4 if cancel_kind == CANCEL else 0.33, num_orders) // 2
    bid, ask = np.floor(mid - half_spread), np.ceil(mid + half_spread)
    action = generator.choice(3, num_orders, p=(0.5, 0.1, 0.4))  # rests, trades, cancels
    side = generator.choice((SELL, BUY), num_orders)
    size = np.where(generator.random(num_orders) < 0.6, 100, generator.geometric(0.01, num_orders))
    price = np.where(side == BUY, np.where(action == 1, ask, bid), np.where(action == 1, bid, ask))
    filled = np.where(action == 1, size, 0)
    traded = np.where(action == 1, np.arange(num_orders), -1)
    latest = np.maximum.accumulate(traded)
    last_price = np.where(latest >= 0, price[latest], start["last_price"])
    number = np.int32
    return pa.table(
        {
            "start": np.full(num_orders, start["start"], number),
            "rollout": np.full(num_orders, rollout, number),
            "step": np.arange(num_orders, dtype=number),
            "time": time,
            "kind": np.where(action == 2, cancel_kind, LIMIT).astype(np.int8),
            "side": side.astype(np.int8),
            "price": price.astype(number),
            "size": size.astype(number),
            "filled": filled.astype(number),
            "fill_value": (filled * price).astype(np.int64),
            "last_price": last_price.astype(number),
            "bid": bid.astype(number),
            "ask": ask.astype(number),
            "bid_size": np.full(num_orders, 300, number),
            "ask_size": np.full(num_orders, 300, number),
            "source": np.zeros(num_orders, np.int16),
            "order_id": np.zeros(num_orders, np.int64),
        }
    )


def write_training(folder, steps=2000):
    """Write what a training run leaves for a report: its log, and what is known of it."""
    generator = np.random.default_rng(0)
    lines = ["step,epoch,train/nats,validation/nats"]
    for step in range(9, steps, 10):
        nats = 5.6 + 4.8 * np.exp(-step / 250)
        lines.append(f"{step},0,{nats + 0.08 * generator.standard_normal():.4f},")
        if (step + 1) % 250 == 0:
            lines.append(f"{step},0,,{nats + 0.05:.4f}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    summary = {
        "nats": 5.652,
        "baselines": {"uniform": 10.80, "unigram": 7.31, "bigram": 6.42},
        "model": {"width": 128, "layers": 4, "heads": 4, "window": 256},
        "parameters": {"embedding": 234_567, "blocks": 900_000, "head": 100_000, "total": 1_234_567},
        "seconds": 312.0,
        "data": "AAPL, 2012-06-21, trained before 14:00:00",
        "commands": ["python train.py experiment=demo"],
    }
    (folder / "training.json").write_text(json.dumps(summary))
