"""Where the real data and outside answers lie; tests that need a file skip without it."""

import os
from pathlib import Path

SHARED = Path(os.environ.get("MARS_LMM_SHARED", Path(__file__).resolve().parents[2] / "shared"))
