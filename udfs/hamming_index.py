"""An immutable index of binary hashes, exact to a distance that is chosen when it is built.

Multi-index hashing over sorted arrays; `udfs.hamming_kernels` says how it finds everything.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from udfs.hamming_kernels import (
    Flags,
    Rows,
    Words,
    build_chunk,
    search_chunks,
    search_equal,
    search_flat,
)

MAX_ROWS: Final = 2**31 - 1
FLAT_ROWS: Final = 4096
"""Up to here a scan is as fast as tables, and needs none."""
_MAX_WIDTH: Final = 23
_MIN_WIDTH: Final = 8
_CANDIDATE_COST: Final = 1.5
"""What it takes to check a candidate, in buckets looked up."""


class Match(NamedTuple):
    """One row near a query."""

    distance: int
    """Differing bits."""
    row: int


class Chunks(NamedTuple):
    """Which bits the tables are made of.

    Attributes:
        width: bits of each chunk.
        firsts: first bit of each chunk; none where the index is scanned.
        radii: flips that are tried in each chunk. Exact to `sum(radius + 1) - 1` bits.
    """

    width: int
    firsts: tuple[int, ...]
    radii: tuple[int, ...]

    @classmethod
    def choose(cls, bits: int, distance: int, rows: int) -> Chunks:
        """The cheapest chunks that are exact to `distance` among `rows` hashes of `bits` bits.

        A table's offsets take no more memory than its ids.
        """
        if rows <= FLAT_ROWS:
            return cls(0, (), ())
        best: tuple[float, Chunks] | None = None
        widest = min(_MAX_WIDTH, max(_MIN_WIDTH, rows.bit_length()))
        for count in range(1, min(distance + 1, bits // _MIN_WIDTH) + 1):
            every, more = divmod(distance + 1, count)
            radii = (every,) * more + (every - 1,) * (count - more)
            for width in range(_MIN_WIDTH, min(widest, bits // count) + 1):
                if every > width:
                    continue
                probes = sum(_ball(width, radius) for radius in radii)
                cost = probes * (1 + _CANDIDATE_COST * rows / 2**width)
                if best is None or cost < best[0]:
                    stride = bits // count
                    firsts = tuple(chunk * stride for chunk in range(count))
                    best = cost, cls(width, firsts, radii)
        if best is None:
            raise ValueError(f"no chunks of {bits} bits are exact to {distance}")
        return best[1]

    @property
    def reach(self) -> int:
        """Greatest distance at which nothing is missed."""
        return sum(radius + 1 for radius in self.radii) - 1


class HammingIndex:
    """Hashes and their tables. Nothing in it ever changes.

    Args:
        words: the hashes, shape (rows, bits / 64), C-contiguous; see `to_words`.
        distance: greatest number of differing bits that is searched for.
        chunks: as chosen when it was built.
        offsets, ids: the tables; empty where `chunks` has none.
    """

    def __init__(
        self, words: Words, distance: int, chunks: Chunks, offsets: Rows, ids: Rows
    ) -> None:
        self.words, self.offsets, self.ids = map(_fixed, (words, offsets, ids))
        self.distance = distance
        self.chunks = chunks
        self.bits = 64 * words.shape[1]
        self._firsts = np.array(chunks.firsts, np.int64)
        self._radii = np.array(chunks.radii, np.int64)
        self._masks = _masks(chunks.width, max(chunks.radii, default=0))
        self._probes = np.array([_ball(chunks.width, r) for r in chunks.radii], np.int64)

    def __len__(self) -> int:
        """Rows, withdrawn ones included."""
        return int(self.words.shape[0])

    @classmethod
    def build(cls, words: Words, distance: int) -> HammingIndex:
        """Make the tables: 1 s for a million 256-bit hashes, without the GIL.

        Raises:
            ValueError: more than `MAX_ROWS` rows, or a distance that no chunks reach.
        """
        rows, count = words.shape
        if rows > MAX_ROWS:
            raise ValueError(f"{rows} hashes are more than an index holds, {MAX_ROWS}")
        chunks = Chunks.choose(64 * count, distance, rows)
        words = _fixed(words)
        size = (1 << chunks.width) + 1 if chunks.firsts else 0
        offsets = np.zeros((len(chunks.firsts), size), np.uint32)
        ids = np.empty((len(chunks.firsts), rows), np.uint32)
        for chunk, first in enumerate(chunks.firsts):
            build_chunk(words, chunk, first, chunks.width, offsets, ids)
        return cls(words, distance, chunks, offsets, ids)

    def search(
        self, queries: Words, dead: Flags, distance: int, nearest: Words, counts: Any
    ) -> None:
        """All rows within a distance of each query, nearest first, as many as there is room for.

        Args:
            queries: shape (queries, words), read-only.
            dead: shape (rows,); not zero where a row is withdrawn.
            distance: at most that of the index.
            nearest: filled, shape (queries, limit); see `matches_of`.
            counts: filled, shape (queries,).
        """
        if self.chunks.firsts:
            search_chunks(
                queries, self.words, dead, self.offsets, self.ids, self._firsts, self._radii,
                self._probes, self.chunks.width, self._masks, distance, nearest, counts,
            )  # fmt: skip
        else:
            counts[:] = 0
            search_flat(queries, self.words, dead, len(self), 0, distance, nearest, counts)

    def search_equal(self, queries: Words, dead: Flags, nearest: Words, counts: Any) -> None:
        """As `search` at distance 0, from a single bucket."""
        if self.chunks.firsts:
            search_equal(
                queries, self.words, dead, self.offsets, self.ids, self.chunks.firsts[0],
                self.chunks.width, nearest, counts,
            )  # fmt: skip
        else:
            counts[:] = 0
            search_flat(queries, self.words, dead, len(self), 0, 0, nearest, counts)

    def find(self, query: bytes, *, limit: int = 16, dead: Flags | None = None) -> list[Match]:
        """Rows near one hash, nearest first, and of equals the first rows."""
        nearest, counts = np.empty((1, limit), np.uint64), np.zeros(1, np.int64)
        flags = np.zeros(len(self), np.uint8) if dead is None else dead
        self.search(to_words(query, self.bits), flags, self.distance, nearest, counts)
        return matches_of(nearest[0], int(counts[0]))

    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """What a snapshot has to hold, by name."""
        return {"words": self.words, "offsets": self.offsets, "ids": self.ids}


def to_words(hashes: bytes, bits: int) -> Words:
    """Hashes, one after the other, as rows of 64-bit words (read-only, without a copy).

    Raises:
        ValueError: the bytes are not whole hashes.
    """
    return np.frombuffer(hashes, np.uint64).reshape(-1, bits // 64)


def matches_of(nearest: Words, count: int) -> list[Match]:
    """What a search has written about one query."""
    return [Match(key >> 48, key & 0xFFFF_FFFF_FFFF) for key in nearest[:count].tolist()]


def _fixed(array: Any) -> Any:
    """The same numbers as a plain read-only array: what the compiled functions take."""
    array = np.asarray(array).view()
    array.flags.writeable = False
    return array


def _ball(width: int, radius: int) -> int:
    """How many values of `width` bits lie within `radius` flips of one."""
    return sum(math.comb(width, flips) for flips in range(radius + 1))


@functools.cache
def _masks(width: int, radius: int) -> Words:
    """All patterns of up to `radius` set bits, those of fewer bits first."""
    patterns = [
        sum(1 << bit for bit in bits)
        for flips in range(radius + 1)
        for bits in itertools.combinations(range(width), flips)
    ]
    return np.array(patterns, np.uint64)
