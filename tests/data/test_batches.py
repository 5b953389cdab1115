import dataclasses
import json
from types import SimpleNamespace

import fsspec
import lightning as L
import numpy as np
import pytest
import torch
from prepared_sets import market_of, numbered_rows, save, write_prepared

from mars_lmm.data.batches import main
from mars_lmm.data.datamodule import OrderDataModule
from mars_lmm.data.datasets import BLOCK
from mars_lmm.data.flow import ANONYMOUS, AUCTION, HIDDEN, OrderFlow, Session
from mars_lmm.data.prepared import MANIFEST, TRAIN, PreparedSet
from mars_lmm.data.rows import RowWriter, coded_orders, packed_file, shard_file
from mars_lmm.data.windows import cut, pack
from mars_lmm.market import types as t

T = 8
LENGTHS = [60, 5, 3, 40, 4]  # orders of the sessions: two long ones, three to be packed
SECOND = 10**9
OPEN, CLOSE = 34_200 * SECOND, 57_600 * SECOND


def session_flow(number, length):
    """A flow with `length` orders, between rows that are none; the ids of orders count from 1000 * number + 1."""
    rng = np.random.default_rng(number)
    count = 3 * length + 4
    flags = np.full(count, ANONYMOUS, np.uint8)
    flags[rng.permutation(np.arange(2, count - 2))[:length]] = AUCTION * (number % 2)
    flags[[1, 3 * length + 2]] = 0  # before the opening, and after the close
    is_order = (flags & (ANONYMOUS | HIDDEN) == 0) & (np.arange(count) > 1) & (np.arange(count) < count - 2)
    time = np.sort(rng.integers(OPEN, CLOSE, count))
    time[:2], time[-2:] = OPEN - 1, CLOSE + 1
    ids = np.full(count, -1)
    ids[is_order] = 1000 * number + 1 + np.arange(length)
    columns = {
        "time": time,
        "kind": np.where(ids % 3 == 2, t.CANCEL, t.LIMIT),
        "side": ids % 2,
        "price": 100 + ids % 7,
        "size": 1 + ids % 5,
        "order_id": ids,
        "flags": flags,
        "source_row": np.arange(1, count + 1),
    }
    session = Session(f"S{number}", "2024-01-02", 0.01, OPEN, CLOSE)
    return OrderFlow(session, columns), ids[is_order]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A set whose tokens are the orders' ids, so that each order tells where it belongs."""
    folder = tmp_path_factory.mktemp("prepared")
    empty = write_prepared(folder, numbered_rows(2, T), numbered_rows(2, T))
    sessions, coded, pieces = [], [], []
    for number, length in enumerate(LENGTHS):
        flow, ids = session_flow(number, length)
        file = f"flow/{flow.session.name}.parquet"
        flow.write(folder / file)
        sessions.append(vars(flow.session) | {"flow": file, "orders": length})
        coded.append(coded_orders(ids, market_of(ids)))
        pieces.append(cut(number, 0, length, T, 0))
    shards = []
    packed = pack(np.concatenate([found for found in pieces if len(found) == 1]), T)
    written = [(shard_file(TRAIN, sessions[found["session"][0]]), (found, None)) for found in pieces if len(found) > 1]
    for file, (found, counts) in [*written, (packed_file(TRAIN), packed)]:
        with RowWriter(folder / file, T) as writer:
            writer.write(found, coded.__getitem__, counts)
        shards.append({"file": file, "rows": writer.num_rows})
    splits = empty.splits | {TRAIN: {"rows": sum(shard["rows"] for shard in shards), "orders": 0, "shards": shards}}
    prepared = dataclasses.replace(empty, splits=splits, sessions=sessions)
    save(prepared)
    return prepared


class Notes(L.LightningModule):
    """Learns nothing, and notes the tokens of each step's batches."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.tokens = {}

    def training_step(self, batch, batch_idx):
        self.tokens.setdefault(self.global_step, []).extend(batch["token"].tolist())
        return self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.fixture(scope="module")
def run(prepared, tmp_path_factory):
    """The folder of a run of ten steps, and what each of them saw."""
    folder, notes = tmp_path_factory.mktemp("run"), Notes()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    checkpoint = L.pytorch.callbacks.ModelCheckpoint(folder / "checkpoints", "last")
    trainer = L.Trainer(
        max_steps=10,
        accelerator="cpu",
        accumulate_grad_batches=2,
        callbacks=[checkpoint],
        use_distributed_sampler=False,
        limit_val_batches=0,
        **quiet,
    )
    trainer.fit(notes, datamodule=OrderDataModule(prepared, 2, seed=7))
    return folder, notes.tokens


def test_a_run_is_found_from_any_folder(run, prepared, tmp_path, monkeypatch, capsys):
    """Also if it was told of its set by a path from the folder that it was started in."""
    monkeypatch.chdir(prepared.path.parent)
    data = OrderDataModule(PreparedSet.load(prepared.path.name), 2, seed=7)
    data.trainer = SimpleNamespace(distributed_sampler_kwargs=None, accumulate_grad_batches=2)
    (tmp_path / "checkpoints").mkdir()
    torch.save({"OrderDataModule": data.state_dict()}, tmp_path / "checkpoints" / "last.ckpt")
    monkeypatch.chdir(tmp_path)
    assert show(capsys, tmp_path, "--step", 3)[1] == show(capsys, run[0], "--step", 3)[1]


def show(capsys, *arguments):
    """The lines printed, and the JSON of the last."""
    assert main([str(argument) for argument in arguments]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    return lines, json.loads(last)


def shown_orders(lines):
    """The printed orders as fields."""
    fields = [line.split() for line in lines if line.startswith("    ")]
    return [values for values in fields if values[0] != "order"]


def test_shows_what_each_step_of_a_run_really_saw(run, prepared, capsys):
    folder, tokens = run
    for step in range(10):
        lines, described = show(capsys, folder, "--step", step, "--orders", 100)
        orders = shown_orders(lines)
        assert [int(values[-1]) for values in orders] == [token for row in tokens[step] for token in row if token]
        assert all(values[6] == values[-1] for values in orders)  # the id in the flow, and the token
        assert len(described["rows"]) == (2 if step % 4 == 3 else 4)  # seven batches an epoch, two a step
        assert described["fingerprint"] == prepared.fingerprint


def test_shows_orders_as_the_flow_has_them(prepared, capsys):
    flow, _ = session_flow(1, LENGTHS[1])
    options = (prepared.path, "--step", 0, "--batch-size", 15)
    _, everything = show(capsys, *options)
    sessions = [[piece["session"] for piece in row["pieces"]] for row in everything["rows"]]
    packed = sessions.index(["S1_2024-01-02", "S2_2024-01-02"])
    lines, described = show(capsys, *options, "--row", packed, "--orders", 2)
    piece, values = described["rows"][0]["pieces"][0], shown_orders(lines)[0]
    assert len(shown_orders(lines)) == 4
    (found,) = np.flatnonzero(flow.order_id == 1001)
    seconds = int(flow.time[found]) // SECOND
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{flow.time[found] % SECOND:09}"
    assert piece | {"to": None} == {
        "session": "S1_2024-01-02",
        "first_order": 0,
        "orders": 5,
        "scored": 4,
        "from": clock,
        "to": None,
    }
    kind, side = t.KINDS[flow.kind[found]], ("sell", "buy")[flow.side[found]]
    numbers = [flow.price[found], flow.size[found], 1001, flow.source_row[found], 1001]
    assert values == ["0", clock, kind, side, *map(str, numbers)]


def test_ranks_share_a_step_and_one_row_can_be_picked(prepared, capsys):
    options = ("--step", 3, "--orders", 0, "--seed", 5)
    _, alone = show(capsys, prepared.path, *options, "--batch-size", 4)
    _, shared = show(capsys, prepared.path, *options, "--batch-size", 2, "--world-size", 2)
    assert {row["row"] for row in alone["rows"]} == {row["row"] for row in shared["rows"]}
    assert [row["rank"] for row in shared["rows"]] == [0, 0, 1, 1]
    _, second = show(capsys, prepared.path, *options, "--batch-size", 2, "--world-size", 2, "--rank", 1)
    assert second["rows"] == shared["rows"][2:]
    lines, picked = show(capsys, prepared.path, *options, "--batch-size", 2, "--world-size", 2, "--rank", 1, "--row", 1)
    assert picked["rows"] == shared["rows"][3:]
    assert len(lines) == 1 + len(picked["rows"][0]["pieces"])


def test_shows_a_set_in_an_object_store(prepared, capsys):
    store = fsspec.filesystem("memory")
    for folder in ("rows", "flow"):
        store.put(str(prepared.path / folder), f"/bucket/shown/{folder}", recursive=True)
    store.put(str(prepared.path / MANIFEST), f"/bucket/shown/{MANIFEST}")
    lines, described = show(capsys, "memory://bucket/shown", "--step", 0, "--batch-size", 3, "--orders", 100)
    orders = shown_orders(lines)
    assert [values[6] for values in orders] == [values[-1] for values in orders]
    assert described["block"] == BLOCK
    assert len(described["rows"]) == 3
    store.rm("/bucket", recursive=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--step", "-1"), "count from 0"),
        (("--step", "0", "--batch-size", "2", "--rank", "1"), "the ranks are 0 to 0"),
        (("--step", "0", "--batch-size", "2", "--row", "2"), "the step saw rows 0 to 1"),
        (("--step", "0", "--batch-size", "0"), "--batch-size 0: it is 1 to 9223372036854775807"),
        (("--step", "0", "--seed", "9" * 23), f"--seed {'9' * 23}: it is 0 to 9223372036854775807"),
        (("--step", "9" * 23), "a step is at most 9223372036854775807"),
        (("--step", "0", "--batch-size", "1000"), "do not fill one batch of 1000 rows"),
    ],
)
def test_what_cannot_be_shown_is_said(prepared, capsys, arguments, message):
    assert main([str(prepared.path), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_run_that_cannot_tell_is_named(run, prepared, tmp_path, capsys):
    def fails(path, *arguments):
        assert main([str(path), "--step", "0", *arguments]) == 2
        return capsys.readouterr().err

    assert "a run knows its batch size" in fails(run[0], "--seed", "3")
    assert "not a prepared set" in fails(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    assert "no checkpoint yet" in fails(tmp_path)
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    checkpoint.write_bytes(b"broken")
    assert f"{checkpoint}: not a checkpoint" in fails(tmp_path)
    for content in ({}, [], {"OrderDataModule": {}}):
        torch.save(content, checkpoint)
        assert "tells nothing of its batches" in fails(tmp_path)
    saved = torch.load(run[0] / "checkpoints" / "last.ckpt", weights_only=True)
    saved["OrderDataModule"]["fingerprint"] = "another"
    torch.save(saved, checkpoint)
    assert "is not the set of the run" in fails(tmp_path)
