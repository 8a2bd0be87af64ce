"""Evidence of a decision: what a person can check, pointing into the original text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from schemas.decision import Evidence
from udfs.assemble import bank_evidence, rule_evidence
from udfs.contracts import NormalisedText, Scorer, Verdict
from udfs.stages import Work

MAX_SPANS: Final = 5
"""Most spans that a scorer is asked for."""


def collect_evidence(work: Work, verdict: Verdict, scorer: Scorer | None) -> list[Evidence]:
    """Everything that speaks for a verdict.

    Rule and bank matches are always listed, those that only observe included. Spans of the
    model are computed only where the verdict acts on its scores: they cost as much as scoring.
    """
    found = [bank_evidence(match, "text") for match in work.banks]
    found += [rule_evidence(match, "text") for match in work.rules]
    if verdict.action == "allow":
        return found
    text = work.item.normalised
    if text is not None:
        # The fusion may decide by scores where no model runs.
        if scorer and verdict.decided_by == "scores" and verdict.category in scorer.categories:
            found += _spans(text, verdict.category, scorer)
        if text.evasion > 0:
            found.append(Evidence(kind="evasion", id="disguise", weight=round(text.evasion, 4)))
    return found


def _spans(text: NormalisedText, category: str, scorer: Scorer) -> list[Evidence]:
    explained: Sequence[tuple[int, int, float]] = scorer.explain(text.text, category, MAX_SPANS)
    return [
        Evidence(
            kind="span",
            id=scorer.name,
            category=category,
            weight=round(float(weight), 4),
            spans=[text.original_span(start, end)],
        )
        for start, end, weight in explained
    ]
