"""What stands back: the media job, its JVM, and the processes that decode."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from operators import media_nursery
from operators.media_nursery import Nursery, _Child
from operators.yielding import LOWEST, waits_for_processor
from schemas.settings import ROOT, Settings, TablesSettings
from scripts.cli import run_tables

_STAND_BACK = """
import json, os, subprocess, tempfile
from pathlib import Path
from operators.media_sandbox import Sandbox, TaskLimits
from scripts.cli.run_media import stand_back
from tests.media_faults import fault
from udfs.media_reports import Gathered

before = os.sched_getscheduler(0)
stand_back()
from jobs.local import prepare_jvm
from schemas.settings import load_settings
prepare_jvm("media", load_settings("dev"))
from pyflink.java_gateway import get_gateway
get_gateway()
jvm = int(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()[-1])
with Sandbox("tests.media_faults:make_work", b"") as sandbox, tempfile.TemporaryFile() as file:
    file.write(fault("standing"))
    file.flush()
    outcome = sandbox.run(file.fileno(), b"", TaskLimits(60, 4, 200, 4))
    policies = {
        name: sorted({os.sched_getscheduler(int(task)) for task in os.listdir(f"/proc/{pid}/task")})
        for name, pid in {"job": os.getpid(), "jvm": jvm, "nursery": sandbox.nursery_pid}.items()
    }
    groups = {
        name: group.read_text().split()[-1] if group.exists() else ""
        for name, pid in {"job": os.getpid(), "jvm": jvm, "nursery": sandbox.nursery_pid}.items()
        for group in [Path(f"/proc/{pid}/autogroup")]
    }
    print(json.dumps({
        "before": before,
        "policies": policies,
        "groups": groups,
        "nursery": sandbox.nursery_pid,
        "decoder": [int(each) for each in Gathered(outcome.output).facts.format.split()],
        "jvm": [Path(f"/proc/{jvm}/task/{task}/comm").read_text().strip()
                for task in os.listdir(f"/proc/{jvm}/task")],
        "started": subprocess.run(
            ["python3", "-c", "import os; print(os.sched_getscheduler(0))"],
            capture_output=True, text=True, check=True).stdout.strip(),
        "omp": os.environ["OMP_NUM_THREADS"],
    }))
"""


@pytest.fixture(scope="module")
def stood_back() -> dict[str, Any]:
    """What a job that stands back looks like from within."""
    environment = {name: value for name, value in os.environ.items() if name != "JVM_ARGS"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", _STAND_BACK],
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_everything_that_the_job_starts_runs_where_nobody_else_wants_the_processor(
    stood_back: dict[str, Any],
) -> None:
    idle = os.SCHED_IDLE
    assert stood_back["before"] == os.SCHED_OTHER
    # Of each thread of each of them.
    assert stood_back["policies"] == {"job": [idle], "jvm": [idle], "nursery": [idle]}
    assert stood_back["started"] == str(idle)
    policy, session, group, pid = stood_back["decoder"]
    assert policy == idle
    # A group to be killed with, and no session: that would have a share of its own.
    assert (group, session) == (pid, stood_back["nursery"])


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="a kernel without autogroups")
def test_their_sessions_stand_back_as_sessions(stood_back: dict[str, Any]) -> None:
    assert stood_back["groups"] == dict.fromkeys(("job", "jvm", "nursery"), str(LOWEST))


def test_one_thread_collects_and_one_compiles(stood_back: dict[str, Any]) -> None:
    names = stood_back["jvm"]
    assert len([name for name in names if "CompilerThre" in name]) == 1
    assert not [name for name in names if name.startswith(("GC Thread", "G1 "))]
    assert stood_back["omp"] == "1"


@pytest.fixture
def group() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes in groups of their own, which are ended."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def start(group: list[subprocess.Popen[bytes]], code: str) -> int:
    process = subprocess.Popen([sys.executable, "-c", code], process_group=0)
    group.append(process)
    return process.pid


def test_who_waits_for_a_processor_is_told_from_who_does_nothing(
    group: list[subprocess.Popen[bytes]],
) -> None:
    busy = start(group, "while True: pass")
    # The one that works may be a child of the one that was started.
    parent = start(
        group, "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
    )
    idle = start(group, "import time; time.sleep(600)")
    deadline = time.monotonic() + 20
    while not waits_for_processor(parent) or waits_for_processor(idle):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert waits_for_processor(busy)
    os.killpg(parent, signal.SIGKILL)


@pytest.mark.parametrize(("patient", "code", "killed"), [
    (True, "while True: pass", False),
    (True, "import time; time.sleep(600)", True),
    (False, "while True: pass", True),
])  # fmt: skip
def test_who_is_kept_from_working_is_not_killed_for_being_late(
    group: list[subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
    patient: bool,
    code: str,
    killed: bool,
) -> None:
    monkeypatch.setattr(media_nursery, "yields", lambda: patient)
    pid = start(group, code)
    time.sleep(0.3)  # what does nothing has come to that
    nursery = Nursery(socket.socket(), None)  # type: ignore[arg-type]  # nothing is forked here
    now = time.monotonic()
    nursery._running[pid] = _Child(1, now - 0.1, now + (60 if patient else -0.1))
    nursery._kill_overdue()
    assert (pid in nursery._overdue) is killed
    # In the end even the patient one is.
    nursery._running[pid] = _Child(1, now - 2, now - 1)
    nursery._kill_overdue()
    assert pid in nursery._overdue


@pytest.mark.parametrize("background", [True, False])
def test_the_tables_job_stands_back_before_it_starts_anything(
    monkeypatch: pytest.MonkeyPatch, *, background: bool
) -> None:
    class Started(Exception):  # noqa: N818 - no error
        pass

    def start() -> None:
        raise Started

    stood_back: list[bool] = []
    monkeypatch.setattr(run_tables, "stop_on_signals", lambda: None)
    monkeypatch.setattr(run_tables, "yield_to_others", lambda: stood_back.append(True))
    monkeypatch.setattr(run_tables, "put_on_class_path", start)
    settings = Settings(tables=TablesSettings(background=background))
    with pytest.raises(Started):
        run_tables.run(settings, bounded=True, resume=False)
    assert bool(stood_back) == background
