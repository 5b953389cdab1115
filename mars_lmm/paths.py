"""Where files are: the package's own, and those of a run."""

from pathlib import Path

_HERE = Path(__file__).resolve().parent
# The folder of configuration files: installed with the package, or beside it in the repository.
CONF = str(next(folder for folder in (_HERE / "conf", _HERE.parent / "conf") if folder.is_dir()))
# What a finished run tells the steps after it; in the run folder.
TRAINING_SUMMARY = "training.json"
