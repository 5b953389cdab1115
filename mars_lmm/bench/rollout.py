"""Orders per second of rollouts, exchange included, against recomputing the window for every order.

Both sides run one network with random weights from one start of the synthetic market, draw the same random numbers
and trade on the same exchange. The baseline reads the last `window` orders anew for every order, with logits at the
last position only.
"""

import argparse
import sys
import time

import numpy as np
import torch

from mars_lmm.data.feeds.synthetic import SyntheticConfig, synthetic_session
from mars_lmm.data.replay import replay
from mars_lmm.models import sizes
from mars_lmm.models.order_model import OrderModel
from mars_lmm.simulation.coding import Coding, OrderCoding
from mars_lmm.simulation.engine import RolloutEngine
from mars_lmm.simulation.simulate import RolloutConfig, make_engine
from mars_lmm.simulation.starts import Start
from mars_lmm.tokenizers.orders import OrderTokenizer

WARM_UP_STEPS = 3
COPY_BYTES = 1 << 29


def add_arguments(parser: argparse.ArgumentParser):
    """Add the options of this bench."""
    parser.add_argument("--size", choices=sizes.names(), default="default", help="of conf/model (default: %(default)s)")
    parser.add_argument("--books", type=int, default=16, help="books in lockstep (default: %(default)s)")
    parser.add_argument("--orders", type=int, default=3200, help="orders over all books (default: %(default)s)")
    parser.add_argument("--recomputed-steps", type=int, default=3, help="steps of the baseline (default: %(default)s)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where the model runs")


def run(args: argparse.Namespace) -> dict:
    """Measure both sides and return the figures."""
    if args.books < 1 or args.orders < args.books:
        raise SystemExit("--books must be at least 1 and --orders at least one a book")
    model, coding, start = _prepare(args.size, args.device)
    steps = args.orders // args.books
    _say(f"rolling out {args.books} books, {steps} orders each")
    cached = _time(_engine(args, model, coding, start, "ring"), steps)
    _say(f"recomputing the window, {args.recomputed_steps} orders each")
    recomputed = _time(_engine(args, model, coding, start, "window"), args.recomputed_steps)
    bytes_per_step = model.bytes_per_step(args.books)
    return {
        "orders_per_second": round(cached["rate"], 1),
        "recompute_orders_per_second": round(recomputed["rate"], 2),
        "ratio": round(cached["rate"] / recomputed["rate"], 1),
        "bytes_per_step": bytes_per_step,
        "bandwidth_share": round(bytes_per_step / cached["step_seconds"] / _copy_bandwidth(args.device), 3),
        "exchange_share": round(cached["exchange_share"], 4),
        "invalid_share": round(cached["invalid_share"], 4),
        "step_milliseconds": round(1000 * cached["step_seconds"], 2),
        "books": args.books,
        "size": args.size,
        "parameters": model.num_parameters()["total"],
        "device": args.device,
        "threads": torch.get_num_threads(),
    }


def _prepare(size: str, device: str) -> tuple[OrderModel, Coding, Start]:
    config = sizes.read_config(size)
    flow = synthetic_session(SyntheticConfig(minutes=30), 0)
    replayed = replay(flow)
    tokenizer = OrderTokenizer.fit(replayed.observed, takers_rest=True)
    token, market = tokenizer.encode(replayed.observed[-2 * config.window :])
    torch.manual_seed(0)
    model = OrderModel(config).eval().to(device)
    time_ns = int(replayed.tape[-1, 0])
    empty = replayed.tape[:0]
    return model, OrderCoding(tokenizer), Start(flow, time_ns, replayed.state, token, market, replayed.tape[-1], empty)


def _engine(args: argparse.Namespace, model: OrderModel, coding: Coding, start: Start, attention: str) -> RolloutEngine:
    steps = WARM_UP_STEPS + max(args.orders // args.books, args.recomputed_steps)
    books = np.arange(args.books)
    config = RolloutConfig(attention=attention)
    return make_engine(config, model, coding, [start], np.zeros_like(books), books, steps)


@torch.inference_mode()
def _time(engine: RolloutEngine, steps: int) -> dict[str, float]:
    """Orders per second and where the time went, after a warm-up."""
    exchange = 0.0
    accepted = 0
    for step in range(WARM_UP_STEPS + steps):
        if step == WARM_UP_STEPS:
            _synchronize(engine)
            began, exchange, accepted = time.perf_counter(), 0.0, 0
        proposal = engine.propose()
        before = time.perf_counter()
        accepted += int(engine.execute(proposal).sum())
        exchange += time.perf_counter() - before
        engine.read()
    _synchronize(engine)
    seconds = time.perf_counter() - began
    return {
        "rate": accepted / seconds,
        "step_seconds": seconds / steps,
        "exchange_share": exchange / seconds,
        "invalid_share": 1 - accepted / (steps * len(engine.markets)),
    }


def _synchronize(engine: RolloutEngine) -> None:
    if engine.hidden.is_cuda:
        torch.cuda.synchronize()


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
