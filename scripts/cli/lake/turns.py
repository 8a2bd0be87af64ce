"""Who may write the tables: one at a time.

The job that fills them compacts them as well. Somebody else who rewrites files at the same time
would take away files that the job is about to compact; Paimon notices, and the job fails and
starts again. So the job and the commands that delete take turns: by a lock beside the tables among
the processes of one machine, and by a note beside the tables about a job on a cluster, which is
asked whether it still runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import fsspec
import msgspec
import typer

from schemas.errors import SluiceError
from scripts.cli.flink_rest import FlinkError, FlinkRest

JobStopped = Annotated[
    bool,
    typer.Option(
        "--job-stopped", help="The tables job on the cluster does not run; do not ask for it."
    ),
]
"""Option of the commands that write."""
_LOCK: Final = "writer.lock"
NOTE: Final = "cluster-job.json"
"""Beside the tables: which job was submitted last to fill them."""
JOB: Final = "sluice-tables"
_LOOPBACK: Final = ("127.", "localhost", "[::1]")
_ASK_S: Final = 5.0


class TablesBusyError(SluiceError):
    """Somebody else writes the tables now."""


class SubmittedJob(msgspec.Struct, frozen=True):
    """The note about a job on a cluster."""

    job_id: str
    address: str
    """`host:port` of the JobManager's REST interface, as seen from `host`."""
    host: str


@contextlib.contextmanager
def writing(warehouse: str, who: str, *, job_stopped: bool = False) -> Iterator[None]:
    """Hold the turn to write.

    Args:
        warehouse: URI of the tables' folder. The lock is there on a file system of this machine
            alone; on others commands of two machines may meet.
        who: for the error of the next one.
        job_stopped: somebody says that no job on a cluster writes any more; it is not asked.

    Raises:
        TablesBusyError: somebody else has it, or may have it.
    """
    with _locked(warehouse, who):
        note = _read(warehouse)
        if note is not None:
            if not job_stopped:
                _check_ended(note)
            _remove(warehouse)
        yield


@contextlib.contextmanager
def submitting(warehouse: str, address: str) -> Iterator[Callable[[str], None]]:
    """Hold the turn while a job is submitted; what this gives notes its id.

    Args:
        warehouse: URI of the tables' folder.
        address: `host:port` of the JobManager's REST interface.

    Raises:
        TablesBusyError: somebody on this machine writes the tables now.
    """

    def note(job_id: str) -> None:
        _write(warehouse, SubmittedJob(job_id, address, socket.gethostname()))

    with _locked(warehouse, "scripts/submit"):
        yield note


@contextlib.contextmanager
def _locked(warehouse: str, who: str) -> Iterator[None]:
    parts = urllib.parse.urlsplit(warehouse)
    if parts.scheme != "file":
        yield
        return
    folder = Path(urllib.parse.unquote(parts.path))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise TablesBusyError(
                f"{lock.read().strip() or 'another command'} writes the tables in {folder};"
                " stop it first (scripts/run_tables goes on with --resume afterwards)"
            ) from None
        lock.truncate(0)
        lock.write(who)
        lock.flush()
        yield


def _check_ended(note: SubmittedJob) -> None:
    """See that no job that fills tables runs where the last one was submitted."""
    doubt = (
        f"job {note.job_id} was submitted from {note.host} to {note.address} to fill these tables"
    )
    if note.address.startswith(_LOOPBACK) and note.host != socket.gethostname():
        raise TablesBusyError(f"{doubt}; if it has been stopped since, say so by --job-stopped")
    try:
        live = FlinkRest(note.address, timeout_s=_ASK_S).live_jobs(JOB)
    except FlinkError as error:
        raise TablesBusyError(
            f"{doubt}, and it cannot be asked whether it runs ({error}); if it has been stopped,"
            " say so by --job-stopped"
        ) from None
    if live:
        raise TablesBusyError(
            f"job {live[0].id} ({live[0].state}) on {note.address} writes the tables; stop it first"
            f" (scripts/cluster stop {live[0].id} --jobmanager {note.address}); afterwards"
            " scripts/submit --job tables --from-savepoint goes on from the path that it prints"
        )


def _read(warehouse: str) -> SubmittedJob | None:
    system, path = _file(warehouse)
    if not system.exists(path):
        return None
    try:
        return msgspec.json.decode(system.cat_file(path), type=SubmittedJob)
    except msgspec.DecodeError as error:
        raise TablesBusyError(f"{path} cannot be read: {error}; delete it") from None


def _write(warehouse: str, note: SubmittedJob) -> None:
    system, path = _file(warehouse)
    system.makedirs(path.rpartition("/")[0], exist_ok=True)
    system.pipe_file(path, msgspec.json.encode(note))


def _remove(warehouse: str) -> None:
    system, path = _file(warehouse)
    system.rm_file(path)


def _file(warehouse: str) -> tuple[Any, str]:
    system, path = fsspec.core.url_to_fs(f"{warehouse}/{NOTE}")
    return system, str(path)
