"""A content that trusted people reported is decided again; a report never makes it milder."""

from __future__ import annotations

import msgspec

from schemas.policy import PolicyDocument
from schemas.report_evidence import Before, ReportEvidence
from schemas.upload import Account, Engagement, Upload, encode_upload
from udfs.contracts import Item, NormalisedText, Verdict
from udfs.policy_tables import strictness


def reported_upload(reports: ReportEvidence, before: Before) -> Upload:
    """The upload as far as it is remembered, with its reports."""
    return Upload(
        content_id=reports.content_id,
        content_type=before.content_type,
        user_id=reports.user_id,
        created_at=before.made_at,
        text=reports.text,
        community_id=before.community_id,
        language=reports.language,
        revision=reports.revision,
        engagement=Engagement(reports=reports.reporters),
        account=Account(created_at=before.account_created_at),
    )


def reported_item(
    reports: ReportEvidence,
    before: Before,
    broker_ms: int,
    text: NormalisedText | None,
    content_hash: str,
) -> Item:
    """What the cascade decides again.

    Args:
        reports: that passed a threshold.
        before: the decision that they doubt.
        broker_ms: of the reports' record.
        text: the upload's, normalised; None where it has none or it is not remembered.
        content_hash: of that text.
    """
    upload = reported_upload(reports, before)
    return Item(
        upload,
        encode_upload(upload),
        broker_ms,
        normalised=text,
        content_hash=content_hash,
        reports=reports,
    )


def reconsidered(verdict: Verdict, reports: ReportEvidence, document: PolicyDocument) -> Verdict:
    """The verdict about a reported content: never milder than before, and never just allowed.

    Args:
        verdict: of the policy, now.
        reports: that passed a threshold.
        document: the policy.
    """
    before = reports.before
    if before is None:
        return verdict
    said = f"{reports.reporters} people whose word counts reported it"
    was, now = (strictness(each.status, each.action) for each in (before, verdict))
    if now > was:
        return msgspec.structs.replace(verdict, reason=f"{verdict.reason} Decided again: {said}.")
    category = verdict.category or before.category or _loudest(reports)
    known = document.categories.get(category)
    tier = document.unknown_category.tier if known is None else known.severities.mild.tier
    if was == 0:
        return msgspec.structs.replace(
            verdict,
            status="pending_review",
            action="review",
            category=category,
            reason=f"Held for a person: it was allowed, and {said}.",
            review_why="policy",
            tier=min(tier, verdict.tier),
            decided_by="default",
        )
    held = before.status == "pending_review"
    return msgspec.structs.replace(
        verdict,
        status=before.status,
        action=before.action,
        category=before.category or category,
        probability=before.probability,
        confidence=max(before.probability, 1.0 - before.probability),
        reason=f"It stays as it was decided; {said}.",
        review_why="policy" if held else "",
        tier=min(tier, verdict.tier),
        decided_by="default",
    )


def _loudest(reports: ReportEvidence) -> str:
    """The category that weighs most among the reports; empty where nobody chose one."""
    chosen = {name: weight for name, weight in reports.categories.items() if name}
    return max(chosen, key=lambda name: (chosen[name], name), default="")
