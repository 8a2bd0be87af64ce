"""The moderation job as a process of its own, and the topics around it, for end-to-end tests."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from schemas.dead_letter import DeadLetter
from schemas.decision import Decision
from schemas.settings import ROOT, Settings
from scripts.cli.consume import Record, open_consumer, poll
from scripts.cli.processes import last_lines
from scripts.cli.publisher import Receipt, UploadPublisher
from scripts.cli.upload_lines import UploadLine

BACK_WITHIN_S: Final = 60
"""Stated time until decisions come again after a failure, on a busy test machine."""
RESUMED_WITHIN_S: Final = 120
"""The same where somebody has to start the job again, which includes its start."""

TELLING: Final = re.compile(r" (WARN|ERROR) (?!.*Name collision)|^Caused by")
"""Lines of Flink's log that say what went wrong; a colliding metric's name does not."""


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
        # Tests run side by side: who lets all others go first would wait for the end of them all.
        "SLUICE_MEDIA__BACKGROUND": "false",
        "SLUICE_TABLES__BACKGROUND": "false",
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

    module = "scripts.cli.run_job"
    """That is run; another one in subclasses."""

    def __init__(self, settings: Settings, checkpoints: Path, *arguments: str, **env: str) -> None:
        self._ready = threading.Event()
        self._logs = Path(tempfile.mkdtemp(prefix="sluice-job-"))
        self._errors = self._logs / "stderr.log"
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", self.module, *arguments],
                env=environment(settings, checkpoints, FLINK_LOG_DIR=str(self._logs), **env),
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=errors,
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
            ended = self.process.poll()
            assert ended is None, f"the job ended with {ended}\n{self.said()}"
            assert time.monotonic() < deadline, f"the job was not ready in time\n{self.said()}"

    @property
    def url(self) -> str:
        """The web UI's address, as the job prints it; empty before that."""
        found = re.search(r"^web UI (\S+)$", self._errors.read_text("utf-8"), re.MULTILINE)
        return found.group(1) if found else ""

    def said(self) -> str:
        """The end of what the job printed, and of Flink's own log."""
        parts = [f"{self._errors.name}:\n{last_lines(self._errors, 20)}"]
        for log in sorted(self._logs.glob("flink-*.log")):
            lines = log.read_text("utf-8", errors="replace").splitlines()
            telling = [text for text in lines if TELLING.search(text)]
            parts.append("\n".join([f"{log.name}:", *telling[-20:], "...", *lines[-10:]]))
        return "\n".join(parts)

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
        if error is not None:
            sys.stderr.write(self.said())  # pytest shows it with the failure
        shutil.rmtree(self._logs, ignore_errors=True)


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
        self._decisions: list[Decision] = []
        self._letters: list[DeadLetter] = []
        self._times: list[int] = []
        self._uploads: set[str] = set()
        self._places: set[tuple[str, int, int]] = set()

    def until(self, enough: Callable[[Answers], bool], timeout_s: float = 150) -> None:
        """Read until `enough` says so.

        After a recovery decisions come twice, so that `count` runs ahead of what is decided:
        wait for `distinct` wherever a job may have been restored meanwhile.
        """
        deadline = time.monotonic() + timeout_s
        while not enough(self):
            self._take(poll(self._consumer, 200))
            assert time.monotonic() < deadline, (
                f"after {timeout_s} s: {len(self._decisions)} decisions about"
                f" {len(self._uploads)} uploads, {len(self._letters)} dead letters"
            )

    def settle(self, seconds: float = 1.0) -> None:
        """Read what still comes."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._take(poll(self._consumer, 100))

    def decisions(self) -> list[Decision]:
        return self._decisions

    def letters(self) -> list[DeadLetter]:
        return self._letters

    def raw(self, topic: str) -> list[Record]:
        return [record for record in self.records if record.topic == topic]

    def count(self) -> int:
        """Decisions and dead letters so far, repeated ones as often as they came."""
        return len(self._decisions) + len(self._letters)

    def distinct(self) -> int:
        """Uploads that are decided, and dead letters by the place of what they are about."""
        return len(self._uploads) + len(self._places)

    def silence(self, since_ms: float) -> float:
        """Seconds of the longest time without a decision, from a moment until now.

        Args:
            since_ms: epoch ms; the broker's times of decisions are compared with it.
        """
        times = sorted(ms for ms in self._times if ms > since_ms)
        gaps = [later - earlier for earlier, later in pairwise([since_ms, *times])]
        return max(gaps) / 1000

    def close(self) -> None:
        self._consumer.close()

    def _take(self, new: list[Record]) -> None:
        self.records += new
        for record in new:
            if record.topic == self._topics.decisions:
                decision = msgspec.json.decode(record.value, type=Decision)
                self._decisions.append(decision)
                self._uploads.add(decision.content_id)
                self._times.append(record.timestamp_ms)
            elif record.topic == self._topics.dead_letters:
                letter = msgspec.json.decode(record.value, type=DeadLetter)
                self._letters.append(letter)
                self._places.add((letter.topic, letter.partition, letter.offset))


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
