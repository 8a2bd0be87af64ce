"""From the policy's verdict to the one that holds: reports, unread languages, restrictions."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from schemas.categories import Status
from schemas.features import Restriction
from schemas.language import UNREAD
from udfs.contracts import Item, Signals, Verdict
from udfs.language_support import restrain
from udfs.policy import Policy
from udfs.policy_tables import strictness
from udfs.reported import reconsidered
from udfs.review import Sampler


def judge(
    policy: Policy,
    unread: Sampler,
    signals: Signals,
    fused: Mapping[str, float],
    item: Item,
) -> Verdict:
    """The verdict about an upload.

    Args:
        policy: in force.
        unread: which contents in a language that no model reads are held.
        signals: all that is known about the upload.
        fused: probability by category.
        item: the upload.
    """
    document = policy.document
    if signals.upload.content_type != "text" and item.case is None and item.reports is None:
        return policy.interim(signals, fused)
    verdict = policy.decide(signals, fused)
    # Observe-only has spoken already: nobody is to be held.
    if policy.switches.observe_only:
        return verdict
    if item.reports is not None:
        verdict = reconsidered(verdict, item.reports, document)
    elif signals.degraded and UNREAD in signals.degraded:
        verdict = restrain(verdict, document.unread_language, unread, signals.upload.content_id)
    restriction = signals.user.restriction
    if restriction is not None:
        return restricted(verdict, restriction, policy)
    return verdict


def restricted(verdict: Verdict, restriction: Restriction, policy: Policy) -> Verdict:
    """The verdict under a restriction of the author's account: never milder than without it.

    Its severity is `none` where the restriction decided: the upload itself has done nothing that
    would call for it, and is no violation of the author's.

    Args:
        verdict: without it.
        restriction: of the account.
        policy: whose switched-off actions become review here as well.
    """
    measure = restriction.measure
    if measure in policy.switches.disabled_actions:
        measure = "review"
    status: Status = "pending_review" if measure == "review" else "rejected"
    if strictness(status, measure) <= strictness(verdict.status, verdict.action):
        return verdict
    return msgspec.structs.replace(
        verdict,
        status=status,
        action=measure,
        severity="none",
        reason=f"The account is restricted: {restriction.reason}",
        review_why="policy" if status == "pending_review" else "",
        notify_user=status == "rejected",
        fail_default=False,
        decided_by="default",
        finding="restriction",
    )
