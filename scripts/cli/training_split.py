"""Which examples are trained on, which set thresholds, which are only tested on.

Near-duplicates go the same way: texts that share most of their features form a group, all
sentences of one pattern form a group, and a group is split off whole. Where it goes is a hash
of its content, so adding or removing a data set moves nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

TEST_SHARE: Final = 4
DEV_SHARE: Final = 2
SHARES: Final = 20
"""A fifth is tested on, a tenth calibrates, the rest is fitted."""

FIT, DEV, TEST = 0, 1, 2

SEEDS: Final = (1, 3)
"""Of the signatures that find near-duplicates: two sets miss less than one."""

_ROWS: Final = 3
_BANDS: Final = 8
_SIMILAR: Final = 0.6
"""Estimated Jaccard similarity of feature sets from which two texts count as the same."""

IntArray = npt.NDArray[np.int64]


def minhashes(matrix: sp.csr_matrix, *, seed: int = 1) -> npt.NDArray[np.uint32]:
    """MinHash signatures of the rows' sets of columns (Broder 1997), shape (rows, 24).

    Args:
        matrix: one row per text; only which entries are there counts.
        seed: of the permutations.
    """
    rng = np.random.default_rng(seed)
    multipliers = rng.integers(1, 1 << 32, _ROWS * _BANDS, dtype=np.uint32) | np.uint32(1)
    out = np.full((matrix.shape[0], len(multipliers)), np.iinfo(np.uint32).max, np.uint32)
    filled = np.flatnonzero(np.diff(matrix.indptr))
    starts = matrix.indptr[filled]
    columns = matrix.indices.astype(np.uint32)
    for i, multiplier in enumerate(multipliers):
        mixed = columns * multiplier
        mixed ^= mixed >> np.uint32(15)
        mixed *= np.uint32(0x85EBCA6B)
        if len(filled):
            out[filled, i] = np.minimum.reduceat(mixed, starts)
    return out


def groups(signatures: npt.NDArray[np.uint32], links: Sequence[str]) -> IntArray:
    """Group number of every text: connected by near-duplication or by a link that they share.

    Args:
        signatures: of `minhashes`.
        links: one a text; equal ones connect, empty ones do not.
    """
    parent = np.arange(len(signatures))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first_of_link: dict[str, int] = {}
    for i, link in enumerate(links):
        if link:
            parent[root(i)] = root(first_of_link.setdefault(link, i))
    empty = signatures[:, 0] == np.iinfo(np.uint32).max
    for band in range(_BANDS):
        part = np.ascontiguousarray(signatures[:, band * _ROWS : (band + 1) * _ROWS])
        _, first, inverse = np.unique(
            part.view([("", np.uint32)] * _ROWS).ravel(), return_index=True, return_inverse=True
        )
        other = first[inverse]
        alike = (signatures == signatures[other]).mean(axis=1) >= _SIMILAR
        for i in np.flatnonzero(alike & ~empty & (other != np.arange(len(other)))):
            a, b = root(int(i)), root(int(other[i]))
            parent[max(a, b)] = min(a, b)
    return np.array([root(i) for i in range(len(parent))], np.int64)


def related(matrix: sp.csr_matrix, links: Sequence[str]) -> IntArray:
    """Groups of texts that are nearly the same or share a link.

    Args:
        matrix: one row per text.
        links: as for `groups`.
    """
    group = groups(minhashes(matrix, seed=SEEDS[0]), links)
    for seed in SEEDS[1:]:
        group = groups(minhashes(matrix, seed=seed), [str(number) for number in group])
    return group


def split(texts: Sequence[str], group: IntArray) -> IntArray:
    """FIT, DEV or TEST for every text.

    Args:
        texts: normalised.
        group: of `groups`; its hash is the smallest of its members' hashes.
    """
    digests = np.array(
        [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") for text in texts],
        np.uint64,
    )
    smallest = np.full(len(texts), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(smallest, group, digests)
    share = (smallest[group] % np.uint64(SHARES)).astype(np.int64)
    return np.where(share < TEST_SHARE, TEST, np.where(share < TEST_SHARE + DEV_SHARE, DEV, FIT))
