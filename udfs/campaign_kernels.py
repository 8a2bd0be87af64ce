"""MinHash of a text's pieces, and the comparison of sketches, compiled.

A text becomes the set of its pieces of `PIECE` characters, after signs have become spaces and runs
of digits one zero, so that another number or punctuation is no other text. For each of `SIZE`
hash functions the smallest value over the set is kept: two texts agree in one of them with the
probability of their Jaccard similarity (Broder, "On the resemblance and containment of documents",
1997).
"""

from __future__ import annotations

import unicodedata
from typing import Any, Final

import numba
import numpy as np

from udfs.compiled import CODES, compiled

SIZE: Final = 64
"""Hash functions: the similarity of two texts is known to within 1 / (2 sqrt(SIZE)) or better."""
PIECE: Final = 5
"""Characters of a piece."""

_SPACE: Final = np.uint64(0x20)
_ZERO: Final = np.uint64(0x30)
_BEYOND: Final = 0xFFFF
_ROLL: Final = 0x9E3779B97F4A7C15
_STEP: Final = np.uint64(_ROLL)
_LAST: Final = np.uint64(pow(_ROLL, PIECE, 2**64))

# 0: a sign, 1: a letter or mark, 2: a digit. The last entry stands for everything beyond the
# basic plane, where emoji are: they count as letters.
_KINDS: Final = np.array(
    [{"L": 1, "M": 1, "N": 2}.get(unicodedata.category(chr(c))[0], 0) for c in range(_BEYOND)]
    + [1],
    np.uint8,
)
# Multiply-shift (Dietzfelbinger et al., 1997): odd factors and any summands, drawn once and for
# all; sketches that are kept somewhere depend on them.
_DRAW: Final = np.random.Generator(np.random.PCG64(20_211)).integers(
    0, 2**64, (2, SIZE), np.uint64, endpoint=False
)
_FACTORS: Final = _DRAW[0] | np.uint64(1)
_SUMMANDS: Final = _DRAW[1]

_I: Final = numba.int64
_MINIMA: Final = numba.types.Array(numba.uint32, 1, "C")
_ROWS: Final = numba.types.Array(numba.uint8, 2, "C", readonly=True)
_ROW: Final = numba.types.Array(numba.uint8, 1, "C", readonly=True)
_COUNTS: Final = numba.types.Array(numba.int64, 1, "C")


@compiled(_I(CODES, _I, _MINIMA))
def minhash(codes: Any, limit: Any, minima: Any) -> Any:
    """Lower `minima` to the smallest hash values of a text's pieces; gives how many there were.

    Args:
        codes: the text's code points.
        limit: code points that are read, at most.
        minima: 2**32 - 1 each, shape (SIZE,).
    """
    window = np.zeros(PIECE, np.uint64)
    rolled = np.uint64(0)
    filled = np.int64(0)
    pieces = np.int64(0)
    before = np.int64(0)
    for at in range(min(len(codes), limit) + 1):
        # A sign behind the text, so that its last word ends.
        kind = np.int64(0)
        if at < min(len(codes), limit):
            kind = np.int64(_KINDS[min(codes[at], np.uint32(_BEYOND))])
        if kind != 1 and kind == before and at > 0:
            continue
        if kind == 0:
            if at == 0:
                continue
            code = _SPACE
        elif kind == 2:
            code = _ZERO
        else:
            code = np.uint64(codes[at])
        before = kind
        place = filled % PIECE
        rolled = rolled * _STEP + code - window[place] * _LAST
        window[place] = code
        filled += 1
        if filled < PIECE:
            continue
        pieces += 1
        mixed = rolled  # splitmix64
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
        for one in range(SIZE):
            value = np.uint32((mixed * _FACTORS[one] + _SUMMANDS[one]) >> np.uint64(32))
            minima[one] = min(minima[one], value)
    return pieces


@compiled(_I(_ROW, _ROWS, _I, _COUNTS))
def agreements(sketch: Any, rows: Any, least: Any, counts: Any) -> Any:
    """Count in how many places a sketch agrees with each of many.

    Args:
        sketch: shape (SIZE,).
        rows: shape (sketches, SIZE).
        least: agreements that are worth a look.
        counts: filled, shape (sketches,).

    Returns:
        How many of the sketches have so many.
    """
    hits = np.int64(0)
    for row in range(rows.shape[0]):
        count = np.int64(0)
        for place in range(SIZE):
            count += np.int64(rows[row, place] == sketch[place])
        counts[row] = count
        hits += np.int64(count >= least)
    return hits
