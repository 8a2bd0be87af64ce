"""Scoring and explaining windows of texts by the linear model, compiled."""

from __future__ import annotations

import math
from typing import Any, Final

import numba
import numpy as np

from udfs.compiled import CODES, compiled
from udfs.text_features import collect

_I: Final = numba.int64
_F: Final = numba.float64
_INTS: Final = numba.types.Array(numba.int64, 1, "C")
_SPANS: Final = numba.types.Array(numba.int64, 2, "C")
_FLOATS: Final = numba.types.Array(numba.float64, 1, "C")
_SCORES: Final = numba.types.Array(numba.float64, 2, "C")
_STAMPS: Final = numba.types.Array(numba.uint32, 1, "C")
_WEIGHTS: Final = numba.types.Array(numba.int8, 2, "C")


@compiled(
    numba.void(
        CODES, _INTS, _INTS, _WEIGHTS, _FLOATS, _FLOATS, _STAMPS, _INTS, _INTS, _INTS, _SCORES
    )
)
def score_windows(
    codes: Any,
    window_starts: Any,
    window_ends: Any,
    weights: Any,
    scales: Any,
    biases: Any,
    stamps: Any,
    buckets: Any,
    starts: Any,
    ends: Any,
    out: Any,
) -> None:
    """Raw scores: sum of weights over the square root of their number, scaled, plus a bias.

    Args:
        codes: code points of all texts.
        window_starts: where each window begins in them, shape (windows,).
        window_ends: where it ends, likewise.
        weights: int8, shape (buckets, categories).
        scales: what one unit of a weight is worth, shape (categories,).
        biases: shape (categories,).
        stamps: scratch, see `udfs.text_features.collect`.
        buckets: likewise.
        starts: likewise.
        ends: likewise.
        out: is filled, shape (windows, categories).
    """
    columns = weights.shape[1]
    sums = np.empty(columns, np.int64)
    for window in range(len(window_starts)):
        count = collect(
            codes, window_starts[window], window_ends[window], stamps, buckets, starts, ends
        )
        sums[:] = 0
        for i in range(count):
            bucket = buckets[i]
            for column in range(columns):
                sums[column] += weights[bucket, column]
        length = math.sqrt(max(count, 1))
        for column in range(columns):
            out[window, column] = sums[column] * scales[column] / length + biases[column]


@compiled(_I(CODES, _I, _I, _WEIGHTS, _I, _F, _STAMPS, _INTS, _INTS, _INTS, _SPANS, _FLOATS))
def explain_words(
    codes: Any,
    start: int,
    stop: int,
    weights: Any,
    column: int,
    scale: float,
    stamps: Any,
    buckets: Any,
    starts: Any,
    ends: Any,
    words: Any,
    totals: Any,
) -> int:
    """What each word of `codes[start:stop]` adds to the raw score of one category.

    A word is whatever stands between spaces. It gets the weights of the features within it,
    and half of each pair of words that it belongs to; each feature counts once, at its first
    place.

    Args:
        codes: code points of the text.
        start: where the window begins that is explained.
        stop: where it ends.
        weights: int8, shape (buckets, categories).
        column: the category.
        scale: what one unit of its weights is worth.
        stamps: scratch, see `udfs.text_features.collect`.
        buckets: likewise.
        starts: likewise.
        ends: likewise.
        words: is filled with begin and end of each word, shape (words, 2).
        totals: is filled with what each adds, shape (words,).

    Returns:
        Number of words.
    """
    word_of = np.empty(stop - start, np.int64)
    count = 0
    inside = False
    for at in range(start, stop):
        if codes[at] <= np.uint32(0x20):
            inside = False
        elif not inside:
            inside = True
            words[count, 0] = at
            totals[count] = 0.0
            count += 1
        if inside:
            words[count - 1, 1] = at + 1
        word_of[at - start] = count - 1
    found = collect(codes, start, stop, stamps, buckets, starts, ends)
    # Whole numbers first: their sum does not depend on the order of the features.
    for i in range(found):
        weight = weights[buckets[i], column]
        totals[word_of[starts[i] - start]] += weight
        totals[word_of[ends[i] - 1 - start]] += weight
    half = scale / math.sqrt(max(found, 1)) / 2
    for word in range(count):
        totals[word] *= half
    return count
