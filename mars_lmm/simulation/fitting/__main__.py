"""Fit the baselines: python -m mars_lmm.simulation.fitting PREPARED FOLDER."""

import argparse
import json
from pathlib import Path

from mars_lmm.data.prepared import PreparedSet
from mars_lmm.simulation.fitting.files import fit_baselines, read_fits


def main() -> None:
    """Fit, and print the files and what tells the fits' quality, as one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m mars_lmm.simulation.fitting", description=__doc__)
    parser.add_argument("prepared", help="a prepared set: its folder or URL")
    parser.add_argument("folder", type=Path, help="where the parameters go")
    given = parser.parse_args()
    files = fit_baselines(PreparedSet.load(given.prepared), given.folder)
    told = {"cst": ("unit", "market"), "hawkes": ("branching_ratio", "log_likelihood", "poisson")}
    symbols = {
        name: {symbol: {key: fit[key] for key in keys} for symbol, fit in read_fits(files[name], name).items()}
        for name, keys in told.items()
    }
    print(json.dumps({"files": {name: str(file) for name, file in files.items()}, **symbols}))


if __name__ == "__main__":
    main()
