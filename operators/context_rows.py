"""Marks on their way to Redis, and what is known here of what stands there.

Answers are as of a time and never change (`operators.context_script`), so they are kept: of a
thread for the second that it was asked for, of a community until its next bucket closes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from schemas.features import ThreadContext
from schemas.settings import ContextSettings
from udfs.contracts import Around, Mark

_MAX_WAITING: Final = 5_000
"""Marks that wait at most; beyond, the oldest are dropped: missing means calm."""
_GRAIN_MS: Final = 1_000
"""Threads are asked for as of full seconds, so that one answer does for many uploads."""
_UNKNOWN: Final = ThreadContext()

Community = tuple[str, int]
"""Its id, and the last bucket that counts."""
Thread = tuple[str, int, str, int]
"""Its id, as of when in ms, and the content id and revision that do not count."""


class Asked(NamedTuple):
    """What a batch asks for."""

    parents: list[str]
    """Content ids whose rows are wanted."""
    questions: list[Community | Thread]
    """What is not known here, see `context_script`."""
    contexts: list[ThreadContext | None]
    """One a place; None where it needs answers."""
    around: Sequence[Around]


class ContextRows:
    """Marks and answers of one process.

    Args:
        settings: windows and bounds.
    """

    def __init__(self, settings: ContextSettings) -> None:
        self._settle_ms = settings.settle_ms
        self._bucket_ms = settings.baseline_bucket_s * 1000
        self._late_ms = settings.late_s * 1000
        self._min_uploads = settings.baseline_min_uploads
        self._limit = settings.local_entries
        self._floor = thousandths(settings.parent_floor)
        self._waiting: list[Mark] = []
        self._communities: dict[Community, ThreadContext] = {}
        self._threads: dict[Thread, tuple[float, int]] = {}
        self._figures = figures(settings)
        self._encode = msgspec.msgpack.Encoder().encode

    def note(self, marks: Iterable[Mark]) -> None:
        """Have those marks wait that are worth writing."""
        floor = self._floor
        self._waiting += [
            mark
            for mark in marks
            if mark.community_id or mark.thread_id or mark.toxicity >= floor or mark.revision
        ]
        if len(self._waiting) > _MAX_WAITING:
            del self._waiting[:-_MAX_WAITING]

    @property
    def waits(self) -> bool:
        """Whether any mark does."""
        return bool(self._waiting)

    def take(self, most: int) -> list[Mark]:
        """Marks to write now, oldest first."""
        taken = self._waiting[:most]
        del self._waiting[:most]
        return taken

    def put_back(self, marks: Sequence[Mark]) -> None:
        """These were taken, and may not have arrived."""
        self._waiting[:0] = marks[max(0, len(self._waiting) + len(marks) - _MAX_WAITING) :]

    def packed(self, marks: Sequence[Mark], questions: Sequence[Community | Thread]) -> bytes:
        """What the script is told."""
        return self._encode((marks, questions, self._figures))

    def ask(self, around: Sequence[Around]) -> Asked:
        """What is known of the surroundings, and what has to be asked for."""
        parents: dict[str, None] = {}
        questions: dict[Community | Thread, None] = {}
        contexts: list[ThreadContext | None] = []
        communities, threads = self._communities, self._threads
        for place in around:
            known: ThreadContext | None = _UNKNOWN
            if place.community_id:
                community = self._community(place.community_id, place.at_ms)
                known = communities.get(community)
                if known is None:
                    questions[community] = None
            if place.thread_id:
                known = None
                thread = self._thread(place)
                if thread not in threads:
                    questions[thread] = None
                if place.parent_id:
                    parents[place.parent_id] = None
            contexts.append(known)
        return Asked(list(parents), list(questions), contexts, around)

    def answered(
        self, asked: Asked, rows: Sequence[bytes | None], answers: Sequence[bytes]
    ) -> list[ThreadContext]:
        """The surroundings of each place.

        Args:
            asked: of `ask`.
            rows: of the parents.
            answers: to the questions.
        """
        for question, answer in zip(asked.questions, answers, strict=True):
            first, second = answer.split()
            if len(question) == 2:
                self._communities[question] = self._baseline(float(first), float(second))
            else:
                self._threads[question] = (float(first), int(second))
        parents = dict(zip(asked.parents, rows, strict=True))
        found = [
            self._joined(place, parents) if context is None else context
            for place, context in zip(asked.around, asked.contexts, strict=True)
        ]
        # Only now: what this batch needs must not go before it is read.
        _shrink(self._communities, self._limit)
        _shrink(self._threads, self._limit)
        return found

    def _joined(self, place: Around, parents: dict[str, bytes | None]) -> ThreadContext:
        context = _UNKNOWN
        if place.community_id:
            context = self._communities[self._community(place.community_id, place.at_ms)]
        if not place.thread_id:
            return context
        heat, posts = self._threads[self._thread(place)]
        row = parents[place.parent_id] if place.parent_id else None
        parent = None if row is None else toxicity_at(row, self._as_of(place.at_ms))
        return ThreadContext(
            parent_toxicity=parent,
            thread_heat=heat,
            thread_posts=posts,
            community_baseline=context.community_baseline,
            community_uploads=context.community_uploads,
        )

    def _as_of(self, at_ms: int) -> int:
        settled = at_ms - self._settle_ms
        return settled - settled % _GRAIN_MS

    def _thread(self, place: Around) -> Thread:
        return (place.thread_id or "", self._as_of(place.at_ms), place.own_id, place.revision)

    def _community(self, community_id: str, at_ms: int) -> Community:
        # The last bucket that had closed for good.
        return (community_id, (at_ms - self._settle_ms - self._late_ms) // self._bucket_ms - 1)

    def _baseline(self, uploads: float, hostile: float) -> ThreadContext:
        share = None
        if uploads >= self._min_uploads:
            share = round(min(hostile / uploads, 1.0), 4)
        return ThreadContext(community_baseline=share, community_uploads=int(uploads))


def toxicity_at(row: bytes, at_ms: int) -> float | None:
    """Toxicity of a content as its row told at a time, 0 to 1; None where it told nothing yet."""
    found = None
    try:
        for entry in row.split(b",")[:-1]:
            stamp, toxicity, _ = entry.split(b":")
            if int(stamp) <= at_ms:
                found = int(toxicity) / 1000
    except ValueError:
        return None  # a damaged row counts as missing
    return found


def figures(settings: ContextSettings) -> dict[str, Any]:
    """The settings as the script reads them; times in ms but for `content_s`."""
    return {
        "window": settings.window_s * 1000,
        "half_life": settings.half_life_s * 1000,
        "keep": (settings.window_s + settings.replay_s) * 1000,
        "late": settings.late_s * 1000,
        "hostile": thousandths(settings.hostile_from),
        "floor": thousandths(settings.parent_floor),
        "content_s": settings.parent_ttl_h * 3600,
        "bucket": settings.baseline_bucket_s * 1000,
        "buckets": settings.baseline_buckets,
        "sample": settings.baseline_sample,
    }


def thousandths(probability: float) -> int:
    """A probability as marks hold it."""
    return int(probability * 1000.0 + 0.5)


def _shrink(kept: dict[Any, Any], limit: int) -> None:
    """Let the oldest go."""
    while len(kept) > limit:
        del kept[next(iter(kept))]
