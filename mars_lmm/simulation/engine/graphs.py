"""Work that is the same every time, as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable

import torch

EAGER_TIMES = 3  # they compile kernels, choose algorithms and take what memory the work needs


class Captured:
    """Calls a function; on a GPU, from the fourth time on by replaying a graph of it.

    It does not keep the function: whose method that is can go when nobody else holds it, with all that it has on a GPU.

    Args:
        capture: Whether to capture it at all.
    """

    def __init__(self, capture: bool):
        self._capture = capture
        self._times = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, work: Callable[[], None]) -> None:
        """Do the work once.

        Args:
            work: The same every time. It must not look at values on the host.

        Raises:
            ValueError: The work cannot be captured.
        """
        self._times += 1
        if not self._capture or self._times <= EAGER_TIMES:
            work()
            return
        if self._graph is None:
            self._graph = _captured(work)
        self._graph.replay()


def _captured(work: Callable[[], None]) -> torch.cuda.CUDAGraph:
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            work()
    except RuntimeError as error:
        raise ValueError(
            "a step cannot be captured as a CUDA graph: an agent may be asking for a value on the host, as `if`, "
            f"`int()` and `.item()` do; use torch.where, or set graph=false ({error})"
        ) from error
    return graph
