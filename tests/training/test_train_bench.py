import argparse

import pytest

from mars_lmm.bench import train


def bench(*options):
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    return train.run(parser.parse_args(options))


def test_both_sides_take_the_same_steps():
    figures = bench("--size", "tiny", "--batch-size", "2", "--row-length", "32", "--window", "16", "--steps", "5")
    assert figures["mfu"] is None
    assert figures["peak_flops"] is None
    assert figures["tokens_per_second"] > 0
    assert figures["bare_tokens_per_second"] > 0
    assert len(figures["ratios"]) == train.ROUNDS
    assert figures["peak_memory_bytes"] > 0
    assert 10 < figures["loss"] < 12  # ln 49,152, a little learnt


def test_too_few_steps_are_refused():
    with pytest.raises(SystemExit, match="--steps must be at least 5"):
        bench("--steps", "4")
