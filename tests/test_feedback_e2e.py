"""The feedback job on a real broker: days of feedback, late, twice, and a restart in between."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaProducer

from schemas.control import ControlAck, decode_control
from schemas.dead_letter import DeadLetter
from schemas.feedback import JoinedFeedback, feedback_id
from schemas.report_evidence import ReportEvidence
from schemas.settings import Settings
from schemas.topics import topics
from scripts.cli.consume import Record, open_consumer, poll
from scripts.cli.kafka_topics import client_options
from tests.feedback_kit import (
    HOUR,
    NOW_MS,
    TOPICS,
    appeal,
    audit,
    decision,
    erasure,
    report,
    touch,
    verdict,
)
from tests.running_job import RESUMED_WITHIN_S, RunningJob

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

DAYS = 24 * HOUR
CONTENTS = 40


class RunningFeedbackJob(RunningJob):
    """`scripts/run_feedback` in a process."""

    module = "scripts.cli.run_feedback"


class Outputs:
    """Reads the job's output topics from their beginning."""

    def __init__(self, settings: Settings) -> None:
        own = settings.topics
        self._topics = own
        names = [own.feedback, own.evidence, own.dead_letters, own.control_acks]
        self._consumer = open_consumer(settings, names, from_beginning=True)
        self.rows: dict[str, list[JoinedFeedback]] = {}
        self.letters: list[DeadLetter] = []
        self.evidence: dict[str, ReportEvidence] = {}
        self.acks: list[ControlAck] = []

    def until(self, enough: Callable[[Outputs], bool], job: RunningJob) -> None:
        deadline = time.monotonic() + RESUMED_WITHIN_S
        while not enough(self):
            for record in poll(self._consumer, 200):
                self._take(record)
            assert job.process.poll() is None, job.said()
            assert time.monotonic() < deadline, (len(self.rows), self.letters, self.evidence)

    def close(self) -> None:
        self._consumer.close()

    def _take(self, record: Record) -> None:
        if record.topic == self._topics.feedback:
            row = msgspec.json.decode(record.value, type=JoinedFeedback)
            assert record.key == row.content_id.encode()
            self.rows.setdefault(row.feedback_id, []).append(row)
        elif record.topic == self._topics.evidence:
            evidence = msgspec.json.decode(record.value, type=ReportEvidence)
            assert record.key == b"author"
            self.evidence[evidence.evidence_id] = evidence
        elif record.topic == self._topics.control_acks:
            self.acks.append(msgspec.json.decode(record.value, type=ControlAck))
        else:
            self.letters.append(msgspec.json.decode(record.value, type=DeadLetter))


def send(settings: Settings, records: list[tuple[str, bytes]], erased: str = "") -> None:
    names = dict(zip(topics("moderation"), settings.topics, strict=True))
    producer = KafkaProducer(**client_options(settings), acks="all", linger_ms=5)
    try:
        if erased:
            own, message = erasure(erased, NOW_MS)
            producer.send(settings.topics.control, message, own.encode())
        for topic, raw in records:
            try:
                key = json.loads(raw)["content_id"].encode()
            except ValueError:
                key = b"?"
            producer.send(names[topic], raw, key)
        producer.flush()
    finally:
        producer.close()


def test_days_of_feedback_find_their_decisions_over_a_restart(
    stack_settings: Settings, tmp_path: Path
) -> None:
    rng = random.Random(7)  # noqa: S311 - draws examples, guards nothing
    decided: dict[str, list[float]] = {}
    made: list[tuple[str, bytes]] = []
    said: list[tuple[str, bytes]] = []
    want: dict[str, tuple[str, int, bool]] = {}
    for number in range(CONTENTS):
        content = f"c{number}"
        times = sorted(rng.uniform(0, 4 * DAYS) for _ in range(rng.choice([1, 1, 2, 3])))
        decided[content] = times
        for revision, moment in enumerate(times):
            made += [decision(content, moment, revision), audit(content, revision, f"of {content}")]
        for each in range(rng.randint(0, 3)):
            moment = times[0] + rng.uniform(60, 20 * DAYS)
            violates = rng.random() < 0.5
            name = f"{content}-{each}"
            said.append(verdict(name, moment, content, violates=violates))
            in_force = max(i for i, t in enumerate(times) if t <= moment)
            want[feedback_id("verdict", content, name, "harassment")] = (
                content,
                in_force,
                violates,
            )
        if rng.random() < 0.5:
            moment = times[-1] + rng.uniform(60, 20 * DAYS)
            said.append(appeal(f"a-{content}", moment, content, category="spam"))
            row = feedback_id("appeal", content, f"a-{content}\x00overturned", "spam")
            want[row] = (content, len(times) - 1, False)
    last = decided["c1"][-1]
    for number in range(7):
        said.append(report(number, last + HOUR + number, "c1"))
        row = feedback_id("report", "c1", f"r{number}", "harassment")
        want[row] = ("c1", len(decided["c1"]) - 1, True)
    orphan = verdict("orphan", DAYS, "nobody knows it")
    # Of an erased user: decided and said twice, and no row of it.
    gone = [
        decision("gone", user_id="gone"),
        audit("gone", user_id="gone"),
        verdict("v-gone", HOUR, "gone"),
        touch("gone", "gone", NOW_MS),
    ]
    rng.shuffle(said)
    half = len(said) // 2
    config = tmp_path / "feedback.yaml"
    config.write_text("version: 1\njoin: {settle_s: 3, hold_hours: 0.002}\n")
    job_environment = {
        "SLUICE_FEEDBACK__CONFIG": str(config),
        "SLUICE_FEEDBACK__CHECKPOINT_INTERVAL_MS": "1000",
        "SLUICE_REDIS__ENABLED": "false",
    }
    outputs = Outputs(stack_settings)
    # Some feedback comes before its decision; some comes twice.
    begin = [*said[:5], *gone[:2], *made, *said[:half], (TOPICS.reports, b"{")]
    send(stack_settings, begin, erased="gone")
    checkpoints = tmp_path / "checkpoints"
    with RunningFeedbackJob(stack_settings, checkpoints, **job_environment) as job:
        outputs.until(lambda found: len(found.rows) >= half // 2, job)
        job.kill()
    send(stack_settings, [*said[half - 10 :], *gone, orphan, *made[:20], *said[:20]])
    with RunningFeedbackJob(stack_settings, checkpoints, "--resume", **job_environment) as job:
        outputs.until(
            lambda found: (
                want.keys() <= found.rows.keys()
                and any(letter.raw == orphan[1] for letter in found.letters)
            ),
            job,
        )
        assert job.stop() == 0
    outputs.close()
    assert outputs.rows.keys() == want.keys()
    for name, rows in outputs.rows.items():
        content, revision, label = want[name]
        # What came twice after the restart says the same.
        assert all(row == rows[0] for row in rows)
        first = rows[0]
        assert (first.content_id, first.revision, first.label) == (content, revision, label)
        assert first.features == {"revision": float(revision)}
        assert first.text == f"of {content}"
        moment = first.timestamp.timestamp() + first.delay_s
        assert moment == pytest.approx(first.said_at.timestamp(), abs=0.01)
    letters = {(letter.error_kind, letter.raw) for letter in outputs.letters}
    # A verdict about what is gone finds nothing, as one about what never was.
    letters -= {("unmatched", gone[2][1])}
    assert letters == {("unmatched", orphan[1]), ("not_json", b"{")}
    own, message = erasure("gone", NOW_MS)
    digest = decode_control(own, message).digest
    told = {(ack.job, ack.key, ack.digest, ack.ok, ack.restored) for ack in outputs.acks}
    # It is in the state from then on.
    assert told == {("feedback", own, digest, True, False), ("feedback", own, digest, True, True)}
    (evidence,) = outputs.evidence.values()
    assert (evidence.content_id, evidence.level, evidence.reporters) == ("c1", 0, 6)
