"""What the moderation operator does, without an engine: state, clock and cascade handed in.

An upload arrives under its user's key, is counted in the user's velocity, waits for its tick
and leaves as records for topics. A picture or a video leaves again when what was found in it has
come as evidence, or when its deadline has passed (`operators.cases`). `operators.moderate` is the
Flink shell around this.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from operators.brain import Brain
from operators.cases import NO_CASES, Cases, CaseState, Joined
from operators.dead_letters import dead_letter
from operators.metrics import Metrics
from operators.tick_batch import TickBatch
from operators.user_state import Arrived, StateError, decode_state, encode_state
from operators.velocity import Event, VelocityConfig, VelocityRing, fingerprint
from schemas.errors import InvalidUploadError
from schemas.evidence import MediaEvidence, decode_evidence
from schemas.report_evidence import decode_report_evidence, is_reports
from schemas.settings import CaseSettings
from schemas.topics import Topics
from udfs.contracts import Item, Outcome


class Record(NamedTuple):
    """One record for a topic."""

    topic: str
    key: bytes
    value: bytes


class ValueState(Protocol):
    """The keyed value of the current user; Flink's ValueState of bytes fits."""

    def value(self) -> bytes | None: ...
    def update(self, value: bytes) -> None: ...


class _Waiting(NamedTuple):
    """An upload between its arrival and its tick."""

    arrived: Arrived
    item: Item | InvalidUploadError
    """The error where an upload waited over a restart into stricter limits."""
    evidence: MediaEvidence | None = None
    """What asks for the decision, where it is not the upload."""


class _Mirror(NamedTuple):
    """A user's value in memory while any of their uploads wait."""

    ring: VelocityRing


Scored = tuple[Record, ...]
_CASES: Final = CaseSettings()

_encode = msgspec.json.Encoder().encode


class ModerationLogic:
    """State machine of one operator instance.

    Args:
        brain: the cascade.
        topics: where records go.
        velocity: settings of the rings.
        max_batch: a batch this full does not wait for its tick.
        now_ms: wall clock, ms since the epoch.
        metrics: counts go here.
        check_key: dead-letter an upload that arrives under another key than its user id.
        cases: how pictures and videos wait for their evidence.
    """

    def __init__(
        self,
        brain: Brain,
        topics: Topics,
        *,
        velocity: VelocityConfig,
        max_batch: int,
        now_ms: Callable[[], float],
        metrics: Metrics,
        check_key: bool = True,
        cases: CaseSettings = _CASES,
    ) -> None:
        self._brain = brain
        self._topics = topics
        self._velocity = velocity
        self._now_ms = now_ms
        self._check_key = check_key
        self._redeliveries = metrics.counter("redeliveries")
        self._uploads = metrics.counter("uploads")
        self._state_resets = metrics.counter("state_resets")
        self._batches = metrics.counter("batches")
        self._reviews = metrics.counter("reviews")
        self._decisions = metrics.counter("decisions")
        self._decided_category = metrics.counter("decided_category")
        self._cache_hits = metrics.counter("cache_hits")
        self._degraded = metrics.counter("degraded")
        self._dead_letters = metrics.counter("dead_letters")
        self._state_bytes = metrics.histogram("state_bytes")
        self._batch_size = metrics.histogram("batch_size")
        self._batch_time = metrics.histogram("batch_time_ms")
        self._latency = metrics.histogram("latency_ms")
        self._case_latency = metrics.histogram("case_latency_ms")
        self._cases = Cases(cases, brain.patience_s, now_ms, metrics)
        self._ticks: TickBatch[_Waiting, Scored] = TickBatch(self._moderate, max_batch)
        self._mirrors: dict[str, _Mirror] = {}

    def on_record(
        self, key: str, arrived: Arrived, state: ValueState, cases: CaseState = NO_CASES
    ) -> Sequence[Record]:
        """Take one record from Kafka: an upload, or evidence about one.

        Args:
            key: the key that the stream is partitioned by.
            arrived: the record; its velocity is not filled in yet.
            state: the key's value.
            cases: the key's cases.

        Returns:
            Records to write now (a dead letter). Empty: something may wait, so a timer for the
            next tick is wanted.
        """
        try:
            understood = self._understand(key, arrived)
        except InvalidUploadError as error:
            return (self._dead_letter(arrived, error.kind, error.field, error.message),)
        except Exception as error:  # noqa: BLE001 - poison must never restart the job
            return (self._dead_letter(arrived, "internal", "$", type(error).__name__),)
        if isinstance(understood, MediaEvidence):
            self._join(key, understood, arrived, state, cases)
        elif understood.reports is not None:
            ring = self._mirror(key, state, cases).ring
            self._wait(key, ring, _Waiting(arrived, understood), state)
        else:
            self._on_upload(key, understood, arrived, state, cases)
        return ()

    def _understand(self, key: str, arrived: Arrived) -> Item | MediaEvidence:
        """Decode and check a record; what is wrong with it is said before any state changes."""
        understood: Item | MediaEvidence
        if arrived.topic != self._topics.evidence:
            understood = self._brain.prepare(arrived.raw, arrived.broker_ms)
            user_id = understood.upload.user_id
        elif is_reports(arrived.raw):
            reports = decode_report_evidence(arrived.raw)
            understood = self._brain.reported(reports, arrived.broker_ms)
            user_id = reports.user_id
        else:
            understood = decode_evidence(arrived.raw)
            user_id = understood.user_id
        if self._check_key and user_id != key:
            raise InvalidUploadError(
                "key_mismatch",
                "the record was partitioned by another key than its user_id",
                field="$.user_id",
            )
        return understood

    def _on_upload(
        self, key: str, item: Item, arrived: Arrived, state: ValueState, cases: CaseState
    ) -> None:
        ring = self._mirror(key, state, cases).ring
        velocity = ring.observe(_event(item))
        if velocity.duplicate:
            self._redeliveries.add()
        self._uploads.add(item.upload.content_type)
        arrived = Arrived(
            arrived.raw,
            arrived.topic,
            arrived.partition,
            arrived.offset,
            arrived.broker_ms,
            velocity,
        )
        self._wait(key, ring, _Waiting(arrived, item.with_velocity(velocity)), state)
        if item.upload.content_type != "text":
            for early in self._cases.open(cases, item.upload, arrived):
                # It was understood when it came.
                self._join(key, decode_evidence(early.raw), early, state, cases)

    def _join(
        self,
        key: str,
        evidence: MediaEvidence,
        arrived: Arrived,
        state: ValueState,
        cases: CaseState,
    ) -> None:
        joined = self._cases.join(cases, evidence, arrived)
        if joined is not None:
            ring = self._mirror(key, state, cases).ring
            item = self._heard(joined, evidence, arrived.raw, arrived.broker_ms)
            self._wait(key, ring, _Waiting(arrived, item, evidence), state)

    def _heard(
        self, joined: Joined, evidence: MediaEvidence | None, raw: bytes, asked_ms: int
    ) -> Item | InvalidUploadError:
        """An upload with its evidence; in the meantime limits may have become stricter."""
        upload, revision = joined
        try:
            item = self._brain.prepare(upload.raw, upload.broker_ms)
            return self._brain.with_evidence(
                item.with_velocity(upload.velocity),
                evidence,
                raw=raw,
                revision=revision,
                asked_ms=asked_ms,
            )
        except InvalidUploadError as error:
            return error
        except Exception as error:  # noqa: BLE001 - poison must never restart the job
            return InvalidUploadError("internal", type(error).__name__)

    def _wait(self, key: str, ring: VelocityRing, new: _Waiting, state: ValueState) -> None:
        waiting = [w.arrived for w in self._ticks.items(key)]
        waiting.append(new.arrived)
        value = encode_state(ring.encode(), waiting)
        state.update(value)
        self._state_bytes.observe(len(value))
        self._ticks.add(key, new)

    def on_deadline(self, cases: CaseState, *, everything: bool = False) -> list[Scored]:
        """Decide what has waited for its evidence for too long.

        Args:
            cases: of one user.
            everything: the input has ended, nothing more will come.

        Returns:
            The records of each.
        """
        due = self._cases.due(cases, everything=everything)
        now = int(self._now_ms())
        batch = [
            _Waiting(joined.upload, self._heard(joined, None, b"", now)) for joined in due.overdue
        ]
        letters = [
            (self._dead_letter(record, "unmatched", "$.content_id", "its upload never came"),)
            for record in due.unmatched
        ]
        return [*self._moderate(batch), *letters] if batch else [*letters]

    def on_tick(self, key: str, state: ValueState, cases: CaseState = NO_CASES) -> list[Scored]:
        """Emit what waits under `key`, scoring the whole tick if it was not scored yet.

        Returns:
            The records of each upload, in order of arrival.
        """
        # A timer of a tick that was emitted already (or was restored): nothing waits.
        mirror = self._mirrors.get(key) or self._mirror(key, state, cases)
        taken = self._ticks.take(key)
        self._mirrors.pop(key, None)
        if taken:
            state.update(encode_state(mirror.ring.encode(), []))
        for waiting, _ in taken:
            if waiting.evidence is not None:
                self._cases.settle(cases, waiting.evidence)
        return [records for _, records in taken]

    def _mirror(self, key: str, state: ValueState, cases: CaseState) -> _Mirror:
        """Take the user's value into memory; what waited before a restart waits again."""
        mirror = self._mirrors.get(key)
        if mirror is not None:
            return mirror
        try:
            velocity, waiting = decode_state(state.value())
            mirror = _Mirror(VelocityRing(velocity, self._velocity))
        except (StateError, ValueError):
            # Losing a user's counters is better than losing all their uploads.
            self._state_resets.add()
            waiting = []
            mirror = _Mirror(VelocityRing(None, self._velocity))
        self._mirrors[key] = mirror
        for arrived in waiting:
            self._ticks.add(key, self._wait_again(arrived, cases))
        return mirror

    def _wait_again(self, arrived: Arrived, cases: CaseState) -> _Waiting:
        """What waited before a restart; in the meantime limits may have become stricter."""
        try:
            if arrived.topic != self._topics.evidence:
                item = self._brain.prepare(arrived.raw, arrived.broker_ms)
                return _Waiting(arrived, item.with_velocity(arrived.velocity))
            if is_reports(arrived.raw):
                reports = decode_report_evidence(arrived.raw)
                return _Waiting(arrived, self._brain.reported(reports, arrived.broker_ms))
            evidence = decode_evidence(arrived.raw)
            joined = self._cases.again(cases, evidence)
            if joined is None:
                raise InvalidUploadError("unmatched", "its case is gone", field="$.content_id")
            heard = self._heard(joined, evidence, arrived.raw, arrived.broker_ms)
            return _Waiting(arrived, heard, evidence)
        except InvalidUploadError as error:
            return _Waiting(arrived, error)

    def _moderate(self, batch: Sequence[_Waiting]) -> Sequence[Scored]:
        """Score a batch; an upload that breaks the cascade becomes a dead letter, alone."""
        started = time.perf_counter()
        now = self._now_ms()
        items = [w.item for w in batch if isinstance(w.item, Item)]
        try:
            outcomes = iter(self._brain.moderate(items, now))
            scored = [
                self._records(next(outcomes))
                if isinstance(w.item, Item)
                else (self._dead_letter(w.arrived, w.item.kind, w.item.field, w.item.message),)
                for w in batch
            ]
        except Exception as error:  # noqa: BLE001 - poison must never restart the job
            if len(batch) > 1:
                return [records for w in batch for records in self._moderate([w])]
            return [(self._dead_letter(batch[0].arrived, "internal", "$", type(error).__name__),)]
        self._batches.add()
        self._batch_size.observe(len(batch))
        self._batch_time.observe((time.perf_counter() - started) * 1e3)
        return scored

    def _records(self, outcome: Outcome) -> Scored:
        topics = self._topics
        decision = outcome.decision
        key = decision.content_id.encode("utf-8", "replace")
        records = [Record(topics.decisions, key, _encode(decision))]
        if outcome.audit is not None:
            records.append(Record(topics.audit, key, _encode(outcome.audit)))
        if outcome.review is not None:
            records.append(Record(topics.review, key, _encode(outcome.review)))
            self._reviews.add(outcome.review.why)
        if outcome.enforcement is not None:
            records.append(Record(topics.enforcement, key, _encode(outcome.enforcement)))
        records.extend(Record(topics.feedback, key, _encode(row)) for row in outcome.feedback)
        self._count(outcome)
        return tuple(records)

    def _count(self, outcome: Outcome) -> None:
        decision = outcome.decision
        self._decisions.add(decision.action, decision.stage)
        if decision.action != "allow":
            self._decided_category.add(decision.category)
        if decision.cache:
            self._cache_hits.add(decision.cache)
        for dependency in decision.degraded:
            self._degraded.add(dependency)
        latency = self._case_latency if decision.revision else self._latency
        latency.observe(decision.latency_ms)

    def _dead_letter(self, arrived: Arrived, kind: str, field: str, message: str) -> Record:
        self._dead_letters.add(kind)
        return Record(self._topics.dead_letters, *dead_letter(arrived, kind, field, message))


def _event(item: Item) -> Event:
    upload = item.upload
    return Event(
        content_key=f"{upload.content_id}\x00{upload.revision}",
        created_ms=int(upload.created_at.timestamp() * 1000),
        broker_ms=item.broker_ms,
        text_hash=_content_fingerprint(item),
        community=upload.community_id or "",
    )


def _content_fingerprint(item: Item) -> int:
    if item.content_hash:
        return int(item.content_hash[:16], 16)
    return fingerprint(item.upload.media_uri or "")
