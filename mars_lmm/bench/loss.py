"""Peak memory and time of the loss and its backward pass, against logits of all positions at once.

Counted is what the loss needs beyond its inputs (hidden states, targets, weights of positions, the head's weight) and
beyond the two gradients that come out, which `gradient_bytes` tells apart. On the CPU every allocation of torch is
followed; on CUDA its allocator's peak is read. Whole logits are what one matrix of `orders` times `vocabulary`
numbers takes in float32, before its softmax, its gradient or anything else of it; `--whole` measures plain
cross-entropy over it.
"""

import argparse
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mars_lmm.models.embedding import OrderEmbedding
from mars_lmm.models.heads import HEADS, build_head
from mars_lmm.models.order_head import OrderHead

BINS = (3, 32, 32, 16)
NUM_MARKET = 42
PRECISIONS = {"32-true": torch.float32, "bf16-mixed": torch.float32, "bf16-true": torch.bfloat16}


def add_arguments(parser: argparse.ArgumentParser):
    """Add the options of this bench."""
    parser.add_argument("--width", type=int, default=256, help="channels of the hidden states (default: %(default)s)")
    parser.add_argument("--orders", type=int, default=16 * 1024, help="positions of a batch (default: %(default)s)")
    parser.add_argument("--head", choices=HEADS, default="joint", help="which head (default: %(default)s)")
    parser.add_argument("--precision", choices=PRECISIONS, default="32-true", help="(default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=2, help="timed runs; the best counts (default: %(default)s)")
    parser.add_argument("--whole", action="store_true", help="measure cross-entropy over whole logits too")
    parser.add_argument("--library", action="store_true", help="measure torch's linear_cross_entropy too")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where it runs")


def run(args: argparse.Namespace) -> dict:
    """Measure and return the figures."""
    head, hidden, target, weight = make_inputs(args.head, args.width, args.orders, args.precision, args.device)
    vocabulary = head.logits(hidden[:1]).shape[-1]
    losses: dict[str, Callable[[], Tensor]] = {"loss": lambda: head.loss(hidden, target, weight)}
    if args.whole:
        losses["whole"] = lambda: F.cross_entropy(head.logits(hidden), target, reduction="sum")
    if args.library:
        if args.head != "joint" or not hasattr(F, "linear_cross_entropy"):
            raise SystemExit("--library needs --head joint, and a torch that has linear_cross_entropy")
        options = torch.nn.LinearCrossEntropyOptions()
        losses["library"] = lambda: F.linear_cross_entropy(
            hidden, head.proj.weight, target, reduction="sum", options=options
        )
    whole_bytes = args.orders * vocabulary * 4
    figures = {}
    for name, loss in losses.items():
        print(f"measuring {name}", file=sys.stderr)
        with torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "bf16-mixed"):
            seconds = min(step_seconds(loss, head, hidden) for _ in range(args.repeats))
            peak, gradients = peak_bytes(loss, head, hidden)
        figures |= {
            f"{name}_peak_bytes": peak,
            f"{name}_ratio": round(peak / whole_bytes, 4),
            f"{name}_seconds": round(seconds, 4),
        }
    return figures | {
        "gradient_bytes": gradients,
        "whole_logits_bytes": whole_bytes,
        "whole_logits_bytes_bf16": whole_bytes // 2,
        "orders": args.orders,
        "width": args.width,
        "vocabulary": vocabulary,
        "head": args.head,
        "precision": args.precision,
        "device": args.device,
        "threads": torch.get_num_threads(),
    }


def make_inputs(
    name: str, width: int, orders: int, precision: str, device: str, bins: tuple[int, int, int, int] = BINS
) -> tuple[OrderHead, Tensor, Tensor, Tensor]:
    """A head, and hidden states [N, D], targets and weights [N] to compute its loss of."""
    torch.manual_seed(0)
    embedding = OrderEmbedding(width, bins, NUM_MARKET, session=False)
    head = build_head(name, width, bins, embedding).to(device, PRECISIONS[precision])
    embedding.to(device, PRECISIONS[precision])
    hidden = torch.randn(orders, width, device=device, dtype=PRECISIONS[precision], requires_grad=True)
    target = torch.randint(head.logits(hidden[:1]).shape[-1], (orders,), device=device)
    return head, hidden, target, torch.ones(orders, dtype=torch.bool, device=device)


def step_seconds(loss: Callable[[], Tensor], head: OrderHead, hidden: Tensor) -> float:
    """Time of the loss and its backward pass."""
    _clear(head, hidden)
    began = time.perf_counter()
    loss().backward()
    if hidden.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def peak_bytes(loss: Callable[[], Tensor], head: OrderHead, hidden: Tensor) -> tuple[int, int]:
    """Most bytes that loss and backward pass hold beyond inputs and gradients, and the bytes of the gradients."""
    _clear(head, hidden)
    if hidden.is_cuda:
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        loss().backward()
        torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated() - before
    else:
        activities = [torch.profiler.ProfilerActivity.CPU]
        with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
            loss().backward()
        held = peak = 0
        events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
        for event in sorted(events, key=lambda event: event.start_ns()):
            held += event.nbytes()
            peak = max(peak, held)
    gradients = sum(tensor.grad.nbytes for tensor in (hidden, *_parameters(head)))
    return peak - gradients, gradients


def _parameters(head: OrderHead) -> list[Tensor]:
    return [*head.parameters(), *(table.weight for table in head.tied_tables)]


def _clear(head: OrderHead, hidden: Tensor) -> None:
    for tensor in (hidden, *_parameters(head)):
        tensor.grad = None
