"""One run of the demo: the job as a process, uploads in, answers out, the books between."""

from __future__ import annotations

import datetime as dt
import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from jobs.local import QUICK_JVM_ARGS
from schemas.errors import SluiceError
from schemas.settings import Settings
from scripts.cli.consume import Record, open_consumer, poll
from scripts.cli.demo_ledger import Ledger
from scripts.cli.demo_view import View
from scripts.cli.local_stack import DEFAULT_DIR
from scripts.cli.processes import Process, ProcessError, free_port, wait_until
from scripts.cli.publisher import UploadPublisher, paced
from scripts.cli.upload_lines import UploadLine, parse_line, read_lines

_READY_TIMEOUT_S: Final = 120.0
_QUIET_S: Final = 0.5
"""After the last answer: a second one for the same upload would come by then."""


class Demo:
    """One run.

    Args:
        settings: with the addresses, the topic prefix and the group of this run.
        job: module that runs the moderation job and prints `ready`.
        directory: holds the job's checkpoints.
        pid_file: the job's.
        keep: the job outlives this command.
        view: where progress is shown.
        ledger: the run's books.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        job: str,
        directory: Path,
        pid_file: Path,
        keep: bool,
        view: View,
        ledger: Ledger,
    ) -> None:
        self.settings = settings
        self.job = Process(pid_file)
        self._module = job
        self._directory = directory
        self._keep = keep
        self._view = view
        self._ledger = ledger
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._last_record = time.monotonic()
        self.unsent: list[str] = []
        self.log = DEFAULT_DIR.parent / "logs" / f"{pid_file.stem}.log"

    def environment(self) -> dict[str, str]:
        """What points another command at this run."""
        kafka = self.settings.kafka
        return {
            "SLUICE_KAFKA__BOOTSTRAP": kafka.bootstrap,
            "SLUICE_REDIS__URL": self.settings.redis.url,
            "SLUICE_KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
            "SLUICE_KAFKA__GROUP_ID": kafka.group_id,
        }

    def start_job(self) -> None:
        """Start the job; it waits for its topics."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self.job.start(
            [sys.executable, "-P", "-m", self._module, "--profile", self.settings.profile],
            log=self.log,
            out=self._directory / "job.out",
            env={
                **({} if self._keep else {"JVM_ARGS": QUICK_JVM_ARGS}),
                **os.environ,
                **self.environment(),
                "SLUICE_KAFKA__START": "earliest-offset",
                "SLUICE_KAFKA__PATIENCE_S": str(_READY_TIMEOUT_S),
                "SLUICE_FLINK__CHECKPOINT_DIR": str(self._directory / "checkpoints"),
                "SLUICE_FLINK__METRICS_PORT": str(free_port()),
            },
            die_with_parent=not self._keep,
        )

    def wait_ready(self) -> None:
        """Wait until the job reads.

        Raises:
            ProcessError: with the end of its log, if it does not come up.
        """
        out = self._directory / "job.out"

        def settled() -> bool:
            self._view.draw()
            return self.job.pid is None or "ready" in out.read_text("utf-8").split()

        in_time = wait_until(settled, timeout_s=_READY_TIMEOUT_S, every_s=0.05)
        if self.job.pid is None:
            raise ProcessError("the job ended while it started", log=self.log)
        if not in_time:
            raise ProcessError(
                f"the job was not ready after {_READY_TIMEOUT_S:.0f} s", log=self.log
            )

    def run(
        self,
        lines: Callable[[], Iterator[UploadLine]],
        *,
        rate: float,
        seconds: float,
        patience: float,
    ) -> None:
        """Publish, and keep the books, until every upload is accounted for (or time is up).

        Args:
            lines: makes the uploads to publish.
            rate: uploads a second.
            seconds: how long to publish; 0 until the lines end.
            patience: seconds to wait for the last answers.
        """
        reader = threading.Thread(target=self._guarded, args=(self._read,), daemon=True)
        writer = threading.Thread(
            target=self._guarded, args=(self._write, lines, rate, seconds), daemon=True
        )
        try:
            reader.start()
            writer.start()
            while writer.is_alive():
                self._tick()
            self._view.say("everything is published, waiting for the last answers")
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline and not self._complete():
                self._tick()
        finally:
            self._stop.set()
            writer.join(timeout=10)
            reader.join(timeout=10)

    def _tick(self) -> None:
        time.sleep(0.05)
        self._view.draw()
        if self._failure is not None:
            raise self._failure
        if self.job.pid is None:
            raise ProcessError("the job ended before its time", log=self.log)

    def _complete(self) -> bool:
        quiet = time.monotonic() - self._last_record > _QUIET_S
        return quiet and self._ledger.outstanding() == 0

    def _guarded(self, work: Callable[..., None], *arguments: Any) -> None:
        """Run a thread's work; its failure becomes the command's."""
        try:
            work(*arguments)
        except BaseException as error:  # noqa: BLE001 - it is raised again by the main thread
            self._failure = error

    def _write(
        self, lines: Callable[[], Iterator[UploadLine]], rate: float, seconds: float
    ) -> None:
        end = time.monotonic() + seconds if seconds else float("inf")
        with UploadPublisher(self.settings) as publisher:
            self.unsent = publisher.failures
            steps = paced(rate, stop=lambda: self._stop.is_set() or time.monotonic() >= end)
            for _, line in zip(steps, lines(), strict=False):
                case = self._ledger.register(line)
                publisher.send(publisher.prepare(line), functools.partial(self._ledger.taken, case))
            publisher.flush()

    def _read(self) -> None:
        topics = self.settings.topics
        others = (topics.review, topics.feedback, topics.enforcement)
        consumer = open_consumer(
            self.settings,
            [topics.decisions, topics.dead_letters, *others],
            from_beginning=True,
        )
        try:
            while not self._stop.is_set():
                for record in poll(consumer, 100):
                    self._last_record = time.monotonic()
                    self._enter(record)
        finally:
            consumer.close()

    def _enter(self, record: Record) -> None:
        topics = self.settings.topics
        if record.topic == topics.decisions:
            self._ledger.decided(record.value, record.timestamp_ms)
        elif record.topic == topics.dead_letters:
            self._ledger.refused(record.value)
        else:
            self._ledger.others[
                record.topic.removeprefix(f"{self.settings.kafka.topic_prefix}.")
            ] += 1


def endless(path: Path, *, once: bool) -> Iterator[UploadLine]:
    """Uploads of a file, over and over: from the second time on under ids of their own."""
    raw = list(read_lines(path.read_bytes().splitlines()))
    if not raw:
        raise SluiceError(f"no uploads in {path}")
    loop = 1
    while True:
        base = dt.datetime.now(dt.UTC)
        suffix = "" if loop == 1 else f"-{loop}"
        for line in raw:
            yield parse_line(line, base=base, suffix=suffix)
        if once:
            return
        loop += 1
