"""What the records of topics say about their user's trust: one reading for jobs and tables."""

from __future__ import annotations

import datetime as dt
from typing import Final

from schemas.categories import Action
from schemas.decision import Decision
from schemas.feedback import AppealOutcome
from schemas.report_evidence import ReportEvidence
from schemas.trust import Decided, Overturned, ReportsPassed
from schemas.upload import Account

ACTED: Final[frozenset[Action]] = frozenset({"remove", "warn", "shadowban", "restrict"})
"""Actions that say that the author broke a rule. A label or an age gate does not, and a review
has not said so yet."""


def of_decision(decision: Decision, account: Account, broker_ms: int) -> Decided | None:
    """A decision about an upload of the user; None for an interim one, which says nothing yet.

    Args:
        decision: as it was written.
        account: of the upload.
        broker_ms: of the upload, ms since the epoch: the same under redelivery.
    """
    if decision.interim:
        return None
    acted = decision.action in ACTED
    severity = ("mild" if decision.severity == "none" else decision.severity) if acted else "none"
    created = account.created_at
    return Decided(
        content_id=decision.content_id,
        revision=decision.revision,
        severity=severity,
        at_ms=broker_ms,
        account_created_ms=_ms(created) if created else 0,
        verified=account.verified,
    )


def of_appeal(appeal: AppealOutcome, revision: int) -> Overturned | None:
    """An appeal's end; None where it changes nothing about the user.

    Args:
        appeal: as it was written.
        revision: of the case that it was about.
    """
    if appeal.outcome != "overturned":
        return None
    return Overturned(content_id=appeal.content_id, revision=revision, at_ms=_ms(appeal.at))


def of_reports(evidence: ReportEvidence) -> ReportsPassed:
    """Reports of an upload of the user passed a threshold."""
    return ReportsPassed(content_id=evidence.content_id, at_ms=_ms(evidence.at))


def _ms(time: dt.datetime) -> int:
    return max(int(time.timestamp() * 1000), 0)
