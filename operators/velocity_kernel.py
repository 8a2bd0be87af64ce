"""The rings' arithmetic, compiled: one call reads a user's value, counts and writes it anew.

Layout of the value, little-endian: version (u8), newest event time in seconds (u32), number of
ring entries (u16); the entries (ring << 4 | age of the bucket, count u16, text bitmap u32,
community bitmap u16; oldest first in each ring); then the remembered uploads, oldest first
(fingerprint u64, broker time in seconds u32, and for each window count u16, texts u8,
communities u8, span in buckets u8).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from udfs.compiled import BYTES, compiled

VERSION: Final = 1
BUCKET_S: Final[tuple[int, ...]] = (1, 5, 300, 7200)
"""Width of a bucket in each ring, seconds; 10 or 12 buckets a ring."""
BUCKETS: Final[tuple[int, ...]] = (10, 12, 12, 12)
"""Buckets of each ring: together as long as its window of `schemas.features.WINDOWS_S`."""
TEXT_BITS: Final = 32
COMMUNITY_BITS: Final = 16
HEADER_BYTES: Final = 7
ENTRY_BYTES: Final = 9
SEEN_BYTES: Final = 32
RINGS_BYTES: Final = HEADER_BYTES + ENTRY_BYTES * sum(BUCKETS)
"""Most bytes of a value without its remembered uploads."""
RINGS: Final = len(BUCKETS)
_COUNT_MAX: Final = 0xFFFF
_SLOTS: Final = 16


def _linear_counts(bits: Any) -> npt.NDArray[np.int64]:
    """Estimate of the distinct values, by the number of bits that are set."""
    full = round(bits * math.log(bits))
    return np.array(
        [
            round(-bits * math.log((bits - ones) / bits)) if ones < bits else full
            for ones in range(bits + 1)
        ]
    )


_TEXT_ESTIMATE: Final = _linear_counts(TEXT_BITS)
_COMMUNITY_ESTIMATE: Final = _linear_counts(COMMUNITY_BITS)
_WIDTHS: Final = np.array(BUCKET_S)
_LENGTHS: Final = np.array(BUCKETS)

_OUT: Final = numba.types.Array(numba.uint8, 1, "C")
_WINDOWS: Final = numba.types.Array(numba.int64, 1, "C")
_I: Final = numba.int64
_U: Final = numba.uint64
_B: Final = numba.boolean
_RINGS: Final = numba.types.Array(numba.int64, 2, "C")
_TEXTS: Final = (1 << TEXT_BITS) - 1


@compiled(_U(BYTES, _I, _I))
def _read(value: Any, at: Any, size: Any) -> Any:
    """A little-endian number."""
    number = np.uint64(0)
    for i in range(size):
        number |= np.uint64(value[at + i]) << np.uint64(8 * i)
    return number


@compiled(numba.void(_OUT, _I, _I, _U))
def _write(out: Any, at: Any, size: Any, number: Any) -> None:
    for i in range(size):
        out[at + i] = np.uint8((number >> np.uint64(8 * i)) & np.uint64(0xFF))


@compiled(_I(_U))
def _ones(bits: Any) -> Any:
    count = 0
    while bits:
        bits &= bits - np.uint64(1)
        count += 1
    return count


@compiled(_B(BYTES, _I, _U, _WINDOWS))
def _remembers(value: Any, seen: Any, key: Any, windows: Any) -> bool:
    """Whether the upload is remembered; fills `windows` as it was answered then."""
    for at in range(seen, len(value), SEEN_BYTES):
        if _read(value, at, 8) == key:
            for ring in range(RINGS):
                place = at + 12 + ring * 5
                windows[ring * 4] = np.int64(_read(value, place, 2))
                for field in range(3):
                    windows[ring * 4 + 1 + field] = np.int64(value[place + 2 + field])
            return True
    return False


@compiled(numba.void(BYTES, _I, _I, _RINGS, _RINGS))
def _load(value: Any, entries: Any, newest: Any, counts: Any, bitmaps: Any) -> None:
    """Spread the entries by ring and age, aged to `newest`; what is too old is left out."""
    known = np.int64(_read(value, 1, 4))
    for entry in range(entries):
        at = HEADER_BYTES + entry * ENTRY_BYTES
        ring = np.int64(value[at] >> 4)
        if ring < RINGS:
            width = _WIDTHS[ring]
            age = newest // width - known // width + np.int64(value[at] & 15)
            if age < _LENGTHS[ring]:
                counts[ring, age] = np.int64(_read(value, at + 1, 2))
                # Both bitmaps side by side: texts in the low bits.
                bitmaps[ring, age] = np.int64(_read(value, at + 3, 6))


@compiled(numba.void(_RINGS, _RINGS, _I, _I, _I, _WINDOWS))
def _count(counts: Any, bitmaps: Any, ring: Any, age: Any, bits: Any, windows: Any) -> None:
    """Count one upload `age` buckets before the newest, and fill the window that ends at it."""
    length = _LENGTHS[ring]
    if age < length:
        counts[ring, age] = min(counts[ring, age] + 1, _COUNT_MAX)
        bitmaps[ring, age] |= bits
    # One that comes too late for its ring is still in its own window.
    count: Any = 0
    span, seen = 0, bits
    for slot in range(age, min(length, age + length)):
        if counts[ring, slot]:
            count += counts[ring, slot]
            seen |= bitmaps[ring, slot]
            span = slot - age
    count = max(min(count, _COUNT_MAX), 1)
    windows[ring * 4] = count
    windows[ring * 4 + 1] = min(_TEXT_ESTIMATE[_ones(np.uint64(seen & _TEXTS))], count)
    windows[ring * 4 + 2] = min(_COMMUNITY_ESTIMATE[_ones(np.uint64(seen >> TEXT_BITS))], count)
    windows[ring * 4 + 3] = span


@compiled(_I(_OUT, _I, _RINGS, _RINGS))
def _store(out: Any, newest: Any, counts: Any, bitmaps: Any) -> Any:
    """Write header and entries; gives where they end."""
    end = HEADER_BYTES
    for ring in range(RINGS):
        for age in range(_SLOTS - 1, -1, -1):
            if counts[ring, age]:
                out[end] = np.uint8(ring << 4 | age)
                _write(out, end + 1, 2, np.uint64(counts[ring, age]))
                _write(out, end + 3, 6, np.uint64(bitmaps[ring, age]))
                end += ENTRY_BYTES
    out[0] = VERSION
    _write(out, 1, 4, np.uint64(newest))
    _write(out, 5, 2, np.uint64((end - HEADER_BYTES) // ENTRY_BYTES))
    return end


@compiled(_I(BYTES, _I, _I, _I))
def _still_remembered(value: Any, seen: Any, oldest_s: Any, most: Any) -> Any:
    """Where the remembered uploads begin that are neither too old nor too many."""
    while seen < len(value) and np.int64(_read(value, seen + 8, 4)) < oldest_s:
        seen += SEEN_BYTES
    return max(seen, len(value) - most * SEEN_BYTES)


@compiled(_I(BYTES, _OUT, _WINDOWS, _U, _I, _I, _I, _I, _I, _I))
def observe(
    value: Any,
    out: Any,
    windows: Any,
    key: Any,
    second: Any,
    broker_s: Any,
    text_slot: Any,
    community_slot: Any,
    remembered: Any,
    remembered_s: Any,
) -> Any:
    """Count one upload.

    Args:
        value: the user's value, as laid out above; its version and lengths are checked.
        out: room for the new value, `RINGS_BYTES + remembered * SEEN_BYTES`.
        windows: is filled with 16 numbers: count, distinct texts, distinct communities and
            span in buckets of each ring's window.
        key: fingerprint of the content id.
        second: event time.
        broker_s: broker time.
        text_slot: bit of the bitmap of texts that the upload sets.
        community_slot: bit of the bitmap of communities that it sets.
        remembered: most uploads that stay remembered, at least 1.
        remembered_s: for how long, by broker time.

    Returns:
        Length of the new value; 0 for a redelivery, which changes nothing and gets the
        windows that it got the first time.
    """
    entries = np.int64(_read(value, 5, 2))
    seen = HEADER_BYTES + entries * ENTRY_BYTES
    if _remembers(value, seen, key, windows):
        return 0
    newest = max(np.int64(_read(value, 1, 4)), second)
    counts = np.zeros((RINGS, _SLOTS), np.int64)
    bitmaps = np.zeros((RINGS, _SLOTS), np.int64)
    _load(value, entries, newest, counts, bitmaps)
    bits = np.int64(1) << text_slot | np.int64(1) << (TEXT_BITS + community_slot)
    for ring in range(RINGS):
        age = newest // _WIDTHS[ring] - second // _WIDTHS[ring]
        _count(counts, bitmaps, ring, age, bits, windows)
    end = _store(out, newest, counts, bitmaps)
    for at in range(
        _still_remembered(value, seen, broker_s - remembered_s, remembered - 1), len(value)
    ):
        out[end] = value[at]
        end += 1
    _write(out, end, 8, key)
    _write(out, end + 8, 4, np.uint64(broker_s))
    for ring in range(RINGS):
        at = end + 12 + ring * 5
        _write(out, at, 2, np.uint64(windows[ring * 4]))
        for field in range(3):
            out[at + 2 + field] = np.uint8(windows[ring * 4 + 1 + field])
    return end + SEEN_BYTES
