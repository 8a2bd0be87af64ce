"""What the feedback operator does, without an engine: state and clock handed in.

Everything about one content meets under its id: decisions and the uploads that they were about,
and, minutes to days later, in any order and more than once, what people say. What is said waits a
moment, so that records which are on their way come first, and is then joined with the decision
that it is about. `operators.feedback` is the Flink shell around this.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, Protocol

import msgspec

from operators.dead_letters import dead_letter
from operators.feedback_erased import ErasedUsers
from operators.feedback_inputs import decode_audited, decode_decided
from operators.feedback_rows import edited_ms, in_force, newest, report_evidence, rows
from operators.feedback_state import Decided, Memory, Waiting, decode_memory, encode_memory
from operators.metrics import Metrics
from operators.moderation_logic import ValueState
from operators.outcome_records import Record
from operators.report_window import Reported, added, heaviest
from schemas.errors import InvalidUploadError
from schemas.features import UserFeatures
from schemas.feedback import JoinedFeedback, Report, Said, Spoken, decode_said, event_key
from schemas.feedback_job import FeedbackDocument
from schemas.kept import StateError
from schemas.topics import Topics
from schemas.user_events import UserErased, decode_user_event
from udfs.reporters import reporter_trust

_YES, _NO = 1, 2


class Arrival(NamedTuple):
    """One record from Kafka."""

    raw: bytes
    topic: str
    partition: int
    offset: int
    broker_ms: int


class Step(NamedTuple):
    """What follows from one record or one timer."""

    records: list[Record]
    timer_ms: int | None
    """When to look again, wall clock; None: nothing waits for a time."""


class Users(Protocol):
    """The feature store, as this asks it."""

    def features(self, user_id: str) -> UserFeatures:
        """Of one user; the defaults where nothing is known or the store is away."""
        ...


_encode: Final = msgspec.json.Encoder().encode


class FeedbackLogic:
    """State machine of one operator instance.

    Args:
        config: how long things wait and what they weigh.
        topics: what records are, and where they go.
        users: reporters' reputation.
        now_ms: wall clock, ms since the epoch. It decides how long things wait, and nothing else.
        metrics: counts go here.
    """

    def __init__(
        self,
        config: FeedbackDocument,
        topics: Topics,
        *,
        users: Users,
        now_ms: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._topics = topics
        self._users = users
        self._now_ms = now_ms
        self.erased = ErasedUsers()
        """The shell hands it the control messages."""
        join = config.join
        self._settle_ms = int(join.settle_s * 1000)
        self._hold_ms = int(join.hold_hours * 3_600_000)
        self._remember_ms = int(join.remember_hours * 3_600_000)
        self._spoken: dict[str, Spoken] = {
            topics.reports: "report",
            topics.verdicts: "verdict",
            topics.appeals: "appeal",
        }
        self._said = metrics.counter("feedback_events")
        self._duplicates = metrics.counter("feedback_duplicates")
        self._rows = metrics.counter("feedback_rows")
        self._unmatched = metrics.counter("feedback_unmatched")
        self._contradictions = metrics.counter("feedback_contradictions")
        self._passed = metrics.counter("report_thresholds")
        self._dead_letters = metrics.counter("dead_letters")
        self._state_resets = metrics.counter("state_resets")

    def on_record(self, key: str, arrival: Arrival, state: ValueState) -> Step:
        """Take one record of any of the topics.

        Args:
            key: the content id that the stream is partitioned by.
            arrival: the record.
            state: the key's value.
        """
        now = int(self._now_ms())
        memory = self._load(state, now)
        if arrival.topic == self._topics.user_events:
            self._touched(key, arrival.raw, memory, state, now)
            return Step([], None)
        try:
            records = list(self._take(key, arrival, memory, now))
        except InvalidUploadError as error:
            return Step([self._dead_letter(arrival, error.kind, error.field, error.message)], None)
        except Exception as error:  # noqa: BLE001 - poison must never restart the job
            return Step([self._dead_letter(arrival, "internal", "$", type(error).__name__)], None)
        self._keep(state, memory, now)
        return Step(records, self._next(memory))

    def on_timer(self, state: ValueState) -> Step:
        """Join what has waited long enough."""
        now = int(self._now_ms())
        memory = self._load(state, now)
        if not memory.waiting:
            return Step([], None)
        records = list(self._settle(memory, now))
        if records:
            self._keep(state, memory, now)
        return Step(records, self._next(memory))

    def on_end(self, state: ValueState) -> Step:
        """Join what can be joined and give up the rest: nothing more will come."""
        now = int(self._now_ms())
        memory = self._load(state, now)
        waiting, memory.waiting = memory.waiting, []
        records = [record for each in waiting for record in self._resolve(each, memory)]
        if waiting:
            self._keep(state, memory, now)
        return Step(records, None)

    def _load(self, state: ValueState, now: int) -> Memory:
        try:
            memory = decode_memory(state.value())
        except StateError:
            # Losing what was decided is better than a job that fails for ever.
            self._state_resets.add()
            return Memory()
        # The engine's own expiry may come later than it should.
        if not memory.waiting and memory.expires_ms <= now:
            return Memory()
        if self.erased.forget(memory):
            # At once: what follows may be no reason to write.
            self._keep(state, memory, now)
        return memory

    def _keep(self, state: ValueState, memory: Memory, now: int) -> None:
        if not (memory.decisions or memory.shown or memory.waiting or memory.done):
            state.clear()
            return
        memory.expires_ms = now + self._remember_ms
        state.update(encode_memory(memory))

    def _touched(self, key: str, raw: bytes, memory: Memory, state: ValueState, now: int) -> None:
        """Forget what an erasure says that names the content; it may outrun the control message.

        The rest of the topic is for the moderation job, which says what is wrong with it, too.
        """
        try:
            event = decode_user_event(raw)
        except InvalidUploadError:
            return
        if not isinstance(event, UserErased) or event.content_id != key:
            return
        if ErasedUsers.of(event).forget(memory):
            self._keep(state, memory, now)

    def _next(self, memory: Memory) -> int | None:
        """When the first of what waits is to be looked at."""
        now = int(self._now_ms())
        return min((self._due(each, memory, now) for each in memory.waiting), default=None)

    def _due(self, waiting: Waiting, memory: Memory, now: int) -> int:
        settled = max(waiting.since_ms, memory.changed_ms) + self._settle_ms
        # Once it was looked at in vain, a decision has to come, or the time to be over.
        return settled if settled > now else max(waiting.since_ms + self._hold_ms, now + 1)

    def _take(self, key: str, arrival: Arrival, memory: Memory, now: int) -> Iterator[Record]:
        kind = self._spoken.get(arrival.topic)
        if kind is not None:
            yield from self._hear(key, kind, arrival, memory, now)
        elif arrival.topic == self._topics.decisions:
            yield from self._decided(key, arrival.raw, memory, now)
        else:
            self._shown(key, arrival.raw, memory, now)

    def _decided(self, key: str, raw: bytes, memory: Memory, now: int) -> Iterator[Record]:
        content_id, decided = decode_decided(raw)
        _check_key(key, content_id)
        if any(known.moderation_id == decided.moderation_id for known in memory.decisions):
            return
        if self.erased.hides(decided.user_id, decided.asked_ms):
            if not memory.decisions:
                # What came before it was about what the user wrote.
                memory.shown, memory.waiting, memory.window = [], [], []
            return
        edited = decided.upload_revision > memory.revision
        first = edited or not memory.decisions
        if edited:
            # What was reported so far was another text.
            memory.revision, memory.passed = decided.upload_revision, 0
        memory.decisions = newest([*memory.decisions, decided], self._config.join.decisions)
        memory.changed_ms = now
        if first:
            # Reports may have come before anybody knew whose content it was.
            yield from self._pass(key, memory, None)

    def _shown(self, key: str, raw: bytes, memory: Memory, now: int) -> None:
        join = self._config.join
        content_id, shown = decode_audited(raw, join.text_chars, join.name_fields)
        _check_key(key, content_id)
        if self.erased.hides(shown.user_id, shown.broker_ms):
            return
        if any(known.moderation_id == shown.moderation_id for known in memory.shown):
            return
        memory.shown.append(shown)
        # Twice as many, for those that come before their decisions.
        del memory.shown[: -2 * join.decisions]
        memory.changed_ms = now

    def _hear(
        self, key: str, kind: Spoken, arrival: Arrival, memory: Memory, now: int
    ) -> Iterator[Record]:
        said = decode_said(kind, arrival.raw)
        _check_key(key, said.content_id)
        self._said.add(kind)
        event = _hash(f"{kind}\x00{event_key(said)}")
        if event in memory.done or any(each.event == event for each in memory.waiting):
            self._duplicates.add(kind)
            return
        if self.erased.hides_said(said, arrival.broker_ms):
            return
        trust = 1.0
        if isinstance(said, Report):
            trust = reporter_trust(
                self._config.reports.reporter,
                self._users.features(said.reporter_id),
                said.account,
                said.at,
            )
        memory.waiting.append(Waiting(kind, event, *arrival, now, trust))
        if len(memory.waiting) > self._config.join.most_waiting:
            yield from self._resolve(memory.waiting.pop(0), memory)
        if isinstance(said, Report):
            yield from self._count(key, said, _said_ms(said, arrival.broker_ms), trust, memory)

    def _settle(self, memory: Memory, now: int) -> Iterator[Record]:
        waiting, memory.waiting = memory.waiting, []
        for each in waiting:
            if max(each.since_ms, memory.changed_ms) + self._settle_ms > now or (
                now < each.since_ms + self._hold_ms and self._about(each, memory) is None
            ):
                memory.waiting.append(each)
            else:
                yield from self._resolve(each, memory)

    def _about(self, waiting: Waiting, memory: Memory) -> tuple[Said, int, Decided] | None:
        said = decode_said(waiting.kind, waiting.raw)
        said_ms = _said_ms(said, waiting.broker_ms)
        named = None if isinstance(said, Report) else said.moderation_id
        decided = in_force(memory.decisions, said_ms, named)
        return None if decided is None else (said, said_ms, decided)

    def _resolve(self, waiting: Waiting, memory: Memory) -> list[Record]:
        """Join it now, or give it up."""
        memory.done = [*memory.done, waiting.event][-self._config.join.remembered_events :]
        arrival = Arrival(
            waiting.raw, waiting.topic, waiting.partition, waiting.offset, waiting.broker_ms
        )
        try:
            found = self._about(waiting, memory)
            if found is not None:
                return self._joined(waiting, memory, *found)
        except Exception as error:  # noqa: BLE001 - poison must never restart the job
            return [self._dead_letter(arrival, "internal", "$", type(error).__name__)]
        self._unmatched.add(waiting.kind)
        message = f"no decision that this {waiting.kind} is about came while it was held"
        return [self._dead_letter(arrival, "unmatched", "$.content_id", message)]

    def _joined(
        self, waiting: Waiting, memory: Memory, said: Said, said_ms: int, decided: Decided
    ) -> list[Record]:
        shown = next((s for s in memory.shown if s.moderation_id == decided.moderation_id), None)
        made = rows(said, said_ms, decided, shown, waiting.trust, self._config.weights)
        for row in made:
            self._rows.add(waiting.kind)
            self._note(row, memory)
        key = said.content_id.encode("utf-8", "replace")
        return [Record(self._topics.feedback, key, _encode(row)) for row in made]

    def _note(self, row: JoinedFeedback, memory: Memory) -> None:
        """Count a category about which people say both; reports are no word against a verdict."""
        if row.rank == 0:
            return
        before = memory.verdicts.get(row.category, 0)
        after = before | (_YES if row.label else _NO)
        if after == _YES | _NO and before != after:
            self._contradictions.add()
        memory.verdicts[row.category] = after

    def _count(
        self, key: str, report: Report, said_ms: int, trust: float, memory: Memory
    ) -> Iterator[Record]:
        """Take a report into the window, and see whether it passes a threshold."""
        entry = Reported(
            _hash(report.report_id), _hash(report.reporter_id), said_ms, trust, report.category
        )
        memory.window = added(memory.window, entry, self._config.reports)
        if memory.decisions:
            yield from self._pass(key, memory, said_ms)

    def _pass(self, key: str, memory: Memory, around: int | None) -> Iterator[Record]:
        """Evidence for each threshold that is passed and was not before."""
        config = self._config.reports
        thresholds = config.thresholds
        if memory.passed >= len(thresholds) or not memory.window:
            return
        since = edited_ms(memory.decisions, memory.revision)
        found = heaviest(memory.window, config, since_ms=since, around=around)
        if found is None:
            return
        author = memory.decisions[-1].user_id
        while memory.passed < len(thresholds) and found.weight >= thresholds[memory.passed]:
            self._passed.add(str(memory.passed))
            evidence = report_evidence(key, memory, thresholds[memory.passed], found)
            memory.passed += 1
            topic = self._topics.evidence
            yield Record(topic, author.encode("utf-8", "replace"), _encode(evidence))

    def _dead_letter(self, arrival: Arrival, kind: str, field: str, message: str) -> Record:
        self._dead_letters.add(kind)
        return Record(self._topics.dead_letters, *dead_letter(arrival, kind, field, message))


def _said_ms(said: Said, broker_ms: int) -> int:
    """When it was said; nobody speaks later than the broker hears of it."""
    return min(int(said.at.timestamp() * 1000), broker_ms)


def _check_key(key: str, content_id: str) -> None:
    if key != content_id:
        raise InvalidUploadError(
            "key_mismatch",
            "the record was partitioned by another key than its content_id",
            field="$.content_id",
        )


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")
