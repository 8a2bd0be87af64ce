"""Flink's REST interface, as far as operating a job needs it."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
import urllib.request
from typing import Any, Final, NamedTuple

from schemas.errors import SluiceError
from scripts.cli.processes import wait_until

_ENDED: Final = frozenset({"FINISHED", "CANCELED", "FAILED"})
"""States that a job does not leave. (SUSPENDED is left, where another JobManager takes over.)"""


class FlinkError(SluiceError):
    """A JobManager cannot be reached, or refuses.

    Args:
        message: what was asked and what came back.
        status: HTTP status of the refusal; None where nobody answered.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


class Job(NamedTuple):
    """One line of Flink's list of jobs."""

    id: str
    name: str
    state: str
    """RUNNING, RESTARTING, FINISHED, CANCELED, FAILED, ..."""
    started_ms: int

    @property
    def ended(self) -> bool:
        """Whether it will never run again."""
        return self.state in _ENDED


class FlinkRest:
    """One JobManager.

    Args:
        address: `host:port`, or a URL.
        timeout_s: seconds that one request may take.
    """

    def __init__(self, address: str, *, timeout_s: float = 10.0) -> None:
        self.url = address.rstrip("/") if "://" in address else f"http://{address}"
        self._timeout_s = timeout_s

    def get(self, path: str) -> Any:
        """Ask for a document, such as `/jobs/overview`.

        Raises:
            FlinkError: where nobody answers, or the answer is a refusal.
        """
        return self._request("GET", path, None)

    def answers(self) -> bool:
        """Whether a JobManager that leads answers."""
        try:
            self.overview()
        except FlinkError:
            return False
        return True

    def overview(self) -> dict[str, Any]:
        """Numbers of TaskManagers, slots and jobs; Flink's version."""
        found: dict[str, Any] = self.get("/overview")
        return found

    def taskmanagers(self) -> list[dict[str, Any]]:
        """Registered TaskManagers: id, slots, freeSlots and more."""
        found: list[dict[str, Any]] = self.get("/taskmanagers")["taskmanagers"]
        return found

    def configuration(self) -> dict[str, str]:
        """The JobManager's own configuration."""
        return {entry["key"]: entry["value"] for entry in self.get("/jobmanager/config")}

    def class_path(self) -> list[str]:
        """File names on the JobManager's class path."""
        paths = self.get("/jobmanager/environment")["classpath"]
        return [str(path).rpartition("/")[2] for path in paths]

    def jobs(self) -> list[Job]:
        """All jobs that the JobManager remembers, newest first."""
        found = self.get("/jobs/overview")["jobs"]
        jobs = [Job(j["jid"], j["name"], j["state"], j["start-time"]) for j in found]
        return sorted(jobs, key=lambda job: -job.started_ms)

    def live_jobs(self, name: str | None = None) -> list[Job]:
        """Jobs that have not ended, newest first; those of one name, if given."""
        return [job for job in self.jobs() if not job.ended and name in {None, job.name}]

    def job(self, job_id: str) -> dict[str, Any]:
        """Everything about a job: state, vertices, plan."""
        found: dict[str, Any] = self.get(f"/jobs/{job_id}")
        return found

    def vertices(self, job_id: str) -> list[dict[str, Any]]:
        """The job's operator chains: id, name, parallelism, status, tasks, metrics."""
        found: list[dict[str, Any]] = self.job(job_id)["vertices"]
        return found

    def state(self, job_id: str) -> str:
        """The job's state."""
        return str(self.job(job_id)["state"])

    def runs(self, job_id: str) -> bool:
        """Whether every subtask of the job runs (so that its sources read)."""
        try:
            document = self.job(job_id)
        except FlinkError:
            return False
        tasks = document["vertices"]
        return document["state"] == "RUNNING" and all(t["status"] == "RUNNING" for t in tasks)

    def wait_running(self, job_id: str, timeout_s: float = 120.0) -> None:
        """Wait until every subtask runs.

        Raises:
            FlinkError: where the job ends, or the time is over; with its last exception.
        """
        deadline = time.monotonic() + timeout_s
        while not self.runs(job_id):
            state = self._state_or_none(job_id)
            if state in _ENDED:
                raise FlinkError(f"job {job_id} is {state}: {self.last_exception(job_id)}")
            if time.monotonic() > deadline:
                why = self.last_exception(job_id) or "no exception is reported"
                raise FlinkError(f"job {job_id} does not run after {timeout_s:.0f} s: {why}")
            time.sleep(0.1)

    def wait_ended(self, job_id: str, timeout_s: float = 60.0) -> str:
        """Wait until the job has ended; gives the state in which it did.

        Raises:
            FlinkError: where the time is over.
        """
        if not wait_until(lambda: self._state_or_none(job_id) in _ENDED, timeout_s=timeout_s):
            raise FlinkError(f"job {job_id} did not end within {timeout_s:.0f} s")
        return self.state(job_id)

    def last_exception(self, job_id: str) -> str:
        """The newest exception with its causes, shortened to lines that name one; or nothing."""
        with contextlib.suppress(FlinkError):
            entries = self.exceptions(job_id)
            if entries:
                lines = str(entries[0].get("stacktrace", "")).splitlines()
                telling = [x.strip() for x in lines if not x.startswith("\t") and x.strip()]
                return "\n".join(telling[:1] + telling[1:][-12:])
        return ""

    def exceptions(self, job_id: str) -> list[dict[str, Any]]:
        """The job's recent exceptions, newest first: exceptionName, stacktrace, timestamp."""
        history = self.get(f"/jobs/{job_id}/exceptions")["exceptionHistory"]["entries"]
        found: list[dict[str, Any]] = history
        return found

    def checkpoints(self, job_id: str) -> dict[str, Any]:
        """Counts, latest and history of checkpoints, as Flink gives them."""
        found: dict[str, Any] = self.get(f"/jobs/{job_id}/checkpoints")
        return found

    def completed_checkpoints(self, job_id: str) -> int:
        """Number of checkpoints that this run of the job has completed."""
        return int(self.checkpoints(job_id)["counts"]["completed"])

    def wait_checkpoint(self, job_id: str, timeout_s: float = 60.0) -> None:
        """Wait for a checkpoint that begins after now.

        Raises:
            FlinkError: where none completes in time.
        """
        begun_ms = time.time() * 1000

        def there() -> bool:
            newest = (self.checkpoints(job_id).get("latest") or {}).get("completed")
            return newest is not None and newest["trigger_timestamp"] >= begun_ms

        if not wait_until(there, timeout_s=timeout_s, every_s=0.1):
            raise FlinkError(f"job {job_id}: no checkpoint within {timeout_s:.0f} s")

    def savepoint(self, job_id: str, folder: str | None = None, *, timeout_s: float = 120.0) -> str:
        """Take a savepoint of a job that goes on; gives its path.

        Args:
            job_id: which job.
            folder: URI to write below; the cluster's savepoint folder where None.
            timeout_s: seconds to wait.

        Raises:
            FlinkError: where it fails.
        """
        body = {"cancel-job": False, **({"target-directory": folder} if folder else {})}
        trigger = self._request("POST", f"/jobs/{job_id}/savepoints", body)["request-id"]
        return self._savepoint_path(job_id, trigger, timeout_s)

    def stop(
        self,
        job_id: str,
        folder: str | None = None,
        *,
        drain: bool = False,
        timeout_s: float = 120.0,
    ) -> str:
        """Take a savepoint and end the job; gives the savepoint's path.

        Args:
            job_id: which job.
            folder: URI to write below; the cluster's savepoint folder where None.
            drain: let every timer fire first: for a job that will never be resumed.
            timeout_s: seconds to wait.

        Raises:
            FlinkError: where it fails; the job then goes on.
        """
        body = {"drain": drain, **({"targetDirectory": folder} if folder else {})}
        trigger = self._request("POST", f"/jobs/{job_id}/stop", body)["request-id"]
        path = self._savepoint_path(job_id, trigger, timeout_s)
        self.wait_ended(job_id)
        return path

    def cancel(self, job_id: str, timeout_s: float = 60.0) -> None:
        """End the job at once; its last checkpoint stays.

        Raises:
            FlinkError: where it does not end.
        """
        self._request("PATCH", f"/jobs/{job_id}?mode=cancel", None)
        self.wait_ended(job_id, timeout_s)

    def metric(self, job_id: str, vertex_id: str, name: str) -> float | None:
        """Sum of a metric over the subtasks of a vertex; None where it is not reported."""
        found = self.get(f"/jobs/{job_id}/vertices/{vertex_id}/subtasks/metrics?get={name}&agg=sum")
        return float(found[0]["sum"]) if found else None

    def _state_or_none(self, job_id: str) -> str | None:
        try:
            return self.state(job_id)
        except FlinkError:
            return None

    def _savepoint_path(self, job_id: str, trigger: str, timeout_s: float) -> str:
        deadline = time.monotonic() + timeout_s
        while True:
            found = self.get(f"/jobs/{job_id}/savepoints/{trigger}")
            if found["status"]["id"] == "COMPLETED":
                break
            if time.monotonic() > deadline:
                raise FlinkError(f"job {job_id}: no savepoint within {timeout_s:.0f} s")
            time.sleep(0.1)
        operation = found["operation"]
        if "location" not in operation:
            why = (operation.get("failure-cause") or {}).get("stack-trace", "")
            raise FlinkError(f"job {job_id}: the savepoint failed: {_first_lines(why)}")
        return str(operation["location"])

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the operator names the JobManager
            f"{self.url}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as reply:  # noqa: S310 - see above
                return json.loads(reply.read() or b"{}")
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode("utf-8", "replace")
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                text = "\n".join(json.loads(text)["errors"])
            message = f"{method} {path}: {error.code}: {_first_lines(text)}"
            raise FlinkError(message, status=error.code) from None
        except (OSError, ValueError) as error:
            raise FlinkError(f"no JobManager answers at {self.url} ({error})") from None


def _first_lines(text: str, count: int = 6) -> str:
    lines = [line for line in text.splitlines() if not line.startswith("\t")]
    return "\n".join(lines[:count])
