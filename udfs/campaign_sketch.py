"""Sketches of texts: 64 bytes by which nearly equal texts are found, and an index over them.

A sketch keeps the low byte of each minimum (b-bit minwise hashing, b = 8: Li and König, "b-Bit
Minwise Hashing", 2010). Two sketches agree in a place with probability

    c + (1 - c) J,  c = 2**-8

with J the Jaccard similarity of the texts' pieces, so that J is estimated by

    (agreements / 64 - c) / (1 - c)

whose standard deviation is at most 0.0625. Keys for grouping are bands of whole minima (Leskovec,
Rajaraman and Ullman, "Mining of Massive Datasets", chapter 3): two texts share a band of r minima
with probability J**r.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from udfs.campaign_kernels import SIZE, agreements, minhash

VERSION: Final = 1
"""Counts up whenever a text gets another sketch: those made before are worth nothing then."""
ROWS: Final = 4
"""Minima of a band."""
MOST_BANDS: Final = SIZE // ROWS
MIN_PIECES: Final = 24
"""Fewer pieces of a text have no sketch: a few words in common would be half of it."""
MOST_CHARS: Final = 2_000
"""Of a text that its sketch is made of: the rest of a longer one changes nothing."""

_HIGHEST: Final = 2**32 - 1
_BY_CHANCE: Final = 2.0**-8


class Sketched(NamedTuple):
    """A text by its minima."""

    sketch: bytes
    """SIZE bytes."""
    bands: tuple[bytes, ...]
    """Eight bytes each, in the order of the hash functions."""


def sketched(text: str, bands: int = 0) -> Sketched | None:
    """Sketch a normalised text.

    Args:
        text: as `udfs.normalise` gives it.
        bands: how many bands are wanted.

    Returns:
        None where the text is too short to be told from others.
    """
    minima = _minima(text)
    if minima is None:
        return None
    raw = minima.astype("<u4").tobytes()
    wanted = tuple(
        hashlib.blake2b(
            raw[at : at + 4 * ROWS], digest_size=8, salt=bytes([at // (4 * ROWS)])
        ).digest()
        for at in range(0, bands * 4 * ROWS, 4 * ROWS)
    )
    return Sketched(minima.astype(np.uint8).tobytes(), wanted)


def sketch_of(text: str) -> bytes | None:
    """The sketch of a normalised text alone; None where it is too short."""
    minima = _minima(text)
    return None if minima is None else minima.astype(np.uint8).tobytes()


def _minima(text: str) -> np.ndarray[tuple[int], np.dtype[np.uint32]] | None:
    # Normalisation leaves no lone surrogates, but what comes here need not be normalised.
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    minima = np.full(SIZE, _HIGHEST, np.uint32)
    pieces = minhash(codes, MOST_CHARS, minima)
    return minima if pieces >= MIN_PIECES else None


def similarity(one: bytes, other: bytes) -> float:
    """Estimated Jaccard similarity of two texts by their sketches, 0 to 1."""
    same = int(np.count_nonzero(np.frombuffer(one, np.uint8) == np.frombuffer(other, np.uint8)))
    return estimated(same)


def estimated(agreeing: int) -> float:
    """Estimated similarity where sketches agree in so many places."""
    return max(0.0, (agreeing / SIZE - _BY_CHANCE) / (1.0 - _BY_CHANCE))


class SketchIndex:
    """Sketches that texts are compared with, all of them: thousands take microseconds.

    Args:
        sketches: SIZE bytes each.
    """

    def __init__(self, sketches: Sequence[bytes]) -> None:
        self._rows = np.frombuffer(b"".join(sketches), np.uint8).reshape(-1, SIZE)

    def __len__(self) -> int:
        return len(self._rows)

    def near(self, sketch: bytes, at_least: float) -> list[tuple[int, int]]:
        """Places of what is as similar as that, and in how many places they agree.

        Args:
            sketch: SIZE bytes.
            at_least: estimated similarity, 0 to 1.
        """
        counts = np.empty(len(self._rows), np.int64)
        least = math.ceil(SIZE * (at_least * (1.0 - _BY_CHANCE) + _BY_CHANCE) - 1e-9)
        if not agreements(np.frombuffer(sketch, np.uint8), self._rows, least, counts):
            return []
        return [(int(row), int(counts[row])) for row in np.flatnonzero(counts >= least)]
