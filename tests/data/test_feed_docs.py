"""The feed of one's own in docs/feeds.md, as a reader would try it."""

import re
from pathlib import Path

from mars_lmm.data.config import DataConfig
from mars_lmm.data.prepare import prepare
from mars_lmm.data.verify import verify

DOCS = Path(__file__).resolve().parents[2] / "docs" / "feeds.md"
OPEN = 34_200 * 10**9
# ns, id, kind (1 new, 2 delete, 3 executed), side (0 sell, 1 buy), price in cents, size
LINES = [
    (0, 1, 1, 0, 10_010, 100),
    (1, 2, 1, 1, 10_000, 100),
    (5, 1, 3, 0, 10_010, 40),
    (6, 2, 2, 1, 10_000, 100),
    (7, 3, 1, 1, 10_002, 70),
]


def test_the_feed_of_the_docs_prepares_and_verifies(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    (tmp_path / "my_feed_of_the_docs").mkdir()
    (tmp_path / "my_feed_of_the_docs" / "feed.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    files = tmp_path / "files"
    files.mkdir()
    for day in ("2024-01-02", "2024-01-03"):
        rows = [(OPEN + line[0] * 10**9, *line[1:]) for line in LINES]
        (files / f"{day}.txt").write_text("".join(" ".join(map(str, row)) + "\n" for row in rows))
    name = "my_feed_of_the_docs.feed"
    found = verify(name, [files])
    assert (found["sessions"], found["rows"], found["mismatches"], found["trade_mismatches"]) == (2, 10, 0, 0)
    config = DataConfig(name, str(files), root=str(tmp_path / "sets"), cutoff="2024-01-03", row_length=8, context=0)
    prepared = prepare(config)
    assert [session["orders"] for session in prepared.sessions] == [5, 5]
    flow = prepared.flow(0)
    assert flow.price.tolist() == [10_010, 10_000, 10_010, 10_000, 10_002]
    assert flow.size.tolist() == [100, 100, 40, 100, 70]

    (files / "2024-01-04.txt").write_text(f"{OPEN} 9 2 1 10000 5\n")
    found = verify(name, [files])
    assert found["rejected"] == {"unknown id": 1}
