"""What Sluice says about an upload: the decision and the records that go with it."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any, Literal

import msgspec

from schemas.categories import Action, ContentType, Severity, Stage, Status

EvidenceKind = Literal["rule", "bank", "span", "score", "velocity", "evasion"]
Source = Literal["text", "ocr", "qr", "transcript", "pixels"]


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One reason, checkable by a person: where in the original text, by which rule or entry."""

    kind: EvidenceKind
    id: str
    """Rule id, bank and entry, scorer name, or velocity window."""
    category: str = ""
    weight: float = 0.0
    """Rule weight, score or match confidence, 0 to 1."""
    distance: int | None = None
    """Hamming distance of a bank match, bits."""
    spans: list[tuple[int, int]] = []
    """Half-open code point ranges in the ORIGINAL text, which `source` and `found` name."""
    source: Source = "text"
    """Where it was found: in the upload's own text, or in its media."""
    found: int | None = None
    """Of a text that was seen or heard: its place among the evidence record's texts, from 0."""
    seconds: float | None = None
    """Of a video: when it was seen."""
    observe_only: bool = False
    """Recorded, not acted on."""


class Decision(msgspec.Struct, frozen=True):
    """The answer about one upload, at one revision of its case.

    `moderation_id` is the same for every redelivery of the same upload, so that a reader
    who keeps the first of each id sees each decision once. `latency_ms`, `timestamp`,
    `cache` and `degraded` tell about this run; everything else follows from the upload,
    the user's history and the applied configuration.
    """

    moderation_id: str
    content_id: str
    revision: int
    """Revision of the case: 0 for a text's only decision, counted up by re-decisions."""
    upload_revision: int
    """The upload's own revision: an edit counts it up, and is decided by itself."""
    content_type: ContentType
    user_id: str
    community_id: str | None
    status: Status
    action: Action
    category: str
    """Category that decided; empty where nothing was found."""
    scores: dict[str, float]
    """Calibrated probability of each model category that was scored."""
    severity: Severity
    severity_score: float
    """0 to 1; above 0.95 is critical."""
    confidence: float
    """max(p, 1 - p) of `probability`."""
    probability: float
    """Calibrated probability that the upload breaks the policy in `category`."""
    stage: Stage
    reason: str
    """One sentence for people, without user content."""
    evidence: list[Evidence]
    features: dict[str, float]
    policy_version: str
    policy_hash: str
    rules_hash: str
    banks_hash: str
    model_versions: dict[str, str]
    interim: bool
    """True where a later revision will follow (media whose evidence is not here yet)."""
    degraded: list[str]
    """Dependencies or evidence that were missing."""
    cache: Literal["", "local", "redis"]
    """Where the content's assessment came from, if it was not computed now."""
    latency_ms: float
    """From the upload's broker timestamp to this decision's making."""
    timestamp: dt.datetime


VOLATILE_FIELDS = frozenset({"latency_ms", "timestamp", "cache", "degraded"})
"""Fields that may differ between two decisions of one id."""


class ReviewItem(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that a person should look at."""

    moderation_id: str
    content_id: str
    user_id: str
    community_id: str | None
    content_type: ContentType
    category: str
    tier: int
    """0 (child safety, imminent threat) to 3 (spam, mild)."""
    priority: float
    due_at: dt.datetime
    why: Literal["uncertain", "policy", "degraded", "sample", "appeal", "interim"]
    probability: float
    reason: str
    upload: dict[str, Any]
    """The upload as it came, unknown fields included."""
    created_at: dt.datetime
    broker_timestamp: int | None = None
    """As of the audit record: of what was decided about, ms since the epoch, the same under every
    redelivery. None: written by a release that did not say it."""


class Feedback(msgspec.Struct, frozen=True, kw_only=True):
    """One labelled (or to-be-labelled) row for training and monitoring."""

    feedback_id: str
    moderation_id: str
    content_id: str
    source: Literal["bank", "rule", "sample", "report", "verdict", "appeal"]
    category: str
    label: bool | None
    """None: chosen for labelling, no label yet."""
    weight: float
    text: str | None
    language: str | None
    scores: dict[str, float]
    features: dict[str, float]
    model_versions: dict[str, str]
    timestamp: dt.datetime
    broker_timestamp: int | None = None
    """As of `ReviewItem`; None as well in a row that a person's word gave."""


class Enforcement(msgspec.Struct, frozen=True, kw_only=True):
    """An order to the platform: do this to that content or user."""

    moderation_id: str
    content_id: str
    user_id: str
    action: Action
    category: str
    severity: Severity
    reason: str
    appealable: bool
    notify_user: bool
    timestamp: dt.datetime
    broker_timestamp: int | None = None
    """As of `ReviewItem`."""


class Audit(msgspec.Struct, frozen=True, omit_defaults=True):
    """With its decision, everything that is needed to make the decision again."""

    moderation_id: str
    content_id: str
    upload: msgspec.Raw
    """The payload as it came."""
    text_sha256: str
    """Of the normalised text; empty where there is none."""
    velocity: Any
    user: Any
    context: Any
    thresholds: dict[str, float]
    """The thresholds that applied to the deciding category."""
    broker_timestamp: int
    """ms since the epoch."""
    timestamp: dt.datetime
    evidence: msgspec.Raw | None = None
    """What was found in the media, as it came; none for a text, and where it did not come."""


def moderation_id(content_id: str, upload_revision: int, case_revision: int, stage: str) -> str:
    """Deterministic id of a decision: 128 bits of BLAKE2b, hex.

    Args:
        content_id: the upload's id.
        upload_revision: the upload's own revision (an edit counts it up).
        case_revision: revision of the case (interim, final, corrected).
        stage: stage of the case: `interim` before the evidence, `final` with it (and for a
            text), `overdue` where the policy had to decide without it.
    """
    material = f"{content_id}\x00{upload_revision}\x00{case_revision}\x00{stage}"
    return hashlib.blake2b(material.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
