"""Evidence of kind `reports`: many trusted users reported a content, so it is decided again.

Written to `moderation.evidence` by the feedback job, keyed by the author's user id, so that it
reaches the state of the upload. It can only raise doubt: that few or no users reported a content
is never said by a record.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from schemas.categories import Action, ContentType, Status
from schemas.decoding import decode_record
from schemas.upload import Count, Identifier, Timestamp


class Before(msgspec.Struct, frozen=True, kw_only=True):
    """The decision in force when the reports passed the threshold."""

    revision: Count
    """Of the case; the new decision is one of the next."""
    content_type: ContentType
    community_id: str | None = None
    status: Status
    action: Action
    category: str
    probability: Annotated[float, Meta(ge=0, le=1)]
    made_at: Timestamp
    account_created_at: Timestamp | None = None
    """Of the author's account, as far as the decision's features tell."""


class ReportEvidence(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="reports"):
    """Reports of a content passed a threshold: decide it again, at a higher priority.

    `evidence_id` is the same for the same content, revision and level, whenever the threshold is
    passed: a reader keeps the first of each.
    """

    evidence_id: str
    content_id: Identifier
    user_id: Identifier
    """The author."""
    revision: Count = 0
    """Of the upload."""
    level: Count = 0
    """Which of the thresholds was passed, from 0."""
    threshold: Annotated[float, Meta(ge=0)]
    weight: Annotated[float, Meta(ge=0)]
    """Of the reports in the window: the sum of the reporters' trust, 0 to 1 each."""
    reporters: Count
    """Distinct ones in the window."""
    categories: dict[str, float]
    """Weight by what the reporters chose; the empty name where they did not."""
    before: Before | None = None
    """What the reports doubt; None where no decision is remembered."""
    text: str | None = None
    """Of the upload, as far as the feedback job keeps it."""
    language: str | None = None
    at: Timestamp
    """When the report was made that passed the threshold."""


class _Kind(msgspec.Struct):
    kind: str = ""


_decoder: Final = msgspec.json.Decoder(ReportEvidence)
_kinds: Final = msgspec.json.Decoder(_Kind)


def is_reports(raw: bytes) -> bool:
    """Whether a record of the evidence topic is of this kind; what cannot be read is not."""
    try:
        return _kinds.decode(raw).kind == "reports"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def decode_report_evidence(raw: bytes) -> ReportEvidence:
    """Decode and check one record.

    Raises:
        InvalidUploadError: naming the field at fault.
    """
    return decode_record(_decoder, raw, "evidence of reports")


def report_evidence_id(content_id: str, revision: int, level: int) -> str:
    """Deterministic id: 128 bits of BLAKE2b, hex."""
    material = f"{content_id}\x00{revision}\x00reports\x00{level}"
    return hashlib.blake2b(material.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
