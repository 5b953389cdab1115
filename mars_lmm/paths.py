"""Where the package's files are."""

from pathlib import Path

_HERE = Path(__file__).resolve().parent
# The folder of configuration files: installed with the package, or beside it in the repository.
CONF = str(next(folder for folder in (_HERE / "conf", _HERE.parent / "conf") if folder.is_dir()))
