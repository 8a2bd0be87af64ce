"""The state that a user's trust is read from, and how it is kept."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import msgspec

from schemas.kept import Kept
from schemas.trust import Labelled

NEVER: Final = 2**62
_UNKNOWN: Final = -1


class Judged(msgspec.Struct, frozen=True, array_like=True):
    """What is known about one upload of a user."""

    content: int
    """64-bit hash of its id."""
    at_ms: int
    """Broker time of the upload, or of what was heard about it first."""
    revision: int = _UNKNOWN
    """Of the case; -1 where its decision has not come."""
    severity: int = 0
    """0 none, 1 mild, 2 moderate, 3 severe."""
    cleared: int = _UNKNOWN
    """Highest revision that an appeal overturned; -1: none."""
    reported: bool = False

    @property
    def violates(self) -> bool:
        """Whether it counts against the user."""
        return self.severity > 0 and self.cleared < self.revision

    def joined(self, other: Judged) -> Judged:
        """Both together. Commutative, associative and idempotent."""
        if self.revision == other.revision:
            at_ms = min(self.at_ms, other.at_ms)
            severity = max(self.severity, other.severity)
        else:
            newer = self if self.revision > other.revision else other
            at_ms, severity = newer.at_ms, newer.severity
        return Judged(
            self.content,
            at_ms,
            max(self.revision, other.revision),
            severity,
            max(self.cleared, other.cleared),
            self.reported or other.reported,
        )

    def counts(self) -> tuple[int, int, int, int]:
        """Uploads, violations, overturned decisions and reported uploads that it counts as."""
        known = self.revision > _UNKNOWN
        overturned = known and self.severity > 0 and self.cleared >= self.revision
        return int(known), int(self.violates), int(overturned), int(self.reported)


class TrustState(msgspec.Struct, frozen=True, array_like=True):
    """Everything that is remembered about a user's trust."""

    created_ms: int = 0
    """Of the account; 0: unknown."""
    verified: tuple[int, bool] = (0, False)
    """When that was said last, and what."""
    clean: tuple[Judged, ...] = ()
    """Remembered uploads that do not count against the user, oldest first."""
    violations: tuple[Judged, ...] = ()
    """Remembered uploads that do, oldest first."""
    totals: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Uploads, violations, overturned decisions and reported uploads; also of those that are not
    remembered any more."""
    labels: tuple[Labelled, ...] = ()

    @property
    def uploads(self) -> int:
        """Uploads that were decided."""
        return self.totals[0]

    @property
    def rejected(self) -> int:
        """Of them, those that count against the user."""
        return self.totals[1]

    @property
    def overturned(self) -> int:
        """Of them, those about which an appeal was right."""
        return self.totals[2]

    @property
    def reported(self) -> int:
        """Uploads whose reports passed a threshold."""
        return self.totals[3]


_KEPT: Final = Kept(TrustState, 1, "trust")


def encode_trust(state: TrustState) -> bytes:
    """The value that is kept."""
    return _KEPT.encode(state)


def decode_trust(value: bytes | None) -> TrustState:
    """Read a kept value; an empty state where there is none.

    Raises:
        StateError: for an unknown version or a damaged value.
    """
    return _KEPT.decode(value) if value else TrustState()


def content_hash(content_id: str) -> int:
    """64-bit hash of a content id."""
    digest = blake2b(content_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")
