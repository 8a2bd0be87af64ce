"""A job on an embedded mini-cluster: prepare the JVM, submit, wait until it reads, stop."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from schemas.errors import SluiceError
from schemas.settings import ROOT, Settings

_JVM_ARGS: Final = "-Xms512m -Xmx2g -XX:+UseG1GC -XX:MaxGCPauseMillis=20"
QUICK_JVM_ARGS: Final = f"{_JVM_ARGS} -XX:TieredStopAtLevel=1"
"""For a job of a minute: it starts and warms up faster, and its highest rate is lower."""
MODEST_JVM_ARGS: Final = (
    "-Xms256m -Xmx2g -XX:+UseSerialGC -XX:ActiveProcessorCount=1 -XX:TieredStopAtLevel=1"
    " -XX:CICompilerCount=1"
)
"""For a job beside one that is in a hurry: a thread each to collect and to compile."""
LOGS: Final = ROOT / ".run" / "logs"


class JobFailedError(SluiceError):
    """The job ended by itself, and not well."""


def prepare_jvm(name: str, settings: Settings) -> None:
    """Set what the JVM reads when PyFlink starts it. Call before anything of PyFlink runs."""
    LOGS.mkdir(parents=True, exist_ok=True)
    jvm = os.environ.get("JVM_ARGS", _JVM_ARGS)
    if "-Djava.io.tmpdir=" not in jvm:
        jvm += f" -Djava.io.tmpdir={_temporary_folder(name)}"
    os.environ["JVM_ARGS"] = jvm
    os.environ.setdefault("FLINK_LOG_DIR", str(LOGS))
    os.environ.setdefault("FLINK_IDENT_STRING", f"{name}-{os.getpid()}")
    os.environ.setdefault(
        "LOG4J_PROPERTIES", str(ROOT / "conf" / "flink" / "log4j-local.properties")
    )
    # Batches are small and the cores few: tokenizer threads would cost more than they give.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if settings.flink.metrics_port:
        from jobs.environment import prometheus_jar  # noqa: PLC0415 - PyFlink, if needed only

        # A mini-cluster does not load plugins, but takes what is on this class path.
        known = os.environ.get("HADOOP_CLASSPATH")
        os.environ["HADOOP_CLASSPATH"] = ":".join(filter(None, [known, str(prometheus_jar())]))


def _temporary_folder(name: str) -> Path:
    """A folder of this process's own for what its JVM unpacks, such as the SQL planner (46 MB).

    A JVM that is killed leaves its files behind; who cleans them up by hand would take a starting
    job's as well. Folders of processes that are gone are removed here.
    """
    parent = Path(tempfile.gettempdir())
    for left in parent.glob(f"sluice-{name}-*-*"):
        pid = left.name.split("-")[-2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"sluice-{name}-{os.getpid()}-", dir=parent))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


class LocalJob:
    """One running job.

    Args:
        client: what `execute_async` gave.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        # Asked for now: the mini-cluster goes with its job, and its status goes with it.
        self._result = client.get_job_execution_result()
        self._cancelled = False
        self.url = _rest_url(client)
        """Of the mini-cluster's REST interface and web UI."""
        self.job_id = str(client.get_job_id())

    def status(self) -> str:
        """RUNNING (from the moment it was submitted), FINISHED, CANCELED or FAILED."""
        if not self._result.done():
            return "RUNNING"
        try:
            self._result.result()
        except Exception:  # noqa: BLE001 - py4j's own; the log has the Java trace
            return "CANCELED" if self._cancelled else "FAILED"
        return "FINISHED"

    def reads(self) -> bool:
        """Whether every subtask runs (so that its sources read)."""
        try:
            with urllib.request.urlopen(  # noqa: S310 - a fixed http address of this machine
                f"{self.url}/jobs/{self.job_id}", timeout=2
            ) as reply:
                vertices = json.load(reply)["vertices"]
        except (urllib.error.URLError, OSError, KeyError, ValueError):
            return False
        return all(vertex["status"] in {"RUNNING", "FINISHED"} for vertex in vertices)

    def wait_until_reading(self, timeout_s: float, stopped: Callable[[], bool]) -> bool:
        """Wait for `reads`.

        Raises:
            JobFailedError: where the job ends before that, or the time is over.
        """
        deadline = time.monotonic() + timeout_s
        while not stopped():
            if self.status() in {"FAILED", "CANCELED"}:
                raise JobFailedError(f"the job failed while it started; its log is in {LOGS}")
            if self.reads():
                return True
            if time.monotonic() > deadline:
                raise JobFailedError(f"the job did not run within {timeout_s:.0f} s")
            time.sleep(0.1)
        return False

    def stop_with_savepoint(self, folder: str) -> None:
        """Stop it by a savepoint: everything that was read is written, and committed.

        Args:
            folder: path or URI that the savepoint goes below.
        """
        # PyFlink's own method calls one that Flink 2 no longer has.
        from pyflink.java_gateway import get_gateway  # noqa: PLC0415 - it is running by now

        formats = get_gateway().jvm.org.apache.flink.core.execution.SavepointFormatType
        self._client._j_job_client.stopWithSavepoint(False, folder, formats.DEFAULT).get()
        self._wait_until_stopped()

    def cancel(self) -> None:
        """Stop it and wait until it has stopped."""
        self._cancelled = True
        try:
            self._client.cancel().result()
        except Exception:
            if not self._result.done():
                raise
        self._wait_until_stopped()

    def _wait_until_stopped(self) -> None:
        deadline = time.monotonic() + 20
        while self.status() == "RUNNING":
            if time.monotonic() > deadline:
                raise JobFailedError("the job did not stop within 20 s")
            time.sleep(0.05)


def _rest_url(client: Any) -> str:
    """Where the mini-cluster of a job listens.

    The port is known only once Flink has it: one that was free before the JVM started may be
    somebody else's by the time Flink binds it. The client keeps the mini-cluster to itself.
    """
    job_client = client._j_job_client
    field = job_client.getClass().getDeclaredField("miniCluster")
    field.setAccessible(True)
    return str(field.get(job_client).getRestAddress().get().toString())
