"""Small stand-ins for engines and models, for tests of logic alone."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

import msgspec

from schemas.control import ControlMessage
from schemas.decision import Decision, moderation_id
from schemas.errors import ConfigError, InvalidUploadError
from schemas.evidence import MediaEvidence
from schemas.report_evidence import ReportEvidence
from schemas.trust import UserRow
from schemas.upload import Upload, decode_upload
from udfs.contracts import Item, MediaCase, Outcome
from udfs.reported import reported_item

NOW_MS = 1_767_225_600_000.0  # 2026-01-01


def payload(content_id: str = "c1", user_id: str = "u1", **fields: Any) -> bytes:
    """A valid upload."""
    document = {
        "content_id": content_id,
        "content_type": "text",
        "user_id": user_id,
        "created_at": "2026-01-01T00:00:00Z",
        "text": "hello",
        **fields,
    }
    return json.dumps(document).encode()


class Memory:
    """A keyed value."""

    def __init__(self, value: bytes | None = None) -> None:
        self.stored = value
        self.writes = 0

    def value(self) -> bytes | None:
        return self.stored

    def clear(self) -> None:
        self.stored = None

    def update(self, value: bytes) -> None:
        self.stored = value
        self.writes += 1


class FakeBrain:
    """Approves everything; the text `boom` breaks any batch that it is in."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.configured: dict[str, str] = {}
        self.told: list[tuple[str, UserRow]] = []
        self.erased: dict[str, int] = {}

    def prepare(self, raw: bytes, broker_ms: int) -> Item:
        upload = decode_upload(raw)
        if upload.text == "boom at once":
            raise ZeroDivisionError
        return Item(upload, raw, broker_ms, content_hash="0" * 64)

    def with_evidence(
        self,
        item: Item,
        evidence: MediaEvidence | None,
        *,
        raw: bytes = b"",
        revision: int,
        asked_ms: int,
    ) -> Item:
        case = MediaCase(revision, asked_ms, evidence, raw)
        return msgspec.structs.replace(item, case=case)

    def reported(self, reports: ReportEvidence, broker_ms: int) -> Item:
        if reports.before is None:
            raise InvalidUploadError("missing_field", "no", field="$.before")
        return reported_item(reports, reports.before, broker_ms, None, "")

    def patience_s(self, upload: Upload) -> float:
        return 60.0 if upload.priority < 5 else 5.0

    def remember_user(self, user_id: str, row: UserRow) -> None:
        self.told.append((user_id, row))

    def flush(self) -> None:
        """Nothing waits."""

    def erased_until_ms(self, user_id: str) -> int:
        return self.erased.get(user_id, 0)

    def moderate(self, batch: Sequence[Item], now_ms: float) -> list[Outcome]:
        self.batches.append([item.upload.content_id for item in batch])
        if any(item.upload.text == "boom" for item in batch):
            raise ZeroDivisionError
        return [Outcome(decision(item, now_ms)) for item in batch]

    def apply(self, message: ControlMessage) -> None:
        if "wrong" in message.text:
            raise ConfigError("it is wrong", file=message.file, line=3)
        if "crash" in message.text:
            raise ZeroDivisionError
        self.configured[message.key] = message.text

    def withdraw(self, key: str) -> None:
        self.configured.pop(key, None)

    def applied(self) -> dict[str, str]:
        return dict(self.configured)


def decision(item: Item, now_ms: float) -> Decision:
    """An approval that shows the velocity it was made with."""
    upload, case = item.upload, item.case
    revision = item.case_revision
    stage = "final"
    if upload.content_type != "text" and item.reports is None:
        stage = "interim" if case is None else "final" if case.evidence else "overdue"
    return Decision(
        moderation_id=moderation_id(upload.content_id, upload.revision, revision, stage),
        content_id=upload.content_id,
        revision=revision,
        upload_revision=upload.revision,
        content_type=upload.content_type,
        user_id=upload.user_id,
        community_id=upload.community_id,
        status="approved",
        action="allow",
        category="",
        scores={},
        severity="none",
        severity_score=0.0,
        confidence=1.0,
        probability=0.0,
        stage="fast_text",
        reason=stage if case is None or case.evidence is None else case.evidence.evidence_id,
        evidence=[],
        features={"uploads_1d": item.velocity.windows[3].count},
        policy_version="",
        policy_hash="",
        rules_hash="",
        banks_hash="",
        model_versions={},
        interim=stage == "interim",
        degraded=[],
        cache="",
        latency_ms=now_ms - item.broker_ms,
        timestamp=dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC),
    )
