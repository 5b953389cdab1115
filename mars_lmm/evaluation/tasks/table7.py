"""MarS's table 7 for every simulated source."""

from __future__ import annotations

from mars_lmm.evaluation.material import Material
from mars_lmm.evaluation.table7.published import PUBLISHED
from mars_lmm.evaluation.table7.table import table7


def run(material: Material) -> dict:
    """The table of each source.

    Returns:
        `sources`, of each what `table7` gives; `published`: by quantity the `overlap` and `accuracy` of MarS.
    """
    seed, run = material.config.seed, material.run
    return {
        "sources": {source: table7(run, source, seed) for source in run.simulated},
        "published": {
            name: dict(zip(("overlap", "accuracy"), figures, strict=True)) for name, figures in PUBLISHED.items()
        },
    }
