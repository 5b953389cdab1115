"""The agent in the user's guide does what the guide says."""

import re
from pathlib import Path

import pytest
from agent_markets import OPEN, SECOND, Script, limit, run, start_at

from mars_lmm.market import types as t
from mars_lmm.simulation.agents.registry import BUILT_IN, seat_plans
from mars_lmm.simulation.engine import columns as c

GUIDE = Path(__file__).parents[3] / "docs" / "agents.md"


@pytest.fixture
def agent(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    path = tmp_path / "my_agent.py"
    path.write_text(code)
    (plan,) = seat_plans({"mine": {"agent": str(path), "size": 70}})
    return plan.agent


def test_the_guides_agent_is_about_twenty_lines_long():
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 20


def test_the_guides_agent_buys_and_takes_its_order_back(coding, agent):
    book = [(t.BUY, 999, 150), (t.SELL, 1001, 100)]
    more = Script((OPEN + 3 * SECOND + 1, limit(t.BUY, 999, 51)))
    fewer = Script((OPEN + 8 * SECOND, lambda view: [view.limit(t.SELL, 1001, 200)]))
    outcome = run(coding, [agent, more, fewer], start_at(book=book), end=OPEN + 30 * SECOND)
    own = outcome.rows[outcome.rows[:, c.ROW_SOURCE] == 1]
    seconds = ((own[:, 0] - OPEN) // SECOND).tolist()
    assert (seconds, own[:, 1].tolist(), own[:, 4].tolist()) == ([4, 15], [t.LIMIT, t.CANCEL], [70, 70])


def test_the_guide_names_each_built_in_agent():
    table = re.findall(r"^\| `(\w+)` \|", GUIDE.read_text(), re.MULTILINE)
    assert sorted(table) == sorted(BUILT_IN)
