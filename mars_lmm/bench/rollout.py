"""Orders per second of rollouts, exchange included, against recomputing the window for every order.

Both sides run one network with random weights from one start of the synthetic market, draw the same random numbers
and trade on the same exchange. The baseline reads the last `window` orders anew for every order, with logits at the
last position only.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from mars_lmm.data.feeds.synthetic import SyntheticConfig, synthetic_session
from mars_lmm.data.replay import replay
from mars_lmm.market import types as t
from mars_lmm.models import sizes
from mars_lmm.models.order_model import OrderModel
from mars_lmm.models.precision import PRECISIONS, lower_precision
from mars_lmm.simulation.agents.registry import seat_plans
from mars_lmm.simulation.config import RolloutConfig
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine.build import CHUNK_STEPS, make_engine
from mars_lmm.simulation.engine.coding import Coding, OrderCoding
from mars_lmm.simulation.engine.graphs import Captured
from mars_lmm.simulation.engine.program import NUM_SAMPLE_DRAWS
from mars_lmm.simulation.engine.rollout_engine import Chunk, RolloutEngine
from mars_lmm.simulation.starts.start import Start
from mars_lmm.tokenizers.orders import OrderTokenizer

WARM_UP_STEPS = 5  # on a GPU the graph is captured within them
COPY_BYTES = 1 << 29


def add_arguments(parser: argparse.ArgumentParser):
    """Add the options of this bench."""
    parser.add_argument("--size", choices=sizes.names(), default="default", help="of conf/model (default: %(default)s)")
    parser.add_argument("--books", type=int, default=16, help="books in lockstep (default: %(default)s)")
    parser.add_argument("--orders", type=int, default=3200, help="orders over all books (default: %(default)s)")
    parser.add_argument("--recomputed-steps", type=int, default=3, help="steps of the baseline (default: %(default)s)")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="float32", help="of the weights (default: %(default)s)"
    )
    parser.add_argument("--agents", nargs="*", default=[], help="built-in agents that trade along (default: none)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where all runs")


def run(args: argparse.Namespace) -> dict:
    """Measure both sides and return the figures."""
    if args.books < 1 or args.orders < args.books:
        raise SystemExit("--books must be at least 1 and --orders at least one a book")
    model, coding, start = _prepare(args)
    steps = args.orders // args.books
    _say(f"rolling out {args.books} books, {steps} orders each")
    engine = _engine(args, model, coding, start, "ring")
    cached = _time_steps(engine, steps)
    other, exchange = _time_parts(engine, min(steps, CHUNK_STEPS - WARM_UP_STEPS))
    del engine
    _say(f"recomputing the window, {args.recomputed_steps} orders each")
    recomputed = _time_steps(_engine(args, model, coding, start, "window"), args.recomputed_steps)
    bytes_per_step = model.bytes_per_step(args.books)
    bandwidth = _copy_bandwidth(args.device)
    _say(
        "bytes_per_step = weights, each once + rings of keys and values, read whole and one slot written + logits, "
        f"written once = {bytes_per_step:,}\n"
        f"bandwidth_share = bytes_per_step / step time / {bandwidth / 1e9:,.0f} GB/s, what a plain copy moves"
    )
    return {
        "orders_per_second": round(cached["rate"], 1),
        "recompute_orders_per_second": round(recomputed["rate"], 2),
        "ratio": round(cached["rate"] / recomputed["rate"], 1),
        "bytes_per_step": bytes_per_step,
        "bandwidth_share": round(bytes_per_step / cached["step_seconds"] / bandwidth, 3),
        "exchange_share": round(max(exchange, 0) / cached["step_seconds"], 4),
        "other_than_reading_share": round(other / cached["step_seconds"], 4),
        "invalid_share": round(cached["invalid_share"], 4),
        "step_milliseconds": round(1000 * cached["step_seconds"], 2),
        "books": args.books,
        "agents": args.agents,
        "size": args.size,
        "precision": args.precision,
        "parameters": model.num_parameters()["total"],
        "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
    }


def _prepare(args: argparse.Namespace) -> tuple[OrderModel, Coding, Start]:
    config = sizes.read_config(args.size)
    flow = synthetic_session(SyntheticConfig(minutes=30), 0)
    replayed = replay(flow)
    tokenizer = OrderTokenizer.fit(replayed.observed, takers_rest=True)
    token, market = tokenizer.encode(replayed.observed[-2 * config.window :])
    torch.manual_seed(0)
    model = lower_precision(OrderModel(config).eval().to(args.device), args.precision)
    time_ns = int(replayed.tape[-1, 0])
    start = Start(flow.session, time_ns, replayed.state, token, market, replayed.tape[-1])
    return model, OrderCoding(tokenizer), start


def _engine(args: argparse.Namespace, model: OrderModel, coding: Coding, start: Start, attention: str) -> RolloutEngine:
    limit = 2 * (WARM_UP_STEPS + max(args.orders // args.books, args.recomputed_steps))
    books = np.arange(args.books)
    config = RolloutConfig(attention=attention, agents={name: {"agent": name} for name in args.agents})
    return make_engine(config, model, coding, [start], np.zeros_like(books), books, limit, seat_plans(config.agents))


def _time_steps(engine: RolloutEngine, steps: int) -> dict[str, float]:
    """Orders per second after a warm-up, and the share of orders that the exchange rejected."""
    _spend(engine.run(WARM_UP_STEPS))
    before = _outcomes(engine)
    began = time.perf_counter()
    _spend(engine.run(steps))
    seconds = time.perf_counter() - began
    outcomes = _outcomes(engine) - before
    return {
        "rate": outcomes[t.ACCEPTED] / seconds,
        "step_seconds": seconds / steps,
        "invalid_share": 1 - outcomes[t.ACCEPTED] / outcomes.sum(),
    }


def _time_parts(engine: RolloutEngine, steps: int) -> tuple[float, float]:
    """Seconds of a step that go into sampling, agents and exchange together, and into the exchange alone."""
    forecaster = engine.forecaster
    uniform, market = engine.batch.rollout.draws[:, :NUM_SAMPLE_DRAWS], engine.batch.market.market

    def sample() -> None:
        forecaster.sample(uniform, market)

    def trade() -> None:
        engine.propose()
        engine.trade()

    def all_but_reading() -> None:
        engine.propose()
        engine.decide()
        engine.trade()

    together, traded, sampled = (_seconds(engine, part, steps) for part in (all_but_reading, trade, sample))
    return together, traded - sampled


def _seconds(engine: RolloutEngine, part: Callable[[], None], times: int) -> float:
    """Seconds of a part of the step, run alone as the step runs it."""
    work = Captured(engine.captures)
    for _ in range(WARM_UP_STEPS):
        work(part)
    engine.flush()
    began = time.perf_counter()
    for _ in range(times):
        work(part)
    engine.flush()  # waits for the device
    return (time.perf_counter() - began) / times


def _spend(chunks: Iterator[Chunk]) -> None:
    for _ in chunks:
        pass


def _outcomes(engine: RolloutEngine) -> np.ndarray:
    return engine.batch.rollout.outcomes[:, c.MODEL].sum(dim=0).cpu().numpy()


def _copy_bandwidth(device: str) -> float:
    """Bytes per second that a plain copy reads and writes: what memory allows."""
    source = torch.ones(COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    best = 0.0
    for _ in range(5):
        began = time.perf_counter()
        target.copy_(source)
        if source.is_cuda:
            torch.cuda.synchronize()
        best = max(best, 2 * COPY_BYTES / (time.perf_counter() - began))
    return best


def _say(message: str) -> None:
    print(message, file=sys.stderr)
