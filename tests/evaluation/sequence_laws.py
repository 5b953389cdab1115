"""Made-up sequences of a law that tests choose: messages that add to or take from levels of a deep book."""

import numpy as np

from mars_lmm.evaluation.sequences.sequences import BUY, DELETE, EXECUTION, NEW, SELL, Sequences

TICK, LEVELS = 100, 10
DEEP = 10_000_000  # typical size of a level at the start, so that none empties


def make_sequences(starts, rollouts=1, messages=700, seed=0, persistence=0.6, typical_size=50.0, signature=0.0):
    """Sequences of `starts` starts times `rollouts`.

    `persistence` is the chance that a message repeats the type and side of the one before. With `signature`, each
    sequence has a typical size of messages and of levels of its own; it is the standard deviation of their logarithms.
    """
    generator = np.random.default_rng(seed)
    count = starts * rollouts
    scales = np.exp(signature * generator.standard_normal((count, 2)))
    parts = [
        _sequence(generator, messages, persistence, typical_size * scale, int(DEEP * depth)) for scale, depth in scales
    ]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Sequences(np.arange(count + 1) * messages, np.repeat(np.arange(starts), rollouts), **columns, tick=TICK)


def _sequence(generator, messages, persistence, typical_size, depth):
    fresh = generator.random(messages) >= persistence
    fresh[0] = True
    last_fresh = np.maximum.accumulate(np.where(fresh, np.arange(messages), 0))
    kind = generator.choice((NEW, DELETE, EXECUTION), messages, p=(0.5, 0.3, 0.2))[last_fresh]
    direction = generator.choice((BUY, SELL), messages)[last_fresh]
    level = np.where(kind == EXECUTION, 0, np.minimum(generator.geometric(0.4, messages) - 1, LEVELS - 1))
    size = np.maximum(generator.exponential(typical_size, messages).astype(np.int64), 1)
    best_bid = 100_000 + TICK * np.cumsum(generator.choice((-1, 0, 1), messages, p=(0.05, 0.9, 0.05)))
    steps = TICK * np.arange(LEVELS)
    book = np.zeros((messages, LEVELS, 4), np.int64)
    book[:, :, 0], book[:, :, 2] = best_bid[:, None] + TICK + steps, best_bid[:, None] - steps
    added = np.zeros((messages, LEVELS, 2), np.int64)
    added[np.arange(messages), level, (direction == BUY).astype(int)] = np.where(kind == NEW, size, -size)
    book[:, :, [1, 3]] = depth + added.cumsum(axis=0)
    chosen = book[np.arange(messages), level]
    return {
        "time": generator.exponential(1e8, messages).astype(np.int64).cumsum() + 36_000 * 10**9,
        "type": kind.astype(np.int8),
        "order_id": np.arange(messages),
        "size": size,
        "price": np.where(direction == BUY, chosen[:, 2], chosen[:, 0]),
        "direction": direction.astype(np.int8),
        "book": book,
    }
