"""A real cluster: jobs are submitted, upgraded and rescaled, and survive dead processes."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaProducer

from schemas.settings import ROOT, Settings
from scripts.cli.flink_cluster import FlinkCluster
from scripts.cli.lake.reading import Lake
from scripts.cli.lake.turns import TablesBusyError, writing
from scripts.cli.processes import wait_until
from tests import feedback_kit
from tests.running_cluster import Load, Submitter, counters_never_reset, one_decision_each
from tests.running_job import BACK_WITHIN_S, RESUMED_WITHIN_S, Answers

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlinkCluster]:
    """One JobManager with high availability, two TaskManagers."""
    folder = tmp_path_factory.mktemp("cluster")
    with FlinkCluster(folder, quick=True, die_with_parent=True) as up:
        yield up.up(2)


@pytest.fixture
def submitter(
    cluster: FlinkCluster, stack_settings: Settings, tmp_path: Path
) -> Iterator[Submitter]:
    yield Submitter(cluster, stack_settings, tmp_path)
    for job in cluster.rest.live_jobs():
        cluster.rest.cancel(job.id)


def changed_policy(folder: Path) -> Path:
    """The policy under another version, in a file of its own."""
    text = (ROOT / "conf/policy.yaml").read_text("utf-8")
    changed = text.replace('version: "1"', 'version: "changed"', 1)
    assert changed != text
    file = folder / "stricter.yaml"
    file.write_text(changed)
    return file


def moderating(cluster: FlinkCluster, job: str) -> dict[str, int]:
    """Records read so far by each subtask of the chain that moderates, by TaskManager."""
    (vertex,) = [v["id"] for v in cluster.rest.vertices(job) if "moderate" in v["name"]]
    subtasks = cluster.rest.get(f"/jobs/{job}/vertices/{vertex}")["subtasks"]
    return {task["taskmanager-id"]: task["metrics"]["read-records"] for task in subtasks}


def test_upgrades_and_rescaling_lose_nothing(
    cluster: FlinkCluster, submitter: Submitter, stack_settings: Settings, tmp_path: Path
) -> None:
    """1 subtask, then 2 under another policy, then 1 again: under load all the time."""
    answers = Answers(stack_settings)
    with Load(stack_settings) as load:
        first = submitter.submit("--parallelism", "1")
        answers.until(lambda a: a.count() >= 300)
        assert {d.policy_version for d in answers.decisions()} == {"1"}
        # A job that runs is not started twice by mistake.
        refused = submitter.run()
        assert refused.returncode == 1
        assert "runs already" in refused.stderr
        assert cluster.rest.runs(first)

        policy = str(changed_policy(tmp_path))
        second = submitter.submit("--upgrade", "--parallelism", "2", SLUICE_CASCADE__POLICY=policy)
        assert cluster.rest.state(first) == "FINISHED"
        load.wait(300)
        assert set(moderating(cluster, second)) == {"tm-1", "tm-2"}
        # Flink's REST interface refreshes metrics every ten seconds.
        assert wait_until(
            lambda: min(moderating(cluster, second).values()) > 0, timeout_s=60, every_s=1
        )
        for taskmanager in cluster.status()["taskmanagers"]:
            with urllib.request.urlopen(f"http://{taskmanager['metrics']}/metrics") as reply:
                assert b"sluice_action_stage_decisions{" in reply.read()

        third = submitter.submit("--upgrade", "--parallelism", "1")
        load.wait(300)
        assert len(moderating(cluster, third)) == 1
    answers.until(lambda a: a.distinct() >= load.sent)
    answers.settle()
    replaced = frozenset({"policy_version", "policy_hash"})
    decisions = one_decision_each(answers, load, may_change=replaced)
    counters_never_reset(decisions, load)
    # Each upload was decided under the policy of its time, and both were in force.
    numbers = {version: [] for version in ("1", "changed")}  # type: dict[str, list[int]]
    for decision in decisions:
        numbers[decision.policy_version].append(int(decision.content_id[1:]))
    assert min(numbers["1"]) < min(numbers["changed"]) < max(numbers["changed"]) < max(numbers["1"])
    answers.close()


def test_dead_processes_lose_nothing(
    cluster: FlinkCluster,
    submitter: Submitter,
    stack_settings: Settings,
    record_property: Callable[[str, object], None],
) -> None:
    """Kill a TaskManager, the JobManager, then the job itself."""
    answers = Answers(stack_settings)
    with Load(stack_settings) as load:
        job = submitter.submit("--parallelism", "2")
        cluster.rest.wait_checkpoint(job)

        def back(what: str, since_ms: float, within_s: float = BACK_WITHIN_S) -> None:
            """Wait until everything sent so far is decided; note how long that was not so."""
            before = load.sent
            answers.until(lambda a: a.distinct() >= before)
            silence = answers.silence(since_ms)
            record_property(f"without decisions after {what}", f"{silence:.1f} s")
            assert silence < within_s

        killed_ms = time.time() * 1000
        cluster.kill_taskmanager("tm-1")
        cluster.start_taskmanager("tm-1")
        back("kill -9 of a TaskManager", killed_ms)
        cluster.rest.wait_running(job)

        cluster.rest.wait_checkpoint(job)
        killed_ms = time.time() * 1000
        cluster.kill_jobmanager()
        assert not cluster.rest.answers()
        cluster.start_jobmanager()
        cluster.rest.wait_running(job)  # the same job, without anybody's help
        back("kill -9 of the JobManager", killed_ms)
        cluster.rest.wait_checkpoint(job)

        # Gone for good, as without high availability: from its newest checkpoint.
        cancelled_ms = time.time() * 1000
        cluster.rest.cancel(job)
        again = submitter.submit("--from-latest-checkpoint", "auto", "--parallelism", "1")
        assert again != job
        load.wait(200)
        resumed = "the job was cancelled and submitted from its newest checkpoint"
        back(resumed, cancelled_ms, RESUMED_WITHIN_S)
    answers.until(lambda a: a.distinct() >= load.sent)
    answers.settle()
    counters_never_reset(one_decision_each(answers, load), load)
    answers.close()


def test_the_tables_are_filled_from_a_cluster(
    cluster: FlinkCluster, submitter: Submitter, stack_settings: Settings, tmp_path: Path
) -> None:
    names = stack_settings.topics
    warehouse = tmp_path / "lake"
    submitter.submit(
        *("--job", "tables", "--parallelism", "1"),
        SLUICE_TABLES__WAREHOUSE=str(warehouse),
        SLUICE_TABLES__CHECKPOINT_INTERVAL_MS="1000",
        SLUICE_TABLES__GROUP_ID=f"{names.decisions}-tables",
    )
    assert [job.name for job in cluster.rest.live_jobs()] == ["sluice-tables"]
    producer = KafkaProducer(bootstrap_servers=stack_settings.kafka.bootstrap)
    producer.send(names.decisions, feedback_kit.decision()[1], key=b"c1")
    producer.send(names.verdicts, feedback_kit.verdict()[1], key=b"c1")
    producer.close()
    lake = Lake(warehouse.as_uri(), "sluice")

    def rows() -> list[dict[str, object]]:
        sql = "SELECT v.dt, status, violates FROM decisions JOIN verdicts v USING (content_id)"
        found: list[dict[str, object]] = lake.query(sql, may_be_empty=True).to_pylist()
        return found

    assert wait_until(lambda: bool(rows()), timeout_s=60, every_s=0.5)
    assert rows() == [{"dt": "2026-01-01", "status": "approved", "violates": True}]
    # What deletes rows knows that it is the job's turn.
    with pytest.raises(TablesBusyError, match="writes the tables; stop it first"):
        retention_run(warehouse)
    (job,) = cluster.rest.live_jobs("sluice-tables")
    cluster.rest.cancel(job.id)
    cluster.rest.wait_ended(job.id)
    retention_run(warehouse)


def retention_run(warehouse: Path) -> None:
    """Take the turn as `scripts/retention run` does."""
    with writing(warehouse.as_uri(), "scripts/retention"):
        pass


def test_a_job_that_cannot_be_composed_touches_nothing(
    cluster: FlinkCluster, submitter: Submitter, tmp_path: Path
) -> None:
    broken = tmp_path / "policy.yaml"
    broken.write_text("version: 7\nthresholds: {}\n")
    jobs = cluster.rest.jobs()
    done = submitter.run(SLUICE_CASCADE__POLICY=str(broken))
    assert done.returncode == 1
    assert done.stderr.startswith(f"submit: {broken}:")
    assert cluster.rest.jobs() == jobs
