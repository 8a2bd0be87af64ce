"""Jobs on a Flink cluster for end-to-end tests: submitting them, and uploads all the while."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from schemas.decision import VOLATILE_FIELDS, Decision
from schemas.settings import ROOT, Settings
from scripts.cli.flink_cluster import FlinkCluster
from scripts.cli.publisher import UploadPublisher
from tests.fakes import payload
from tests.running_job import Answers, line

PROFILE: Final = """\
flink:
  parallelism: 1
  state_backend: rocksdb
  checkpoint_interval_ms: 1000
  restart_attempts: 1000
cascade:
  fast_text: null
"""
"""Quick to start: no model, otherwise as a cluster has it."""


class Submitter:
    """`scripts/submit` against one cluster and one set of topics.

    Args:
        cluster: the JobManager that is submitted to.
        settings: of the test's stack and topics.
        folder: for files.
    """

    def __init__(self, cluster: FlinkCluster, settings: Settings, folder: Path) -> None:
        self._cluster = cluster
        self._profile = folder / "test.yaml"
        self._profile.write_text(PROFILE)
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")},
            "PYTHONPATH": str(ROOT),
            "SLUICE_KAFKA__BOOTSTRAP": settings.kafka.bootstrap,
            "SLUICE_KAFKA__TOPIC_PREFIX": settings.kafka.topic_prefix,
            "SLUICE_KAFKA__GROUP_ID": settings.kafka.group_id,
            "SLUICE_REDIS__URL": settings.redis.url,
        }

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        command = [sys.executable, "-P", "-m", "scripts.cli.submit", *arguments]
        command += ["--jobmanager", self._cluster.address, "--profile", str(self._profile)]
        return subprocess.run(
            command, env={**self._env, **env}, capture_output=True, text=True, check=False
        )

    def submit(self, *arguments: str, **env: str) -> str:
        """Submit a job that must run; gives its id."""
        done = self.run(*arguments, **env)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout.strip()


class Load:
    """Uploads of a few users, published until the block ends.

    Args:
        settings: of the test's stack and topics.
        per_second: how many.
        users: how many take turns.
        first: number of the first upload, where another load came before.
        answers: each user answers to a content of their own, `parent-of-USER`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        per_second: int = 100,
        users: int = 20,
        first: int = 0,
        answers: bool = False,
    ) -> None:
        self._settings = settings
        self._pause_s = 1 / per_second
        self._users = users
        self._answers = answers
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent = first
        """Uploads so far, those of loads before this included."""

    def user(self, number: int) -> str:
        return f"user-{number % self._users}"

    def totals(self) -> Counter[str]:
        """Uploads by user."""
        return Counter(self.user(number) for number in range(self.sent))

    def wait(self, more: int, timeout_s: float = 60) -> None:
        """Wait until so many more are published."""
        target, deadline = self.sent + more, time.monotonic() + timeout_s
        while self.sent < target:
            assert self._thread.is_alive(), "the publisher has failed"
            assert time.monotonic() < deadline, "the broker takes no uploads"
            time.sleep(0.05)

    def _run(self) -> None:
        with UploadPublisher(self._settings) as publisher:
            for number in itertools.count(self.sent):
                if self._stop.wait(self._pause_s):
                    break
                user = self.user(number)
                more = {"parent_content_id": f"parent-of-{user}"} if self._answers else {}
                text = f"a friendly note, number {number}"
                value = payload(f"c{number}", user, text=text, **more)
                while not publisher.send(publisher.prepare(line(value, user.encode()))):
                    time.sleep(0.05)
                self.sent = number + 1
            publisher.flush()
            assert not publisher.failures

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(60)


def one_decision_each(
    answers: Answers, load: Load, *, may_change: frozenset[str] = frozenset()
) -> list[Decision]:
    """Check that nothing is lost and that nothing contradicts; gives one decision an upload.

    Args:
        answers: what was read, all of it.
        load: what was published.
        may_change: fields in which two decisions about one upload may differ: an upload that
            was decided after the savepoint was taken is decided again from there, under the
            configuration that is in force by then.
    """
    assert not answers.letters()
    by_id: dict[str, Decision] = {}
    for decision in answers.decisions():
        first = by_id.setdefault(decision.moderation_id, decision)
        if first.degraded == decision.degraded:  # without a store, thresholds may be others
            one, other = _stable(first, may_change), _stable(decision, may_change)
            assert one == other, {n: (one[n], other[n]) for n in one if one[n] != other[n]}
    assert Counter(d.content_id for d in by_id.values()) == {f"c{n}": 1 for n in range(load.sent)}
    return list(by_id.values())


def counters_never_reset(decisions: Iterable[Decision], load: Load) -> None:
    """Check that each user's uploads were counted 1, 2, 3 to the last."""
    counts: dict[str, list[int]] = defaultdict(list)
    for decision in decisions:
        counts[decision.user_id].append(int(decision.features["uploads_1d"]))
    for user, total in load.totals().items():
        assert sorted(counts[user]) == list(range(1, total + 1)), user


def _stable(decision: Decision, may_change: frozenset[str]) -> dict[str, object]:
    fields = msgspec.structs.asdict(decision)
    return {n: value for n, value in fields.items() if n not in VOLATILE_FIELDS | may_change}
