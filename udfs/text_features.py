"""Hashed features of short texts, compiled.

A text becomes the set of its words, pairs of neighbouring words, and pieces of three and four
characters inside words (the space before and after a word counts as part of it), each hashed
into one of `2**BITS` buckets. A set, not a bag: saying a thing twice counts once, so flooding
a text with repeats moves nothing.

Scoring, explaining and training all call `collect`: there is one definition of a feature.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

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

# Letters, digits and marks make words (marks, or Hindi would fall apart); the last entry
# stands for everything beyond the basic plane, where emoji are.
_IN_WORD: Final = np.array(
    [unicodedata.category(chr(code))[0] in "LNM" for code in range(_BEYOND)] + [True]
)

_I: Final = numba.int64
_U: Final = numba.uint64
_INTS: Final = numba.types.Array(numba.int64, 1, "C")
_STAMPS: Final = numba.types.Array(numba.uint32, 1, "C")


class Features(NamedTuple):
    """Buckets of a batch. Text `i` owns `buckets[bounds[i]:bounds[i + 1]]`, each bucket once."""

    buckets: npt.NDArray[np.uint32]
    bounds: npt.NDArray[np.int64]


class Found(NamedTuple):
    """Room for the features of one text: each feature once, with its first place.

    Code points `starts[i]:ends[i]` of the text make up the feature in `buckets[i]`.
    """

    buckets: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]

    @classmethod
    def room_for(cls, characters: int) -> Found:
        """Make room for a text of so many characters."""
        size = PER_CHARACTER * (characters + 2)
        return cls(np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64))


def new_stamps() -> npt.NDArray[np.uint32]:
    """Scratch of `collect`: when each bucket was last seen, and in the last place the count."""
    return np.zeros(BUCKETS + 1, np.uint32)


def code_points(text: str) -> npt.NDArray[np.uint32]:
    """Code points of a text (or of several, joined)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


@compiled(_U(CODES, _I, _I, _I))
def _code(codes: Any, start: int, stop: int, at: int) -> Any:
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
    n: int,
    bucket: int,
    b: int,
    e: int,
) -> int:
    if stamps[bucket] == mark:
        return n
    stamps[bucket] = mark
    buckets[n] = bucket
    starts[n] = b
    ends[n] = e
    return n + 1


@compiled(_I(CODES, _I, _I, numba.boolean, _STAMPS, _U, _INTS, _INTS, _INTS, _I))
def _words(
    codes: Any,
    start: int,
    stop: int,
    pairs: bool,
    stamps: Any,
    mark: Any,
    buckets: Any,
    starts: Any,
    ends: Any,
    n: int,
) -> int:
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
    codes: Any, start: int, stop: int, stamps: Any, buckets: Any, starts: Any, ends: Any
) -> int:
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
    if stamps[BUCKETS] == np.uint32(_LOW):
        stamps[:] = 0
    stamps[BUCKETS] += np.uint32(1)
    mark = np.uint64(stamps[BUCKETS])
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


def features(texts: Sequence[str]) -> Features:
    """Hash a batch: what training reads. The buckets of each text come in rising order."""
    stamps = new_stamps()
    rows: list[npt.NDArray[np.int64]] = []
    for text in texts:
        codes = code_points(text)
        room = Found.room_for(len(codes))
        count = collect(codes, 0, len(codes), stamps, *room)
        rows.append(np.sort(room.buckets[:count]))
    bounds = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=bounds[1:])
    buckets = np.concatenate(rows) if rows else np.empty(0, np.int64)
    return Features(buckets.astype(np.uint32), bounds)


def occurrences(text: str) -> Found:
    """Features of one text with their first places."""
    codes = code_points(text)
    room = Found.room_for(len(codes))
    count = collect(codes, 0, len(codes), new_stamps(), *room)
    return Found(*(array[:count] for array in room))
