"""The stages of the cascade, in the order in which an upload meets them.

Each takes a whole batch of `Work` sheets and writes its findings onto them; what one stage has
settled the next does not score. To add a stage: a class with `name` and `run`, its place in
`cascade.Cascade.stages`, and a test.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from schemas.features import ThreadContext, UserFeatures
from udfs.banks import ExactBanks
from udfs.contracts import (
    Around,
    BankMatch,
    CachedAssessment,
    Item,
    Lookups,
    RuleMatch,
    Scorer,
    SeenText,
    Signals,
)
from udfs.decision_cache import LocalCache
from udfs.rules import RuleSet

Tier = Literal["", "fast_text", "deep_text"]

_UNKNOWN = UserFeatures()
_NO_CONTEXT = ThreadContext()


class Work:
    """The sheet of one upload: what the stages have found so far."""

    __slots__ = (
        "banks",
        "cache",
        "context",
        "degraded",
        "disagreement",
        "fresh",
        "item",
        "media",
        "parts",
        "rules",
        "scores",
        "settled",
        "tier",
        "user",
    )

    def __init__(self, item: Item) -> None:
        self.item = item
        self.user: UserFeatures = _UNKNOWN
        self.context: ThreadContext = _NO_CONTEXT
        self.scores: Mapping[str, float] = {}
        self.tier: Tier = ""
        """The model that scores are from, the later one where two looked."""
        self.disagreement = 0.0
        """Largest difference between two tiers' scores of a category."""
        self.rules: Sequence[RuleMatch] = ()
        self.banks: Sequence[BankMatch] = ()
        self.cache: Literal["", "local", "redis"] = ""
        self.degraded: tuple[str, ...] = ()
        self.fresh = False
        """The scores were computed now and are worth remembering."""
        self.settled = False
        """A definitive match decides: no model needs to look."""
        self.media: Sequence[BankMatch] = ()
        """Known pictures and videos; `banks` are known texts."""
        case = item.case
        self.parts: Sequence[Part] = (
            () if case is None else [Part(seen, Work(seen.item)) for seen in case.texts]
        )
        """Sheets of the texts that were seen or heard in the upload's media."""


class Part(NamedTuple):
    """The sheet of one text that was seen or heard."""

    seen: SeenText
    work: Work


class Stage(Protocol):
    """One room that a batch walks through."""

    @property
    def name(self) -> str: ...

    def run(self, batch: Sequence[Work], now_ms: int) -> None:
        """Write findings onto the sheets. An outage is noted in `degraded`, not raised."""
        ...


class LookupStage:
    """Decision cache, user features and thread context: one round trip a batch."""

    name = "lookup"

    def __init__(
        self, store: Lookups, cache: LocalCache, model: str, skip: Container[Work] = ()
    ) -> None:
        self._skip = skip
        """Whose scores are not looked for: what a cache knows is not what decided them before."""
        self._store = store
        self._cache = cache
        self._model = model

    def run(self, batch: Sequence[Work], now_ms: int) -> None:  # noqa: ARG002 - the protocol's
        """Fill user, context and scores that are known."""
        hashes: dict[str, list[Work]] = {}
        users: dict[str, list[Work]] = {}
        around: list[Around] = []
        placed: list[Work] = []
        for work in batch:
            upload = work.item.upload
            if work.item.user is not None:
                work.user = work.item.user
            else:
                users.setdefault(upload.user_id, []).append(work)
            parent = upload.parent_content_id
            thread = upload.thread_id or parent
            if thread or upload.community_id:
                around.append(_around(work.item, thread, parent))
                placed.append(work)
            # Without a model there are no scores to look for.
            if (
                self._model
                and work.item.content_hash
                and work not in self._skip
                and not self._known_here(work)
            ):
                hashes.setdefault(work.item.content_hash, []).append(work)
        found = self._store.fetch(list(hashes), list(users), around)
        self._fill_scores(found.assessments, hashes)
        for user, features in found.users.items():
            for work in users[user]:
                work.user = features
        if found.contexts:
            for work, context in zip(placed, found.contexts, strict=True):
                work.context = context
        if found.degraded:
            for work in batch:
                work.degraded = (*work.degraded, *found.degraded)

    def _known_here(self, work: Work) -> bool:
        known = self._cache.get(work.item.content_hash, self._model)
        if known is None:
            return False
        work.scores, work.tier, work.cache = known.scores, known.tier, "local"
        return True

    def _fill_scores(
        self, rows: Mapping[str, CachedAssessment], hashes: Mapping[str, list[Work]]
    ) -> None:
        for content_hash, row in rows.items():
            if row.model == self._model:
                self._cache.put(content_hash, row)
                for work in hashes[content_hash]:
                    work.scores, work.tier, work.cache = row.scores, row.tier, "redis"


def _around(item: Item, thread: str | None, parent: str | None) -> Around:
    """As of the upload when it first came, even where it is decided again: always the same."""
    upload = item.upload
    at_ms, own_id, first_ms = item.broker_ms, "", item.first_ms
    # An edit and a report look at what there has been since.
    if first_ms is not None and first_ms < at_ms and not upload.revision and item.reports is None:
        at_ms = first_ms
    elif item.velocity.duplicate:
        own_id = upload.content_id
    return Around(at_ms, upload.community_id, thread, parent, own_id, upload.revision)


class BankStage:
    """Exact known-bad and known-good content."""

    name = "bank"

    def __init__(self, banks: ExactBanks, act_at: float) -> None:
        self._banks = banks
        self._act_at = act_at

    def run(self, batch: Sequence[Work], now_ms: int) -> None:  # noqa: ARG002 - the protocol's
        """Note matches.

        A known-bad one settles the content, and so does a known-good one that vouches for
        every category; one that only observes settles nothing.
        """
        match, near = self._banks.match, self._banks.has_near
        for work in batch:
            item = work.item
            if item.content_hash:
                found = match(item.content_hash, item.broker_ms)
                if near and item.normalised is not None:
                    found = [*found, *self._banks.match_near(item.normalised.text, item.broker_ms)]
                if found:
                    work.banks = found
                    work.settled = any(
                        m.confidence >= self._act_at
                        and (m.polarity == "bad" or not m.category)
                        and not m.observe_only
                        for m in found
                    )


class RuleStage:
    """Keywords and patterns."""

    name = "rules"

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules

    def run(self, batch: Sequence[Work], now_ms: int) -> None:
        """Note matches; a definitive one that acts settles the content."""
        texts: list[Any] = [work for work in batch if work.item.normalised is not None]
        matches = self._rules.match([work.item for work in texts], now_ms)
        for work, found in zip(texts, matches, strict=True):
            if found:
                work.rules = found
                if any(m.definitive and not m.observe_only for m in found):
                    work.settled = True


class FastTextStage:
    """The fast text tier, for what nothing has settled and no cache knows.

    Args:
        scorer: the model.
        remember: its scores are worth remembering.
    """

    name: Literal["fast_text"] = "fast_text"

    def __init__(self, scorer: Scorer, *, remember: bool = True) -> None:
        self._scorer = scorer
        self._remember = remember

    def run(self, batch: Sequence[Work], now_ms: int) -> None:  # noqa: ARG002 - the protocol's
        """Score each content once, however often it is in the batch."""
        missing: dict[str, list[Work]] = {}
        for work in batch:
            item = work.item
            if work.settled or item.normalised is None:
                continue
            if not work.scores:
                missing.setdefault(item.content_hash, []).append(work)
        if not missing:
            return
        names = self._scorer.categories
        texts = [works[0].item.normalised for works in missing.values()]
        try:
            rows = self._scorer.score([text.text for text in texts if text is not None])
        except Exception:  # noqa: BLE001 - whatever a model raises, the policy's rule decides
            for work in batch:
                if not work.settled and not work.scores and work.item.normalised is not None:
                    work.degraded = (*work.degraded, self.name)
            return
        # Rounded all at once: one by one it takes longer than scoring does.
        rounded = np.round(rows.astype(np.float64), 6).tolist()
        for works, row in zip(missing.values(), rounded, strict=True):
            scores = dict(zip(names, row, strict=True))
            for work in works:
                work.scores, work.tier = scores, self.name
            works[0].fresh = self._remember


def signals_of(work: Work) -> Signals:
    """What the stages have found about an upload's own text and author."""
    item = work.item
    # The upload's own time, not the clock: a redelivery has to get the same features.
    created_ms = int(item.upload.created_at.timestamp() * 1000)
    rules = work.rules
    if rules:
        rules = [match for match in rules if not match.observe_only]
    banks = work.banks
    if banks:
        banks = [match for match in banks if not match.observe_only]
    return Signals(
        item.upload,
        work.scores,
        rules,
        banks,
        0.0 if item.normalised is None else item.normalised.evasion,
        item.velocity,
        work.user,
        work.context,
        min(created_ms, item.broker_ms),
        work.degraded,
    )
