"""The ladder: models of the size that their names say."""

import pytest

from mars_lmm.models import sizes
from mars_lmm.models.sizes import LADDER, build_on_meta, read_config

UNITS = {"m": 1e6, "b": 1.02e9}
"""The largest model of the paper has 1.02 billion parameters."""


@pytest.mark.parametrize("size", LADDER)
def test_models_are_named_by_their_parameters(size):
    config = read_config(size)
    model = build_on_meta(config)
    counts = model.num_parameters()
    assert counts["total"] == pytest.approx(float(size[:-1]) * UNITS[size[-1]], rel=0.06 if size != "2m" else 0.1)
    assert counts["embedding"] + counts["blocks"] + counts["head"] == counts["total"]
    assert next(model.parameters()).is_meta
    assert (config.head, config.session, config.window, config.dropout) == ("joint", True, 1024, 0.0)


def test_the_ladder_ascends():
    totals = [build_on_meta(read_config(size)).num_parameters()["total"] for size in LADDER]
    assert totals == sorted(totals)


def test_the_table_has_a_row_a_model():
    lines = sizes.table().splitlines()
    assert len(lines) == 2 + len(LADDER) + 3
    assert {line.count("|") for line in lines} == {15}
    assert "| 20,546,700 |" in next(line for line in lines if line.startswith("| default"))
