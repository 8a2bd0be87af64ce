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
from scripts.cli.demo_media import DemoMedia
from scripts.cli.demo_view import View
from scripts.cli.local_stack import DEFAULT_DIR
from scripts.cli.processes import Process, ProcessError, free_port, wait_until
from scripts.cli.publisher import UploadPublisher, paced
from scripts.cli.upload_lines import UploadLine, parse_line, read_lines

_READY_TIMEOUT_S: Final = 120.0
_MEDIA_PATIENCE_S: Final = 150.0
"""For what was found in pictures and videos; those that were not looked at by then stay held."""
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
        media: run the media job as well.
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
        media: bool = False,
    ) -> None:
        self.settings = settings
        self.job = Process(pid_file)
        self.media: DemoMedia | None = None
        self._media_waits = media
        """Until the first decision: the moderation job has the first go."""
        if media:
            beside = pid_file.with_name(f"{pid_file.stem}-media.pid")
            self.media = DemoMedia(settings, directory=directory, pid_file=beside, say=view.say)
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
            env=self._job_environment(),
            die_with_parent=not self._keep,
        )

    def start_media(self) -> None:
        """Start the media job, if there is to be one."""
        if self.media is not None:
            self.media.start(self._job_environment(), keep=self._keep)

    @property
    def drawn(self) -> Callable[[bytes], bytes] | None:
        """Says where the media of a sample line are; None without the media job."""
        return None if self.media is None else self.media.at_home

    def stop(self) -> None:
        """End both jobs."""
        if self.media is not None:
            self.media.stop()
        self.job.stop(patience_s=20.0)

    def _job_environment(self) -> dict[str, str]:
        return {
            **({} if self._keep else {"JVM_ARGS": QUICK_JVM_ARGS}),
            **({} if self.media is None else self.media.environment),
            **os.environ,
            **self.environment(),
            "SLUICE_KAFKA__START": "earliest-offset",
            "SLUICE_KAFKA__PATIENCE_S": str(_READY_TIMEOUT_S),
            "SLUICE_FLINK__CHECKPOINT_DIR": str(self._directory / "checkpoints"),
            "SLUICE_FLINK__METRICS_PORT": str(free_port()),
        }

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
            self._wait(patience, self._complete)
            if self.media is not None and self._ledger.unseen():
                self._view.say("every upload is decided or held; looking at what is held")
                self._wait(_MEDIA_PATIENCE_S, lambda: not self._ledger.unseen())
        finally:
            self._stop.set()
            writer.join(timeout=10)
            reader.join(timeout=10)

    def _wait(self, seconds: float, enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not enough():
            self._tick()

    def _tick(self) -> None:
        time.sleep(0.05)
        self._view.draw()
        if self._media_waits and self._ledger.first_decision_at is not None:
            self._media_waits = False
            self.start_media()
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


def endless(
    path: Path, *, once: bool, media: Callable[[bytes], bytes] | None = None
) -> Iterator[UploadLine]:
    """Uploads of a file, over and over: from the second time on under ids of their own.

    Args:
        path: the file.
        once: not over and over.
        media: says where the media of a line are. With it pictures and videos come the first
            time alone: looking at one takes as long as deciding a thousand texts.
    """
    raw = list(read_lines(path.read_bytes().splitlines()))
    if media is not None:
        raw = [media(line) for line in raw]
    if not raw:
        raise SluiceError(f"no uploads in {path}")
    loop = 1
    while True:
        base = dt.datetime.now(dt.UTC)
        suffix = "" if loop == 1 else f"-{loop}"
        for line in raw:
            upload = parse_line(line, base=base, suffix=suffix)
            if loop == 1 or media is None or upload.content_type not in {"image", "video"}:
                yield upload
        if once:
            return
        loop += 1
