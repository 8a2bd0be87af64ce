"""Dependencies that die under load: nothing lost, nothing contradicting, and it says so."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from schemas.decision import Decision
from schemas.settings import Settings
from scripts.cli.audit import audit_topics
from scripts.cli.kafka_topics import ensure_topics
from scripts.cli.local_stack import Stack
from scripts.cli.publisher import UploadPublisher, paced
from tests.conftest import settings_on
from tests.fakes import payload
from tests.running_job import Answers, RunningJob, line

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(500)]

RATE = 100
USERS = 40
BACK_WITHIN_S = 60
"""Stated time until the stream answers again, on a busy test machine."""


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack that the test may break."""
    with Stack(tmp_path / "stack", die_with_parent=True, quick=True) as stack:
        yield stack


class Load:
    """Publishes at a steady rate until it is stopped; waits out a broker that is away."""

    def __init__(self, settings: Settings) -> None:
        self._publisher = UploadPublisher(settings)
        self._stop = threading.Event()
        self.sent = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for number in paced(RATE, stop=self._stop.is_set):
            user = f"user-{number % USERS}"
            value = payload(f"c{number}", user, text=f"a note about number {number}")
            self._publisher.send(self._publisher.prepare(line(value, user.encode())))
            self.sent = number + 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)
        self._publisher.flush()
        assert not self._publisher.failures
        self._publisher.close()


def wait_for(answers: Answers, what: Callable[[Decision], bool], since: int) -> float:
    """Seconds until a decision that is newer than `since` records fits."""
    started = time.monotonic()
    answers.until(lambda a: any(what(d) for d in a.decisions()[since:]), timeout_s=BACK_WITHIN_S)
    return time.monotonic() - started


def seen(answers: Answers) -> int:
    answers.settle(0.5)
    return len(answers.decisions())


def test_broker_and_redis_die_under_load(own_stack: Stack, tmp_path: Path) -> None:
    settings = settings_on(own_stack, "recovery")
    ensure_topics(settings)
    answers = Answers(settings)
    # Long enough not to take a busy test machine for a slow Redis.
    patient = {"SLUICE_REDIS__TIMEOUT_MS": "200"}
    with RunningJob(settings, tmp_path / "checkpoints", **patient) as job:
        job.wait_ready()
        load = Load(settings)
        wait_for(answers, lambda d: not d.degraded, 0)

        own_stack.redis_process.kill()
        wait_for(answers, lambda d: "redis" in d.degraded, seen(answers))
        own_stack.restart_redis()
        wait_for(answers, lambda d: not d.degraded, seen(answers))

        own_stack.kafka_process.kill()
        time.sleep(2)
        own_stack.restart_kafka()
        wait_for(answers, lambda _: True, seen(answers))

        time.sleep(2)
        load.stop()
        answers.until(
            lambda a: len({d.content_id for d in a.decisions()}) == load.sent, timeout_s=90
        )
        answers.settle()
        assert job.stop() == 0
    report = audit_topics(settings, list(settings.topics.content), settings.topics.decisions)
    assert report["ok"], report
    assert report["uploads"] == load.sent
    # Counters as if nothing had happened.
    highest: Counter[str] = Counter()
    for decision in answers.decisions():
        count = int(decision.features["uploads_1d"])
        highest[decision.user_id] = max(highest[decision.user_id], count)
    expected = Counter(f"user-{n % USERS}" for n in range(load.sent))
    assert highest == expected
    answers.close()


def test_without_redis_everything_is_decided_and_says_so(
    stack_settings: Settings, tmp_path: Path
) -> None:
    nowhere = {"SLUICE_REDIS__URL": "redis://127.0.0.1:9/0"}
    answers = Answers(stack_settings)
    with RunningJob(stack_settings, tmp_path, **nowhere) as job:
        job.wait_ready()
        load = Load(stack_settings)
        time.sleep(3)
        load.stop()
        answers.until(lambda a: len(a.decisions()) >= load.sent)
        assert job.stop() == 0
    assert all("redis" in decision.degraded for decision in answers.decisions())
    answers.close()
