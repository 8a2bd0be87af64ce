"""A picture or video with what was found in it: caption, seen texts, pixels and banks as one.

Texts that were seen or heard walk through the same stages as a text that was written; then
everything joins, and the policy decides once (late fusion):

    score(c) = max over caption, seen and heard texts, and pixels of their probability of c

Rules and known contents of all texts count, and so do known pictures and videos.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from schemas.categories import Stage
from schemas.decision import Evidence
from schemas.evidence import FoundText, MediaEvidence, Step
from schemas.rescan import BANKS, AwayBank
from udfs.banks import ExactBanks, content_hash
from udfs.contracts import (
    BankMatch,
    Item,
    MediaCase,
    NormalisedText,
    RuleMatch,
    SeenText,
    Signals,
    Verdict,
)
from udfs.media_evidence import bank_query, not_looked_for, unseen
from udfs.media_query import MediaQuery
from udfs.stages import Tier, Work

MAX_TEXTS: Final = 64
"""Texts of one evidence record that are looked at; the first of equal ones count."""
_VIEWS: Final[frozenset[Step]] = frozenset({"hash", "qr", "ocr", "frames", "audio", "transcript"})
"""Steps that see what others do not: where one failed, something may have been missed."""


class MatchMedia(Protocol):
    """Banks of known pictures and videos; `udfs.media_banks.MediaBanks` is one."""

    @property
    def hash(self) -> str: ...

    @property
    def away(self) -> Sequence[AwayBank]:
        """Those whose snapshot cannot be read."""
        ...

    def match(
        self, query: MediaQuery, now_ms: float, uploaded_ms: float | None = None
    ) -> Sequence[BankMatch]: ...


class MediaBankStage:
    """Known pictures and videos, for uploads whose evidence is here."""

    name = "media_bank"

    def __init__(self, banks: MatchMedia) -> None:
        self._banks = banks

    def run(self, batch: Sequence[Work], now_ms: int) -> None:
        """Note matches, and where a bank is away."""
        away = bool(self._banks.away)
        for work in batch:
            case = work.item.case
            if case is not None and case.evidence is not None:
                if away:
                    work.degraded = (*work.degraded, BANKS)
                asked = bank_query(case.evidence)
                work.media = self._banks.match(asked, now_ms, work.item.broker_ms)


def heard(
    item: Item,
    evidence: MediaEvidence | None,
    *,
    raw: bytes,
    revision: int,
    asked_ms: int,
    normalise: Callable[[str], NormalisedText],
    max_chars: int,
) -> Item:
    """Give an upload to be decided again, with what was found in its media.

    Args:
        item: the upload as it was prepared before.
        evidence: None: it did not come in time.
        raw: the evidence as it came.
        revision: of the decision to be made.
        asked_ms: see `MediaCase.asked_ms`.
        normalise: for the texts that were seen or heard.
        max_chars: of one such text; the rest is cut off.
    """
    texts = () if evidence is None else _distinct(evidence.texts)
    seen = []
    for place, found in texts:
        text = normalise(found.text[:max_chars])
        upload = msgspec.structs.replace(item.upload, text=text.original)
        as_written = Item(
            upload, item.raw, item.broker_ms, item.velocity, text, content_hash(text),
            MediaCase(revision, asked_ms),
        )  # fmt: skip
        seen.append(SeenText(found.source, place, found.seconds, as_written))
    case = MediaCase(revision, asked_ms, evidence, raw, tuple(seen))
    return Item(
        item.upload, item.raw, item.broker_ms, item.velocity, item.normalised, item.content_hash,
        case,
    )  # fmt: skip


def _distinct(texts: Sequence[FoundText]) -> list[tuple[int, FoundText]]:
    """Each text once: a banner is in every frame of its video."""
    first: dict[tuple[str, str], tuple[int, FoundText]] = {}
    for place, found in enumerate(texts):
        if found.text.strip():
            first.setdefault((found.source, found.text), (place, found))
    return list(first.values())[:MAX_TEXTS]


def gaps(case: MediaCase) -> tuple[str, ...]:
    """What nobody knows about the media, as the policy's `needs` name it.

    `evidence`: nothing of them was seen. `evidence.CATEGORY`: no model looked for it.
    `evidence.STEP`: that view failed.
    """
    evidence = case.evidence
    if evidence is None or unseen(evidence):
        return ("evidence",)
    failed = {failure.step for failure in evidence.errors if failure.step in _VIEWS}
    return tuple(f"evidence.{name}" for name in (*not_looked_for(evidence), *sorted(failed)))


def joined(work: Work, signals: Signals) -> Signals:
    """Signals of a caption with what was found in its media.

    Args:
        work: the upload's sheet, after the stages.
        signals: of its caption alone.
    """
    case = work.item.case
    if case is None:
        return signals
    scores: dict[str, float] = dict(signals.scores)
    rules: list[RuleMatch] = [*signals.rules]
    banks = [*signals.banks, *_acting(work.media)]
    evasion = signals.evasion
    missing = dict.fromkeys(signals.degraded)
    for _, part in work.parts:
        _raise(scores, part.scores)
        rules += [match for match in part.rules if not match.observe_only]
        banks += _acting(part.banks)
        text = part.item.normalised
        evasion = max(evasion, 0.0 if text is None else text.evasion)
        missing |= dict.fromkeys(part.degraded)
    _raise(scores, pixel_scores(case))
    missing |= dict.fromkeys(gaps(case))
    return msgspec.structs.replace(
        signals, scores=scores, rules=rules, banks=banks, evasion=evasion, degraded=tuple(missing)
    )


def _acting(matches: Sequence[BankMatch]) -> list[BankMatch]:
    return [match for match in matches if not match.observe_only]


def _raise(scores: dict[str, float], more: Mapping[str, float]) -> None:
    """Keep the higher of two probabilities of a category; a NaN says nothing."""
    for category, score in more.items():
        before = scores.get(category)
        if before is None or score > before or before != before:  # noqa: PLR0124 - NaN
            scores[category] = score


def pixel_scores(case: MediaCase) -> dict[str, float]:
    """Probability by category of the models that looked at the pixels."""
    if case.evidence is None:
        return {}
    return {name: found.score for name, found in case.evidence.scores.items()}


def seen_in_pixels(work: Work, verdict: Verdict) -> bool:
    """Whether the probability that decided is one of the pixels'."""
    case = work.item.case
    if case is None or verdict.decided_by != "scores" or not verdict.category:
        return False
    return verdict.probability in pixel_scores(case).values()


def loudest(work: Work, category: str) -> tuple[Work, SeenText | None]:
    """The text that a category's probability is highest in: the caption, or one of the media's."""
    best: tuple[Work, SeenText | None] = (work, None)
    highest = work.scores.get(category, 0.0)
    for seen, part in work.parts:
        score = part.scores.get(category, 0.0)
        if score > highest:
            best, highest = (part, seen), score
    return best


def scored_by(work: Work, verdict: Verdict) -> Stage:
    """The stage whose scores a verdict by scores goes back to."""
    tiers: set[Tier] = {work.tier, *(part.tier for _, part in work.parts)}
    if seen_in_pixels(work, verdict):
        return "pixels"
    return (
        "deep_text" if "deep_text" in tiers else "fast_text" if "fast_text" in tiers else "policy"
    )


def all_banks_hash(texts: ExactBanks, media: MatchMedia | None) -> str:
    """One hash of all banks in force; that of the texts' alone where there are no others."""
    if media is None:
        return texts.hash
    return hashlib.sha256(f"{texts.hash}{media.hash}".encode()).hexdigest()[:16]


def pixel_evidence(case: MediaCase, verdict: Verdict) -> list[Evidence]:
    """What models saw: in the category that decided, and all that is not plainly clean."""
    if case.evidence is None:
        return []
    return [
        Evidence(
            kind="score",
            id=found.model,
            category=category,
            weight=found.score,
            source="pixels",
            seconds=found.seconds,
        )
        for category, found in case.evidence.scores.items()
        if category == verdict.category or found.score >= verdict.approve_below
    ]
