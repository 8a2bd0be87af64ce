"""The sandbox: whatever a decoder does costs one file, is named, and the next file is looked at."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from operators.media_limits import filter_calls, network_is_cut
from operators.media_sandbox import Outcome, Sandbox, TaskLimits
from schemas.errors import DependencyUnavailableError
from tests.media_faults import fault
from udfs.media_reports import Gathered, Report, frame

LIMITS = TaskLimits(wall_s=8, cpu_s=4, memory_mb=200, output_mb=4)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox("tests.media_faults:make_work", b"") as one:
        yield one


def run(sandbox: Sandbox, name: str, limits: TaskLimits = LIMITS) -> Outcome:
    with tempfile.TemporaryFile() as file:
        file.write(fault(name))
        file.flush()
        return sandbox.run(file.fileno(), b"", limits)


def said(outcome: Outcome) -> str:
    return Gathered(outcome.output).facts.format


@pytest.mark.parametrize(
    ("name", "limits", "kind", "words"),
    [
        ("segfault", LIMITS, "crashed", "SIGSEGV"),
        ("abort", LIMITS, "crashed", "SIGABRT"),
        ("exit", LIMITS, "crashed", "status 7"),
        ("sleep", LIMITS._replace(wall_s=0.3), "wall_time", "0.3"),
        ("spin", LIMITS._replace(wall_s=0.3), "wall_time", "0.3"),
        ("spin", LIMITS._replace(cpu_s=1), "cpu_time", "= 1"),
        ("hoard", LIMITS, "memory", "= 200"),
        ("hoard-natively", LIMITS, "crashed", "SIGSEGV"),
        ("flood", LIMITS, "output_limit", "= 4"),
        ("fill-disk", LIMITS, "output_limit", "= 4"),
    ],
)
def test_a_fault_costs_one_file_and_says_what_it_was(
    sandbox: Sandbox, name: str, limits: TaskLimits, kind: str, words: str
) -> None:
    began = time.monotonic()
    outcome = run(sandbox, name, limits)
    assert outcome.failure == kind
    assert words in f"{outcome.message} {outcome.limit}"
    assert time.monotonic() - began < limits.wall_s + 3
    # The step that was going on is known.
    if kind != "output_limit":
        assert Gathered(outcome.output).at == "decode"
    assert said(run(sandbox, "nothing")) == "nothing"
    assert sandbox.restarts == 0


def test_memory_stays_below_its_limit(sandbox: Sandbox) -> None:
    assert run(sandbox, "hoard").peak_mb < 400


def test_no_network_no_tracing_and_no_settings_of_ours(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sandbox.start().network in {"namespace", "filter"}
    assert said(run(sandbox, "network")) == "PermissionError"
    assert said(run(sandbox, "trace")) == "-1"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with Sandbox("tests.media_faults:make_work", b"") as other:
        names = set(said(run(other, "environment")).split(","))
    assert "PATH" in names
    assert not any("AWS" in name or "SLUICE" in name for name in names)


def test_the_filter_alone_cuts_the_network_off() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0 if not network_is_cut() and filter_calls() and network_is_cut() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_what_a_decoder_started_ends_with_it(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "leave-a-child")
    assert outcome.failure is None
    left = Path(f"/proc/{said(outcome)}/stat")
    deadline = time.monotonic() + 5
    # Gone, or dead and not yet reaped by whoever adopted it.
    while left.exists() and left.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_garbage_is_not_believed(sandbox: Sandbox) -> None:
    gathered = Gathered(run(sandbox, "garbage").output)
    assert (gathered.at, gathered.facts.format) == ("decode", "")


def test_files_are_looked_at_side_by_side(sandbox: Sandbox) -> None:
    names = ["nothing", "sleep", "segfault", "nothing", "sleep", "nothing"]
    limits = LIMITS._replace(wall_s=1.5)
    began = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(lambda name: run(sandbox, name, limits), names))
    assert [outcome.failure for outcome in outcomes] == [
        None, "wall_time", "crashed", None, "wall_time", None,
    ]  # fmt: skip
    assert time.monotonic() - began < 2.9


def test_when_the_nursery_dies_another_takes_over() -> None:
    with Sandbox("tests.media_faults:make_work", b"") as sandbox:
        os.kill(sandbox.nursery_pid, signal.SIGKILL)
        assert said(run(sandbox, "nothing")) == "nothing"
        assert sandbox.restarts == 1
        # One that dies over every file is given up, and the file with it.
        dying = threading.Thread(target=kill_twice, args=(sandbox,))
        dying.start()
        assert run(sandbox, "sleep").failure == "internal"
        dying.join()
        assert said(run(sandbox, "nothing")) == "nothing"


def kill_twice(sandbox: Sandbox) -> None:
    before = 0
    for _ in range(2):
        while (pid := sandbox.nursery_pid) == before:
            time.sleep(0.01)
        time.sleep(0.3)  # so that the file is under way
        os.kill(pid, signal.SIGKILL)
        before = pid


def test_it_cannot_touch_files_processes_or_its_own_group(sandbox: Sandbox) -> None:
    if sandbox.start().files:
        assert said(run(sandbox, "read-file")) == "PermissionError"
        assert said(run(sandbox, "write-file")) == "PermissionError"
    assert said(run(sandbox, "signal")) == "PermissionError"
    assert said(run(sandbox, "leave-group")) == "1"


def test_its_processes_end_with_it() -> None:
    sandbox = Sandbox("tests.media_faults:make_work", b"")
    sandbox.start()
    pid = sandbox.nursery_pid
    sandbox.close()
    assert not Path(f"/proc/{pid}").exists()


def test_what_does_not_start_says_so() -> None:
    with pytest.raises(DependencyUnavailableError, match="media_sandbox"):
        Sandbox("tests.media_faults:there_is_none", b"").start()


def test_a_report_that_was_cut_off_is_left_out() -> None:
    began = frame(Report(step="ocr", state="began"))
    whole = frame(Report(step="decode", state="ended", ms=2.0)) + began
    for cut in range(len(began)):
        gathered = Gathered(whole[: len(whole) - cut])
        assert gathered.stage_ms == {"decode": 2.0}
        assert gathered.at == (None if cut else "ocr")
