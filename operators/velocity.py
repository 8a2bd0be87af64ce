"""How fast a user uploads: four bucketed rings in one compact, versioned value.

Rules, so that every replay gives the same numbers:

- Time is event time: `created_at`, but the broker's timestamp where `created_at` lies more
  than a tolerance in its future (a wrong clock must not push the rings ahead).
- A window of W seconds in buckets of g seconds covers this upload's bucket and the W/g - 1
  before it, so between W - g and W seconds. It ends at this upload, not at the newest one:
  a late upload sees the window that it belongs to.
- An upload too old for a ring (older than the window, counted from the newest upload seen)
  leaves no trace in that ring. What remains is therefore the same for every order of arrival.
- A content id (with its revision) that is still remembered does not count again, and gets the
  very features that it got the first time.

Distinct texts and communities are estimated by linear counting over bitmaps (Whang et al.,
"A linear-time probabilistic counting algorithm", 1990): n = -m ln(z / m) for z zero bits of m.
"""

from __future__ import annotations

import dataclasses as dc
import hashlib
import math
import struct
import zlib
from collections.abc import Sequence
from typing import Final

from schemas.features import WINDOWS_S, Velocity, Window
from schemas.settings import VelocitySettings

VERSION: Final = 1
BUCKET_S: Final[tuple[int, ...]] = (1, 5, 300, 7200)
"""Width of a bucket in each ring, seconds; 10 or 12 buckets a ring."""
BUCKETS: Final = tuple(window // width for window, width in zip(WINDOWS_S, BUCKET_S, strict=True))
TEXT_BITS: Final = 32
COMMUNITY_BITS: Final = 16
_COUNT_MAX: Final = 0xFFFF
_EMPTY: Final = (0, 0, 0)
_Ring = dict[int, tuple[int, int, int]]

# version, newest event time (s), number of ring entries
_HEADER: Final = struct.Struct("<BIH")
# ring << 4 | age of the bucket (in buckets, from the newest), count, texts, communities
_ENTRY: Final = struct.Struct("<BHIH")
# fingerprint, broker time (s), then for each window: count, texts, communities, span (buckets)
_SEEN: Final = struct.Struct("<QI" + "HBBB" * len(WINDOWS_S))


def _linear_counts(bits: int) -> tuple[int, ...]:
    """Estimate of the distinct values, by the number of bits that are set."""
    full = round(bits * math.log(bits))
    return tuple(
        round(-bits * math.log((bits - ones) / bits)) if ones < bits else full
        for ones in range(bits + 1)
    )


_TEXT_ESTIMATE: Final = _linear_counts(TEXT_BITS)
_COMMUNITY_ESTIMATE: Final = _linear_counts(COMMUNITY_BITS)


@dc.dataclass(frozen=True, slots=True)
class VelocityConfig:
    """Settings of the rings."""

    future_tolerance_ms: int = 60_000
    remembered_uploads: int = 64
    """Most content ids that are remembered per user, newest first."""
    remembered_for_s: int = 600

    @classmethod
    def of(cls, settings: VelocitySettings) -> VelocityConfig:
        """From the job's settings."""
        return cls(
            settings.future_tolerance_s * 1000,
            settings.remembered_uploads,
            settings.remembered_for_s,
        )


@dc.dataclass(frozen=True, slots=True)
class Event:
    """What the rings need to know about an upload."""

    content_key: str
    """Content id and revision."""
    created_ms: int
    broker_ms: int
    text_hash: int
    """Any well-mixed hash of the normalised text (or of the media URI)."""
    community: str


def fingerprint(text: str) -> int:
    """A 64-bit hash that is the same in every process."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


class VelocityRing:
    """The rings of one user: decode, observe, encode.

    Args:
        value: what `encode` gave, or None for a new user.
        config: settings; they may change between two decodings.
    """

    __slots__ = ("_config", "_newest", "_rings", "_seen")

    def __init__(self, value: bytes | None, config: VelocityConfig) -> None:
        self._config = config
        self._newest = -1
        # for each ring: bucket number -> count, texts, communities
        self._rings: tuple[_Ring, ...] = ({}, {}, {}, {})
        self._seen = b""
        if value:
            self._decode(value)

    def observe(self, event: Event) -> Velocity:
        """Count one upload and say what its windows look like, this upload included."""
        config = self._config
        key = fingerprint(event.content_key)
        found = self._find(key)
        if found is not None:
            return found
        created = event.created_ms
        if created > event.broker_ms + config.future_tolerance_ms:
            created = event.broker_ms
        second = max(created // 1000, 0)
        text_bit = 1 << (event.text_hash % TEXT_BITS)
        community_bit = 1 << (zlib.crc32(event.community.encode()) % COMMUNITY_BITS)
        if second > self._newest:
            self._newest = second
            self._evict()
        packed: list[int] = []
        for ring, width, buckets in zip(self._rings, BUCKET_S, BUCKETS, strict=True):
            number = second // width
            if self._newest // width - number < buckets:
                count, texts, communities = ring.get(number, _EMPTY)
                ring[number] = (
                    count + 1 if count < _COUNT_MAX else count,
                    texts | text_bit,
                    communities | community_bit,
                )
            packed += _window_of(ring, number, buckets, text_bit, community_bit)
        self._remember(key, event.broker_ms // 1000, packed)
        return _velocity(packed, duplicate=False)

    def encode(self) -> bytes:
        """The value to keep: at most 421 bytes of rings, and 32 for each remembered upload."""
        newest = max(self._newest, 0)
        pack = _ENTRY.pack
        entries = [
            pack(place << 4 | newest // width - number, *found)
            for place, (ring, width) in enumerate(zip(self._rings, BUCKET_S, strict=True))
            for number, found in (sorted(ring.items()) if len(ring) > 1 else ring.items())
        ]
        return b"".join((_HEADER.pack(VERSION, newest, len(entries)), *entries, self._seen))

    def _decode(self, value: bytes) -> None:
        version, newest, entries = _HEADER.unpack_from(value)
        if version != VERSION:
            raise ValueError(f"velocity value has version {version}, this code reads {VERSION}")
        self._newest = newest
        end = _HEADER.size + entries * _ENTRY.size
        for place, count, texts, communities in _ENTRY.iter_unpack(value[_HEADER.size : end]):
            ring = place >> 4
            number = newest // BUCKET_S[ring] - (place & 15)
            self._rings[ring][number] = (count, texts, communities)
        self._seen = value[end:]

    def _evict(self) -> None:
        for ring, width, buckets in zip(self._rings, BUCKET_S, BUCKETS, strict=True):
            oldest = self._newest // width - buckets
            if ring and min(ring) <= oldest:
                for number in [n for n in ring if n <= oldest]:
                    del ring[number]

    def _remember(self, key: int, broker_s: int, packed: Sequence[int]) -> None:
        config = self._config
        size = _SEEN.size
        seen = self._seen
        oldest = broker_s - config.remembered_for_s
        start = 0
        while start < len(seen) and int.from_bytes(seen[start + 8 : start + 12], "little") < oldest:
            start += size
        start = max(start, len(seen) - (config.remembered_uploads - 1) * size)
        self._seen = seen[start:] + _SEEN.pack(key, max(broker_s, 0), *packed)

    def _find(self, key: int) -> Velocity | None:
        needle = key.to_bytes(8, "little")
        seen = self._seen
        at = seen.find(needle)
        while at >= 0:
            if at % _SEEN.size == 0:
                return _velocity(_SEEN.unpack_from(seen, at)[2:], duplicate=True)
            at = seen.find(needle, at + 1)
        return None


def _window_of(
    ring: _Ring, last: int, buckets: int, text_bit: int, community_bit: int
) -> tuple[int, int, int, int]:
    """Count, distinct texts, distinct communities and span in buckets, up to bucket `last`."""
    count = 0
    first = last
    # An upload too late for its ring is still in its own window.
    texts, communities = text_bit, community_bit
    for number, (uploads, text_map, community_map) in ring.items():
        if last - buckets < number <= last:
            count += uploads
            texts |= text_map
            communities |= community_map
            if number < first:  # noqa: PLR1730 - a call to min() costs three times as much
                first = number
    count = min(count, _COUNT_MAX) or 1
    return (
        count,
        min(_TEXT_ESTIMATE[texts.bit_count()], count),
        min(_COMMUNITY_ESTIMATE[communities.bit_count()], count),
        last - first,
    )


def _velocity(packed: Sequence[int], *, duplicate: bool) -> Velocity:
    return Velocity(
        (
            _window(0, packed[0], packed[1], packed[2], packed[3]),
            _window(1, packed[4], packed[5], packed[6], packed[7]),
            _window(2, packed[8], packed[9], packed[10], packed[11]),
            _window(3, packed[12], packed[13], packed[14], packed[15]),
        ),
        duplicate,
    )


def _window(ring: int, count: int, texts: int, communities: int, span: int) -> Window:
    gap = span * BUCKET_S[ring] / (count - 1) if count > 1 else float(WINDOWS_S[ring])
    return Window(count, texts, communities, gap)
