"""The facts of a file of minute bars on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from mars_lmm.evaluation.facts.panel import panels, read_bars
from mars_lmm.evaluation.facts.tables import stylized_facts
from mars_lmm.evaluation.plain import dumps


def main() -> None:
    """Print the facts of a file of minute bars as one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m mars_lmm.evaluation.facts", description=main.__doc__)
    parser.add_argument("bars", type=Path, help="parquet file of minute bars")
    arguments = parser.parse_args()
    print(dumps({"facts": stylized_facts(panels(read_bars(arguments.bars)))}))


if __name__ == "__main__":
    main()
