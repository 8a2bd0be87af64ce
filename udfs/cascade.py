"""The one brain: a batch of uploads in, an outcome for each out. No engine, no clock, no state.

The Flink operator, the command line, replays and tests all call `Cascade.moderate`; there is
no second copy of any rule, feature or threshold.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import Final, Literal

from schemas.errors import InvalidUploadError
from schemas.evidence import MediaEvidence
from schemas.features import SINGLE, ThreadContext, UserFeatures
from schemas.report_evidence import ReportEvidence
from schemas.trust import UserRow
from schemas.upload import Upload, decode_upload
from udfs.assemble import Applied, Assembler, AuditMode, Moment
from udfs.banks import ExactBanks, content_hash
from udfs.context import marks_of
from udfs.contracts import (
    CachedAssessment,
    Fusion,
    Item,
    Lookups,
    Outcome,
    Scorer,
    Signals,
    Verdict,
)
from udfs.decision_cache import LocalCache
from udfs.evidence import collect_evidence
from udfs.judge import judge
from udfs.language_support import (
    ANY,
    Guesser,
    LanguageStage,
    LanguageSupport,
    languages_of,
    picker,
)
from udfs.media_case import (
    MatchMedia,
    MediaBankStage,
    all_banks_hash,
    heard,
    joined,
    scored_by,
)
from udfs.normalise import normalise
from udfs.policy import Policy
from udfs.reported import reported_item
from udfs.rules import RuleSet
from udfs.stage_deep import DeepLimits, DeepTextStage, ShedMemory
from udfs.stages import (
    BankStage,
    FastTextStage,
    LookupStage,
    RuleStage,
    Stage,
    Work,
    signals_of,
)

Remember = Literal["costly", "all"]
_NO_LIMITS: Final = DeepLimits()

_STRANGER: Final = Upload(
    content_id="-",
    content_type="text",
    user_id="-",
    created_at=dt.datetime.fromtimestamp(0, dt.UTC),
    text="",
)
"""An author of whom nothing is known, for what the decision cache tells its other readers."""


def _ignore(stage: str, microseconds: float) -> None:
    """Default of `on_stage`: nobody measures."""


def _ignore_text() -> None:
    """Default of `on_deep`: nobody counts."""


class Cascade:
    """Composes the stages. Immutable: a changed part makes a new cascade (`with_parts`).

    Args:
        policy, rules, banks, fusion: the parts.
        fast_text: the fast text tier; None to decide without a model.
        deep_text: the heavy text tier, for what the fast one leaves undecided; None to do without.
        deep_limits: which uploads the heavy tier looks at, and what it may take.
        remember: which scores the caches keep: all, or those that are costly to make again.
        store: cache, features and context.
        cache: in-process cache of scores.
        audit: which decisions get an audit record.
        max_bytes: longest payload accepted.
        max_text_chars: longest text accepted.
        languages: guesses the language of texts, to say which the models do not read; None where
            they are taken to read all.
        on_stage: told the time of each stage for each batch, in microseconds.
        on_deep: called for each text that the heavy tier has scored.
        shed: what it had no time for; a new one where nothing was shed before.
        media_banks: known pictures and videos; None to do without.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        rules: RuleSet,
        banks: ExactBanks,
        fusion: Fusion,
        fast_text: Scorer | None,
        deep_text: Scorer | None = None,
        deep_limits: DeepLimits = _NO_LIMITS,
        remember: Remember = "all",
        store: Lookups,
        cache: LocalCache,
        audit: AuditMode = "all",
        max_bytes: int = 262_144,
        max_text_chars: int = 50_000,
        languages: Guesser | None = None,
        on_stage: Callable[[str, float], None] = _ignore,
        on_deep: Callable[[], None] = _ignore_text,
        shed: ShedMemory | None = None,
        media_banks: MatchMedia | None = None,
    ) -> None:
        self.policy = policy
        self.rules = rules
        self.banks = banks
        self.fusion = fusion
        self.fast_text = fast_text
        # It reads what the fast tier says; without that it has nothing to choose by.
        self.deep_text = deep_text if fast_text is not None else None
        self._deep_limits = deep_limits
        self._remembers: Remember = remember
        self._store = store
        self._cache = cache
        self._audit: AuditMode = audit
        self._max_bytes = max_bytes
        self._max_text_chars = max_text_chars
        self._languages = languages
        self._on_stage = on_stage
        self._on_deep = on_deep
        self._shed = shed or ShedMemory()
        self.media_banks = media_banks
        versions = {"fusion": fusion.version}
        self._model = ""
        self._scoring: tuple[Stage, ...] = ()
        if fast_text is not None:
            versions = {fast_text.name: fast_text.version, **versions}
            models = [f"{fast_text.name}:{fast_text.version}"]
            self._scoring = (FastTextStage(fast_text, remember=remember == "all"),)
            if deep_text is not None:
                versions = {deep_text.name: deep_text.version, **versions}
                models.append(f"{deep_text.name}:{deep_text.version}")
                self._scoring += (self._deep_stage(deep_text),)
            self._scoring += self._language_stages()
            if remember == "all" or deep_text is not None:
                self._model = "+".join(models)
        self.stages: tuple[Stage, ...] = (
            LookupStage(store, cache, self._model, self._shed),
            BankStage(banks, policy.document.banks.act_at),
            RuleStage(rules),
            *self._scoring,
            *(() if media_banks is None else (MediaBankStage(media_banks),)),
        )
        self._unread = picker(policy.document.unread_language, policy.document.review.sampling.salt)
        self.applied = Applied(rules.hash, all_banks_hash(banks, media_banks), versions)
        """Hashes and versions that every decision carries, besides the policy's."""
        self._assemble = Assembler(policy, self.applied, audit).assemble

    def _deep_stage(self, scorer: Scorer) -> DeepTextStage:
        reads = None
        if self._languages is not None:
            reads = self._support(scorer).reader(self._languages)
        return DeepTextStage(scorer, self._deep_limits, self._on_deep, reads, self._shed)

    def _language_stages(self) -> tuple[Stage, ...]:
        tiers = [scorer for scorer in (self.fast_text, self.deep_text) if scorer is not None]
        # Nothing to mark where every model reads everything.
        if self._languages is None or all(languages_of(scorer) >= ANY for scorer in tiers):
            return ()
        supports = {scorer.name: self._support(scorer) for scorer in tiers}
        return (LanguageStage(self._languages, supports),)

    def _support(self, scorer: Scorer) -> LanguageSupport:
        rule = self.policy.document.unread_language
        return LanguageSupport(
            languages_of(scorer), known_from=rule.known_from, unsure_from=rule.unsure_from
        )

    def with_parts(
        self,
        *,
        policy: Policy | None = None,
        rules: RuleSet | None = None,
        banks: ExactBanks | None = None,
        fusion: Fusion | None = None,
        fast_text: Scorer | None = None,
        deep_text: Scorer | EllipsisType | None = ...,
        media_banks: MatchMedia | None = None,
    ) -> Cascade:
        """The same cascade with some parts replaced; the heavy tier alone can be taken out."""
        return Cascade(
            policy=policy or self.policy,
            rules=rules or self.rules,
            # Empty banks are false, and yet what is wanted.
            banks=self.banks if banks is None else banks,
            fusion=fusion or self.fusion,
            fast_text=fast_text or self.fast_text,
            deep_text=self.deep_text if isinstance(deep_text, EllipsisType) else deep_text,
            deep_limits=self._deep_limits,
            remember=self._remembers,
            store=self._store,
            cache=self._cache,
            audit=self._audit,
            max_bytes=self._max_bytes,
            max_text_chars=self._max_text_chars,
            languages=self._languages,
            on_stage=self._on_stage,
            on_deep=self._on_deep,
            shed=self._shed,
            media_banks=self.media_banks if media_banks is None else media_banks,
        )

    def prepare(self, raw: bytes, broker_ms: int) -> Item:
        """Decode, check and normalise one payload.

        Args:
            raw: the record's value.
            broker_ms: its broker timestamp, ms since the epoch.

        Raises:
            InvalidUploadError: it cannot be moderated.
        """
        upload = decode_upload(raw, max_bytes=self._max_bytes, max_text_chars=self._max_text_chars)
        if upload.text is None:
            return Item(upload, raw, broker_ms)
        text = normalise(upload.text)
        return Item(upload, raw, broker_ms, normalised=text, content_hash=content_hash(text))

    def with_evidence(
        self,
        item: Item,
        evidence: MediaEvidence | None,
        *,
        raw: bytes = b"",
        revision: int,
        asked_ms: int,
    ) -> Item:
        """Give a prepared picture or video to be decided again; see `udfs.media_case.heard`."""
        return heard(
            item,
            evidence,
            raw=raw,
            revision=revision,
            asked_ms=asked_ms,
            normalise=normalise,
            max_chars=self._max_text_chars,
        )

    def reported(self, reports: ReportEvidence, broker_ms: int) -> Item:
        """Give a content that was reported to be decided again; see `udfs.reported`.

        Raises:
            InvalidUploadError: nothing says what was decided before.
        """
        if reports.before is None:
            raise InvalidUploadError(
                "missing_field", "before is required to decide again", field="$.before"
            )
        text = None if reports.text is None else normalise(reports.text)
        digest = "" if text is None else content_hash(text)
        return reported_item(reports, reports.before, broker_ms, text, digest)

    def patience_s(self, upload: Upload) -> float:
        """How long a picture or video may wait for its evidence, seconds."""
        return self.policy.document.media.patience_s(upload.priority)

    def remember_user(self, user_id: str, row: UserRow) -> None:
        """Hand a user's row on to those who read it outside."""
        self._store.remember_user(user_id, row)

    def flush(self) -> None:
        """Have written what the stores shall know; nobody waits for it."""
        self._store.flush()

    def moderate(self, batch: Sequence[Item], now_ms: float) -> list[Outcome]:
        """Decide a batch.

        Args:
            batch: prepared uploads, with their velocity.
            now_ms: wall clock, ms since the epoch.

        Returns:
            One outcome for each, in order. What an upload gets does not depend on its batch.
        """
        works = [Work(item) for item in batch]
        sheets = works + [part.work for work in works for part in work.parts]
        self._walk(self.stages, sheets, int(now_ms))
        started = time.perf_counter()
        judged = self._judge(works)
        # What a bank or rule had settled but the policy did not act on (a switched-off
        # category, an exempt community) has to be looked at by the models after all.
        again = [
            i
            for i, (work, (_, _, verdict)) in enumerate(zip(works, judged, strict=True))
            if (work.settled or work.parts) and _reopened(work) and not _matched(verdict)
        ]
        if again:
            reopened = [sheet for i in again for sheet in _reopened(works[i])]
            for sheet in reopened:
                sheet.settled = False
            self._walk(self._scoring, reopened, int(now_ms))
            for i, result in zip(again, self._judge([works[i] for i in again]), strict=True):
                judged[i] = result
        moment = Moment.of(now_ms)
        outcomes = [
            self._assemble(
                work.item,
                signals,
                fused,
                verdict,
                scored_by=scored_by(work, verdict),
                evidence=collect_evidence(work, verdict, self.fast_text),
                moment=moment,
                cache=work.cache,
                case_revision=work.item.case_revision,
                disagreement=work.disagreement,
            )
            for work, (signals, fused, verdict) in zip(works, judged, strict=True)
        ]
        self._remember(sheets)
        self._store.note(marks_of(works, judged))
        self._on_stage("decide", (time.perf_counter() - started) * 1e6)
        return outcomes

    def _walk(self, stages: Sequence[Stage], works: list[Work], now_ms: int) -> None:
        for stage in stages:
            started = time.perf_counter()
            stage.run(works, now_ms)
            self._on_stage(stage.name, (time.perf_counter() - started) * 1e6)

    def _remember(self, works: Sequence[Work]) -> None:
        """Keep what was computed about contents, with what it would mean for a stranger."""
        for work in works:
            if work.fresh:
                stranger = Signals(
                    _STRANGER, work.scores, (), (), 0.0, SINGLE, UserFeatures(), ThreadContext(), 0
                )
                verdict = self.policy.decide(stranger, work.scores)
                row = CachedAssessment(
                    scores=dict(work.scores),
                    model=self._model,
                    tier="deep_text" if work.tier == "deep_text" else "fast_text",
                    action=verdict.action,
                    confidence=round(verdict.confidence, 6),
                    reason=verdict.reason,
                )
                self._cache.put(work.item.content_hash, row)
                self._store.remember(work.item.content_hash, row)

    def _judge(self, works: Sequence[Work]) -> list[tuple[Signals, dict[str, float], Verdict]]:
        signals = [
            signals_of(work) if work.item.case is None else joined(work, signals_of(work))
            for work in works
        ]
        fused = self.fusion.fuse(signals)
        return [
            (s, f, judge(self.policy, self._unread, s, f, work.item))
            for work, s, f in zip(works, signals, fused, strict=True)
        ]


def _reopened(work: Work) -> list[Work]:
    """Sheets that a bank or rule had settled."""
    return [sheet for sheet in (work, *(part.work for part in work.parts)) if sheet.settled]


def _matched(verdict: Verdict) -> bool:
    return verdict.decided_by in {"bank", "rule"}
