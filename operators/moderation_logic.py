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

from operators.brain import Brain
from operators.cases import NO_CASES, Cases, CaseState, Joined
from operators.metrics import Metrics
from operators.outcome_records import OutcomeRecords, Record, Scored
from operators.tick_batch import TickBatch
from operators.user_memory import TrustKeeper, UserMemory, decode_memory
from operators.user_state import Arrived
from operators.velocity import VelocityConfig
from schemas.errors import InvalidUploadError
from schemas.evidence import MediaEvidence, decode_evidence
from schemas.feedback import decode_appeal
from schemas.kept import StateError
from schemas.report_evidence import decode_report_evidence, is_reports
from schemas.settings import CaseSettings
from schemas.topics import Topics
from schemas.trust import Overturned, TrustDocument
from schemas.user_events import LabelGiven, UserErased, decode_user_event, labelled, to_ms
from udfs.contracts import Item
from udfs.trust_events import of_appeal

__all__ = ["ModerationLogic", "Record", "ValueState"]


class ValueState(Protocol):
    """The keyed value of the current user; Flink's ValueState of bytes fits."""

    def value(self) -> bytes | None: ...
    def update(self, value: bytes) -> None: ...
    def clear(self) -> None: ...


class _Waiting(NamedTuple):
    """An upload between its arrival and its tick."""

    arrived: Arrived
    item: Item | InvalidUploadError
    """The error where an upload waited over a restart into stricter limits."""
    memory: UserMemory
    """Of its user; one that nobody keeps, where the upload shall leave no trace."""
    evidence: MediaEvidence | None = None
    """What asks for the decision, where it is not the upload."""


_Word = LabelGiven | UserErased | Overturned
"""What people say about a user, or about one of their uploads."""
_CASES: Final = CaseSettings()
_TRUST: Final = TrustDocument(version=1)


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
        trust: how far users are trusted, by their history.
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
        trust: TrustDocument = _TRUST,
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
        self._state_bytes = metrics.histogram("state_bytes")
        self._batch_size = metrics.histogram("batch_size")
        self._batch_time = metrics.histogram("batch_time_ms")
        self._cases = Cases(cases, brain.patience_s, now_ms, metrics)
        self._ticks: TickBatch[_Waiting, Scored] = TickBatch(self._moderate, max_batch)
        self._memories: dict[str, UserMemory] = {}
        self._records = OutcomeRecords(topics, metrics)
        self._trust = TrustKeeper(trust, brain.remember_user, metrics)

    def on_record(
        self, key: str, arrived: Arrived, state: ValueState, cases: CaseState = NO_CASES
    ) -> Sequence[Record]:
        """Take one record from Kafka: an upload, evidence about one, or a word about its user.

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
            return (self._records.dead_letter(arrived, error.kind, error.field, error.message),)
        except Exception as error:  # noqa: BLE001 - poison must never restart the job
            return (self._records.dead_letter(arrived, "internal", "$", type(error).__name__),)
        if isinstance(understood, Item):
            if understood.reports is None:
                self._on_upload(key, understood, arrived, state, cases)
            else:
                memory = self._memory(key, state, cases)
                self._wait(key, memory, _Waiting(arrived, understood, memory), state)
        elif isinstance(understood, MediaEvidence):
            self._join(key, understood, arrived, state, cases)
        elif understood is not None:
            self._on_word(key, understood, state, cases)
        return ()

    def _understand(self, key: str, arrived: Arrived) -> Item | MediaEvidence | _Word | None:
        """Decode and check a record; what is wrong with it is said before any state changes."""
        understood: Item | MediaEvidence | _Word | None
        topics = self._topics
        if arrived.topic == topics.evidence:
            if is_reports(arrived.raw):
                reports = decode_report_evidence(arrived.raw)
                understood = self._brain.reported(reports, arrived.broker_ms)
                user_id = reports.user_id
            else:
                understood = decode_evidence(arrived.raw)
                user_id = understood.user_id
        elif arrived.topic == topics.user_events:
            understood = decode_user_event(arrived.raw)
            user_id = understood.user_id
        elif arrived.topic == topics.appeals:
            appeal = decode_appeal(arrived.raw)
            understood, user_id = of_appeal(appeal), appeal.user_id
        else:
            understood = self._brain.prepare(arrived.raw, arrived.broker_ms)
            user_id = understood.upload.user_id
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
        memory = self._memory(key, state, cases)
        leaves = memory
        if self._brain.erased_until_ms(key) >= arrived.broker_ms:
            # Of an erased user, read again: decided, and forgotten.
            leaves = decode_memory(None, self._velocity)[0]
        velocity = leaves.observe(item)
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
        self._wait(key, memory, _Waiting(arrived, item.with_velocity(velocity), leaves), state)
        if item.upload.content_type != "text":
            for early in self._cases.open(cases, item.upload, arrived):
                # It was understood when it came.
                self._join(key, decode_evidence(early.raw), early, state, cases)

    def _on_word(self, key: str, word: _Word, state: ValueState, cases: CaseState) -> None:
        """Take in what was said about a user. It acts on their next upload."""
        memory = self._memory(key, state, cases)
        if isinstance(word, UserErased):
            if word.content_id is not None:  # for jobs with state by content
                return
            until_ms = to_ms(word.until)
            memory.forget(self._velocity)
            self._cases.forget(cases, until_ms)
            self._trust.erased()
        else:
            said = labelled(word) if isinstance(word, LabelGiven) else word
            if said.at_ms > self._brain.erased_until_ms(key):
                self._trust.told(memory, key, said)
                self._brain.flush()
        self._keep(key, memory, state)

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
            memory = self._memory(key, state, cases)
            item = self._heard(joined, evidence, arrived.raw, arrived.broker_ms)
            self._wait(key, memory, _Waiting(arrived, item, memory, evidence), state)

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

    def _wait(self, key: str, memory: UserMemory, new: _Waiting, state: ValueState) -> None:
        waiting = [w.arrived for w in self._ticks.items(key)]
        waiting.append(new.arrived)
        value = memory.encode(waiting)
        state.update(value)
        self._state_bytes.observe(len(value))
        self._ticks.add(key, new)

    def _keep(self, key: str, memory: UserMemory, state: ValueState) -> None:
        """Write a user's value; what waits stays in it."""
        waiting = [w.arrived for w in self._ticks.items(key)]
        if memory.empty and not waiting:
            state.clear()
        else:
            state.update(memory.encode(waiting))

    def on_deadline(
        self, key: str, state: ValueState, cases: CaseState, *, everything: bool = False
    ) -> list[Scored]:
        """Decide what has waited for its evidence for too long.

        Args:
            key: the key that the stream is partitioned by.
            state: the key's value.
            cases: of one user.
            everything: the input has ended, nothing more will come.

        Returns:
            The records of each.
        """
        due = self._cases.due(cases, everything=everything)
        letters: list[Scored] = [
            (self._records.dead_letter(each, "unmatched", "$.content_id", "its upload never came"),)
            for each in due.unmatched
        ]
        if not due.overdue:
            return letters
        now = int(self._now_ms())
        memory = self._memory(key, state, cases)
        batch = [
            _Waiting(each.upload, self._heard(each, None, b"", now), memory) for each in due.overdue
        ]
        decided = self._moderate(batch)
        self._keep(key, memory, state)
        if key not in self._ticks:
            self._memories.pop(key, None)
        return [*decided, *letters]

    def on_tick(self, key: str, state: ValueState, cases: CaseState = NO_CASES) -> list[Scored]:
        """Emit what waits under `key`, scoring the whole tick if it was not scored yet.

        Returns:
            The records of each upload, in order of arrival.
        """
        # A timer of a tick that was emitted already (or was restored): nothing waits.
        memory = self._memories.get(key) or self._memory(key, state, cases)
        taken = self._ticks.take(key)
        self._memories.pop(key, None)
        if taken:
            self._keep(key, memory, state)
        for waiting, records in taken:
            if waiting.evidence is not None and self._records.decided_for_good(records):
                self._cases.settle(cases, waiting.evidence)
        return [records for _, records in taken]

    def _memory(self, key: str, state: ValueState, cases: CaseState) -> UserMemory:
        """Take the user's value into memory; what waited before a restart waits again."""
        memory = self._memories.get(key)
        if memory is not None:
            return memory
        try:
            memory, waiting = decode_memory(state.value(), self._velocity)
        except StateError:
            # Losing a user's counters is better than losing all their uploads.
            self._state_resets.add()
            memory, waiting = decode_memory(None, self._velocity)
        self._memories[key] = memory
        for arrived in waiting:
            self._ticks.add(key, self._wait_again(key, arrived, memory, cases))
        return memory

    def _wait_again(
        self, key: str, arrived: Arrived, memory: UserMemory, cases: CaseState
    ) -> _Waiting:
        """What waited before a restart; in the meantime limits may have become stricter."""
        try:
            if arrived.topic != self._topics.evidence:
                item = self._brain.prepare(arrived.raw, arrived.broker_ms)
                if self._brain.erased_until_ms(key) >= arrived.broker_ms:
                    memory = decode_memory(None, self._velocity)[0]
                return _Waiting(arrived, item.with_velocity(arrived.velocity), memory)
            if is_reports(arrived.raw):
                reports = decode_report_evidence(arrived.raw)
                return _Waiting(arrived, self._brain.reported(reports, arrived.broker_ms), memory)
            evidence = decode_evidence(arrived.raw)
            joined = self._cases.again(cases, evidence)
            if joined is None:
                raise InvalidUploadError("unmatched", "its case is gone", field="$.content_id")
            heard = self._heard(joined, evidence, arrived.raw, arrived.broker_ms)
            return _Waiting(arrived, heard, memory, evidence)
        except InvalidUploadError as error:
            return _Waiting(arrived, error, memory)

    def _moderate(self, batch: Sequence[_Waiting]) -> Sequence[Scored]:
        """Score a batch; what could not be understood any more becomes a dead letter."""
        scored: list[Scored] = [()] * len(batch)
        places: list[int] = []
        items: list[tuple[UserMemory, Item]] = []
        for place, (arrived, item, memory, _) in enumerate(batch):
            if isinstance(item, Item):
                places.append(place)
                items.append((memory, item))
            else:
                scored[place] = (
                    self._records.dead_letter(arrived, item.kind, item.field, item.message),
                )
        for together in self._trust.rounds(items):
            arrivals = [batch[places[i]].arrived for i in together]
            answers = self._decide([items[i] for i in together], arrivals)
            for i, answer in zip(together, answers, strict=True):
                scored[places[i]] = answer
        return scored

    def _decide(
        self, batch: Sequence[tuple[UserMemory, Item]], arrivals: Sequence[Arrived]
    ) -> Sequence[Scored]:
        """Decide uploads; one that breaks the cascade becomes a dead letter, alone."""
        started = time.perf_counter()
        trust = self._trust
        try:
            items = [trust.informed(memory, item) for memory, item in batch]
            outcomes = self._brain.moderate(items, self._now_ms())
            scored = [self._records.of(outcome) for outcome in outcomes]
        except Exception as error:  # noqa: BLE001 - poison must never restart the job
            if len(batch) > 1:
                pairs = zip(batch, arrivals, strict=True)
                return [self._decide([one], [arrived])[0] for one, arrived in pairs]
            letter = self._records.dead_letter(arrivals[0], "internal", "$", type(error).__name__)
            return [(letter,)]
        for (memory, item), outcome in zip(batch, outcomes, strict=True):
            trust.decided(memory, item, outcome)
        self._brain.flush()
        self._batches.add()
        self._batch_size.observe(len(batch))
        self._batch_time.observe((time.perf_counter() - started) * 1e3)
        return scored
