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

    __slots__ = ("_buckets", "_config", "_newest", "_seen")

    def __init__(self, value: bytes | None, config: VelocityConfig) -> None:
        self._config = config
        self._newest = -1
        # (ring, bucket number) -> [count, texts, communities]
        self._buckets: dict[tuple[int, int], tuple[int, int, int]] = {}
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
        community_bit = 1 << (fingerprint(event.community) % COMMUNITY_BITS)
        if second > self._newest:
            self._newest = second
            self._evict()
        buckets = self._buckets
        newest = self._newest
        for ring, width in enumerate(BUCKET_S):
            number = second // width
            if newest // width - number < BUCKETS[ring]:
                place = (ring, number)
                old = buckets.get(place)
                if old is None:
                    buckets[place] = (1, text_bit, community_bit)
                else:
                    buckets[place] = (
                        min(old[0] + 1, _COUNT_MAX),
                        old[1] | text_bit,
                        old[2] | community_bit,
                    )
        packed = self._windows(second, text_bit, community_bit)
        self._remember(key, event.broker_ms // 1000, packed)
        return _velocity(packed, duplicate=False)

    def encode(self) -> bytes:
        """The value to keep: at most 421 bytes of rings, and 32 for each remembered upload."""
        newest = self._newest
        parts = [_HEADER.pack(VERSION, max(newest, 0), len(self._buckets))]
        pack = _ENTRY.pack
        for (ring, number), (count, texts, communities) in sorted(self._buckets.items()):
            age = newest // BUCKET_S[ring] - number
            parts.append(pack(ring << 4 | age, count, texts, communities))
        parts.append(self._seen)
        return b"".join(parts)

    def _decode(self, value: bytes) -> None:
        version, newest, entries = _HEADER.unpack_from(value)
        if version != VERSION:
            raise ValueError(f"velocity value has version {version}, this code reads {VERSION}")
        self._newest = newest
        end = _HEADER.size + entries * _ENTRY.size
        for place, count, texts, communities in _ENTRY.iter_unpack(value[_HEADER.size : end]):
            ring = place >> 4
            number = newest // BUCKET_S[ring] - (place & 15)
            self._buckets[ring, number] = (count, texts, communities)
        self._seen = value[end:]

    def _evict(self) -> None:
        newest = self._newest
        stale = [
            (ring, number)
            for ring, number in self._buckets
            if newest // BUCKET_S[ring] - number >= BUCKETS[ring]
        ]
        for place in stale:
            del self._buckets[place]

    def _windows(self, second: int, text_bit: int, community_bit: int) -> tuple[int, ...]:
        """Count, distinct texts, distinct communities, span in buckets, for each window."""
        counts = [0, 0, 0, 0]
        texts = [0, 0, 0, 0]
        communities = [0, 0, 0, 0]
        spans = [0, 0, 0, 0]
        last = [second // width for width in BUCKET_S]
        for (ring, number), (count, text_map, community_map) in self._buckets.items():
            age = last[ring] - number
            if 0 <= age < BUCKETS[ring]:
                counts[ring] += count
                texts[ring] |= text_map
                communities[ring] |= community_map
                spans[ring] = max(spans[ring], age)
        packed: list[int] = []
        for ring in range(len(BUCKET_S)):
            # An upload too late for a ring is still in its own window.
            count = min(max(counts[ring], 1), _COUNT_MAX)
            text_ones = (texts[ring] | text_bit).bit_count()
            community_ones = (communities[ring] | community_bit).bit_count()
            packed += (
                count,
                min(_TEXT_ESTIMATE[text_ones], count),
                min(_COMMUNITY_ESTIMATE[community_ones], count),
                spans[ring],
            )
        return tuple(packed)

    def _remember(self, key: int, broker_s: int, packed: tuple[int, ...]) -> None:
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


def _velocity(packed: tuple[int, ...], *, duplicate: bool) -> Velocity:
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
