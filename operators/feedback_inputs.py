"""What the feedback job reads of decisions and audit records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from operators.feedback_state import Decided, Shown
from schemas.categories import Action, ContentType, Status
from schemas.decoding import decode_record
from schemas.upload import Timestamp
from udfs.pii_names import told_names

_MAX_BYTES: Final = 4_194_304


class _Decision(msgspec.Struct, frozen=True):
    moderation_id: str
    content_id: str
    revision: int
    content_type: ContentType
    user_id: str
    community_id: str | None
    status: Status
    action: Action
    category: str
    scores: dict[str, float]
    probability: float
    features: dict[str, float]
    model_versions: dict[str, str]
    timestamp: Timestamp
    upload_revision: int = 0
    latency_ms: float = 0.0


class _Upload(msgspec.Struct, frozen=True):
    text: str | None = None
    language: str | None = None
    user_id: str = ""


class _Audit(msgspec.Struct, frozen=True):
    moderation_id: str
    content_id: str
    upload: _Upload
    broker_timestamp: int = 0


class _Told(msgspec.Struct, frozen=True):
    upload: dict[str, Any]


_decisions: Final = msgspec.json.Decoder(_Decision)
_audits: Final = msgspec.json.Decoder(_Audit)
_told: Final = msgspec.json.Decoder(_Told)


def decode_decided(raw: bytes) -> tuple[str, Decided]:
    """Read a decision: its content id and what is remembered.

    Raises:
        InvalidUploadError: it is none.
    """
    part = decode_record(_decisions, raw, "a decision", max_bytes=_MAX_BYTES)
    made_ms = part.timestamp.timestamp() * 1000
    return part.content_id, Decided(
        part.moderation_id,
        part.revision,
        part.upload_revision,
        int(made_ms),
        part.user_id,
        part.community_id,
        part.content_type,
        part.status,
        part.action,
        part.category,
        part.probability,
        part.scores,
        part.features,
        part.model_versions,
        round(made_ms - part.latency_ms),
    )


def decode_audited(raw: bytes, text_chars: int, name_fields: Sequence[str]) -> tuple[str, Shown]:
    """Read an audit record: its content id and the upload that the decision was about.

    Args:
        raw: the record.
        text_chars: of the text that are remembered.
        name_fields: fields of an upload that tell names of persons.

    Raises:
        InvalidUploadError: it is none.
    """
    part = decode_record(_audits, raw, "an audit record", max_bytes=_MAX_BYTES)
    text = part.upload.text
    if text is not None:
        text = text[:text_chars] or None
    upload = part.upload
    return part.content_id, Shown(
        part.moderation_id,
        text,
        upload.language,
        upload.user_id,
        part.broker_timestamp,
        told_names(_told.decode(raw).upload, name_fields) if text and name_fields else (),
    )
