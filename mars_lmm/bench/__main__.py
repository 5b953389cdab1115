"""`python -m mars_lmm.bench NAME`: progress on standard error, one JSON object last on standard output."""

import argparse
import json

from mars_lmm.bench import exchange, rollout

# A bench is a module with `add_arguments(parser)` and `run(args) -> dict`; its docstring is its help.
BENCHES = {"exchange": exchange, "rollout": rollout}


def main():
    """Run the bench that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m mars_lmm.bench", description="Measure speed.")
    commands = parser.add_subparsers(required=True, metavar="NAME")
    for name, module in BENCHES.items():
        summary = module.__doc__.splitlines()[0]
        command = commands.add_parser(name, help=summary, description=summary)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    args = parser.parse_args()
    print(json.dumps(args.run(args)))


if __name__ == "__main__":
    main()
