"""What people say about contents afterwards: reports, verdicts, appeal outcomes; and the rows.

Each is keyed by content id and carries an id of its own that its sender makes: what is sent twice
counts once. `at` is when the person spoke, not when the record was sent: records may come days
late and in any order.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from schemas.categories import Action, ContentType, Severity, Status
from schemas.decision import Feedback
from schemas.decoding import decode_record
from schemas.errors import InvalidUploadError
from schemas.upload import Account, Identifier, Timestamp

CategoryName = Annotated[str, Meta(max_length=64, pattern=r"^([a-z][a-z0-9_]*)?$")]
"""A category of the policy, or empty."""
Note = Annotated[str, Meta(max_length=2000)]
Spoken = Literal["report", "verdict", "appeal"]


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A user says that a content breaks the rules (`moderation.reports`)."""

    report_id: Identifier
    content_id: Identifier
    reporter_id: Identifier
    at: Timestamp
    category: CategoryName = ""
    """What the reporter chose; empty where the platform does not ask."""
    account: Account = Account()
    """The reporter's, as far as the platform tells."""
    note: Note = ""
    """In the reporter's words."""


class ReviewVerdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A reviewer's answer about a content (`moderation.verdicts`).

    One record says one thing: who finds two violations writes two records.
    """

    verdict_id: Identifier
    content_id: Identifier
    moderation_id: Identifier | None = None
    """The decision that the reviewer saw; without it, the one in force at that time."""
    rater_id: Identifier
    role: Literal["reviewer", "senior"] = "reviewer"
    violates: bool
    category: CategoryName = ""
    """That it breaks, or does not; empty with `violates` false: it breaks none."""
    severity: Severity = "none"
    action: Action | None = None
    """What the reviewer ordered, where that was asked."""
    at: Timestamp
    seconds: Annotated[float, Meta(ge=0)] | None = None
    """That the reviewer took."""
    golden: bool = False
    """A test item whose answer is known: it tells about the reviewer, not about the content."""
    note: Note = ""


class AppealOutcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an appeal against a decision ended (`moderation.appeals`)."""

    appeal_id: Identifier
    content_id: Identifier
    moderation_id: Identifier | None = None
    """The decision that was appealed; without it, the one in force at that time."""
    user_id: Identifier
    """Who appealed: the author."""
    outcome: Literal["upheld", "overturned", "escalated"]
    """escalated: not ended yet, a senior reviewer answers next."""
    category: CategoryName = ""
    """Empty: the decision's."""
    automatic: bool = False
    """Resolved by scores alone, without a person."""
    rater_id: Annotated[str, Meta(max_length=256)] = ""
    """The person who resolved it; empty where it was resolved automatically."""
    at: Timestamp
    appealed_at: Timestamp | None = None
    revision: Annotated[int, Meta(ge=0)] | None = None
    """Of the case, that was appealed; without it, every decision about the content."""
    note: Note = ""


Said = Report | ReviewVerdict | AppealOutcome


class JoinedFeedback(Feedback, frozen=True, kw_only=True):
    """A row of `moderation.feedback` that a person's word gave: a label and what was decided.

    It has every field of `Feedback`, which describes the decision as it was made: `scores`,
    `features` and `model_versions` know nothing that came after. `timestamp` is the decision's.
    Readers who want one answer take the highest `rank` and vote within it by `weight`; rows that
    contradict each other are all there.
    """

    event_id: str
    """Of the report, verdict or appeal."""
    rater: str
    """Who said it; empty for an appeal that was resolved automatically."""
    rank: Annotated[int, Meta(ge=0, le=3)]
    """0 a report, 1 a reviewer, 2 a senior reviewer, 3 an appeal."""
    said_at: dt.datetime
    """In UTC."""
    delay_s: float
    """From the decision to the label, seconds; below 0 where it was said before the first
    decision."""
    user_id: str
    """The author."""
    community_id: str | None
    content_type: ContentType
    revision: int
    """Of the case, as the decision's."""
    status: Status
    action: Action
    decided_category: str
    """Of the decision; `category` is what the label is about."""
    probability: float
    """Of the decision."""
    severity: Severity
    """That the rater gave; `none` where nobody asked."""
    ordered: Action | None
    """That the rater ordered."""


_MAX_BYTES: Final = 16_384
"""Longest record. Records of one content wait together in its state."""
_reports: Final = msgspec.json.Decoder(Report)
_verdicts: Final = msgspec.json.Decoder(ReviewVerdict)
_appeals: Final = msgspec.json.Decoder(AppealOutcome)


def decode_report(raw: bytes) -> Report:
    """Decode and check one report.

    Raises:
        InvalidUploadError: naming the field at fault.
    """
    return decode_record(_reports, raw, "a report", max_bytes=_MAX_BYTES)


def decode_verdict(raw: bytes) -> ReviewVerdict:
    """Decode and check one verdict.

    Raises:
        InvalidUploadError: naming the field at fault.
    """
    verdict = decode_record(_verdicts, raw, "a verdict", max_bytes=_MAX_BYTES)
    if verdict.violates and not verdict.category:
        raise InvalidUploadError(
            "missing_field", "category is required where violates is true", field="$.category"
        )
    return verdict


def decode_appeal(raw: bytes) -> AppealOutcome:
    """Decode and check one appeal outcome.

    Raises:
        InvalidUploadError: naming the field at fault.
    """
    appeal = decode_record(_appeals, raw, "an appeal", max_bytes=_MAX_BYTES)
    if not appeal.automatic and not appeal.rater_id:
        raise InvalidUploadError(
            "missing_field", "rater_id is required where automatic is false", field="$.rater_id"
        )
    return appeal


def decode_said(kind: Spoken, raw: bytes) -> Said:
    """Decode and check a record of any of the three topics.

    Raises:
        InvalidUploadError: naming the field at fault.
    """
    if kind == "report":
        return decode_report(raw)
    return decode_verdict(raw) if kind == "verdict" else decode_appeal(raw)


def event_id(said: Said) -> str:
    """The id that its sender gave it."""
    if isinstance(said, Report):
        return said.report_id
    return said.verdict_id if isinstance(said, ReviewVerdict) else said.appeal_id


def event_key(said: Said) -> str:
    """What makes it the same when it comes again: its id, and how an appeal ended.

    An appeal that was escalated ends later, under the same id.
    """
    if isinstance(said, AppealOutcome):
        return f"{said.appeal_id}\x00{said.outcome}"
    return event_id(said)


def feedback_id(kind: Spoken, content_id: str, event: str, category: str) -> str:
    """Deterministic id of a row: 128 bits of BLAKE2b, hex.

    Args:
        kind: what was said.
        content_id: about which content.
        event: `event_key` of the report, verdict or appeal.
        category: that the row's label is about.
    """
    material = f"{kind}\x00{content_id}\x00{event}\x00{category}"
    return hashlib.blake2b(material.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
