"""Dependencies that limp rather than die: a slow Redis, a full disk for checkpoints."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from schemas.settings import Settings
from scripts.cli.audit import audit_topics
from scripts.cli.flink_rest import FlinkRest
from scripts.cli.local_stack import Stack
from scripts.cli.processes import wait_until
from tests.running_cluster import Load, counters_never_reset, one_decision_each
from tests.running_job import RESUMED_WITHIN_S, Answers, RunningJob
from tests.slow_proxy import SlowProxy

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(400)]


def everything_sent_is_decided(answers: Answers, load: Load, timeout_s: float = 60) -> None:
    before = load.sent
    answers.until(lambda a: a.distinct() >= before, timeout_s=timeout_s)


def check_whole(answers: Answers, load: Load, settings: Settings) -> None:
    """Nothing lost, nothing contradicting, every counter as if nothing had happened."""
    answers.until(lambda a: a.distinct() >= load.sent)
    answers.settle()
    counters_never_reset(one_decision_each(answers, load), load)
    report = audit_topics(settings, list(settings.topics.content), settings.topics.decisions)
    assert report["ok"], report
    assert report["uploads"] == load.sent


def newest(answers: Answers, since: int) -> list[list[str]]:
    """What was degraded in decisions beyond the first `since`."""
    return [decision.degraded for decision in answers.decisions()[since:]]


def test_a_slow_redis_holds_nothing_up_and_mixes_nothing_up(
    stack: Stack,
    stack_settings: Settings,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """Answers come after the time-out: too late for their batch, and never taken for another's."""
    answers = Answers(stack_settings)
    load = Load(stack_settings, answers=True)
    heated = {load.user(number): 300 + number for number in range(20)}
    with redis.Redis.from_url(stack.redis_url) as client:
        for user, thousandths in heated.items():
            client.set(f"context:parent-of-{user}", f"1000:{thousandths}:0,")
    with SlowProxy(stack.redis) as proxy:
        # Long enough not to take a busy test machine for a slow Redis.
        env = {
            "SLUICE_REDIS__URL": f"redis://{proxy.address}/0",
            "SLUICE_REDIS__TIMEOUT_MS": "100",
            "SLUICE_REDIS__BREAKER_OPEN_S": "0.5",
        }
        with RunningJob(stack_settings, tmp_path, **env) as job:
            job.wait_ready()
            with load:
                answers.until(lambda a: not all(newest(a, 0)) and a.count() >= 200)
                assert proxy.answers > 0

                proxy.delay_s = 0.2
                slow_ms = time.time() * 1000
                seen = len(answers.decisions())
                answers.until(lambda a: any(newest(a, seen)))
                load.wait(500)
                everything_sent_is_decided(answers, load)
                slow = newest(answers, seen)
                silence = answers.silence(slow_ms)
                record_property("longest wait with a slow Redis", f"{silence:.1f} s")
                # At most three time-outs, then one whenever the breaker tries again.
                assert silence < 2

                proxy.delay_s = 0.0
                well_ms = time.time() * 1000
                seen = len(answers.decisions())
                answers.until(lambda a: [] in newest(a, seen))
                record_property(
                    "until decisions had Redis again", f"{time.time() - well_ms / 1000:.1f} s"
                )
                answers.settle(2)
                seen = len(answers.decisions())
                load.wait(100)
                everything_sent_is_decided(answers, load)
                again = newest(answers, seen)
                assert sum(map(bool, again)) < len(again) / 10  # a busy machine can be late too
            check_whole(answers, load, stack_settings)
            assert job.stop() == 0
    degraded = [tags for tags in slow if tags]
    # A late upload may go without the heavy tier, too.
    assert all(set(tags) <= {"redis", "deep_text"} for tags in degraded)
    assert sum("redis" in tags for tags in degraded) > len(slow) / 2
    for decision in answers.decisions():
        if not decision.degraded:
            assert decision.features["parent_toxicity"] == heated[decision.user_id] / 1000
    answers.close()


class SmallDisk:
    """A file system of a few megabytes that can be filled to the last byte."""

    def __init__(self, folder: Path) -> None:
        self.checkpoints = folder / "checkpoints"
        self._filler = folder / "filler"

    def fill(self) -> None:
        with self._filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError as error:
                assert "No space left" in str(error)

    def free(self) -> None:
        self._filler.unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {made.stderr.strip()}")
    yield SmallDisk(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)


def checkpoint_counts(job: RunningJob) -> dict[str, int]:
    """Completed, failed and other checkpoints of the running job."""
    rest = FlinkRest(job.url)
    (running,) = rest.live_jobs()
    counts: dict[str, int] = rest.checkpoints(running.id)["counts"]
    return counts


def wait_for_more(job: RunningJob, kind: str, more: int = 2) -> None:
    """Wait until so many more checkpoints have completed or failed."""
    target = checkpoint_counts(job)[kind] + more
    assert wait_until(lambda: checkpoint_counts(job)[kind] >= target, timeout_s=60, every_s=0.2), (
        checkpoint_counts(job)
    )


def test_a_full_disk_stops_checkpoints_and_nothing_else(
    small_disk: SmallDisk,
    stack_settings: Settings,
    record_property: Callable[[str, object], None],
) -> None:
    """Full, free again, then full and killed: what was read since the last one is read again."""
    answers = Answers(stack_settings)
    with RunningJob(stack_settings, small_disk.checkpoints) as job:
        job.wait_ready()
        with Load(stack_settings) as load:
            wait_for_more(job, "completed")

            small_disk.fill()
            full_ms = time.time() * 1000
            wait_for_more(job, "failed")
            load.wait(200)
            everything_sent_is_decided(answers, load)
            silence = answers.silence(full_ms)
            record_property("longest wait with a full disk", f"{silence:.1f} s")
            assert silence < 5

            small_disk.free()
            wait_for_more(job, "completed")

            small_disk.fill()
            wait_for_more(job, "failed")
            load.wait(200)
            everything_sent_is_decided(answers, load)
            job.kill()
            killed_ms = time.time() * 1000
    small_disk.free()
    with RunningJob(stack_settings, small_disk.checkpoints, "--resume") as job:
        with Load(stack_settings, first=load.sent) as resumed:
            job.wait_ready()
            wait_for_more(job, "completed")
            resumed.wait(100)
            everything_sent_is_decided(answers, resumed)
            silence = answers.silence(killed_ms)
            record_property("without decisions after kill -9 of a local job", f"{silence:.1f} s")
            assert silence < RESUMED_WITHIN_S
        check_whole(answers, resumed, stack_settings)
        assert job.stop() == 0
    assert answers.count() > answers.distinct()  # it did go back to before the disk was full
    answers.close()
