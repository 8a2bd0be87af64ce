"""Hashed features of texts: what the compiled code fills, and what training reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from udfs.text_kernels import BUCKETS, PER_CHARACTER, SCHEME, collect

__all__ = [
    "BUCKETS",
    "SCHEME",
    "Features",
    "Found",
    "code_points",
    "features",
    "new_stamps",
    "occurrences",
]


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


def new_stamps(characters: int) -> npt.NDArray[np.uint32]:
    """Scratch of `collect` for texts of so many characters: the set of buckets already seen.

    A hash table, open-addressed and small enough to stay in a core's first cache. An entry is
    the number of the call that made it and the bucket, so that nothing has to be cleared; the
    last place counts the calls.
    """
    size = 1 << (2 * PER_CHARACTER * (characters + 2) - 1).bit_length()
    return np.zeros(size + 1, np.uint32)


def code_points(text: str) -> npt.NDArray[np.uint32]:
    """Code points of a text (or of several, joined)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def features(texts: Sequence[str]) -> Features:
    """Hash a batch: what training reads. The buckets of each text come in rising order."""
    stamps = new_stamps(max(map(len, texts), default=0))
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
    count = collect(codes, 0, len(codes), new_stamps(len(codes)), *room)
    return Found(*(array[:count] for array in room))
