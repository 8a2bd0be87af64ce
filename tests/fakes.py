"""Small stand-ins for engines and models, for tests of logic alone."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

from schemas.control import ControlMessage
from schemas.decision import Decision, moderation_id
from schemas.errors import ConfigError
from schemas.upload import decode_upload
from udfs.contracts import Item, Outcome

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

    def update(self, value: bytes) -> None:
        self.stored = value
        self.writes += 1


class FakeBrain:
    """Approves everything; the text `boom` breaks any batch that it is in."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.configured: dict[str, str] = {}

    def prepare(self, raw: bytes, broker_ms: int) -> Item:
        upload = decode_upload(raw)
        if upload.text == "boom at once":
            raise ZeroDivisionError
        return Item(upload, raw, broker_ms, content_hash="0" * 64)

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
    upload = item.upload
    return Decision(
        moderation_id=moderation_id(upload.content_id, upload.revision, 0, "final"),
        content_id=upload.content_id,
        revision=0,
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
        reason="",
        evidence=[],
        features={"uploads_1d": item.velocity.windows[3].count},
        policy_version="",
        policy_hash="",
        rules_hash="",
        banks_hash="",
        model_versions={},
        interim=False,
        degraded=[],
        cache="",
        latency_ms=now_ms - item.broker_ms,
        timestamp=dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC),
    )
