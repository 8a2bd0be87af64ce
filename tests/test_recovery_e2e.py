"""Dependencies that die under load: nothing lost, nothing contradicting, and it says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from schemas.decision import Decision
from schemas.settings import Settings
from scripts.cli.audit import audit_topics
from scripts.cli.kafka_topics import ensure_topics
from scripts.cli.local_stack import Stack
from tests.conftest import settings_on
from tests.running_cluster import Load, counters_never_reset, one_decision_each
from tests.running_job import BACK_WITHIN_S, Answers, RunningJob

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(500)]

RATE = 100
USERS = 40


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack that the test may break."""
    with Stack(tmp_path / "stack", die_with_parent=True, quick=True) as stack:
        yield stack


def wait_for(answers: Answers, what: Callable[[Decision], bool], since: int) -> float:
    """Seconds until a decision that is newer than `since` records fits."""
    started = time.monotonic()
    answers.until(lambda a: any(what(d) for d in a.decisions()[since:]), timeout_s=BACK_WITHIN_S)
    return time.monotonic() - started


def seen(answers: Answers) -> int:
    answers.settle(0.5)
    return len(answers.decisions())


def test_broker_and_redis_die_under_load(
    own_stack: Stack, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    settings = settings_on(own_stack, "recovery")
    ensure_topics(settings)
    answers = Answers(settings)
    load = Load(settings, per_second=RATE, users=USERS)
    # Long enough not to take a busy test machine for a slow Redis.
    patient = {"SLUICE_REDIS__TIMEOUT_MS": "200"}
    with RunningJob(settings, tmp_path / "checkpoints", **patient) as job:
        job.wait_ready()
        with load:
            wait_for(answers, lambda d: not d.degraded, 0)

            killed_ms = time.time() * 1000
            own_stack.redis_process.kill()
            wait_for(answers, lambda d: "redis" in d.degraded, seen(answers))
            own_stack.restart_redis()
            took = wait_for(answers, lambda d: not d.degraded, seen(answers))
            silence = answers.silence(killed_ms)
            record_property("without decisions after kill -9 of Redis", f"{silence:.1f} s")
            record_property("until decisions had Redis again", f"{took:.1f} s")

            killed_ms = time.time() * 1000
            own_stack.kafka_process.kill()
            time.sleep(2)
            own_stack.restart_kafka()
            wait_for(answers, lambda _: True, seen(answers))
            silence = answers.silence(killed_ms)
            assert silence < BACK_WITHIN_S
            record_property(
                "without decisions after kill -9 of the broker (away for 2 s)", f"{silence:.1f} s"
            )
            load.wait(2 * RATE)
        answers.until(lambda a: a.distinct() == load.sent, timeout_s=90)
        answers.settle()
        assert job.stop() == 0
    report = audit_topics(settings, list(settings.topics.content), settings.topics.decisions)
    assert report["ok"], report
    assert report["uploads"] == load.sent
    counters_never_reset(one_decision_each(answers, load), load)
    answers.close()


def test_without_redis_everything_is_decided_and_says_so(
    stack_settings: Settings, tmp_path: Path
) -> None:
    nowhere = {"SLUICE_REDIS__URL": "redis://127.0.0.1:9/0"}
    answers = Answers(stack_settings)
    with RunningJob(stack_settings, tmp_path, **nowhere) as job:
        job.wait_ready()
        with Load(stack_settings, per_second=RATE, users=USERS) as load:
            load.wait(3 * RATE)
        answers.until(lambda a: a.distinct() >= load.sent)
        assert job.stop() == 0
    assert all("redis" in decision.degraded for decision in answers.decisions())
    answers.close()
