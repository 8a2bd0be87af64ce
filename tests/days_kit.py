"""Several days of uploads and what people say about them, by the jobs' own logic and a clock.

Broker times are simulated: what the logic is told is what is published later, record by record.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

from operators.compose import compose_cascade
from operators.feedback_logic import Arrival, FeedbackLogic
from operators.metrics import Metrics
from operators.moderation_logic import ModerationLogic, Record
from operators.user_state import Arrived
from operators.velocity import VelocityConfig
from schemas.features import SINGLE, UserFeatures
from schemas.feedback import AppealOutcome, Report, ReviewVerdict, Said, event_id
from schemas.feedback_job import FeedbackDocument
from schemas.settings import ROOT, load_settings
from schemas.topics import Topics
from schemas.trust import load_trust
from schemas.user_events import LabelGiven
from tests.fakes import Memory

HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
DAYS: Final = 4
PER_DAY: Final = 12
TEXTS: Final = ("i w1ll k!ll y0u", "good morning all", "see you there", "i w1ll k!ll y0u too")


class Published(NamedTuple):
    """A record as a topic gets it."""

    at_ms: int
    """Broker time."""
    topic: str
    key: bytes
    value: bytes


class _Nobody:
    def features(self, user_id: str) -> UserFeatures:
        return UserFeatures()


class Days:
    """What the topics hold of four days.

    Args:
        names: of the topics.
        start_ms: midnight that begins the first day, UTC.
    """

    def __init__(self, names: Topics, start_ms: int) -> None:
        self.names = names
        self.start_ms = start_ms
        self.published: list[Published] = []
        settings = load_settings("dev")
        files = settings.cascade.model_copy(update={"fast_text": None, "deep_text": None})
        redis = settings.redis.model_copy(update={"enabled": False})
        settings = settings.model_copy(update={"cascade": files, "redis": redis})
        self._brain = compose_cascade(settings)
        self._velocity = VelocityConfig.of(settings.velocity)
        self._trust = load_trust(ROOT / files.trust)
        self._now = float(start_ms)
        self._users: dict[str, Memory] = {}
        self._contents: dict[str, Memory] = {}
        self._timers: set[tuple[int, str]] = set()
        self._offset = 0
        self._moderation = self._logic()
        self._joining = FeedbackLogic(
            FeedbackDocument(version=1), names, users=_Nobody(), now_ms=lambda: self._now,
            metrics=Metrics(),
        )  # fmt: skip

    def run(self) -> list[Published]:
        """Four days; then a day that is read again after a failure, decided a day later."""
        uploads = {at: raw for day in range(DAYS) for at, raw in self._uploads(day)}
        said = list(self._said())
        moments = sorted([*uploads, *(at for at, _, _ in said)])
        before: dict[str, bytes | None] = {}
        for moment in dict.fromkeys(moments):
            if not before and moment >= self.start_ms + DAY:
                before = {user: memory.stored for user, memory in self._users.items()}
            self._fire(moment)
            for at, topic, word in said:
                if at == moment:
                    self._hear(at, topic, word)
            if moment in uploads:
                self._decide(moment, uploads[moment], late_ms=3 + moment // HOUR % 40)
        self._fire(self.start_ms + 12 * DAY)
        # As from the checkpoint of the first midnight: the second day once more.
        self._users = {user: Memory(value) for user, value in before.items()}
        self._moderation = self._logic()
        for at, raw in self._uploads(1):
            self._decide(at, raw, late_ms=DAY + 7)
        return self.published

    def _logic(self) -> ModerationLogic:
        return ModerationLogic(
            self._brain, self.names, velocity=self._velocity, max_batch=16,
            now_ms=lambda: self._now, metrics=Metrics(), trust=self._trust,
        )  # fmt: skip

    def _uploads(self, day: int) -> Iterable[tuple[int, bytes]]:
        for number in range(PER_DAY):
            at = self.start_ms + day * DAY + number * 2 * HOUR + 1000
            if number == PER_DAY - 1:
                at = self.start_ms + (day + 1) * DAY - 2  # decided on the next day
            document = {
                "content_id": f"d{day}-{number}",
                "content_type": "text",
                "user_id": f"p{number % 5}",
                "community_id": f"town {number % 3}",
                "created_at": _utc(at - 500).isoformat(),
                "text": f"{TEXTS[number % 4]} {day}",
            }
            yield at, json.dumps(document).encode()

    def _said(self) -> Iterable[tuple[int, str, Said | LabelGiven]]:
        """When it comes, on which topic, and what: late, twice, in no order."""
        names = self.names
        for day in range(DAYS):
            at = self.start_ms + day * DAY + 20 * HOUR
            for number, rater, role, violates in (
                (0, "r1", "reviewer", True),
                (1, "r1", "reviewer", False),
                (3, "r2", "reviewer", False),
                (3, "s1", "senior", True),
                (4, "r1", "reviewer", True),
                (4, "r2", "reviewer", False),
                (7, "r2", "reviewer", False),
            ):
                verdict = ReviewVerdict(
                    verdict_id=f"v{day}-{number}-{rater}", content_id=f"d{day}-{number}",
                    rater_id=rater, role="senior" if role == "senior" else "reviewer",
                    violates=violates, category="threat" if violates else "", at=_utc(at),
                    seconds=10.0 + number, golden=number == 1 and day == 2,
                )  # fmt: skip
                yield at + (number + 12 * day) * HOUR, names.verdicts, verdict
                yield at + (number + 36) * HOUR, names.verdicts, verdict
            for number in range(2):
                report = Report(
                    report_id=f"n{day}-{number}", content_id=f"d{day}-2",
                    reporter_id=f"p{number}", at=_utc(at), category="spam",
                )  # fmt: skip
                yield at + number, names.reports, report
                yield at + DAY, names.reports, report
            for outcome, hours in (("escalated", 10), ("upheld" if day % 2 else "overturned", 40)):
                appeal = AppealOutcome(
                    appeal_id=f"a{day}", content_id=f"d{day}-0", user_id="p0", rater_id="s1",
                    outcome=msgspec.convert(outcome, Any), at=_utc(at + hours * HOUR),
                    appealed_at=_utc(at),
                )  # fmt: skip
                # The end comes before the escalation, once.
                yield at + (90 - hours if day == 1 else hours) * HOUR, names.appeals, appeal
            label = LabelGiven(
                user_id="p1", name="watched", present=day % 2 == 0, at=_utc(at), by="s1",
                expires_at=_utc(at + 36 * HOUR) if day == 2 else None,
            )  # fmt: skip
            yield at, names.user_events, label
            yield at + DAY + 1, names.user_events, label
        lost = Report(report_id="n", content_id="nowhere", reporter_id="p1", at=_utc(self.start_ms))
        yield self.start_ms + DAY, names.reports, lost

    def _decide(self, at_ms: int, raw: bytes, *, late_ms: int) -> None:
        user = str(json.loads(raw)["user_id"])
        state = self._users.setdefault(user, Memory())
        self._now = float(at_ms + late_ms)
        self._offset += 1
        arrived = Arrived(raw, self.names.content_text, 0, self._offset, at_ms, SINGLE)
        assert not self._moderation.on_record(user, arrived, state)
        for records in self._moderation.on_tick(user, state):
            for record in records:
                self._publish(record)
                if record.topic in {self.names.decisions, self.names.audit}:
                    self._join(record.topic, record.key.decode(), record.value)

    def _hear(self, at_ms: int, topic: str, word: Said | LabelGiven) -> None:
        self._now = float(at_ms)
        raw = msgspec.json.encode(word)
        key = word.user_id if isinstance(word, LabelGiven) else word.content_id
        self._publish(Record(topic, key.encode(), raw))
        if not isinstance(word, LabelGiven):
            assert event_id(word)
            self._join(topic, key, raw)

    def _join(self, topic: str, key: str, raw: bytes) -> None:
        self._offset += 1
        state = self._contents.setdefault(key, Memory())
        arrival = Arrival(raw, topic, 0, self._offset, int(self._now))
        self._follow(key, self._joining.on_record(key, arrival, state))

    def _fire(self, until_ms: int) -> None:
        """Let time go by."""
        while self._timers and min(self._timers)[0] <= until_ms:
            due, key = min(self._timers)
            self._timers.remove((due, key))
            self._now = max(self._now, float(due))
            self._follow(key, self._joining.on_timer(self._contents[key]))

    def _follow(self, key: str, step: Any) -> None:
        for record in step.records:
            self._publish(record)
        if step.timer_ms is not None:
            self._timers.add((step.timer_ms, key))

    def _publish(self, record: Record) -> None:
        self.published.append(Published(int(self._now), record.topic, record.key, record.value))


def _utc(ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC)
