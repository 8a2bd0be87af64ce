"""The books of an audit: what was uploaded, what was answered, and whether they agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from schemas.decision import VOLATILE_FIELDS, moderation_id
from schemas.errors import InvalidUploadError
from schemas.upload import decode_upload

APPLIED: Final = ("policy_hash", "rules_hash", "banks_hash", "model_versions")
"""Where two decisions of one id were made under different configuration, they may differ."""
_LISTED: Final = 20


class Place(NamedTuple):
    """Where a record lies."""

    topic: str
    partition: int
    offset: int


class _Answer(msgspec.Struct):
    fields: dict[str, Any]
    count: int = 1


class Books:
    """Enter uploads and answers in any order, then `report`."""

    def __init__(self) -> None:
        self._uploads: dict[tuple[str, int], Place] = {}
        self._redelivered = 0
        self._refusable: set[Place] = set()
        self._places: dict[Place, tuple[str, int]] = {}
        self._answers: dict[str, _Answer] = {}
        self._refused: set[Place] = set()
        self._contradictions: list[dict[str, Any]] = []
        self._reconfigured = 0
        self._degraded = 0
        self._held: set[tuple[str, int]] = set()
        self._looked_at: set[tuple[str, int]] = set()

    def uploaded(self, place: Place, value: bytes, *, max_bytes: int, max_text_chars: int) -> None:
        """Enter one record of a content topic."""
        try:
            upload = decode_upload(value, max_bytes=max_bytes, max_text_chars=max_text_chars)
        except InvalidUploadError:
            self._refusable.add(place)
            return
        key = (upload.content_id, upload.revision)
        self._places[place] = key
        if key in self._uploads:
            self._redelivered += 1
        else:
            self._uploads[key] = place

    def decided(self, value: bytes) -> None:
        """Enter one record of the decisions topic."""
        fields: dict[str, Any] = msgspec.json.decode(value)
        identity = fields["moderation_id"]
        key = (fields["content_id"], fields.get("upload_revision", 0))
        if fields.get("interim"):
            self._held.add(key)
        elif fields.get("revision"):
            self._looked_at.add(key)
        first = self._answers.get(identity)
        if first is None:
            self._answers[identity] = _Answer(fields)
            return
        first.count += 1
        different = [
            name
            for name in fields
            if name not in VOLATILE_FIELDS and fields[name] != first.fields.get(name)
        ]
        if not different:
            return
        if any(name in APPLIED for name in different):
            self._reconfigured += 1
        elif fields["degraded"] != first.fields.get("degraded"):
            self._degraded += 1
        else:
            self._contradictions.append(
                {
                    "moderation_id": identity,
                    "content_id": fields["content_id"],
                    "fields": sorted(different),
                }
            )

    def refused(self, value: bytes) -> None:
        """Enter one dead letter."""
        fields = msgspec.json.decode(value)
        self._refused.add(Place(fields["topic"], fields["partition"], fields["offset"]))

    def report(self) -> Mapping[str, Any]:
        """What the books say; `ok` where nothing is missing and nothing contradicts."""
        refused_uploads = {self._places[p] for p in self._refused if p in self._places}
        missing = [
            {"content_id": key[0], "revision": key[1], **place._asdict()}
            for key, place in self._uploads.items()
            if key not in refused_uploads and not self._answered(*key)
        ]
        unrefused = [place._asdict() for place in self._refusable - self._refused]
        return {
            "ok": not (missing or unrefused or self._contradictions),
            "uploads": len(self._uploads),
            "redelivered": self._redelivered,
            "malformed": len(self._refusable),
            "decisions": len(self._answers),
            "held": len(self._held - self._looked_at),
            "repeated_decisions": sum(a.count - 1 for a in self._answers.values()),
            "dead_letters": len(self._refused),
            "missing": len(missing) + len(unrefused),
            "missing_examples": (missing + unrefused)[:_LISTED],
            "contradicting": len(self._contradictions),
            "contradicting_examples": self._contradictions[:_LISTED],
            "differ_by_configuration": self._reconfigured,
            "differ_by_degradation": self._degraded,
        }

    def _answered(self, content_id: str, revision: int) -> bool:
        return any(
            moderation_id(content_id, revision, 0, stage) in self._answers
            for stage in ("final", "interim")
        )
