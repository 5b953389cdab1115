"""LOB-Bench over folders of LOBSTER files: `python -m mars_lmm.evaluation.lob_bench DIR`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from mars_lmm.data.errors import DataError
from mars_lmm.evaluation.lob_bench.benchmark import benchmark
from mars_lmm.evaluation.lob_bench.scores import OFI_SCORES
from mars_lmm.evaluation.lob_bench.summary import table
from mars_lmm.evaluation.plain import dumps
from mars_lmm.evaluation.sequences.lobster_files import GENERATED, LOBSTER_TICK, REAL, read_folder


def main() -> None:
    """Score generated order flow against real, and print a table and, as the last line, JSON."""
    parser = argparse.ArgumentParser(prog="python -m mars_lmm.evaluation.lob_bench", description=main.__doc__)
    parser.add_argument(
        "folders",
        nargs="+",
        metavar="[NAME=]DIR",
        help="a model's folder with data_real and data_gen; of several, data_real may lie in the first alone",
    )
    parser.add_argument("--tick", type=int, default=LOBSTER_TICK, help="price units per tick (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")
    parser.add_argument("--replicates", type=int, default=100, help="of the bootstrap (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        print(dumps(_scored(arguments)))
    except ValueError as error:
        sys.exit(f"error: {error}")


def _scored(arguments: argparse.Namespace) -> dict:
    folders = _named(arguments.folders)
    began = time.perf_counter()
    first, *others = folders.values()
    for other in others:
        _check_same_real(first, other)
    real = read_folder(first / REAL, arguments.tick)
    generated = {name: read_folder(folder / GENERATED, arguments.tick) for name, folder in folders.items()}
    read = time.perf_counter()
    result = benchmark(real, generated, arguments.seed, arguments.replicates)
    seconds = {"reading": read - began, "scoring": time.perf_counter() - read}
    print(table(result))
    models = result.pop("models")
    for report in models.values():
        # What the reference says of blocks that are too short for these scores, for comparison with its output.
        report["divergence"]["reference_ofi"] = {
            name: [0.0] * len(report["divergence"]["sequences"]) for name in OFI_SCORES
        }
    scores = next(iter(models.values())) if len(models) == 1 else {"models": models}
    return {**scores, **result, "real_sequences": len(real), "seconds": seconds}


def _named(folders: list[str]) -> dict[str, Path]:
    named = {}
    for text in folders:
        name, given, path = text.rpartition("=")
        path = Path(path)
        name = name if given else path.resolve().name
        if name in named:
            raise ValueError(f"two models are called {name}; name them, as in A=DIR B=DIR")
        named[name] = path
    return named


def _check_same_real(first: Path, other: Path) -> None:
    """Models can be compared only over the same real sequences."""
    mine, theirs = ({file.name for file in (folder / REAL).glob("*.csv")} for folder in (first, other))
    if theirs and theirs != mine:
        raise DataError(other / REAL, f"holds other sequences than {first / REAL}; score models over the same ones")


if __name__ == "__main__":
    main()
