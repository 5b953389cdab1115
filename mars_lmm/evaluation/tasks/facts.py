"""The stylized facts of returns and of order flow, of the replay and of all that imitates it."""

from __future__ import annotations

from mars_lmm.evaluation.activity import tails
from mars_lmm.evaluation.facts.comparison import compare
from mars_lmm.evaluation.facts.eleven import judge
from mars_lmm.evaluation.facts.order_flow import ORDER_FLOW_FACTS, judge_order_flow
from mars_lmm.evaluation.facts.order_panel import OrderPanel
from mars_lmm.evaluation.facts.panel import panels
from mars_lmm.evaluation.facts.tables import stylized_facts
from mars_lmm.evaluation.facts.verdicts import Judgement
from mars_lmm.evaluation.material import Material


def run(material: Material) -> dict:
    """Judge all facts on all sources.

    Returns:
        `facts` (see `stylized_facts`), `comparison` (see `compare`), `sources` (of each its `paths`, what the intervals
        draw, and its `curves`), `tails` (see `activity.tails`); and `order_flow` with a `comparison` and `sources` of
        its own, which have `details` by symbol as well.
    """
    seed, orders = material.config.seed, material.run.orders
    found = panels(material.bars)
    sources = {source: found[source] for source in orders}
    returns = {source: judge(panel, seed) for source, panel in sources.items()}
    flow = {
        source: judge_order_flow(OrderPanel.from_run(material.run, source), material.hours, seed) for source in orders
    }
    return {
        "facts": stylized_facts(sources),
        "comparison": compare(returns),
        "sources": {source: _rests_on(judgement) for source, judgement in returns.items()},
        "tails": tails(sources),
        "order_flow": {
            "comparison": compare(flow, ORDER_FLOW_FACTS),
            "sources": {
                source: _rests_on(judgement) | {"details": judgement.details} for source, judgement in flow.items()
            },
        },
    }


def _rests_on(judgement: Judgement) -> dict:
    return {
        "paths": judgement.num_paths,
        "unit": judgement.unit,
        "units": judgement.num_units,
        "curves": judgement.curves,
    }
