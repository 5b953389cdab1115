"""Simulate rollouts from held-out starts and write trajectories."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from mars_lmm.data.errors import DataError
from mars_lmm.data.prepared import PreparedSet
from mars_lmm.market import types as t
from mars_lmm.models.order_model import OrderModel
from mars_lmm.simulation.coding import Coding, coding_of
from mars_lmm.simulation.engine import RolloutEngine
from mars_lmm.simulation.markets import Markets
from mars_lmm.simulation.reading import READERS
from mars_lmm.simulation.starts import Start, held_out_starts
from mars_lmm.simulation.trajectories import TrajectoryFile, TrajectoryRecorder, replay_table
from mars_lmm.tokenizers import observation as o
from mars_lmm.tokenizers.mars import MarsTokenizer
from mars_lmm.tokenizers.orders import OrderTokenizer

NANOS_PER_MINUTE = 60 * 10**9
# A rollout ends, and says so, after this many times the orders of the busiest real continuation.
MAX_ORDERS_RATIO = 5
AUTO = "auto"
QUEUE_RULES = {"newest": t.NEWEST_FIRST, "oldest": t.OLDEST_FIRST}


@dataclass
class RolloutConfig:
    """Which rollouts to make."""

    starts: int = 6
    """Starts, spread evenly over the held-out sessions or hours."""
    rollouts: int = 8
    """Rollouts from each start."""
    minutes: float = 20.0
    """Simulated time of a rollout."""
    temperature: float = 1.0
    """Divides the logits before sampling; 1 samples what the model learned."""
    cancels: str = AUTO
    """Which order of a price's queue the model's cancels take first: newest or oldest; auto: newest, and oldest for
    imported MarS models."""
    attention: str = AUTO
    """How the model reads on: ring keeps the keys and values of each layer's window, window reads the last `window`
    orders anew for every order. auto: ring, which is exact for models trained here, and window for imported MarS
    models, which were trained so."""
    seed: int = 0
    """With a rollout's number it decides all its random numbers."""
    books_at_once: int = 64
    """Rollouts in lockstep; more are made batch by batch."""

    def __post_init__(self):
        if min(self.starts, self.rollouts, self.books_at_once) < 1 or self.minutes <= 0 or self.temperature <= 0:
            raise ValueError(
                f"starts={self.starts}, rollouts={self.rollouts}, books_at_once={self.books_at_once}, "
                f"minutes={self.minutes}, temperature={self.temperature}: all must be positive"
            )
        for name, choices in (("cancels", QUEUE_RULES), ("attention", READERS)):
            if getattr(self, name) not in (AUTO, *choices):
                raise ValueError(f"{name}={getattr(self, name)!r}: choose {', '.join((AUTO, *choices))}")


def simulate(
    config: RolloutConfig,
    model: OrderModel,
    tokenizer: OrderTokenizer | MarsTokenizer,
    prepared: PreparedSet,
    output: Path,
    about: dict,
) -> dict:
    """Make rollouts and write them, with the real continuations, to a folder.

    The folder appears whole or not at all. Its files are `rollouts.parquet`, `replay.parquet` and
    `simulation.json`, which is returned.

    Args:
        config: Which rollouts.
        model: The trained model, in eval mode.
        tokenizer: Its checkpoint's.
        prepared: The set that it was trained on; for an imported model, any.
        output: The folder to write; replaced if it exists.
        about: Entries to add to `simulation.json`: where the model came from.

    Raises:
        DataError: The set holds no start with the time, or the orders before it, that are needed.
        ValueError: The model was imported without converters.
    """
    coding = coding_of(tokenizer)
    config = _settled(config, coding)
    horizon = int(config.minutes * NANOS_PER_MINUTE)
    window = model.config.window
    starts = held_out_starts(prepared, coding, config.starts, horizon, history=2 * window)
    shortest = min(len(start.token) for start in starts)
    if coding.needs_window and shortest < window:
        raise DataError(prepared.path, f"a start has {shortest} orders before it, and the model reads {window}")

    building = output.with_name(output.name + ".partial")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        pq.write_table(replay_table([start.continuation for start in starts]), building / "replay.parquet")
        summary = _simulate_starts(config, model, coding, starts, horizon, building / "rollouts.parquet")
        manifest = about | _describe(config, starts, horizon) | summary
        (building / "simulation.json").write_text(json.dumps(manifest, indent=1))
        shutil.rmtree(output, ignore_errors=True)
        os.replace(building, output)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return manifest


def _settled(config: RolloutConfig, coding: Coding) -> RolloutConfig:
    """The configuration with what is left to the model decided."""
    rule = next(name for name, rule in QUEUE_RULES.items() if rule == coding.queue_rule)
    return replace(
        config,
        cancels=rule if config.cancels == AUTO else config.cancels,
        attention=coding.attention if config.attention == AUTO else config.attention,
    )


def _describe(config: RolloutConfig, starts: list[Start], horizon: int) -> dict:
    session = starts[0].flow.session
    return {
        "symbol": session.symbol,
        "date": session.date,
        "tick_size": session.tick_size,
        "seed": config.seed,
        "temperature": config.temperature,
        "cancels": config.cancels,
        "attention": config.attention,
        "horizon_ns": horizon,
        "rollouts": config.rollouts,
        "starts": [
            {
                "start": index,
                "symbol": start.flow.session.symbol,
                "date": start.flow.session.date,
                "time_ns": start.time,
                **{name: int(start.touch[o.TAPE_COLUMNS.index(name)]) for name in ("bid", "ask", "last_price")},
            }
            for index, start in enumerate(starts)
        ],
    }


def _simulate_starts(
    config: RolloutConfig,
    model: OrderModel,
    coding: Coding,
    starts: list[Start],
    horizon: int,
    path: Path,
) -> dict:
    max_steps = MAX_ORDERS_RATIO * max(len(start.continuation) for start in starts) + 1000
    start_of = np.repeat(np.arange(len(starts)), config.rollouts)
    number = np.tile(np.arange(config.rollouts), len(starts))
    rejected = dict.fromkeys(t.OUTCOMES[1:], 0)
    ended = {"horizon": 0, "orders": 0}
    orders, began = 0, time.perf_counter()
    total = len(start_of) * config.minutes
    with TrajectoryFile(path) as file, tqdm(total=total, desc="simulate", unit="min", unit_scale=False) as bar:
        for first in range(0, len(start_of), config.books_at_once):
            batch = slice(first, first + config.books_at_once)
            engine = make_engine(config, model, coding, starts, start_of[batch], number[batch], max_steps)
            recorder = TrajectoryRecorder(start_of[batch], number[batch])
            begin = np.array([starts[index].time for index in start_of[batch]])
            simulated, made = 0.0, 0
            markets = engine.markets
            for accepted in engine.run(begin + horizon, max_steps):
                recorder.record(accepted, markets.tape)
                made += int(accepted.sum())
                if engine.steps % 50 == 0:
                    now = float((markets.clock[:, o.LAST_TIME] - begin).sum()) / NANOS_PER_MINUTE
                    bar.update(now - simulated)
                    simulated = now
                    bar.set_postfix_str(f"{(orders + made) / (time.perf_counter() - began):,.0f} orders/s")
            bar.update(len(begin) * config.minutes - simulated)
            file.write(recorder.table())
            orders += made
            counts = markets.books[:, t.OUTCOME_COUNTS : t.NUM_HEADER_COLUMNS].sum(axis=0)
            for reason, count in zip(t.OUTCOMES[1:], counts[1:].tolist(), strict=True):
                rejected[reason] += count
            cut_off = int(engine.active.sum())
            ended["orders"] += cut_off
            ended["horizon"] += len(begin) - cut_off
    seconds = time.perf_counter() - began
    return {
        "orders": orders,
        "orders_per_second": orders / seconds,
        "rejected": {reason: count for reason, count in rejected.items() if count},
        "ended": ended,
        "seconds": seconds,
    }


@torch.inference_mode()
def make_engine(
    config: RolloutConfig,
    model: OrderModel,
    coding: Coding,
    starts: list[Start],
    start_of: np.ndarray,
    number: np.ndarray,
    max_steps: int,
) -> RolloutEngine:
    """Fork the starts into a batch of markets; each start's history is read by the model once.

    Args:
        config: Seed, temperature, cancel rule and attention.
        model: The trained model.
        coding: How it codes orders.
        starts: All starts.
        start_of: int[B], the start of each rollout, in ascending order.
        number: int[B], its number among the start's rollouts.
        max_steps: Orders that each book must have room for.
    """
    config = _settled(config, coding)
    used, copies = np.unique(start_of, return_counts=True)
    states = [starts[index].state for index in used]
    num_orders = max(int(state.book[0, t.LIVE_ORDERS]) for state in states) + max_steps
    num_ticks, num_phases = (max(int(state.book[0, size]) for state in states) for size in (t.NUM_TICKS, t.NUM_PHASES))
    markets = Markets.concatenate(
        [
            Markets.fork(state, int(count), num_orders, num_ticks, num_phases, coding.num_features, coding.num_stream)
            for state, count in zip(states, copies, strict=True)
        ]
    )
    histories = _histories([starts[index] for index in used], next(model.parameters()).device)
    fork = torch.from_numpy(np.repeat(np.arange(len(used)), copies)).to(histories[0].device)
    reader = READERS[config.attention].begin(model, *histories).select(fork)
    markets.token[:] = [starts[index].token[-1] for index in start_of]
    markets.market[:] = [starts[index].market[-1] for index in start_of]
    markets.stream[:] = [starts[index].stream for index in start_of]
    # A rollout's identity does not depend on how many others are made: starts are 2**32 apart.
    rollout = start_of.astype(np.int64) << 32 | number
    return RolloutEngine(
        model, coding, markets, reader, rollout, config.seed, config.temperature, QUEUE_RULES[config.cancels]
    )


def _histories(starts: list[Start], device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens int64 [N, T] and market features int16 [N, T, F], padded on the right, and lengths int64 [N]."""
    length = np.array([len(start.token) for start in starts])
    token = np.zeros((len(starts), length.max()), dtype=np.int64)
    market = np.zeros((len(starts), length.max(), starts[0].market.shape[1]), dtype=np.int16)
    for i, start in enumerate(starts):
        token[i, : length[i]] = start.token
        market[i, : length[i]] = start.market
    return tuple(torch.from_numpy(array).to(device) for array in (token, market, length))
