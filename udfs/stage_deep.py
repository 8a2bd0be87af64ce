"""The heavy text tier as a stage: for what the fast tier leaves undecided, while there is time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import msgspec
import numpy as np

from udfs.contracts import Scorer
from udfs.deep_allowance import Allowance
from udfs.stages import Work
from udfs.text_tiers import HIGH, LOW, blend_of, blended, needs_deep, readable

NAME: Final = "deep_text"


class DeepLimits(msgspec.Struct, frozen=True):
    """Which uploads the heavy tier looks at, and what it may take."""

    low: float = LOW
    high: float = HIGH
    """The band of `udfs.text_tiers.needs_deep`."""
    budget_ms: float = 0.0
    """Of one batch; 0: as long as it takes. What is left over then is shed."""
    late_after_ms: float = 0.0
    """Uploads that the broker has had for longer are shed; 0: none. A queue is worked off at the
    fast tier's rate, and nobody waits for an hour's texts to be read twice."""
    busy_most: float = 0.0
    """Share of the time that its thread may be busy, with everything; 0: no limit. What does not
    fit is shed (`udfs.deep_allowance`)."""
    together: int = 1
    """Texts that are scored in one call; between two calls the time is looked at."""


class ShedMemory:
    """Uploads that were decided without the heavy tier, so that a redelivery is decided alike.

    Args:
        most: how many are kept; the oldest leave.
    """

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._keys: OrderedDict[tuple[str, int, int, str], None] = OrderedDict()

    def __contains__(self, work: object) -> bool:
        """Whether this upload was shed before."""
        if not self._keys or not isinstance(work, Work):
            return False
        return work.item.identity in self._keys

    def add(self, work: Work) -> None:
        """Remember one."""
        self._keys[work.item.identity] = None
        if len(self._keys) > self._most:
            self._keys.popitem(last=False)


class DeepTextStage:
    """Scores the undecided, most undecided first.

    Its scores take the place of the fast tier's, or are joined with them where its package says
    how (`udfs.text_tiers.blended`). What it cannot read is not shown to it.

    What is shed keeps the fast tier's scores and names `deep_text` in `degraded`: the policy says
    which categories need the tier (`needs`), and all others are decided without it. A redelivered
    upload is shed where it was shed before, and else never: its decision has the same id, and has
    to be the same.

    Args:
        scorer: the heavy tier.
        limits: which and how much.
        on_text: called for each text that was scored.
        reads: says of normalised texts, with the languages that their uploads declare, which of
            them the model reads; the others are not shown to it. None: it reads all.
        memory: of what was shed; outlives the stage where models are swapped.
    """

    name = NAME

    def __init__(
        self,
        scorer: Scorer,
        limits: DeepLimits,
        on_text: Callable[[], None] = lambda: None,
        reads: Callable[[Sequence[str], Sequence[str | None]], Sequence[bool]] | None = None,
        memory: ShedMemory | None = None,
    ) -> None:
        self._scorer = scorer
        self._limits = limits
        self._blend = blend_of(scorer)
        self._on_text = on_text
        self._reads = reads
        self._memory = memory or ShedMemory()
        self._allowance = Allowance(limits.busy_most)

    def run(self, batch: Sequence[Work], now_ms: int) -> None:
        """Score each undecided content once, however often it is in the batch."""
        contents = self._undecided(batch)
        self._allowance.refill()
        if not contents:
            return
        begin = time.perf_counter()
        limits = self._limits
        again = []
        waiting = []
        for works in contents:
            if any(work.item.velocity.duplicate for work in works):
                again.append(works)
            elif 0 < limits.late_after_ms < now_ms - works[0].item.asked_ms:
                self._shed(works)
            else:
                waiting.append(works)
        for works in again:
            self._score([works])
        step = max(1, limits.together)
        for first in range(0, len(waiting), step):
            over = 0 < limits.budget_ms < (time.perf_counter() - begin) * 1e3
            if over or self._allowance.spent:
                for works in waiting[first:]:
                    self._shed(works)
                return
            self._allowance.spend(partial(self._score, waiting[first : first + step]))

    def _undecided(self, batch: Sequence[Work]) -> list[list[Work]]:
        """Works by content, those whose probabilities lie nearest to the middle first."""
        contents: dict[str, list[Work]] = {}
        for work in batch:
            if work.settled or not work.scores or work.tier == NAME:
                continue
            if work in self._memory:
                self._shed([work])
                continue
            contents.setdefault(work.item.content_hash, []).append(work)
        if not contents:
            return []
        found = list(contents.values())
        scores = np.array([[*works[0].scores.values()] for works in found], np.float32)
        rows = np.flatnonzero(needs_deep(scores, self._limits.low, self._limits.high))
        if self._reads is not None and len(rows):
            texts = [found[i][0].item for i in rows]
            reads = self._reads(
                ["" if item.normalised is None else item.normalised.text for item in texts],
                [item.upload.language for item in texts],
            )
            rows = rows[np.array(reads, np.bool_)]
        if len(rows):
            normalised = [found[i][0].item.normalised for i in rows]
            texts_of = ["" if text is None else text.text for text in normalised]
            rows = rows[readable(self._scorer, texts_of)]
        distance = np.nanmin(np.abs(scores[rows] - 0.5), axis=1, initial=0.5)
        return [found[i] for i in rows[np.argsort(distance, kind="stable")]]

    def _score(self, contents: list[list[Work]]) -> None:
        names = self._scorer.categories
        texts = [works[0].item.normalised for works in contents]
        try:
            rows = self._scorer.score([text.text for text in texts if text is not None])
        except Exception:  # noqa: BLE001 - whatever a model raises, the fast tier has decided
            for works in contents:
                self._shed(works)
            return
        rounded = np.round(rows.astype(np.float64), 6).tolist()
        for works, row in zip(contents, rounded, strict=True):
            before = works[0].scores
            found = dict(zip(names, row, strict=True))
            both = [name for name in names if name in before]
            apart = max((abs(found[name] - before[name]) for name in both), default=0.0)
            for name in both:
                if name in self._blend:
                    joined = blended(before[name], found[name], self._blend[name])
                    found[name] = round(float(joined), 6)
            scores = {**before, **found}
            for work in works:
                work.scores, work.tier, work.disagreement = scores, NAME, apart
            works[0].fresh = True
            self._on_text()

    def _shed(self, works: Sequence[Work]) -> None:
        for work in works:
            work.degraded = (*work.degraded, NAME)
            work.fresh = False
            self._memory.add(work)
