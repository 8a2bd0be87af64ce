"""A standalone Flink cluster from the installed wheel: one JobManager, N TaskManagers.

Everything is in one folder, on free ports of 127.0.0.1. `FlinkCluster` is a library: the
commands and the tests start, kill and restart its processes. The JVMs are started directly
rather than by the wheel's shell scripts, which take four times as long and hide the pid; their
memory is worked out by the same class of Flink's that the scripts ask.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from schemas.settings import ROOT
from scripts.cli.flink_config import (
    Launch,
    Role,
    base_options,
    work_out,
    write_configuration,
    zookeeper_options,
)
from scripts.cli.flink_rest import FlinkError, FlinkRest
from scripts.cli.flink_wheel import FLINK_HOME, library
from scripts.cli.processes import Process, ProcessError, free_port, port_is_free, wait_until

DEFAULT_DIR: Final = Path(os.environ.get("SLUICE_RUN_DIR", ROOT / ".run")) / "cluster"
"""Where `scripts/cluster` keeps its cluster."""

_LOGGING: Final = ROOT / "conf/flink/log4j-cluster.properties"
_START_TIMEOUT_S: Final = 90.0
_QUICK_JVM: Final = ("-XX:TieredStopAtLevel=1",)
"""A start in less CPU time, never fast."""

_SESSION: Final = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_APPLICATION: Final = "org.apache.flink.container.entrypoint.StandaloneApplicationClusterEntryPoint"
_TASKMANAGER: Final = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
_ZOOKEEPER: Final = "org.apache.flink.runtime.zookeeper.FlinkZooKeeperQuorumPeer"


class FlinkCluster:
    """A JobManager and TaskManagers in one folder.

    Args:
        directory: holds configuration, logs, pid files, checkpoints and savepoints.
        options: more of Flink's options; these win over `conf/flink/cluster.yaml`.
        high_availability: a ZooKeeper beside it keeps what the JobManager must remember, so
            that a JobManager that is started again takes its jobs up from their newest
            checkpoints. None: as the folder was last used, with it at first.
        application: arguments of an application cluster, whose JobManager runs one program and
            takes no other jobs (`--job-classname CLASS ...`). A session cluster where empty.
        die_with_parent: what is started ends with this process, `kill -9` included.
        quick: the JVMs start faster and never get fast; for tests.

    As a context manager it is down and wiped after.
    """

    def __init__(
        self,
        directory: Path = DEFAULT_DIR,
        *,
        options: Mapping[str, str] | None = None,
        high_availability: bool | None = None,
        application: Sequence[str] = (),
        die_with_parent: bool = False,
        quick: bool = False,
    ) -> None:
        self.directory = directory.absolute()
        self.application = tuple(application)
        self.die_with_parent = die_with_parent
        self.quick = quick
        self.jobmanager = Process(self.directory / "jobmanager.pid")
        self.zookeeper = Process(self.directory / "zookeeper.pid")
        self._taskmanagers: dict[str, Process] = {}
        self._launches: dict[Role, Launch] = {}
        self._state_file = self.directory / "cluster.json"
        self._state: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            self._state = json.loads(self._state_file.read_text("utf-8"))
        if options is not None:
            self._state["options"] = dict(options)
        if high_availability is not None:
            self._state["high_availability"] = high_availability

    @property
    def address(self) -> str:
        """`host:port` of the JobManager's REST interface, for `scripts/submit`."""
        return f"127.0.0.1:{self._state.get('rest', 0)}"

    @property
    def rest(self) -> FlinkRest:
        """Client of the JobManager."""
        return FlinkRest(self.address)

    @property
    def high_availability(self) -> bool:
        """Whether a ZooKeeper keeps the JobManager's memory."""
        return bool(self._state.get("high_availability", True))

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.directory / "checkpoints"

    @property
    def savepoints(self) -> Path:
        """Folder of the savepoints."""
        return self.directory / "savepoints"

    @property
    def taskmanagers(self) -> dict[str, Process]:
        """TaskManagers that were started here, dead ones included, by name (tm-1, ...)."""
        return {name: self.taskmanager(name) for name in self._state.get("taskmanagers", {})}

    def taskmanager(self, name: str) -> Process:
        """One TaskManager's process."""
        if name not in self._taskmanagers:
            self._taskmanagers[name] = Process(self.directory / f"{name}.pid")
        return self._taskmanagers[name]

    def log(self, name: str) -> Path:
        """Log of `jobmanager`, `zookeeper` or a TaskManager."""
        return self.directory / "log" / f"{name}.log"

    def status(self) -> dict[str, Any]:
        """Addresses and pids: the object that `scripts/cluster status --json` prints."""
        registered: dict[str, str] = {}
        try:
            registered = self._registered()
            overview = self.rest.overview()
        except FlinkError:
            overview = {}
        ports = self._state.get("taskmanagers", {})
        return {
            "up": bool(overview) and bool(registered),
            "jobmanager": self.address,
            "url": f"http://{self.address}",
            "jobmanager_pid": self.jobmanager.pid,
            "jobmanager_metrics": f"127.0.0.1:{self._state.get('metrics', 0)}",
            "high_availability": self.high_availability,
            "zookeeper_pid": self.zookeeper.pid,
            "taskmanagers": [
                {
                    "name": name,
                    "pid": process.pid,
                    "registered": name in registered,
                    "metrics": f"127.0.0.1:{ports[name]}",
                }
                for name, process in self.taskmanagers.items()
            ],
            "slots_free": int(overview.get("slots-available", 0)),
            "slots": int(overview.get("slots-total", 0)),
            "jobs_running": int(overview.get("jobs-running", 0)),
            "directory": str(self.directory),
        }

    def up(self, taskmanagers: int = 1) -> Self:
        """Start what does not run; returns when everybody is registered. Safe to call again.

        Args:
            taskmanagers: at least so many. None is ever stopped by this.

        Raises:
            ProcessError: with the end of the log, if one does not start.
        """
        with self._locked():
            self._configure()
            if self.high_availability:
                self._start_zookeeper()
            self._start_jobmanager()
            names = self._state.setdefault("taskmanagers", {})
            for number in range(1, taskmanagers + 1):
                names.setdefault(f"tm-{number}", 0)
            for name in names:
                self._start_taskmanager(name)
            self._await_all()
        return self

    def down(self, *, wipe: bool = False) -> None:
        """Stop everything. Checkpoints, savepoints and logs stay.

        Args:
            wipe: delete those too.
        """
        if not self.directory.exists():
            return
        with self._locked():
            everybody = [*self.taskmanagers.values(), self.jobmanager, self.zookeeper]
            for process in everybody:
                process.stop(patience_s=10.0)
            self._state["taskmanagers"] = {}
            self._save()
            shutil.rmtree(self.directory / "tmp", ignore_errors=True)
        if wipe:
            shutil.rmtree(self.directory, ignore_errors=True)
            self._state = {}

    def start_jobmanager(self) -> None:
        """Start the JobManager again on its old ports; returns when it leads and answers."""
        with self._locked():
            self._configure()
            self._start_jobmanager()
            self._await("the JobManager", self.jobmanager, self.rest.answers)

    def kill_jobmanager(self) -> None:
        """End the JobManager as a power cut would."""
        self.jobmanager.kill()

    def add_taskmanager(self) -> str:
        """Start one TaskManager more; returns its name when it is registered."""
        names = self._state.get("taskmanagers", {})
        number = next(n for n in range(1, len(names) + 2) if f"tm-{n}" not in names)
        self.start_taskmanager(f"tm-{number}")
        return f"tm-{number}"

    def start_taskmanager(self, name: str) -> None:
        """Start a TaskManager (again, under its old name) and wait until it is registered."""
        with self._locked():
            self._configure()
            self._state.setdefault("taskmanagers", {}).setdefault(name, 0)
            before = None
            with contextlib.suppress(FlinkError):
                # A dead one of that name counts as registered until its heartbeat is missed.
                before = self._registered().get(name)
            self._start_taskmanager(name)
            self._await(
                f"TaskManager {name}",
                self.taskmanager(name),
                lambda: self._registered().get(name, before) != before,
            )

    def kill_taskmanager(self, name: str) -> None:
        """End a TaskManager as a power cut would."""
        self.taskmanager(name).kill()

    def stop_taskmanager(self, name: str) -> None:
        """End a TaskManager in order; `up` will not bring it back."""
        self.taskmanager(name).stop()
        with self._locked():
            self._state["taskmanagers"].pop(name, None)
            self._save()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.down(wipe=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _save(self) -> None:
        self._state_file.write_text(json.dumps(self._state), "utf-8")

    def _configure(self) -> None:
        """Write the configuration, as long as nothing runs that has read it."""
        users = {
            "rest": self.jobmanager,
            "rpc": self.jobmanager,
            "metrics": self.jobmanager,
            "zookeeper": self.zookeeper,
        }
        for name, process in users.items():
            port = self._state.get(name)
            if port is None or (process.pid is None and not port_is_free(port)):
                self._state[name] = free_port(*self._ports())
        self._save()
        conf = self.directory / "conf"
        for folder in (conf, self.directory / "log", self.directory / "tmp"):
            folder.mkdir(exist_ok=True)
        library(self.directory / "lib")
        zookeeper, port = self.directory / "zookeeper", int(self._state["zookeeper"])
        write_configuration(conf, self.options(), zookeeper, port)
        shutil.copyfile(_LOGGING, conf / "log4j.properties")

    def options(self) -> dict[str, str]:
        """The configuration that the processes are started with."""
        ports = {name: port for name, port in self._state.items() if type(port) is int}
        found = base_options(self.directory, ports, self.checkpoints, self.savepoints)
        if self.high_availability:
            found |= zookeeper_options(self.directory, ports)
        given: dict[str, str] = self._state.get("options", {})
        return found | given

    def _start_zookeeper(self) -> None:
        if self.zookeeper.pid is None:
            (self.directory / "zookeeper").mkdir(exist_ok=True)
            zoo = self.directory / "conf/zoo.cfg"
            jvm = ["-Xmx128m", "-XX:+UseSerialGC"]
            self._java(self.zookeeper, jvm, _ZOOKEEPER, "--zkConfigFile", str(zoo), "--peerId", "1")

    def _start_jobmanager(self) -> None:
        if self.jobmanager.pid is None:
            how = self._launch("JM")
            self._java(
                self.jobmanager, how.jvm, _APPLICATION if self.application else _SESSION,
                *how.dynamic, "-D", f"metrics.reporter.prom.port={self._state['metrics']}",
                "--configDir", str(self.directory / "conf"), *self.application,
            )  # fmt: skip

    def _start_taskmanager(self, name: str) -> None:
        process = self.taskmanager(name)
        if process.pid is not None:
            return
        ports = self._state["taskmanagers"]
        if not ports[name] or not port_is_free(ports[name]):
            ports[name] = free_port(*self._ports())
        self._save()
        how = self._launch("TM")
        self._java(
            process, how.jvm, _TASKMANAGER,
            "--configDir", str(self.directory / "conf"), *how.dynamic,
            # Under its old name it replaces its dead predecessor at once.
            "-D", f"taskmanager.resource-id={name}",
            "-D", f"metrics.reporter.prom.port={ports[name]}",
        )  # fmt: skip

    def _ports(self) -> list[int]:
        own = [port for port in self._state.values() if isinstance(port, int)]
        return [*own, *self._state.get("taskmanagers", {}).values()]

    def _class_path(self) -> str:
        return ":".join(str(jar) for jar in sorted((self.directory / "lib").glob("*.jar")))

    def _launch(self, role: Role) -> Launch:
        if role not in self._launches:
            conf = self.directory / "conf"
            self._launches[role] = work_out(role, self.options(), conf, self._class_path())
        return self._launches[role]

    def _java(self, process: Process, jvm: list[str], *program: str) -> None:
        log = self.log(process.name)
        logging = self.directory / "conf/log4j.properties"
        process.start(
            [
                "java", *jvm, *(_QUICK_JVM if self.quick else ()),
                f"-Dlog.file={log}", f"-Dlog4j.configurationFile={logging.as_uri()}",
                f"-Djava.io.tmpdir={self.directory / 'tmp'}",
                "-cp", self._class_path(), *program,
            ],
            log=log.with_suffix(".err"),
            env={
                # Batches are small and the cores few: more threads would cost more than they give.
                "OMP_NUM_THREADS": "1",
                "TOKENIZERS_PARALLELISM": "false",
                # Code comes with the job; a path of the caller's must not win over it.
                **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                "FLINK_CONF_DIR": str(self.directory / "conf"),
                "FLINK_LOG_DIR": str(self.directory / "log"),
                "FLINK_PLUGINS_DIR": str(FLINK_HOME / "plugins"),
                "FLINK_OPT_DIR": str(FLINK_HOME / "opt"),
            },
            cwd=self.directory,
            die_with_parent=self.die_with_parent,
        )  # fmt: skip

    def _await_all(self) -> None:
        self._await("the JobManager", self.jobmanager, self.rest.answers)
        for name, process in self.taskmanagers.items():
            registered = functools.partial(self._is_registered, name)
            self._await(f"TaskManager {name}", process, registered)

    def _is_registered(self, name: str) -> bool:
        return name in self._registered()

    def _registered(self) -> dict[str, str]:
        """Addresses of the TaskManagers that the JobManager knows, by name."""
        return {str(t["id"]): str(t["path"]) for t in self.rest.taskmanagers()}

    def _await(self, what: str, process: Process, ready: Callable[[], bool]) -> None:
        def settled() -> bool:
            try:
                return process.pid is None or ready()
            except FlinkError:
                return False

        if not wait_until(settled, timeout_s=_START_TIMEOUT_S, every_s=0.1) or process.pid is None:
            log = self.log(process.name)
            said = log if log.is_file() else log.with_suffix(".err")
            raise ProcessError(f"{what} did not start", log=said)
