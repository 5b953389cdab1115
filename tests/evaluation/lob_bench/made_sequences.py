"""Sequences of made-up messages and books, with every type, empty sides and several rollouts of a start."""

import numpy as np

from mars_lmm.evaluation.sequences.sequences import Sequences


def made_sequences(seed=0, num_sequences=6, starts=3, length=350, levels=4, tick=100, pace=0.1, empty=0.0):
    """Messages near a wandering mid; `empty` is the share of books that lack a side."""
    generator = np.random.default_rng(seed)
    lengths = length + generator.integers(-length // 10, length // 10 + 1, num_sequences)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    n = offsets[-1]
    sequence = np.repeat(np.arange(num_sequences), lengths)
    waited = (1e9 * generator.exponential(pace, n)).astype(np.int64) * (generator.random(n) > 0.2)
    time = 36_000 * 10**9 + np.cumsum(waited)
    time = time - time[offsets[:-1]][sequence] + 36_000 * 10**9 + sequence * 977 * 10**9
    type_ = generator.choice([1, 1, 1, 2, 3, 3, 4, 4, 5, 7], n)
    base = 10_000 + np.cumsum(generator.integers(-1, 2, n) * (generator.random(n) < 0.4))
    half = generator.integers(1, 4, n)
    depth = np.arange(levels)
    size = generator.integers(1, 9, (n, levels, 2)) * 100
    book = np.stack(
        [(base + half)[:, None] + depth, size[..., 0], (base - half)[:, None] - depth, size[..., 1]], axis=-1
    ).astype(np.int64)
    book[..., [0, 2]] *= tick
    gone = generator.random((n, 2)) < empty / 2
    book[gone[:, 0], :, 1] = 0
    book[gone[:, 1], :, 3] = 0
    direction = generator.choice([1, -1], n)
    price = tick * (base - direction * (half + generator.integers(-1, levels + 1, n)))
    return Sequences(
        offsets=offsets,
        start=np.sort(np.arange(num_sequences) % starts),
        time=time,
        type=type_.astype(np.int8),
        order_id=generator.integers(0, length, n),
        size=generator.integers(1, 6, n) * 100,
        price=price.astype(np.int64),
        direction=direction.astype(np.int8),
        book=book,
        tick=tick,
    )


def joined(*parts):
    """Several sets of sequences as one."""
    names = ("start", "time", "type", "order_id", "size", "price", "direction", "book")
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return Sequences(np.concatenate([[0], np.cumsum(lengths)]), **columns, tick=parts[0].tick)
