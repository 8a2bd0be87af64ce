"""Evidence of a decision: what a person can check, pointing into the original text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from schemas.decision import Evidence
from udfs.contracts import BankMatch, NormalisedText, RuleMatch, Scorer, SeenText, Verdict
from udfs.media_case import loudest, pixel_evidence, seen_in_pixels
from udfs.stages import Work

MAX_SPANS: Final = 5
"""Most spans that a scorer is asked for."""


def collect_evidence(work: Work, verdict: Verdict, scorer: Scorer | None) -> list[Evidence]:
    """Everything that speaks for a verdict.

    Rule and bank matches are always listed, those that only observe included. Spans of the
    model are computed only where the verdict acts on its scores: they cost as much as scoring.
    """
    found = _matches(work, None)
    case = work.item.case
    if case is not None:
        found += [bank_evidence(match, "pixels") for match in work.media]
        for seen, part in work.parts:
            found += _matches(part, seen)
        found += pixel_evidence(case, verdict)
    if verdict.action == "allow":
        return found
    loud, seen_in = (work, None) if case is None else loudest(work, verdict.category)
    text = loud.item.normalised
    if text is not None:
        # The fusion may decide by scores where no model runs.
        if (
            scorer
            and verdict.decided_by == "scores"
            and verdict.category in scorer.categories
            and not seen_in_pixels(work, verdict)
        ):
            found += [_seen(each, seen_in) for each in _spans(text, verdict.category, scorer)]
        if text.evasion > 0:
            disguise = Evidence(kind="evasion", id="disguise", weight=round(text.evasion, 4))
            found.append(_seen(disguise, seen_in))
    return found


def rule_evidence(match: RuleMatch, source: Literal["text", "ocr", "transcript"]) -> Evidence:
    """Evidence of a rule that matched."""
    return Evidence(
        kind="rule",
        id=match.rule_id,
        category=match.category,
        weight=match.weight,
        spans=list(match.spans),
        source=source,
        observe_only=match.observe_only,
    )


def bank_evidence(
    match: BankMatch, source: Literal["text", "ocr", "transcript", "pixels"]
) -> Evidence:
    """Evidence of a bank match; a known-good one has no category but its polarity in its id."""
    return Evidence(
        kind="bank",
        id=f"{match.bank}/{match.entry}",
        category=match.category,
        weight=match.confidence,
        distance=match.distance,
        source=source,
        observe_only=match.observe_only,
    )


def _matches(work: Work, seen: SeenText | None) -> list[Evidence]:
    found = [bank_evidence(match, "text") for match in work.banks]
    found += [rule_evidence(match, "text") for match in work.rules]
    return [_seen(each, seen) for each in found] if seen is not None else found


def _seen(evidence: Evidence, seen: SeenText | None) -> Evidence:
    """Say in which of the media's texts it was found."""
    if seen is None:
        return evidence
    return msgspec.structs.replace(
        evidence, source=seen.source, found=seen.place, seconds=seen.seconds
    )


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
