"""Whose turn it is to write the tables, with a job on a cluster among those who may."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import pytest

from scripts.cli.lake.turns import NOTE, SubmittedJob, TablesBusyError, submitting, writing


class JobManager:
    """What answers for a JobManager: the list of its jobs."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, object]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                assert self.path == "/jobs/overview"
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps({"jobs": outer.jobs}).encode())

            def log_message(self, *_: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def job(self, job_id: str, state: str, name: str = "sluice-tables") -> None:
        self.jobs.append({"jid": job_id, "name": name, "state": state, "start-time": 1})

    def away(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def manager() -> Iterator[JobManager]:
    manager = JobManager()
    yield manager
    manager.away()


def busy(warehouse: str, says: str, *, who: str = "scripts/erase") -> None:
    with pytest.raises(TablesBusyError, match=says), writing(warehouse, who):
        raise AssertionError("it is not our turn")


def submitted(warehouse: str, manager: JobManager, job_id: str = "ab12") -> None:
    with submitting(warehouse, manager.address) as note:
        note(job_id)


def test_a_job_on_a_cluster_has_the_turn_while_it_lives(
    tmp_path: Path, manager: JobManager
) -> None:
    warehouse = (tmp_path / "lake").as_uri()
    submitted(warehouse, manager)
    for state in ("CREATED", "RUNNING", "RESTARTING", "SUSPENDED"):
        manager.jobs = []
        manager.job("ff00", "RUNNING", "sluice-moderation")
        manager.job("ab12", state)
        busy(warehouse, rf"ab12 \({state}\) .* .scripts/cluster stop ab12 --jobmanager 127")
    # Recovered or submitted by other means, it has another id.
    manager.jobs = []
    manager.job("ab12", "FINISHED")
    manager.job("cd34", "RUNNING")
    busy(warehouse, "cd34", who="scripts/run_tables")
    manager.jobs.pop()
    with writing(warehouse, "scripts/erase"):
        # Nor is one submitted from here meanwhile.
        with pytest.raises(TablesBusyError, match="scripts/erase"):
            submitted(warehouse, manager)
        assert not (tmp_path / "lake" / NOTE).exists()
    submitted(warehouse, manager, "cd34")
    manager.job("cd34", "RUNNING")
    busy(warehouse, "cd34")


def test_where_nobody_answers_a_person_has_to_say_so(tmp_path: Path, manager: JobManager) -> None:
    warehouse = tmp_path.as_uri()
    submitted(warehouse, manager)
    manager.away()
    busy(warehouse, r"ab12 .* cannot be asked .* --job-stopped")
    busy(warehouse, "ab12")
    with writing(warehouse, "scripts/erase", job_stopped=True):
        pass
    with writing(warehouse, "scripts/erase"):
        pass


def test_an_address_of_another_machine_is_not_asked_for_on_this(
    tmp_path: Path, manager: JobManager
) -> None:
    note = SubmittedJob("ab12", manager.address, "another-machine")
    (tmp_path / NOTE).write_bytes(msgspec.json.encode(note))
    busy(tmp_path.as_uri(), "from another-machine .* --job-stopped")
    (tmp_path / NOTE).write_bytes(b"{")
    busy(tmp_path.as_uri(), "delete it")


def test_a_note_is_read_where_there_is_no_lock(manager: JobManager) -> None:
    warehouse = "memory://turns/lake"
    with writing(warehouse, "scripts/erase"):
        pass
    submitted(warehouse, manager)
    manager.job("ab12", "RUNNING")
    busy(warehouse, "ab12")
    manager.jobs = []
    with writing(warehouse, "scripts/erase"):
        pass
