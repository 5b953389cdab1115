"""`python -m mars_lmm.bench NAME`: progress on standard error, one JSON object last on standard output."""

import argparse
import json
from importlib import import_module

# A bench is a module with `add_arguments(parser)` and `run(args) -> dict`; its docstring is its help. Only the one that
# runs is imported: the exchange's needs torch and numba alone.
BENCHES = ("exchange", "loss", "prepare", "rollout", "train")


def main():
    """Run the bench that the command line names."""
    chooser = argparse.ArgumentParser(prog="python -m mars_lmm.bench", description="Measure speed.")
    chooser.add_argument("name", choices=BENCHES)
    chooser.add_argument("options", nargs=argparse.REMAINDER, help="NAME --help tells them")
    chosen = chooser.parse_args()
    bench = import_module(f"mars_lmm.bench.{chosen.name}")
    parser = argparse.ArgumentParser(prog=f"{chooser.prog} {chosen.name}", description=bench.__doc__)
    bench.add_arguments(parser)
    print(json.dumps(bench.run(parser.parse_args(chosen.options))))


if __name__ == "__main__":
    main()
