"""Submits a job to a Flink cluster by `flink run`, with everything it needs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple

from schemas.errors import SluiceError
from schemas.settings import Settings
from schemas.tables_conf import warehouse_uri
from scripts.cli.flink_package import Package, pack
from scripts.cli.flink_rest import FlinkRest
from scripts.cli.flink_wheel import CONNECTORS, FLINK_HOME, TABLES, library

ARCHIVE: Final = "python-environment"
"""Folder that an archive of a Python environment is unpacked into."""

_SUBMITTED: Final = re.compile(r"JobID ([0-9a-f]{32})")
_METADATA_MAGIC: Final = (0x4960672D).to_bytes(4, "big")
_KAFKA: Final = "flink-sql-connector-kafka-"
_RUNNER: Final = "flink-python-"
_LAKE: Final = ("paimon-flink-", "hadoop-client-api-", "hadoop-client-runtime-")


class SubmitError(SluiceError):
    """A job could not be submitted; the text says what to do."""


class Interpreter(NamedTuple):
    """The Python that the tasks run in."""

    executable: str
    """Path on the TaskManagers, or within the archive."""
    site_packages: str
    """Folder that holds pyflink and pemja there; empty within an archive."""
    archive: str | None = None
    """Path or URI of an archive that brings the interpreter along."""


class Submission(NamedTuple):
    """What is submitted, and how."""

    address: str
    """`host:port` of the JobManager's REST interface."""
    settings: Settings
    """As the job will read them from `profile` and the environment."""
    profile: str = "cluster"
    job: str = "moderation"
    parallelism: int | None = None
    """The settings' where None."""
    savepoint: str | None = None
    """Path or URI of the savepoint or checkpoint to go on from."""
    allow_dropped_state: bool = False
    """State of operators that are gone may be left behind."""
    options: Mapping[str, str] = {}
    """More of Flink's options for this job."""


def own_interpreter() -> Interpreter:
    """The Python that runs now: for TaskManagers of this machine, or with the same disk."""
    return interpreter(sys.executable)


def interpreter(executable: str) -> Interpreter:
    """The Python at a path of the TaskManagers.

    Asks it for its packages where that path is on this machine too, and follows the layout of
    virtual environments where not.
    """
    ask = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    path = Path(executable)
    if os.access(path, os.X_OK):
        done = subprocess.run([path, "-c", ask], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return Interpreter(executable, done.stdout.strip())
        raise SubmitError(f"{path} is no Python that runs: {done.stderr.strip()}")
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return Interpreter(executable, str(path.parent.parent / "lib" / name / "site-packages"))


def archived_interpreter(archive: str) -> Interpreter:
    """A Python environment in an archive (zip or tar.gz) whose top holds bin/ and lib/."""
    return Interpreter(f"{ARCHIVE}/bin/python", "", archive)


def check_cluster(rest: FlinkRest, job: str = "moderation") -> list[str]:
    """Look whether a cluster can run a job; gives URLs of jars that must come with it.

    Raises:
        SubmitError: saying what is wrong with the cluster.
        FlinkError: where nobody answers.
    """
    theirs, ours = str(rest.overview()["flink-version"]), version("apache-flink")
    if theirs.rpartition(".")[0] != ours.rpartition(".")[0]:
        raise SubmitError(f"the cluster runs Flink {theirs}, the job is made for {ours}")
    there = rest.class_path()
    if not any(jar.startswith(_RUNNER) for jar in there):
        raise SubmitError(
            f"the cluster has no {_RUNNER}{theirs}.jar in lib; copy it there from Flink's opt"
            " folder (on each machine) and restart the cluster"
        )
    if job == "tables":
        _check_lake(there)
    if any(jar.startswith(_KAFKA) for jar in there):
        return []
    jars = sorted(CONNECTORS.glob("*.jar"))
    if not jars:
        raise SubmitError(f"no connector jars in {CONNECTORS}; run scripts/setup")
    return [jar.as_uri() for jar in jars]


def _check_lake(there: list[str]) -> None:
    """Look whether Paimon is on both sides: the plan is made here, and runs there."""
    if not any(TABLES.glob("*.jar")):
        raise SubmitError(f"no jars of Paimon in {TABLES}; run scripts/setup --extra tables")
    missing = [name for name in _LAKE if not any(jar.startswith(name) for jar in there)]
    if missing:
        raise SubmitError(
            f"the cluster has no {', '.join(f'{name}*.jar' for name in missing)} in lib; copy what"
            f" is in {TABLES} there (on each machine) and restart the cluster"
        )


def checkpoint_folder(rest: FlinkRest, settings: Settings, job: str) -> str:
    """URI below which the job keeps its checkpoints: the setting's or the cluster's, by job.

    Raises:
        SubmitError: where neither says.
    """
    base = settings.flink.checkpoint_dir or rest.configuration().get("execution.checkpointing.dir")
    if not base:
        raise SubmitError(
            "nothing says where checkpoints go: set flink.checkpoint_dir in the profile to a"
            " folder that every machine of the cluster can reach (file:, hdfs:, s3:)"
        )
    return f"{base.rstrip('/')}/{job}"


def latest_checkpoint(folder: str) -> str | None:
    """URI of the newest complete checkpoint below a folder, of whichever run; None without.

    Raises:
        SubmitError: where the folder is not on a file system of this machine.
    """
    path = local_path(folder)
    if path is None:
        raise SubmitError(
            f"cannot look for checkpoints in {folder}; name one by --from-savepoint URI/chk-N"
        )
    found = [file for file in path.rglob("chk-*/_metadata") if _complete(file)]
    if not found:
        return None
    return max(found, key=lambda file: file.stat().st_mtime_ns).parent.as_uri()


def local_path(uri: str) -> Path | None:
    """The path of a `file:` URI or plain path; None for any other scheme."""
    parts = urllib.parse.urlsplit(uri)
    if parts.scheme not in {"", "file"}:
        return None
    return Path(urllib.parse.unquote(parts.path)).absolute()


def submit(submission: Submission, python: Interpreter | None = None) -> str:
    """Submit a job; gives its id. Whether it runs is another question: `FlinkRest.wait_running`.

    Args:
        submission: what and where.
        python: of the tasks; this very one where None.

    Raises:
        SubmitError: with what `flink run` says.
        FlinkError: where the JobManager does not answer.
    """
    rest = FlinkRest(submission.address)
    jars = check_cluster(rest, submission.job)
    checkpoints = checkpoint_folder(rest, submission.settings, submission.job)
    with tempfile.TemporaryDirectory(prefix="sluice-submit-") as folder:
        package = pack(Path(folder), submission.settings, submission.profile)
        return _flink_run(
            _command(submission, package, python or own_interpreter(), jars),
            _environment(submission, package, checkpoints, Path(folder)),
            Path(folder),
        )


def _command(
    submission: Submission, package: Package, python: Interpreter, jars: list[str]
) -> list[str]:
    host, _, port = submission.address.rpartition(":")
    options = {
        "rest.address": host,
        "rest.port": port,
        # PyFlink and its JVM bridge are found by this path alone in thread mode.
        **({"python.pythonpath": python.site_packages} if python.site_packages else {}),
        **submission.options,
    }
    parallelism = submission.parallelism or submission.settings.flink.parallelism
    command = [str(FLINK_HOME / "bin/flink"), "run", "--detached", "--target", "remote"]
    command += [f"-D{name}={value}" for name, value in options.items()]
    command += ["--parallelism", str(parallelism)]
    if submission.savepoint:
        command += ["--fromSavepoint", submission.savepoint]
        if submission.allow_dropped_state:
            command += ["--allowNonRestoredState"]
    if python.archive:
        command += ["--pyArchives", f"{python.archive}#{ARCHIVE}"]
    command += ["--pyClientExecutable", sys.executable, "--pyExecutable", python.executable]
    command += ["--pyFiles", str(package.path), "--pyModule", "jobs.submit_entry"]
    # Not --job: flink run takes that for its own --jobmanager, and the job gets nothing of it.
    command += [
        "--sluice-job",
        submission.job,
        "--profile",
        package.profile,
        "--package",
        package.name,
    ]
    return command + [part for jar in jars for part in ("--jar", jar)]


def _environment(
    submission: Submission, package: Package, checkpoints: str, scratch: Path
) -> dict[str, str]:
    # What the driver imports is the package, as the tasks will, not what lies about here.
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # The plan is made here: the client needs the connectors as well.
    library(scratch / "lib")
    return {
        "FLINK_CONF_DIR": str(FLINK_HOME / "conf"),
        "FLINK_LIB_DIR": str(scratch / "lib"),
        "FLINK_LOG_DIR": str(scratch),
        # The client lives for seconds; what it unpacks (the SQL planner) goes with the folder.
        "JVM_ARGS": f"-Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.io.tmpdir={scratch}",
        **own,
        **package.environment,
        "SLUICE_FLINK__CHECKPOINT_DIR": checkpoints,
        # A folder beside the code means this checkout, not the package.
        "SLUICE_TABLES__WAREHOUSE": warehouse_uri(submission.settings),
    }


def _flink_run(command: list[str], environment: dict[str, str], folder: Path) -> str:
    done = subprocess.run(
        command,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    found = _SUBMITTED.search(done.stdout)
    if found is None:
        raise SubmitError(f"flink run failed:\n{_telling(done.stdout)}")
    return found.group(1)


def _telling(output: str) -> str:
    """Our own error, if the job's settings were refused; or the lines that name a cause."""
    lines = [line.rstrip() for line in output.splitlines()]
    ours = [line for line in lines if line.startswith("error: ")]
    if ours:
        return "\n".join(ours)
    causes = [line for line in lines if line.startswith("Caused by") or "Error" in line]
    return "\n".join(causes[-8:] or lines[-15:])


def _complete(metadata: Path) -> bool:
    try:
        with metadata.open("rb") as file:
            return file.read(4) == _METADATA_MAGIC
    except OSError:  # deleted since: a running job subsumes its older checkpoints
        return False
