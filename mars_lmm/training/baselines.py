"""What simple counting knows of the next order: nats that a model has to beat.

All are proper distributions over the whole vocabulary, fitted on the training split and scored on
exactly the orders that the model is scored on.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mars_lmm.data.prepared import TRAIN, VALIDATION, PreparedSet
from mars_lmm.data.rows import ROWS_PER_GROUP, decode_pieces, decode_tokens, segments


def scored_pairs(prepared: PreparedSet, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Every scored target of a split and the order before it.

    Orders that several rows hold are targets in the first of them only, so no order counts twice.

    Returns:
        int64[N] previous tokens and int64[N] target tokens.
    """
    pairs: list[np.ndarray] = []
    for shard in prepared.splits[split]["shards"]:
        with prepared.open(shard["file"]) as file:
            for rows in pq.ParquetFile(file).iter_batches(ROWS_PER_GROUP, columns=["token", "pieces"]):
                table = pa.Table.from_batches([rows])
                token = decode_tokens(table)
                _, scored = segments(*decode_pieces(table), prepared.row_length)
                pairs.append(np.stack([token[:, :-1][scored], token[:, 1:][scored]]))
    previous, target = np.concatenate(pairs, axis=1).astype(np.int64)
    return previous, target


def discount(counts: np.ndarray) -> float:
    """Ney's estimate of the absolute discount, n1 / (n1 + 2 n2), from the counts of what was seen.

    n1 and n2 are the numbers of things seen once and twice (Ney, Essen & Kneser 1994). Where nothing was seen
    once, n1 is taken as 1, so that what was never seen keeps a probability.
    """
    once, twice = max(1, np.count_nonzero(counts == 1)), np.count_nonzero(counts == 2)
    return once / (once + 2 * twice)


class Uniform:
    """Every token alike."""

    def __init__(self, vocabulary: int):
        self.vocabulary = vocabulary

    def probability(self, previous: np.ndarray, target: np.ndarray) -> np.ndarray:
        """float64[N] probabilities of `target`, int64[N]."""
        return np.full(len(target), 1 / self.vocabulary)


class Unigram:
    """Frequencies of tokens; an absolute discount from each is shared out evenly over the vocabulary.

    Args:
        target: int64[N], training targets.
        vocabulary: Number of tokens.
    """

    def __init__(self, target: np.ndarray, vocabulary: int):
        counts = np.bincount(target, minlength=vocabulary)
        taken = discount(counts)
        spared = taken * np.count_nonzero(counts) / len(target)
        self._probability = np.maximum(counts - taken, 0) / len(target) + spared / vocabulary

    def probability(self, previous: np.ndarray, target: np.ndarray) -> np.ndarray:
        """float64[N] probabilities of `target`, int64[N], whatever came before."""
        return self._probability[target]


class Bigram:
    """Frequencies of tokens after each token, with the discount shared out as the unigram does.

    That is interpolated absolute discounting. After a token that training never saw it is the unigram.

    Args:
        previous: int64[N], the token before each training target.
        target: int64[N], training targets.
        vocabulary: Number of tokens.
    """

    def __init__(self, previous: np.ndarray, target: np.ndarray, vocabulary: int):
        self._vocabulary = vocabulary
        self._unigram = Unigram(target, vocabulary)
        self._pairs, self._counts = np.unique(previous * vocabulary + target, return_counts=True)
        self._discount = discount(self._counts)
        self._followed = np.bincount(previous, minlength=vocabulary)
        followers = np.bincount(self._pairs // vocabulary, minlength=vocabulary)
        self._backoff = np.where(self._followed, self._discount * followers / np.maximum(self._followed, 1), 1.0)

    def probability(self, previous: np.ndarray, target: np.ndarray) -> np.ndarray:
        """float64[N] probabilities of `target`, int64[N], after `previous`, int64[N]."""
        pair = previous * self._vocabulary + target
        place = np.minimum(np.searchsorted(self._pairs, pair), len(self._pairs) - 1)
        count = np.where(self._pairs[place] == pair, self._counts[place], 0)
        kept = np.maximum(count - self._discount, 0) / np.maximum(self._followed[previous], 1)
        return kept + self._backoff[previous] * self._unigram.probability(previous, target)


class FieldBigram:
    """Each field of an order given the same field of the order before it, as if the fields were independent.

    Pairs of whole orders are too rare to count; pairs of fields are not, so on real markets this is the strongest of
    the four. Type and price are one field: what a price bin means depends on the type.

    Args:
        previous: int64[N], the token before each training target.
        target: int64[N], training targets.
        bins: Numbers of types, prices, sizes and intervals.
    """

    def __init__(self, previous: np.ndarray, target: np.ndarray, bins: tuple[int, int, int, int]):
        types, prices, sizes, intervals = bins
        bins = self._bins = (types * prices, sizes, intervals)
        fields = zip(np.unravel_index(previous, bins), np.unravel_index(target, bins), bins, strict=True)
        self._fields = [Bigram(before, after, size) for before, after, size in fields]

    def probability(self, previous: np.ndarray, target: np.ndarray) -> np.ndarray:
        """float64[N] probabilities of `target`, int64[N], after `previous`, int64[N]."""
        pairs = zip(np.unravel_index(previous, self._bins), np.unravel_index(target, self._bins), strict=True)
        fields = [field.probability(before, after) for field, (before, after) in zip(self._fields, pairs, strict=True)]
        return np.prod(fields, axis=0)


class Baseline(Protocol):
    """A distribution over the next order, given the one before it."""

    def probability(self, previous: np.ndarray, target: np.ndarray) -> np.ndarray:
        """float64[N] probabilities of `target`, int64[N], after `previous`, int64[N]."""


def fit_baselines(prepared: PreparedSet) -> dict[str, Baseline]:
    """The baselines by name, counted on the training split."""
    tokenizer = prepared.tokenizer()
    vocabulary = tokenizer.vocabulary
    previous, target = scored_pairs(prepared, TRAIN)
    return {
        "uniform": Uniform(vocabulary),
        "unigram": Unigram(target, vocabulary),
        "bigram": Bigram(previous, target, vocabulary),
        "field bigram": FieldBigram(previous, target, tokenizer.bins),
    }


def score_baselines(prepared: PreparedSet) -> dict[str, float]:
    """Mean nats per scored validation order of each baseline, to be set beside `validation/nats`."""
    pairs = scored_pairs(prepared, VALIDATION)
    baselines = fit_baselines(prepared)
    return {name: float(-np.log(baseline.probability(*pairs)).mean()) for name, baseline in baselines.items()}
