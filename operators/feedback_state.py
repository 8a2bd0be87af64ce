"""The one keyed value of a content in the feedback job: what was decided, and what was said."""

from __future__ import annotations

from typing import Final

import msgspec

from operators.report_window import Reported
from schemas.categories import Action, ContentType, Status
from schemas.feedback import Spoken
from schemas.kept import Kept


class Decided(msgspec.Struct, frozen=True, array_like=True):
    """A decision as it was made, without what only its reader needs."""

    moderation_id: str
    revision: int
    """Of the case."""
    upload_revision: int
    made_ms: int
    user_id: str
    community_id: str | None
    content_type: ContentType
    status: Status
    action: Action
    category: str
    probability: float
    scores: dict[str, float]
    features: dict[str, float]
    model_versions: dict[str, str]
    asked_ms: int = 0
    """Broker time of what asked for it; 0 where an earlier release took it in."""


class Shown(msgspec.Struct, frozen=True, array_like=True):
    """The upload that a decision was about."""

    moderation_id: str
    text: str | None
    language: str | None
    user_id: str = ""
    """The author; empty where an earlier release took it in."""
    broker_ms: int = 0
    """Broker time of the upload."""
    names: tuple[str, ...] = ()
    """Of persons, as fields of the upload tell them: rows have the text without."""


class Waiting(msgspec.Struct, frozen=True, array_like=True):
    """A report, verdict or appeal that is not joined yet."""

    kind: Spoken
    event: int
    """64-bit hash of its kind and id."""
    raw: bytes
    topic: str
    partition: int
    offset: int
    broker_ms: int
    since_ms: int
    """When this job took it, wall clock."""
    trust: float
    """Of a reporter, 0 to 1, when the report came; 1 for others."""


class Memory(msgspec.Struct, array_like=True):
    """Everything about one content."""

    expires_ms: int = 0
    changed_ms: int = 0
    """When a decision or its upload came last, wall clock."""
    decisions: list[Decided] = []
    shown: list[Shown] = []
    waiting: list[Waiting] = []
    done: list[int] = []
    """Hashes of what was joined, oldest first."""
    verdicts: dict[str, int] = {}
    """By category: 1 where a person said yes, 2 for no, 3 for both."""
    window: list[Reported] = []
    revision: int = 0
    """Newest of the upload."""
    passed: int = 0
    """Thresholds that reports of that revision have passed."""


_KEPT: Final = Kept(Memory, 1, "keyed value")


def encode_memory(memory: Memory) -> bytes:
    """The value that is kept."""
    return _KEPT.encode(memory)


def decode_memory(value: bytes | None) -> Memory:
    """Read a kept value; an empty memory where there is none.

    Raises:
        StateError: for an unknown version or a damaged value.
    """
    return _KEPT.decode(value) if value else Memory()
