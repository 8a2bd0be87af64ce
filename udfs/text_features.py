"""Hashed features of short texts, a batch at a time, in numpy alone.

A text becomes the set of its words, pairs of neighbouring words, and pieces of three and four
characters inside words (the space before and after a word counts as part of it), each hashed
into one of `2**BITS` buckets. A set, not a bag: saying a thing twice counts once, so flooding
a text with repeats moves nothing.

The whole batch is one array of code points. Pieces are hashed by a rolling multiply-add;
words by differences of one running sum of `code * BASE**position` (mod 2**64), shifted back
by the inverse power, so that a word hashes alike wherever it stands. No loop runs per text,
and no text sees its neighbours: a batch and one text alone give the same features.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

BITS: Final = 18
"""log2 of the number of buckets."""
BUCKETS: Final = 1 << BITS
MAX_CHARS: Final = 1 << 16
"""Most characters that one call takes, texts and the two spaces around each together."""
MAX_TEXTS: Final = 1 << (32 - BITS)
"""Most texts that one call takes: text number and bucket share one 32-bit sort key."""

SCHEME: Final = "words-pairs-pieces34/1"
"""Names what is computed here. A model trained under another scheme must be refused."""

_SPACE: Final = np.uint32(0x20)
# Multipliers: FNV's prime to roll, Knuth's golden-ratio constants to spread into high bits.
_ROLL: Final = np.uint32(0x01000193)
_SPREAD: Final = np.uint32(0x9E3779B1)
_SHIFT: Final = np.uint32(32 - BITS)
_BASE: Final = 0x9E3779B97F4A7C15
_SPREAD64: Final = np.uint64(_BASE)
_PAIR: Final = np.uint64(0xD6E8FEB86659FD93)
_SHIFT64: Final = np.uint64(64 - BITS)


def _powers(base: int) -> npt.NDArray[np.uint64]:
    out = np.full(MAX_CHARS, base, np.uint64)
    out[0] = 1
    np.multiply.accumulate(out, out=out)
    return out


_POWER: Final = _powers(_BASE)
_INVERSE: Final = _powers(pow(_BASE, -1, 1 << 64))
# Letters, digits and marks make words (marks, or Hindi would fall apart); the last entry
# stands for everything beyond the basic plane, where emoji are.
_IN_WORD: Final = np.array(
    [unicodedata.category(chr(code))[0] in "LNM" for code in range(0xFFFF)] + [True]
)


class Features(NamedTuple):
    """Buckets of a batch. Text `i` owns `buckets[bounds[i]:bounds[i + 1]]`, each bucket once."""

    buckets: npt.NDArray[np.uint32]
    bounds: npt.NDArray[np.int64]


class Occurrences(NamedTuple):
    """Every occurrence of a feature in one text; code points `starts[i]:ends[i]` make it up."""

    buckets: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]


class _Hashes(NamedTuple):
    """Hashes of a padded batch; `piece3[i]` and `piece4[i]` start at code point `i`."""

    piece3: npt.NDArray[np.uint32]
    keep3: npt.NDArray[np.bool_]
    piece4: npt.NDArray[np.uint32]
    keep4: npt.NDArray[np.bool_]
    word: npt.NDArray[np.uint64]
    word_start: npt.NDArray[np.int64]
    word_end: npt.NDArray[np.int64]
    pair: npt.NDArray[np.uint64]


def features(texts: Sequence[str]) -> Features:
    """Hash a batch.

    Args:
        texts: normalised texts; at most `MAX_TEXTS`, and `MAX_CHARS` characters with the two
            spaces that are set around each.

    Raises:
        ValueError: the batch is larger than that.
    """
    count = len(texts)
    if count == 0:
        return Features(np.empty(0, np.uint32), np.zeros(1, np.int64))
    codes = _codes(texts)
    if count > MAX_TEXTS or len(codes) > MAX_CHARS:
        raise ValueError(f"at most {MAX_TEXTS} texts and {MAX_CHARS} characters a call")
    owners = np.arange(count + 1, dtype=np.uint32) << np.uint32(BITS)
    owner = owners[:count].repeat(np.fromiter(map(len, texts), np.int64, count) + 2)
    h = _hash(codes)
    word_owner = owner[h.word_start]
    same = word_owner[:-1] == word_owner[1:]
    keys = np.concatenate(
        (
            (h.piece3 | owner[:-2])[h.keep3],
            (h.piece4 | owner[:-3])[h.keep4],
            h.word.astype(np.uint32) | word_owner,
            (h.pair.astype(np.uint32) | word_owner[:-1])[same],
        )
    )
    keys.sort()
    fresh = np.empty(len(keys), np.bool_)
    fresh[:1] = True
    np.not_equal(keys[1:], keys[:-1], out=fresh[1:])
    keys = keys[fresh]
    bounds = keys.searchsorted(owners)
    # The last bound would wrap to 0 for a full batch.
    bounds[count] = len(keys)
    return Features(keys & np.uint32(BUCKETS - 1), bounds)


def occurrences(text: str) -> Occurrences:
    """Features of one text with their places, without the spaces at a piece's ends.

    Args:
        text: at most `MAX_CHARS - 2` characters.
    """
    codes = _codes((text,))
    h = _hash(codes)
    at3, at4 = np.flatnonzero(h.keep3), np.flatnonzero(h.keep4)
    starts = np.concatenate((at3, at4, h.word_start, h.word_start[:-1]))
    ends = np.concatenate((at3 + 3, at4 + 4, h.word_end, h.word_end[1:]))
    buckets = np.concatenate(
        (h.piece3[at3], h.piece4[at4], h.word.astype(np.uint32), h.pair.astype(np.uint32))
    )
    starts += codes[starts] == _SPACE
    ends -= codes[ends - 1] == _SPACE
    # One space stands before the text.
    return Occurrences(buckets.astype(np.int64), starts - 1, ends - 1)


def _codes(texts: Sequence[str]) -> npt.NDArray[np.uint32]:
    """Code points of the batch, a space before and after each text; line ends become spaces."""
    padded = f" {'  '.join(texts)} "
    codes = np.frombuffer(padded.encode("utf-32-le", "surrogatepass"), np.uint32)
    return np.maximum(codes, _SPACE)


def _hash(codes: npt.NDArray[np.uint32]) -> _Hashes:
    rolling = codes[:-1] * _ROLL
    rolling += codes[1:]
    piece3 = rolling[:-1] * _ROLL
    piece3 += codes[2:]
    piece4 = piece3[:-1] * _ROLL
    piece4 += codes[3:]
    # A piece may begin or end with a space but hold none inside: it stays within one word,
    # and so within one text.
    solid = codes != _SPACE
    keep3 = solid[1:-1]
    keep4 = keep3[:-1] & keep3[1:]
    in_word = _IN_WORD[np.minimum(codes, 0xFFFF)]
    edges = np.flatnonzero(in_word[1:] != in_word[:-1]) + 1
    start, end = edges[0::2], edges[1::2]
    running = np.zeros(len(codes) + 1, np.uint64)
    np.multiply(codes, _POWER[: len(codes)], out=running[1:])
    np.add.accumulate(running, out=running)
    word = (running[end] - running[start]) * _INVERSE[start]
    pair = word[:-1] * _PAIR
    pair += word[1:]
    return _Hashes(
        (piece3 * _SPREAD) >> _SHIFT,
        keep3,
        (piece4 * _SPREAD) >> _SHIFT,
        keep4,
        (word * _SPREAD64) >> _SHIFT64,
        start,
        end,
        (pair * _SPREAD64) >> _SHIFT64,
    )
