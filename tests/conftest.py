import os
from contextlib import suppress
from pathlib import Path

import pytest
from shared_data import SHARED

# Each worker of pytest-xdist has a core of its own; said before torch loads its OpenMP runtime.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

# `--hypothesis-profile=fuzz` searches at random and for long; else every run tries the same few examples.
with suppress(ImportError):  # `make gpu-check` runs the market's tests with torch and numba alone
    from hypothesis import settings

    settings.register_profile("quick", max_examples=50, derandomize=True, deadline=None)
    settings.register_profile("fuzz", max_examples=2000, deadline=None, print_blob=True)
    settings.load_profile("quick")

# For the same reason the package is imported where it is used.


@pytest.fixture(scope="session")
def lobster_zip():
    """Path of a real LOBSTER sample; skips where it is not at hand."""

    def find(symbol: str, level: int) -> Path:
        path = SHARED / "data" / "lobster" / f"LOBSTER_SampleFile_{symbol}_2012-06-21_{level}.zip"
        if not path.exists():
            pytest.skip(f"{path.name} is not at hand; set MARS_LMM_SHARED")
        return path

    return find


@pytest.fixture(scope="session")
def synthetic_flow():
    """A short synthetic session."""
    from mars_lmm.data.feeds.synthetic import SyntheticConfig, synthetic_session

    return synthetic_session(SyntheticConfig(minutes=5, seed=3), 0)


@pytest.fixture(scope="session")
def small_data(tmp_path_factory):
    """Two short synthetic sessions, the second held out."""
    from mars_lmm.data.config import DataConfig
    from mars_lmm.data.feeds.synthetic import SyntheticConfig

    return DataConfig(
        root=str(tmp_path_factory.mktemp("prepared")),
        cutoff="2024-01-03",
        row_length=64,
        context=16,
        batch_size=4,
        workers=1,  # other processes take longer to start than all of this to make
        synthetic=SyntheticConfig(sessions=2, minutes=8, seed=1),
    )


@pytest.fixture(scope="session")
def small_set(small_data):
    """The prepared set of `small_data`."""
    from mars_lmm.data.prepare import prepare

    return prepare(small_data)
