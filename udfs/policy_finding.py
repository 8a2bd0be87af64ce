"""Findings of the policy, and how the strictest becomes a verdict with a reason for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from udfs.contracts import BankMatch, RuleMatch, Verdict
from udfs.policy_tables import CategoryTable, Consequence

Why = Literal["uncertain", "policy", "degraded"]
_DONE: Final = {
    "remove": "Removed",
    "shadowban": "Hidden from others",
    "restrict": "Shown to fewer people",
    "warn": "Warned",
    "age_gate": "Put behind an age gate",
    "label": "Labelled",
    "review": "Held for a person",
}
"""How a reason begins, by action."""


class Finding(msgspec.Struct, frozen=True):
    """What one category found, by one kind of evidence."""

    rank: int
    """Strictness of the consequence."""
    source: int
    """Precedence among equals: bank 4, rule 3, condition 2, score 1, default 0."""
    probability: float
    category: CategoryTable
    consequence: Consequence
    decided_by: Literal["scores", "bank", "rule", "condition", "default"]
    finding: str
    """Id of the rule, bank entry or condition."""
    detail: str
    """What the reason names: a rule, a bank, a description, a stage."""
    severity_score: float
    why: Why
    held_by: str = ""
    """Why an automatic measure became review."""

    @classmethod
    def score(
        cls, category: CategoryTable, outcome: Consequence, probability: float, why: Why
    ) -> Finding:
        """A probability at or above the approval threshold."""
        return cls(
            outcome.rank, 1, probability, category, outcome, "scores", "", "", probability, why
        )

    @classmethod
    def rule(
        cls,
        category: CategoryTable,
        outcome: Consequence,
        match: RuleMatch,
        severity_score: float,
        probability: float,
    ) -> Finding:
        """A definitive rule."""
        probability = max(probability, match.weight)
        return cls(
            outcome.rank, 3, probability, category, outcome, "rule", match.rule_id, match.rule_id,
            severity_score, "policy",
        )  # fmt: skip

    @classmethod
    def bank(
        cls,
        category: CategoryTable,
        outcome: Consequence,
        match: BankMatch,
        why: Why,
        *,
        severity_score: float = 0.0,
        probability: float = 0.0,
    ) -> Finding:
        """A known-bad match."""
        probability = max(probability, match.confidence)
        return cls(
            outcome.rank, 4, probability, category, outcome, "bank",
            f"{match.bank}/{match.entry}", match.bank, severity_score or match.confidence, why,
        )  # fmt: skip

    @classmethod
    def default(cls, category: CategoryTable, gap: str) -> Finding:
        """A fail-closed category that could not be judged: nobody knows, so 0.5."""
        outcome = category.uncertain[0]
        return cls(outcome.rank, 0, 0.5, category, outcome, "default", "", gap, 0.0, "degraded")

    def held(self, because: str) -> Finding:
        """Give the same finding, held for a person instead of acted on."""
        index = ("mild", "moderate", "severe").index(self.consequence.severity)
        outcome = self.category.uncertain[index]
        return msgspec.structs.replace(
            self, rank=outcome.rank, consequence=outcome, why="policy", held_by=because
        )


def strictest(findings: Sequence[Finding]) -> Finding:
    """The finding that decides; the first of equals in the policy's order."""
    return max(findings, key=_precedence)


def _precedence(finding: Finding) -> tuple[int, int, float, int]:
    return finding.rank, finding.source, finding.probability, -finding.category.order


def to_verdict(finding: Finding) -> Verdict:
    """Turn the deciding finding into a verdict."""
    category, outcome = finding.category, finding.consequence
    looked_at = outcome.review or outcome.status == "pending_review"
    probability = finding.probability
    default = finding.decided_by == "default"
    return Verdict(
        status=outcome.status,
        action=outcome.action,
        category=category.name,
        severity="none" if default else outcome.severity,
        severity_score=finding.severity_score,
        probability=probability,
        confidence=max(probability, 1.0 - probability),
        reason=reason(finding),
        approve_below=category.approve,
        reject_above=category.reject,
        review_why=finding.why if looked_at else "",
        tier=outcome.tier,
        appealable=category.appealable,
        notify_user=outcome.notify,
        fail_default=default,
        decided_by=finding.decided_by,
        finding=finding.finding,
    )


def reason(finding: Finding) -> str:
    """One sentence for people. Names categories, rules and banks, never user content."""
    category, outcome = finding.category, finding.consequence
    name = category.name.replace("_", " ")
    done = _DONE[outcome.action]
    if finding.decided_by == "scores":
        p = finding.probability
        if finding.why == "uncertain":
            because = (
                f"{name} has probability {p:.3f}, between {category.approve:.4g}"
                f" and {category.reject:.4g}"
            )
        else:
            because = (
                f"{name} ({outcome.severity}) has probability {p:.3f}, above {category.reject:.4g}"
            )
    elif finding.decided_by == "rule":
        because = f"rule {finding.detail} matched ({name}, {outcome.severity})"
    elif finding.decided_by == "bank":
        because = f"the content is known from bank {finding.detail} ({name}, {outcome.severity})"
    elif finding.decided_by == "condition":
        because = f"{finding.detail} ({name})"
    else:
        because = f"it could not be judged without {finding.detail}, and {name} is fail-closed"
    held = f"; {finding.held_by}" if finding.held_by else ""
    return f"{done}: {because}{held}."
