"""The feed of one's own in docs/feeds.md, as a reader would try it."""

import re
import sys
from pathlib import Path

from mars_lmm.data.config import DataConfig
from mars_lmm.data.feeds import load_feed
from mars_lmm.data.prepare import prepare
from mars_lmm.data.verify import verify

DOCS = Path(__file__).resolve().parents[2] / "docs" / "feeds.md"
OPEN = 34_200 * 10**9
HEADER = "ns,id,kind,side,price,size\n"
LINES = [
    (0, 1, "new", "sell", 100.10, 100),
    (1, 2, "new", "buy", 100.00, 100),
    (5, 1, "execute", "sell", 100.10, 40),
    (6, 2, "delete", "buy", 100.00, 100),
    (7, 3, "new", "buy", 100.02, 70),
]


def test_the_feed_of_the_docs_prepares_and_verifies(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    module = tmp_path / "my_feed_of_the_docs.py"
    module.write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    files = tmp_path / "files"
    files.mkdir()
    for day in ("2024-01-02", "2024-01-03"):
        rows = [(OPEN + line[0] * 10**9, *line[1:]) for line in LINES]
        (files / f"{day}.csv").write_text(HEADER + "".join(",".join(map(str, row)) + "\n" for row in rows))
    name = module.stem
    found = verify(name, [files])
    assert (found["sessions"], found["rows"], found["mismatches"], found["trade_mismatches"]) == (2, 10, 0, 0)
    config = DataConfig(name, str(files), root=str(tmp_path / "sets"), cutoff="2024-01-03", row_length=8, context=0)
    prepared = prepare(config)
    assert [session["orders"] for session in prepared.sessions] == [5, 5]
    flow = prepared.flow(0)
    assert flow.price.tolist() == [10_010, 10_000, 10_010, 10_000, 10_002]
    assert flow.size.tolist() == [100, 100, 40, 100, 70]

    (files / "2024-01-04.csv").write_text(f"{HEADER}{OPEN},9,delete,buy,100,5\n{OPEN},x,new,buy,100,5\n")
    (files / "notes.csv").write_text(f"{HEADER}{OPEN},9,new,buy,100,5\n")
    found = verify(name, [files])
    assert found["rejected"] == {"id is no number": 1, "bad date": 1, "unknown id": 1}


def test_another_version_of_the_module_makes_another_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    code = "from mars_lmm.data.feeds.synthetic import SyntheticFeed\nclass Mine(SyntheticFeed): pass\nFEED = Mine\n"
    (tmp_path / "version_one.py").write_text(code)
    (tmp_path / "version_two.py").write_text(code + "# changed\n")
    one, two = (load_feed(name).recipe() for name in ("version_one", "version_two"))
    assert one["code"] != two["code"]
    assert load_feed("synthetic").recipe().keys() == {"options"}
