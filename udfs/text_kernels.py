"""Hashed features of texts, and the linear model over them, compiled.

A text becomes the set of its words, pairs of neighbouring words, and pieces of three and four
characters inside words (the space before and after a word counts as part of it), each hashed
into one of `2**BITS` buckets. A set, not a bag: saying a thing twice counts once, so flooding
a text with repeats moves nothing.

Scoring, explaining and training all call `collect`: there is one definition of a feature.
"""

from __future__ import annotations

import math
import unicodedata
from typing import Any, Final

import numba
import numpy as np

from udfs.compiled import CODES, compiled

BITS: Final = 18
"""log2 of the number of buckets."""
BUCKETS: Final = 1 << BITS
PER_CHARACTER: Final = 4
"""Most features that a character can add."""

SCHEME: Final = "words-pairs-pieces34/1"
"""Names what is computed here. A model trained under another scheme must be refused."""

_SPACE: Final = np.uint32(0x20)
# Multipliers: FNV's prime to roll, Knuth's golden-ratio constants to spread into high bits.
_ROLL: Final = np.uint64(0x01000193)
_SPREAD: Final = np.uint64(0x9E3779B1)
_LOW: Final = np.uint64(0xFFFFFFFF)
_SHIFT: Final = np.uint64(32 - BITS)
_BASE: Final = np.uint64(0x9E3779B97F4A7C15)
_PAIR: Final = np.uint64(0xD6E8FEB86659FD93)
_SHIFT64: Final = np.uint64(64 - BITS)
_BEYOND: Final = 0xFFFF
_CALLS: Final = np.uint32((1 << (32 - BITS)) - 1)
"""Most calls that the entries of the scratch can tell apart."""

# Letters, digits and marks make words (marks, or Hindi would fall apart); the last entry
# stands for everything beyond the basic plane, where emoji are.
_IN_WORD: Final = np.array(
    [unicodedata.category(chr(code))[0] in "LNM" for code in range(_BEYOND)] + [True]
)

_I: Final = numba.int64
_U: Final = numba.uint64
_INTS: Final = numba.types.Array(numba.int64, 1, "C")
_STAMPS: Final = numba.types.Array(numba.uint32, 1, "C")
_F: Final = numba.float64
_SPANS: Final = numba.types.Array(numba.int64, 2, "C")
_FLOATS: Final = numba.types.Array(numba.float64, 1, "C")
_SCORES: Final = numba.types.Array(numba.float64, 2, "C")
_WEIGHTS: Final = numba.types.Array(numba.int8, 2, "C")


@compiled(_U(CODES, _I, _I, _I))
def _code(codes: Any, start: Any, stop: Any, at: Any) -> Any:
    """One code point, with a space before and after the text; line ends are spaces."""
    if at < start or at >= stop or codes[at] < _SPACE:
        return np.uint64(_SPACE)
    return np.uint64(codes[at])


@compiled(_I(_STAMPS, _U, _INTS, _INTS, _INTS, _I, _I, _I, _I))
def _keep(
    stamps: Any,
    mark: Any,
    buckets: Any,
    starts: Any,
    ends: Any,
    n: Any,
    bucket: Any,
    b: Any,
    e: Any,
) -> Any:
    entry = mark << np.uint64(BITS) | np.uint64(bucket)
    last = len(stamps) - 2
    slot = bucket & last
    while np.uint64(stamps[slot]) >> np.uint64(BITS) == mark:
        if np.uint64(stamps[slot]) == entry:
            return n
        slot = (slot + 1) & last
    stamps[slot] = np.uint32(entry)
    buckets[n] = bucket
    starts[n] = b
    ends[n] = e
    return n + 1


@compiled(_I(CODES, _I, _I, numba.boolean, _STAMPS, _U, _INTS, _INTS, _INTS, _I))
def _words(
    codes: Any,
    start: Any,
    stop: Any,
    pairs: Any,
    stamps: Any,
    mark: Any,
    buckets: Any,
    starts: Any,
    ends: Any,
    n: Any,
) -> Any:
    """Words, or pairs of neighbouring words."""
    before, before_at = np.uint64(0), np.int64(-1)
    at = start
    while at < stop:
        if not _IN_WORD[min(_code(codes, start, stop, at), np.uint64(_BEYOND))]:
            at += 1
            continue
        begin, word, power = at, np.uint64(0), np.uint64(1)
        while at < stop:
            code = _code(codes, start, stop, at)
            if not _IN_WORD[min(code, np.uint64(_BEYOND))]:
                break
            word += code * power
            power *= _BASE
            at += 1
        if not pairs:
            bucket = np.int64((word * _BASE) >> _SHIFT64)
            n = _keep(stamps, mark, buckets, starts, ends, n, bucket, begin, at)
        elif before_at >= 0:
            bucket = np.int64(((before * _PAIR + word) * _BASE) >> _SHIFT64)
            n = _keep(stamps, mark, buckets, starts, ends, n, bucket, before_at, at)
        before, before_at = word, begin
    return n


@compiled(_I(CODES, _I, _I, _STAMPS, _INTS, _INTS, _INTS))
def collect(
    codes: Any, start: Any, stop: Any, stamps: Any, buckets: Any, starts: Any, ends: Any
) -> Any:
    """Find the features of `codes[start:stop]`, each once, at its first place.

    Args:
        codes: code points.
        start: where the text begins in them.
        stop: where it ends.
        stamps: scratch, see `new_stamps`.
        buckets: is filled, see `Found`.
        starts: likewise; places count from the start of `codes`.
        ends: likewise.

    Returns:
        How many there are.
    """
    if stamps[-1] == _CALLS:
        stamps[:] = 0
    stamps[-1] += np.uint32(1)
    mark = np.uint64(stamps[-1])
    n = 0
    space = np.uint64(_SPACE)
    # A piece may begin or end with a space but hold none inside: it stays within one word.
    for at in range(start - 1, stop - 1):
        c1 = _code(codes, start, stop, at + 1)
        if c1 == space:
            continue
        c0, c2 = _code(codes, start, stop, at), _code(codes, start, stop, at + 2)
        piece = (((c0 * _ROLL + c1) * _ROLL) + c2) & _LOW
        bucket = np.int64(((piece * _SPREAD) & _LOW) >> _SHIFT)
        begin = at + 1 if c0 == space else at
        end = at + 2 if c2 == space else at + 3
        n = _keep(stamps, mark, buckets, starts, ends, n, bucket, begin, end)
    for at in range(start - 1, stop - 2):
        c1, c2 = _code(codes, start, stop, at + 1), _code(codes, start, stop, at + 2)
        if space in (c1, c2):
            continue
        c0, c3 = _code(codes, start, stop, at), _code(codes, start, stop, at + 3)
        piece = ((((c0 * _ROLL + c1) * _ROLL) + c2) * _ROLL + c3) & _LOW
        bucket = np.int64(((piece * _SPREAD) & _LOW) >> _SHIFT)
        begin = at + 1 if c0 == space else at
        end = at + 3 if c3 == space else at + 4
        n = _keep(stamps, mark, buckets, starts, ends, n, bucket, begin, end)
    # Words first, then pairs: a bucket that both fall into keeps the word's place.
    for pairs in (False, True):
        n = _words(codes, start, stop, pairs, stamps, mark, buckets, starts, ends, n)
    return n


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
    start: Any,
    stop: Any,
    weights: Any,
    column: Any,
    scale: Any,
    stamps: Any,
    buckets: Any,
    starts: Any,
    ends: Any,
    words: Any,
    totals: Any,
) -> Any:
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
