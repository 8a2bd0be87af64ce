"""A live job and its control commands, for `test_control_e2e`."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from kafka import KafkaProducer

from schemas.control import ControlAck, ControlMessage
from schemas.decision import Decision
from schemas.evidence import Hashes, MediaEvidence, encode_evidence, evidence_id
from schemas.settings import ROOT, Settings
from scripts.cli.consume import Record, open_consumer, records
from scripts.cli.control import main
from scripts.cli.control_topic import ControlTopic, now
from scripts.cli.kafka_topics import client_options
from scripts.cli.processes import free_port
from tests.fakes import payload
from tests.model_kit import write_model
from tests.running_job import Answers, RunningJob, environment, line, publish

SUBTASKS = 2
USERS = 8
"""Enough that both subtasks own some of them."""
POLICY = (ROOT / "conf/policy.yaml").read_text("utf-8")
ZOO = "communities:\n  zoo:\n    categories:\n      threat: {enabled: false}\n"
VERSION = re.compile(r"^version: .*$", re.MULTILINE)


def rules(version: str, *terms: str) -> str:
    return (
        f"version: {version}\nrules:\n  - id: animals\n    kind: keywords\n    category: threat\n"
        f"    severity: severe\n    definitive: true\n    terms: [{', '.join(terms)}]\n"
    )


def digest(version: str, *terms: str) -> str:
    """Of the message that the rules make."""
    return ControlMessage(kind="rules", text=rules(version, *terms), published_at=now()).digest


class Said(NamedTuple):
    """What `scripts/control` printed, and its exit status (a sentence where it refused)."""

    status: object
    out: str
    err: str


class Live:
    """A running job, its outputs, and the commands pointed at it."""

    def __init__(self, settings: Settings, folder: Path, capsys_of: Callable[[], Said]) -> None:
        self.settings = settings
        self.folder = folder
        self.answers = Answers(settings)
        self._model = write_model(folder / "model")
        self._numbers = itertools.count()
        self._said = capsys_of
        self.at_start: tuple[list[Decision], list[Decision]] = ([], [])
        """Decisions by what was on the control topic when the job began without state."""
        self.metrics_port = free_port()
        self.job = self._start()

    def environment(self) -> Mapping[str, str]:
        return {"SLUICE_CASCADE__FAST_TEXT": str(self._model)}

    def _start(self, *arguments: str) -> RunningJob:
        env = {
            **self.environment(),
            "SLUICE_FLINK__PARALLELISM": str(SUBTASKS),
            "SLUICE_FLINK__METRICS_PORT": str(self.metrics_port),
        }
        job = RunningJob(self.settings, self.folder / "checkpoints", *arguments, **env)
        job.wait_ready(150)  # on a busy machine; usually ten
        return job

    def restart(self, *arguments: str) -> None:
        assert self.job.stop() == 0
        self.job = self._start(*arguments)

    def withdraw_all(self) -> None:
        """Take back everything that is published, what the rest builds on last."""
        with ControlTopic(self.settings) as topic:
            # A bank's later deltas before those that they build on, and the policy last.
            keys = sorted(topic.read().current, reverse=True)
            for key in sorted(keys, key=lambda key: key == "policy"):
                topic.withdraw(key)
                replies = topic.wait(key, "", 10)
                assert replies.complete, key
                assert all(ack.ok for ack in replies.acks), replies

    def control(self, *arguments: str | Path) -> Said:
        """Run `scripts/control` here."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment(self.settings, self.folder).items():
                patch.setenv(name, value)
            for name, value in self.environment().items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["control", *map(str, arguments)])
            try:
                main()
                status: object = 0
            except SystemExit as leave:
                status = leave.code or 0
        return self._said()._replace(status=status)

    def apply(self, text: str, name: str = "live.yaml", *more: str) -> Said:
        file = self.folder / name
        file.write_text(text, "utf-8")
        return self.control("apply", file, *more)

    def decide(self, text: str, **fields: object) -> list[Decision]:
        """Upload the text as several new users; gives their decisions."""
        ids = {f"c{number}": f"u{number}" for number in itertools.islice(self._numbers, USERS)}
        publish(
            self.settings,
            [
                line(payload(cid, user, text=text, created_at=now().isoformat(), **fields), b"")
                for cid, user in ids.items()
            ],
        )
        found: dict[str, Decision] = {}

        def complete(answers: Answers) -> bool:
            found.update((d.content_id, d) for d in answers.decisions() if d.content_id in ids)
            return len(found) == len(ids)

        self.answers.until(complete, timeout_s=30)
        return [found[cid] for cid in ids]

    def decide_as(self, user: str, text: str) -> Decision:
        """Upload the text as that user."""
        cid = f"c{next(self._numbers)}"
        upload = payload(cid, user, text=text, created_at=now().isoformat())
        publish(self.settings, [line(upload, user.encode())])
        found: list[Decision] = []

        def complete(answers: Answers) -> bool:
            found[:] = [d for d in answers.decisions() if d.content_id == cid]
            return bool(found)

        self.answers.until(complete, timeout_s=30)
        return found[0]

    def look_at(self, pdq: str) -> list[Decision]:
        """Upload pictures of one hash as several users, evidence and all; gives what is final."""
        ids = {f"c{number}": f"u{number}" for number in itertools.islice(self._numbers, USERS)}
        media = {"content_type": "image", "media_uri": "file:///p.png", "text": None}
        publish(
            self.settings,
            [
                line(payload(cid, user, created_at=now().isoformat(), **media), b"", "image")
                for cid, user in ids.items()
            ],
        )
        producer = KafkaProducer(**client_options(self.settings))
        for cid, user in ids.items():
            seen = MediaEvidence(
                evidence_id=evidence_id(cid, 0),
                content_id=cid,
                user_id=user,
                content_type="image",
                hashes=Hashes(
                    sha256=None,
                    pdq=[pdq] * 8,
                    quality=100,
                    phash64=["0" * 16] * 8,
                    phash256=["0" * 64] * 8,
                ),
                made_at=now(),
            )
            producer.send(self.settings.topics.evidence, encode_evidence(seen), user.encode())
        producer.flush()
        producer.close()
        found: dict[str, Decision] = {}

        def complete(answers: Answers) -> bool:
            final = (d for d in answers.decisions() if d.content_id in ids and d.revision == 1)
            found.update((d.content_id, d) for d in final)
            return len(found) == len(ids)

        self.answers.until(complete, timeout_s=30)
        return [found[cid] for cid in ids]

    def actions(self, text: str, **fields: object) -> set[str]:
        return {decision.action for decision in self.decide(text, **fields)}

    def answers_about(
        self, key: str, count: int, wanted: Callable[[ControlAck], bool]
    ) -> list[tuple[Record, ControlAck]]:
        """Wait for that many answers about a key; gives the last of each subtask."""
        topic = self.settings.topics.control_acks

        def read() -> list[tuple[Record, ControlAck]]:
            pairs = [
                (r, msgspec.json.decode(r.value, type=ControlAck)) for r in self.answers.raw(topic)
            ]
            return [(r, ack) for r, ack in pairs if ack.key == key and wanted(ack)]

        self.answers.until(lambda _: len(read()) >= count, timeout_s=30)
        return list({ack.subtask: (r, ack) for r, ack in read()}.values())

    def published_ms(self, key: str) -> int:
        """Broker time of the newest message of a key."""
        read = records(
            self.settings, [self.settings.topics.control], from_beginning=True, timeout_s=1
        )
        return [r.timestamp_ms for r in read if r.key == key.encode() and r.value][-1]

    def control_end(self) -> int:
        """How many records the control topic has taken."""
        consumer = open_consumer(
            self.settings, [self.settings.topics.control], from_beginning=False
        )
        try:
            return sum(consumer.end_offsets(consumer.assignment()).values())
        finally:
            consumer.close()
