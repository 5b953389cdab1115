"""What runs the units of a preparation in parallel: processes of this machine, or a Ray cluster.

A unit is a function of plain arguments that reads and writes files; the machines of a cluster share the file system.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing.connection import wait as wait_for
from typing import Any

from mars_lmm.data.config import RAY

Unit = Callable[..., Any]
POLL_SECONDS = 0.5
AHEAD = 4  # units that a process has running or waiting


def run_units(
    function: Unit,
    arguments: Sequence[tuple],
    executor: str,
    workers: int | None,
    waiting: Callable[[], None],
) -> Iterator[tuple[int, Any]]:
    """Run a function over many arguments.

    Args:
        function: A function of a module, so that other processes find it.
        arguments: Its arguments, of each unit.
        executor: "processes" or "ray".
        workers: How many units run at once; None: one a CPU, of the machine or of the cluster.
        waiting: Called now and then.

    Yields:
        The place of a finished unit in `arguments`, and what the function returned; in the order in which they finish.

    Raises:
        ValueError: The Ray package is missing.
        Exception: What the function raised.
    """
    if executor == RAY:
        return _on_ray(function, arguments, workers, waiting)
    workers = min(workers or len(os.sched_getaffinity(0)), len(arguments))
    if workers <= 1:
        return _here(function, arguments, waiting)
    return _in_processes(function, arguments, workers, waiting)


def _here(function: Unit, arguments: Sequence[tuple], waiting: Callable[[], None]) -> Iterator[tuple[int, Any]]:
    done = threading.Event()

    def call() -> None:
        while not done.wait(POLL_SECONDS):
            waiting()

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    try:
        for place, argument in enumerate(arguments):
            yield place, function(*argument)
    finally:
        done.set()
        caller.join()


def _in_processes(
    function: Unit, arguments: Sequence[tuple], workers: int, waiting: Callable[[], None]
) -> Iterator[tuple[int, Any]]:
    others = set(multiprocessing.active_children())
    # Forking a process that runs threads, as torch and numba do, can lock it up.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_end_with_parent) as pool:
        left = list(enumerate(arguments))[::-1]
        running: dict[Future, int] = {}
        try:
            while left or running:
                while left and len(running) < AHEAD * workers:
                    place, argument = left.pop()
                    running[pool.submit(function, *argument)] = place
                done, _ = wait(running, POLL_SECONDS, FIRST_COMPLETED)
                for future in done:
                    yield running.pop(future), future.result()
                waiting()
        except BaseException:
            # None may write on when the error is told; they can be killed at any moment.
            for process in set(multiprocessing.active_children()) - others:
                process.kill()
            raise


def _end_with_parent() -> None:
    """Let this process end when the one that started it is killed; it would wait for work forever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        wait_for([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _on_ray(
    function: Unit, arguments: Sequence[tuple], workers: int | None, waiting: Callable[[], None]
) -> Iterator[tuple[int, Any]]:
    try:
        import ray
    except ImportError as error:
        raise ValueError("data.executor=ray needs the package ray: pip install 'mars-lmm[ray]'") from error
    if not ray.is_initialized():
        # RAY_ADDRESS names a cluster; without it, one of this machine alone is started.
        ray.init(log_to_driver=False, logging_level="warning")
    remote = ray.remote(max_retries=0)(_in_folder)
    limit = workers or int(ray.cluster_resources()["CPU"])
    left = list(enumerate(arguments))[::-1]
    running: dict[Any, int] = {}
    while left or running:
        while left and len(running) < limit:
            place, argument = left.pop()
            running[remote.remote(os.getcwd(), function, argument)] = place
        done, _ = ray.wait(list(running), timeout=POLL_SECONDS)
        for reference in done:
            place = running.pop(reference)
            try:
                result = ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                for other in running:
                    ray.cancel(other, force=True)
                ray.wait(list(running), num_returns=len(running)) if running else None
                raise error.cause from error
            yield place, result
        waiting()


def _in_folder(folder: str, function: Unit, arguments: tuple) -> Any:
    """Run a unit where the preparation runs, so that relative paths mean the same."""
    os.chdir(folder)
    return function(*arguments)
