"""What leaves the feedback job: rows for what people said, evidence for what many reported."""

from __future__ import annotations

import datetime as dt
from typing import Final, NamedTuple

from operators.feedback_state import Decided, Memory, Shown
from operators.report_window import Sum
from schemas.categories import Action, Severity
from schemas.feedback import (
    AppealOutcome,
    JoinedFeedback,
    Report,
    ReviewVerdict,
    Said,
    Spoken,
    event_id,
    event_key,
    feedback_id,
)
from schemas.feedback_job import WeightPart
from schemas.report_evidence import Before, ReportEvidence, report_evidence_id
from udfs.pii_names import mask_told

RANK: Final = {"report": 0, "reviewer": 1, "senior": 2, "appeal": 3}


def labels(said: Said, decided: Decided) -> list[tuple[str, bool]]:
    """Categories that somebody spoke about, and whether the content is of them.

    A reviewer who finds nothing denies everything that was scored, and what the decision named.
    Golden items and appeals that go on say nothing about the content.
    """
    if isinstance(said, Report):
        return [(said.category or decided.category, True)]
    if isinstance(said, AppealOutcome):
        if said.outcome == "escalated":
            return []
        return [(said.category or decided.category, said.outcome == "upheld")]
    if said.golden:
        return []
    if said.violates or said.category:
        return [(said.category, said.violates)]
    denied = sorted({*decided.scores, decided.category} - {""}) or [""]
    return [(category, False) for category in denied]


class _Word(NamedTuple):
    """What a row says about who spoke."""

    kind: Spoken
    rater: str
    rank: int
    weight: float
    severity: Severity = "none"
    ordered: Action | None = None


def rows(
    said: Said,
    said_ms: int,
    decided: Decided,
    shown: Shown | None,
    trust: float,
    weights: WeightPart,
) -> list[JoinedFeedback]:
    """All rows of what one person said; none where it labels nothing.

    Args:
        said: the report, verdict or appeal outcome.
        said_ms: when, ms since the epoch.
        decided: the decision that it is about.
        shown: the upload, where it is known.
        trust: of a reporter, 0 to 1.
        weights: what each source's word weighs.
    """
    word = _word(said, trust, weights)
    key = event_key(said)
    return [
        JoinedFeedback(
            feedback_id=feedback_id(word.kind, said.content_id, key, category),
            moderation_id=decided.moderation_id,
            content_id=said.content_id,
            source=word.kind,
            category=category,
            label=label,
            weight=round(word.weight, 6),
            text=None
            if shown is None or shown.text is None
            else mask_told(shown.text, shown.names),
            language=shown.language if shown else None,
            scores=decided.scores,
            features=decided.features,
            model_versions=decided.model_versions,
            timestamp=_utc(decided.made_ms),
            event_id=event_id(said),
            rater=word.rater,
            rank=word.rank,
            said_at=said.at.astimezone(dt.UTC),
            delay_s=round((said_ms - decided.made_ms) / 1000.0, 3),
            user_id=decided.user_id,
            community_id=decided.community_id,
            content_type=decided.content_type,
            revision=decided.revision,
            status=decided.status,
            action=decided.action,
            decided_category=decided.category,
            probability=decided.probability,
            severity=word.severity,
            ordered=word.ordered,
        )
        for category, label in labels(said, decided)
    ]


def _word(said: Said, trust: float, weights: WeightPart) -> _Word:
    if isinstance(said, Report):
        return _Word("report", said.reporter_id, RANK["report"], weights.report * trust)
    if isinstance(said, ReviewVerdict):
        weight = weights.senior if said.role == "senior" else weights.reviewer
        rank = RANK[said.role]
        return _Word("verdict", said.rater_id, rank, weight, said.severity, said.action)
    weight = weights.automatic_appeal if said.automatic else weights.appeal
    return _Word("appeal", said.rater_id, RANK["appeal"], weight)


def in_force(decisions: list[Decided], said_ms: int, named: str | None) -> Decided | None:
    """The decision that somebody spoke about.

    It is the one that they name, else the newest that was made before they spoke, so that nothing
    in it can follow from what they said. Who spoke before the first decision spoke about that one.
    """
    if named is not None:
        return next((each for each in decisions if each.moderation_id == named), None)
    if not decisions:
        return None
    before = [each for each in decisions if each.made_ms <= said_ms]
    if before:
        return max(before, key=_order)
    return min(decisions, key=_order)


def _order(decided: Decided) -> tuple[int, int, str]:
    return decided.made_ms, decided.revision, decided.moderation_id


def newest(decisions: list[Decided], most: int) -> list[Decided]:
    """The newest decisions, oldest first."""
    return sorted(decisions, key=_order)[-most:]


def edited_ms(decisions: list[Decided], revision: int) -> int:
    """When the upload's revision was decided first, ms since the epoch; 0 where nothing was edited.

    Args:
        decisions: what is remembered.
        revision: the upload's newest.
    """
    if not revision:
        return 0
    own = (each.made_ms for each in decisions if each.upload_revision == revision)
    return min(own, default=0)


def report_evidence(key: str, memory: Memory, threshold: float, found: Sum) -> ReportEvidence:
    """What is published when reports pass a threshold.

    Args:
        key: the content's id.
        memory: what is remembered of it; a decision at least.
        threshold: the one that was passed, of the level `memory.passed`.
        found: the window that passed it.
    """
    decided = memory.decisions[-1]
    shown = next((s for s in memory.shown if s.moderation_id == decided.moderation_id), None)
    return ReportEvidence(
        evidence_id=report_evidence_id(key, memory.revision, memory.passed),
        content_id=key,
        user_id=decided.user_id,
        revision=memory.revision,
        level=memory.passed,
        threshold=threshold,
        weight=found.weight,
        reporters=found.reporters,
        categories=found.categories,
        before=_before(decided),
        text=shown.text if shown else None,
        language=shown.language if shown else None,
        at=_utc(found.at_ms),
    )


def _before(decided: Decided) -> Before:
    made_at = _utc(decided.made_ms)
    age_days = decided.features.get("account_age_days")
    return Before(
        revision=decided.revision,
        content_type=decided.content_type,
        community_id=decided.community_id,
        status=decided.status,
        action=decided.action,
        category=decided.category,
        probability=decided.probability,
        made_at=made_at,
        account_created_at=None if age_days is None else made_at - dt.timedelta(days=age_days),
    )


def _utc(ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ms / 1000.0, dt.UTC)
