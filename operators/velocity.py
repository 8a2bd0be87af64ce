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
import struct
import zlib
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from operators.velocity_kernel import (
    BUCKET_S,
    BUCKETS,
    COMMUNITY_BITS,
    ENTRY_BYTES,
    HEADER_BYTES,
    RINGS_BYTES,
    SEEN_BYTES,
    TEXT_BITS,
    VERSION,
    observe,
)
from schemas.features import WINDOWS_S, Velocity, Window
from schemas.settings import VelocitySettings

__all__ = ["BUCKETS", "BUCKET_S", "COMMUNITY_BITS", "TEXT_BITS", "VERSION", "Event", "VelocityRing"]

_EMPTY: Final = struct.pack("<BIH", VERSION, 0, 0)


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


class Event(msgspec.Struct, frozen=True):
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

    Raises:
        ValueError: the value has another version, or is cut off.
    """

    __slots__ = ("_config", "_value")

    def __init__(self, value: bytes | None, config: VelocityConfig) -> None:
        self._config = config
        self._value = value or _EMPTY
        if self._value[0] != VERSION:
            raise ValueError(
                f"velocity value has version {self._value[0]}, this code reads {VERSION}"
            )
        if len(self._value) < HEADER_BYTES:
            raise ValueError("velocity value is cut off")
        entries = self._value[5] | self._value[6] << 8
        seen = len(self._value) - HEADER_BYTES - entries * ENTRY_BYTES
        if seen < 0 or seen % SEEN_BYTES:
            raise ValueError("velocity value is cut off")

    def observe(self, event: Event) -> Velocity:
        """Count one upload and say what its windows look like, this upload included."""
        config = self._config
        created, broker = event.created_ms, event.broker_ms
        if created > broker + config.future_tolerance_ms:
            created = broker
        out = np.empty(RINGS_BYTES + config.remembered_uploads * SEEN_BYTES, np.uint8)
        windows = np.empty(len(WINDOWS_S) * 4, np.int64)
        length = observe(
            np.frombuffer(self._value, np.uint8),
            out,
            windows,
            fingerprint(event.content_key),
            max(created // 1000, 0),
            max(broker // 1000, 0),
            event.text_hash % TEXT_BITS,
            zlib.crc32(event.community.encode()) % COMMUNITY_BITS,
            config.remembered_uploads,
            config.remembered_for_s,
        )
        if length:
            self._value = out[:length].tobytes()
        return _velocity(windows.tolist(), duplicate=not length)

    @property
    def empty(self) -> bool:
        """Whether nothing was counted."""
        return self._value == _EMPTY

    def encode(self) -> bytes:
        """The value to keep: at most 421 bytes of rings, and 32 for each remembered upload."""
        return self._value


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
