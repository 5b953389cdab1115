"""The exchange bench prints the figures that it promises, for a stream it promises."""

import json
import sys

import numpy as np
import pytest

from mars_lmm.bench import __main__ as bench
from mars_lmm.bench.exchange import LIVE, random_stream
from mars_lmm.market.types import CANCEL, KIND


@pytest.mark.parametrize("books", [1, 3])
def test_prints_one_json_object(books, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "exchange", "--books", str(books), "--messages", "3000"])
    bench.main()
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["books"] == books
    assert figures["device"] == "cpu"
    assert figures["messages"] == 3000
    assert figures["ratio"] > (1 if books == 1 else 0)  # so short a lockstep is mostly calls
    rate, reference_rate = figures["messages_per_second"], figures["reference_messages_per_second"]
    assert figures["ratio"] == pytest.approx(rate / reference_rate, rel=0.05)
    assert figures["live_orders"] == pytest.approx(LIVE, rel=0.05)


def test_the_stream_is_seeded_and_has_the_stated_mix():
    stream = random_stream(1, 20_000)
    np.testing.assert_array_equal(stream, random_stream(1, 20_000))
    assert (stream[LIVE:, KIND] == CANCEL).mean() == pytest.approx(0.4, abs=0.01)
