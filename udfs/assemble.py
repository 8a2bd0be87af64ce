"""Records of one outcome: decision, review item, enforcement, feedback rows and audit.

Nothing is decided here. What does not depend on the time of this run comes out the same under
every redelivery, the ids before all.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from schemas.categories import Stage
from schemas.decision import (
    Audit,
    Decision,
    Enforcement,
    Evidence,
    Feedback,
    ReviewItem,
    moderation_id,
)
from udfs.contracts import Item, Outcome, Signals, Verdict
from udfs.policy import Policy
from udfs.policy_conditions import account_age_days
from udfs.review import LabelPicker, due_at, priority

AuditMode = Literal["all", "acted", "none"]
Cache = Literal["", "local", "redis"]

_STAGE_OF: Final[dict[str, Stage]] = {
    "bank": "bank",
    "rule": "rules",
    "condition": "rules",
    "default": "policy",
}
_decode_object: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Applied(NamedTuple):
    """What was in force when a batch was decided, besides the policy."""

    rules_hash: str
    banks_hash: str
    model_versions: dict[str, str]
    """By name of the model; the fusion is one of them."""


class Moment(NamedTuple):
    """The time of a batch, in the two forms that records need."""

    ms: float
    """Since the epoch."""
    timestamp: dt.datetime

    @classmethod
    def of(cls, now_ms: float) -> Moment:
        """Make a moment; once a batch, not once an upload."""
        return cls(now_ms, _utc(now_ms))


class Assembler:
    """Makes outcomes under one policy and one set of rules, banks and models.

    Args:
        policy: for the review queue's and the labels' figures, and its version and hash.
        applied: the rest of what is in force.
        audit: audit every decision, those that were acted on or sent to a person, or none.
    """

    def __init__(self, policy: Policy, applied: Applied, audit: AuditMode = "all") -> None:
        self._policy_version = policy.version
        self._policy_hash = policy.hash
        self._review = policy.document.review
        self._labelling = policy.document.labelling
        self._picker = LabelPicker(policy.document.labelling)
        self._act_at = policy.document.banks.act_at
        self._applied = applied
        self._audit: AuditMode = audit

    def assemble(
        self,
        item: Item,
        signals: Signals,
        fused: Mapping[str, float],
        verdict: Verdict,
        *,
        scored_by: Stage,
        evidence: Sequence[Evidence],
        moment: Moment,
        cache: Cache = "",
        case_revision: int = 0,
        disagreement: float = 0.0,
    ) -> Outcome:
        """Make the records of one upload.

        Args:
            item: the upload as it came.
            signals: what the verdict was made from. Its scores are recorded as they are.
            fused: what the fusion made of the scores; categories that it changed are recorded
                among the features.
            verdict: the policy's.
            scored_by: the last stage that scored the upload; the decision's stage where scores
                decided and the fusion left them as they were.
            evidence: of rules, banks and models; a condition that decided is added.
            moment: when the batch is decided.
            cache: where the scores came from, if they were not computed now.
            case_revision: how often this content was decided before.
            disagreement: largest difference between two tiers' scores of a category, 0 to 1.
        """
        upload = item.upload
        content_id = upload.content_id
        action = verdict.action
        interim = verdict.interim
        applied = self._applied
        features = features_of(signals, fused)
        if item.reports is not None:
            features["reporters"] = item.reports.reporters
            features["report_weight"] = round(item.reports.weight, 3)
        scores = dict(signals.scores)
        total = sum(scores.values())
        if total != total:  # noqa: PLR0124 - NaN: JSON has none, and the policy took it as missing
            scores = {name: value for name, value in scores.items() if not math.isnan(value)}
        case = item.case
        overdue = case is not None and case.evidence is None
        identity = moderation_id(
            content_id,
            upload.revision,
            case_revision,
            _stage_of_case(item, interim=interim, overdue=overdue),
        )
        degraded = list(signals.degraded)
        if interim and "evidence" not in degraded:
            degraded.append("evidence")
        found = list(evidence)
        if verdict.decided_by == "condition":
            found.append(
                Evidence(
                    kind="velocity",
                    id=verdict.finding,
                    category=verdict.category,
                    weight=verdict.probability,
                )
            )
        # Positional: 28 keywords take 4 us, the positions 0.3 us; a test compares the two.
        decision = Decision(
            identity,
            content_id,
            case_revision,
            upload.revision,
            upload.content_type,
            upload.user_id,
            upload.community_id,
            verdict.status,
            action,
            verdict.category,
            scores,
            verdict.severity,
            verdict.severity_score,
            verdict.confidence,
            verdict.probability,
            stage_of(verdict, signals.scores, fused, scored_by),
            verdict.reason,
            found,
            features,
            self._policy_version,
            self._policy_hash,
            applied.rules_hash,
            applied.banks_hash,
            applied.model_versions,
            interim,
            degraded,
            cache,
            round(moment.ms - item.broker_ms, 3),
            moment.timestamp,
        )
        review = enforcement = audit = None
        if verdict.review_why:
            review = self._review_item(item, signals, verdict, decision)
        if action not in {"allow", "review"}:
            enforcement = _enforcement(item, decision, verdict)
        if self._audit == "all" or (self._audit == "acted" and (action != "allow" or review)):
            audit = Audit(
                identity,
                content_id,
                msgspec.Raw(item.raw),
                item.content_hash,
                signals.velocity,
                signals.user,
                signals.context,
                {"approve_below": verdict.approve_below, "reject_above": verdict.reject_above},
                item.broker_ms,
                moment.timestamp,
                None if case is None or overdue else msgspec.Raw(case.raw),
            )
        feedback = self._feedback(item, signals, decision, disagreement)
        return Outcome(decision, audit, review, enforcement, feedback)

    def _review_item(
        self, item: Item, signals: Signals, verdict: Verdict, decision: Decision
    ) -> ReviewItem:
        upload = item.upload
        engagement = upload.engagement
        if not verdict.review_why:
            raise ValueError("this verdict asks for no review")
        return ReviewItem(
            moderation_id=decision.moderation_id,
            content_id=decision.content_id,
            user_id=decision.user_id,
            community_id=decision.community_id,
            content_type=decision.content_type,
            category=decision.category,
            tier=verdict.tier,
            priority=round(
                priority(
                    self._review.priority,
                    reported=engagement.reports > 0,
                    probability=decision.probability,
                    reputation=signals.user.reputation,
                    engagement=engagement.views + engagement.shares,
                    degraded=verdict.fail_default and verdict.status == "approved",
                ),
                3,
            ),
            due_at=due_at(self._review.tiers, verdict.tier, _utc(item.broker_ms)),
            why=verdict.review_why,
            probability=decision.probability,
            reason=decision.reason,
            upload=_decode_object(item.raw),
            created_at=decision.timestamp,
            broker_timestamp=item.broker_ms,
        )

    def _feedback(
        self, item: Item, signals: Signals, decision: Decision, disagreement: float
    ) -> tuple[Feedback, ...]:
        """Rows for training: what banks and definitive rules know, and what is worth a label."""
        if decision.interim:
            return ()
        weights = self._labelling
        if signals.rules or signals.banks:
            known = _known(signals, self._act_at)
            if known:
                by_source = {"bank": weights.bank_weight, "rule": weights.rule_weight}
                return tuple(
                    _row(item, decision, source, category, label=True, weight=by_source[source])
                    for source, category in known
                )
        if self._picker.pick(decision.content_id, decision.probability, disagreement):
            weight = weights.sample_weight
            return (_row(item, decision, "sample", decision.category, label=None, weight=weight),)
        return ()


def _stage_of_case(item: Item, *, interim: bool, overdue: bool) -> str:
    """What tells apart the decisions of one case that could be made at one revision."""
    if item.reports is not None:
        return f"reports-{item.reports.level}"
    return "interim" if interim else "overdue" if overdue else "final"


def features_of(signals: Signals, fused: Mapping[str, float]) -> dict[str, float]:
    """What was used besides scores, rules and banks: small, flat, floats to three decimals.

    Velocity is uploads and distinct texts by window. What has its default for want of a row or
    of a fact (account age, surroundings) is left out; `fused_CATEGORY` is there where the
    fusion changed or added a probability.
    """
    w10, w60, w3600, w86400 = signals.velocity.windows
    user = signals.user
    features: dict[str, float] = {
        "uploads_10s": w10.count,
        "uploads_1m": w60.count,
        "uploads_1h": w3600.count,
        "uploads_1d": w86400.count,
        "distinct_texts_10s": w10.distinct_texts,
        "distinct_texts_1h": w3600.distinct_texts,
        "distinct_communities_1h": w3600.distinct_communities,
        "reputation": round(user.reputation, 3),
        "evasion": round(signals.evasion, 3),
    }
    if user.known:
        features["uploads"] = user.uploads
        features["violations"] = user.violations
        features["toxicity_rate"] = round(user.toxicity_rate, 3)
        features["report_rate"] = round(user.report_rate, 3)
    if user.strike_weight:
        features["strikes"] = round(user.strike_weight, 3)
    if signals.upload.account.created_at is not None:
        features["account_age_days"] = round(account_age_days(signals) or 0.0, 3)
    context = signals.context
    if context.parent_toxicity is not None:
        features["parent_toxicity"] = round(context.parent_toxicity, 3)
    if context.thread_posts:
        features["thread_heat"] = round(context.thread_heat, 3)
        features["thread_posts"] = context.thread_posts
    if context.community_baseline is not None:
        features["community_baseline"] = round(context.community_baseline, 3)
    if context.community_uploads:
        features["community_uploads"] = context.community_uploads
    scores = signals.scores
    if fused != scores:
        for category, probability in fused.items():
            if probability != scores.get(category) and not math.isnan(probability):
                features[f"fused_{category}"] = round(probability, 3)
    return features


def stage_of(
    verdict: Verdict, scores: Mapping[str, float], fused: Mapping[str, float], scored_by: Stage
) -> Stage:
    """The stage whose answer was final.

    Where scores decided it is the stage that scored, unless the deciding probability is one
    that the fusion made.
    """
    if verdict.interim:
        return "interim"
    if verdict.decided_by != "scores":
        return _STAGE_OF[verdict.decided_by]
    if verdict.category and fused != scores and verdict.probability not in scores.values():
        return "fusion"
    return scored_by


def _known(signals: Signals, act_at: float) -> list[tuple[Literal["bank", "rule"], str]]:
    """Sources and categories that are certain; none where a known-good match contradicts."""
    if any(match.polarity == "good" for match in signals.banks):
        return []
    known: dict[tuple[Literal["bank", "rule"], str], None] = {}
    for match in signals.banks:
        if match.acts(act_at):
            known["bank", match.category] = None
    for rule in signals.rules:
        if rule.definitive:
            known["rule", rule.category] = None
    return list(known)


def _row(
    item: Item,
    decision: Decision,
    source: Literal["bank", "rule", "sample"],
    category: str,
    *,
    label: bool | None,
    weight: float,
) -> Feedback:
    identity = f"{decision.moderation_id}\x00{source}\x00{category}"
    return Feedback(
        feedback_id=hashlib.blake2b(
            identity.encode("utf-8", "surrogatepass"), digest_size=16
        ).hexdigest(),
        moderation_id=decision.moderation_id,
        content_id=decision.content_id,
        source=source,
        category=category,
        label=label,
        weight=weight,
        text=item.upload.text,
        language=item.upload.language,
        scores=decision.scores,
        features=decision.features,
        model_versions=decision.model_versions,
        timestamp=decision.timestamp,
        broker_timestamp=item.broker_ms,
    )


def _enforcement(item: Item, decision: Decision, verdict: Verdict) -> Enforcement:
    return Enforcement(
        moderation_id=decision.moderation_id,
        content_id=decision.content_id,
        user_id=decision.user_id,
        action=decision.action,
        category=decision.category,
        severity=decision.severity,
        reason=decision.reason,
        appealable=verdict.appealable,
        notify_user=verdict.notify_user,
        timestamp=decision.timestamp,
        broker_timestamp=item.broker_ms,
    )


def _utc(ms: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(ms / 1000.0, dt.UTC)
