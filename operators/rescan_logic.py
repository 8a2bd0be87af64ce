"""Media that no store gave are asked for again, until the store is back or it was long enough.

Uploads wait by store. While a store is down one upload at a time asks whether it is back, at
growing intervals; once it answers, all others follow a batch at a time. What one upload alone
cannot get is tried so many times; everything is given up after so many hours, and the evidence
then says so.

Contents that were decided without a bank wait in the same way, until its snapshot can be read; then
their evidence is published again. Where that is given up nothing is published: they were decided.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from operators.metrics import Metrics
from schemas.errors import InvalidUploadError
from schemas.evidence import (
    Failure,
    MediaEvidence,
    decode_evidence,
    encode_evidence,
    evidence_id,
)
from schemas.kept import Kept
from schemas.media_job import RescanPart
from schemas.rescan import BankWait
from schemas.upload import Upload
from udfs.bank_shelf import is_there

TRANSIENT: Final = frozenset({"unreachable", "timeout"})
"""Kinds of failure, at fetching, that are the store's and may pass."""
_AT_ONCE: Final = 1000
"""Uploads that are given up in one go, at most."""
_HOUR_MS: Final = 3_600_000

Asked = Upload | BankWait
Look = Callable[[Sequence[Asked]], list[MediaEvidence]]
Decode = Callable[[bytes], Asked]


class Queue(msgspec.Struct):
    """What is known about one store."""

    first: int = 0
    """Place of the upload that waits the longest."""
    next: int = 0
    """Place that the next one takes."""
    failures: int = 0
    """Times in a row that nothing was got."""
    due_ms: int = 0
    """When it is asked again; 0: nobody waits."""


class Waiting(msgspec.Struct):
    """One upload that waits."""

    payload: bytes
    since_ms: int
    """When its first try had failed."""
    tries: int = 1
    alone: int = 0
    """Of them, those that failed while the store gave what others asked for."""
    not_before_ms: int = 0


class RescanState(Protocol):
    """State of one store; what is in it survives a restart."""

    def head(self) -> bytes | None: ...

    def put_head(self, value: bytes) -> None: ...

    def entry(self, place: int) -> bytes | None: ...

    def put_entry(self, place: int, value: bytes) -> None: ...

    def drop_entry(self, place: int) -> None: ...

    def known(self, key: str) -> bool: ...

    def set_known(self, key: str, *, known: bool) -> None: ...


_QUEUES: Final = Kept(Queue, 1, "queue")
_WAITING: Final = Kept(Waiting, 1, "waiting medium")


class Found(NamedTuple):
    """What came of one turn."""

    evidence: list[MediaEvidence]
    """To be published."""
    due_ms: int
    """When the next turn is; 0: nobody waits."""


def is_transient(evidence: MediaEvidence) -> bool:
    """Whether the store did not answer, so that asking again may help."""
    return any(error.step == "fetch" and error.kind in TRANSIENT for error in evidence.errors)


class RescanLogic:
    """Asks again.

    Args:
        part: how often and how long.
        look: makes evidence of uploads.
        decode: payload to upload; raises `InvalidUploadError`.
        now_ms: wall clock, ms since the epoch.
        metrics: counts go here.
    """

    def __init__(
        self,
        part: RescanPart,
        look: Look,
        decode: Decode,
        now_ms: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._part = part
        self._look = look
        self._decode = decode
        self._now_ms = now_ms
        self._counts = metrics.counter("media_rescans")

    def on_upload(self, state: RescanState, payload: bytes, failed_ms: int) -> int:
        """Take one upload that could not be had.

        Args:
            state: of its store.
            payload: as it came.
            failed_ms: when that was said.

        Returns:
            When the store's next turn is, ms since the epoch; 0 where nothing is new.
        """
        try:
            upload = self._decode(payload)
        except InvalidUploadError:
            self._counts.add("unreadable")
            return 0
        if state.known(_key(upload)):
            self._counts.add("again")
            return 0
        queue = _queue(state)
        _put(state, queue, Waiting(payload, failed_ms))
        state.set_known(_key(upload), known=True)
        self._counts.add("taken")
        if not queue.due_ms:
            queue.failures = 1  # the try before this one
            queue.due_ms = int(self._now_ms() + self._pause_ms(1))
        state.put_head(_QUEUES.encode(queue))
        return queue.due_ms

    def on_turn(self, state: RescanState) -> Found:
        """Ask the store, where its turn has come."""
        queue = _queue(state)
        now = int(self._now_ms())
        if not queue.due_ms or queue.due_ms > now:
            return Found([], queue.due_ms)
        given_up = self._expire(state, queue, now)
        most = 1 if queue.failures else self._part.batch
        asked, rest = self._take(state, queue, now, most)
        published = self._ask(state, queue, now, asked)
        for waiting in rest:
            _put(state, queue, waiting)
        if queue.first == queue.next:
            queue.due_ms = queue.failures = 0
        elif queue.failures:
            queue.due_ms = now + self._pause_ms(queue.failures)
        elif asked:
            queue.due_ms = now + 1
        else:
            queue.due_ms = max(now + 1, min(waiting.not_before_ms for waiting in rest))
        state.put_head(_QUEUES.encode(queue))
        return Found([*given_up, *published], queue.due_ms)

    def _expire(self, state: RescanState, queue: Queue, now: int) -> list[MediaEvidence]:
        """Give up what has waited for too long."""
        found: list[MediaEvidence] = []
        while queue.first < queue.next and len(found) < _AT_ONCE:
            waiting = _WAITING.found(state.entry(queue.first))
            if waiting is None:
                _take_first(state, queue)
                continue
            if now - waiting.since_ms < self._part.keep_hours * _HOUR_MS:
                break
            _take_first(state, queue)
            upload = self._decode(waiting.payload)
            state.set_known(_key(upload), known=False)
            limit = f"rescan.keep_hours = {self._part.keep_hours:g}"
            found += self._without(upload, waiting, limit, now)
        return found

    def _take(
        self, state: RescanState, queue: Queue, now: int, most: int
    ) -> tuple[list[Waiting], list[Waiting]]:
        """Uploads to ask for now, and those that were met and have to wait on."""
        asked: list[Waiting] = []
        rest: list[Waiting] = []
        while queue.first < queue.next and len(asked) + len(rest) < most:
            waiting = _take_first(state, queue)
            if waiting is None:
                self._counts.add("torn")
                continue
            (rest if waiting.not_before_ms > now else asked).append(waiting)
        return asked, rest

    def _ask(
        self, state: RescanState, queue: Queue, now: int, asked: Sequence[Waiting]
    ) -> list[MediaEvidence]:
        uploads = [self._decode(waiting.payload) for waiting in asked]
        found = self._look(uploads) if uploads else []
        down = [is_transient(evidence) for evidence in found]
        # Whether a failure is the upload's own: the store has just given something.
        up = queue.failures == 0 or not all(down)
        if asked:
            queue.failures = queue.failures + 1 if all(down) else 0
        published = []
        for waiting, upload, evidence, failed in zip(asked, uploads, found, down, strict=True):
            waiting.tries += 1
            if not failed:
                self._counts.add("found")
                published.append(_numbered(evidence, upload, waiting.tries))
            elif up and waiting.alone + 1 >= self._part.tries and isinstance(upload, Upload):
                limit = f"rescan.tries = {self._part.tries}"
                published += self._without(upload, waiting, limit, now)
            else:
                if up:
                    waiting.alone += 1
                    waiting.not_before_ms = now + self._pause_ms(waiting.alone)
                _put(state, queue, waiting)
                continue
            state.set_known(_key(upload), known=False)
        return published

    def _without(
        self, upload: Asked, waiting: Waiting, limit: str, now: int
    ) -> list[MediaEvidence]:
        """The last word about media that were not to be had; none where they were seen."""
        self._counts.add("given_up")
        if isinstance(upload, BankWait):
            return []
        hours = (now - waiting.since_ms) / _HOUR_MS
        message = f"given up after {waiting.tries} tries in {hours:.1f} hours"
        evidence = MediaEvidence(
            evidence_id="",
            content_id=upload.content_id,
            user_id=upload.user_id,
            revision=upload.revision,
            content_type=upload.content_type,
            errors=[Failure(kind="unreachable", step="fetch", message=message, limit=limit)],
            made_at=dt.datetime.fromtimestamp(now / 1000, dt.UTC),
        )
        return [_numbered(evidence, upload, waiting.tries + 1)]

    def _pause_ms(self, failures: int) -> int:
        part = self._part
        seconds: float = min(part.most_s, part.first_s * 2.0 ** min(failures - 1, 32))
        return int(1000 * seconds)


def published(evidence: MediaEvidence) -> tuple[bytes, bytes]:
    """Key and value of the record."""
    return evidence.user_id.encode(), encode_evidence(evidence)


def seen_before(wait: BankWait) -> MediaEvidence:
    """The evidence of a content that waits for banks; as if unreachable until these are there."""
    evidence = decode_evidence(bytes(wait.evidence))
    if all(is_there(each) for each in wait.banks):
        return evidence
    failure = Failure(kind="unreachable", step="fetch", message="a bank's snapshot cannot be read")
    return msgspec.structs.replace(evidence, errors=[failure])


def _numbered(evidence: MediaEvidence, upload: Asked, tries: int) -> MediaEvidence:
    """Under an id of its own: who has the evidence of an earlier try must not drop this one."""
    # Of what was seen before, every wait for a bank begins with another id.
    step = f"{evidence.evidence_id}/banks" if isinstance(upload, BankWait) else "media"
    number = evidence_id(evidence.content_id, evidence.revision, f"{step}/{tries}")
    return msgspec.structs.replace(evidence, evidence_id=number)


def _key(upload: Asked) -> str:
    mark = "banks/" if isinstance(upload, BankWait) else ""
    return f"{mark}{upload.revision}/{upload.content_id}"


def _queue(state: RescanState) -> Queue:
    return _QUEUES.found(state.head()) or Queue()


def _put(state: RescanState, queue: Queue, waiting: Waiting) -> None:
    state.put_entry(queue.next, _WAITING.encode(waiting))
    queue.next += 1


def _take_first(state: RescanState, queue: Queue) -> Waiting | None:
    waiting = _WAITING.found(state.entry(queue.first))
    state.drop_entry(queue.first)
    queue.first += 1
    return waiting
