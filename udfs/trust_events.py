"""What the records of topics say about their user's trust: one reading for jobs and tables."""

from __future__ import annotations

from typing import Final

from schemas.categories import Action
from schemas.decision import Decision
from schemas.feedback import AppealOutcome
from schemas.report_evidence import ReportEvidence
from schemas.trust import (
    Decided,
    Labelled,
    LabelSource,
    Overturned,
    ReportsPassed,
    TrustDocument,
)
from schemas.upload import Account
from schemas.user_events import to_ms

ACTED: Final[frozenset[Action]] = frozenset({"remove", "warn", "shadowban", "restrict"})
"""Actions that say that the author broke a rule. A label or an age gate does not, and a review
has not said so yet."""
EVERY_REVISION: Final = 2**31 - 1
"""What an appeal that names no revision clears: everything that is decided about its content."""
_GRAVITY: Final = {"none": 0, "mild": 1, "moderate": 2, "severe": 3}
_MODELS: Final = frozenset({"fast_text", "deep_text", "pixels", "fusion"})
"""Stages that are models."""


def of_decision(decision: Decision, account: Account, asked_ms: int) -> Decided | None:
    """A decision about an upload of the user; None for an interim one, which says nothing yet.

    Args:
        decision: as it was written. Where a restriction of the account decided, its severity is
            `none`: nobody is punished for being restricted.
        account: of the upload.
        asked_ms: broker time of what asked for the decision, the upload or its evidence, ms since
            the epoch: the same under redelivery.
    """
    if decision.interim:
        return None
    created = account.created_at
    return Decided(
        content_id=decision.content_id,
        revision=decision.revision,
        severity=decision.severity if decision.action in ACTED else "none",
        at_ms=asked_ms,
        account_created_ms=to_ms(created) if created else 0,
        verified=account.verified,
    )


def labels_of(decision: Decision, asked_ms: int, config: TrustDocument) -> list[Labelled]:
    """Labels that a decision gives to its author, by `config.labels`.

    Args:
        decision: as it was written.
        asked_ms: as for `of_decision`.
        config: the trust's.
    """
    found: list[Labelled] = []
    for part in config.labels:
        source: LabelSource = "rule"
        if part.rule is not None:
            holds = any(
                each.kind == "rule" and each.id == part.rule and not each.observe_only
                for each in decision.evidence
            )
            by = part.rule
        else:
            holds = (
                decision.action in ACTED
                and decision.category == part.category
                and _GRAVITY[decision.severity] >= _GRAVITY[part.severity]
                and decision.probability >= part.probability
            )
            by = decision.stage
            if by in _MODELS:
                source = "model"
        if holds and not decision.interim:
            found.append(
                Labelled(
                    name=part.label,
                    source=source,
                    reason=part.reason,
                    by=by,
                    at_ms=asked_ms,
                    expires_ms=asked_ms + int(part.days * 86_400_000),
                )
            )
    return found


def of_appeal(appeal: AppealOutcome) -> Overturned | None:
    """An appeal's end; None where it changes nothing about the user."""
    if appeal.outcome != "overturned":
        return None
    revision = EVERY_REVISION if appeal.revision is None else appeal.revision
    return Overturned(content_id=appeal.content_id, revision=revision, at_ms=to_ms(appeal.at))


def of_reports(evidence: ReportEvidence) -> ReportsPassed:
    """Reports of an upload of the user passed a threshold."""
    return ReportsPassed(content_id=evidence.content_id, at_ms=to_ms(evidence.at))
