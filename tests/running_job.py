"""The moderation job as a process of its own, and the topics around it, for end-to-end tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from schemas.dead_letter import DeadLetter
from schemas.decision import Decision
from schemas.settings import ROOT, Settings
from scripts.cli.consume import Record, open_consumer, poll
from scripts.cli.publisher import Receipt, UploadPublisher
from scripts.cli.upload_lines import UploadLine


def environment(settings: Settings, checkpoints: Path, **more: str) -> dict[str, str]:
    """Environment that points a command at the test's stack and topics."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")},
        "PYTHONPATH": str(ROOT),
        "SLUICE_KAFKA__BOOTSTRAP": settings.kafka.bootstrap,
        "SLUICE_KAFKA__TOPIC_PREFIX": settings.kafka.topic_prefix,
        "SLUICE_KAFKA__GROUP_ID": settings.kafka.group_id,
        "SLUICE_REDIS__URL": settings.redis.url,
        "SLUICE_FLINK__METRICS_PORT": "",
        "SLUICE_FLINK__CHECKPOINT_INTERVAL_MS": "1000",
        "SLUICE_FLINK__CHECKPOINT_DIR": checkpoints.as_uri(),
        **more,
    }


class RunningJob:
    """`scripts/run` in a process.

    Args:
        settings: of the test's stack and topics.
        checkpoints: a folder for checkpoints.
        arguments: more of the command's own.
        env: more environment variables.
    """

    def __init__(self, settings: Settings, checkpoints: Path, *arguments: str, **env: str) -> None:
        self._ready = threading.Event()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "scripts.cli.run_job", *arguments],
            env=environment(settings, checkpoints, **env),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip() == "ready":
                self._ready.set()

    def wait_ready(self, timeout_s: float = 180) -> None:
        deadline = time.monotonic() + timeout_s
        while not self._ready.wait(0.1):
            assert self.process.poll() is None, f"the job ended with {self.process.returncode}"
            assert time.monotonic() < deadline, "the job was not ready in time"

    def wait(self, timeout_s: float = 120) -> int:
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """As a power cut would: the process group at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.kill()


class Answers:
    """Reads every output topic from its beginning.

    Args:
        settings: of the test's stack and topics.
    """

    def __init__(self, settings: Settings) -> None:
        topics = settings.topics
        self._topics = topics
        self._consumer = open_consumer(
            settings,
            [
                topics.decisions,
                topics.dead_letters,
                topics.review,
                topics.enforcement,
                topics.audit,
                topics.feedback,
                topics.control_acks,
            ],
            from_beginning=True,
        )
        self.records: list[Record] = []

    def until(self, enough: Callable[[Answers], bool], timeout_s: float = 150) -> None:
        """Read until `enough` says so."""
        deadline = time.monotonic() + timeout_s
        while not enough(self):
            self.records += poll(self._consumer, 200)
            assert time.monotonic() < deadline, (
                f"after {timeout_s} s: {len(self.decisions())} decisions,"
                f" {len(self.letters())} dead letters"
            )

    def settle(self, seconds: float = 1.0) -> None:
        """Read what still comes."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.records += poll(self._consumer, 100)

    def decisions(self) -> list[Decision]:
        return [
            msgspec.json.decode(r.value, type=Decision) for r in self._of(self._topics.decisions)
        ]

    def letters(self) -> list[DeadLetter]:
        return [
            msgspec.json.decode(r.value, type=DeadLetter)
            for r in self._of(self._topics.dead_letters)
        ]

    def raw(self, topic: str) -> list[Record]:
        return self._of(topic)

    def count(self) -> int:
        """Decisions and dead letters so far."""
        return len(self._of(self._topics.decisions)) + len(self._of(self._topics.dead_letters))

    def close(self) -> None:
        self._consumer.close()

    def _of(self, topic: str) -> list[Record]:
        return [record for record in self.records if record.topic == topic]


def publish(settings: Settings, lines: Iterable[UploadLine]) -> list[Receipt]:
    """Publish and wait; gives where each record went, in order."""
    receipts: dict[int, Receipt] = {}
    with UploadPublisher(settings) as publisher:
        for number, line in enumerate(lines):

            def keep(receipt: Receipt, number: int = number) -> None:
                receipts[number] = receipt

            assert publisher.send(publisher.prepare(line), keep)
        publisher.flush()
    assert not publisher.failures
    return [receipts[number] for number in sorted(receipts)]


def line(value: bytes, key: bytes | None, content_type: str = "text") -> UploadLine:
    """A record to publish as it stands."""
    return UploadLine(key, value, content_type, None, "", "")
