"""One Kafka broker and one Redis on this machine, in one folder, on free ports.

The broker is a single KRaft node run from the jars in `.build/kafka`; Redis keeps nothing on
disk. `Stack` is a library: commands, the demo and the tests start, kill and restart it.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from schemas.settings import ROOT, Settings
from scripts.cli.probes import kafka_answers, redis_answers, redis_url_answers
from scripts.cli.processes import Process, ProcessError, free_port, port_is_free, wait_until

DEFAULT_DIR: Final = Path(os.environ.get("SLUICE_RUN_DIR", ROOT / ".run")) / "stack"
"""Where `scripts/stack` keeps its stack."""

_JARS: Final = ROOT / ".build/kafka"
_START_TIMEOUT_S: Final = 60.0
_QUICK_JVM: Final = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Half the CPU time of a start, a fraction of the peak throughput."""

_BROKER: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{kafka},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{kafka}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
# One node: every internal topic has one replica, and few partitions start faster.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# After `kill -9` a broker is let in again only when its former self's session has ended.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# The cleaner takes this from the heap at once; the default is a quarter of ours.
log.cleaner.dedupe.buffer.size=4194304
"""

_LOGGING: Final = """\
rootLogger.level=WARN
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %p %c{1}: %m%n
"""


class Stack:
    """Kafka and Redis in one folder.

    Args:
        directory: holds the data, the logs, the pid files and the ports.
        kafka: `host:port` of a broker to use instead of starting one.
        redis: URL of a Redis to use instead of starting one.
        die_with_parent: what is started ends with this process, `kill -9` included.
        quick: the broker starts in half the time and never gets fast; for tests and demos.

    As a context manager it is up inside, and down and wiped after.
    """

    def __init__(
        self,
        directory: Path = DEFAULT_DIR,
        *,
        kafka: str | None = None,
        redis: str | None = None,
        die_with_parent: bool = False,
        quick: bool = False,
    ) -> None:
        self.directory = directory
        self.quick = quick
        self.die_with_parent = die_with_parent
        self.kafka_process = Process(directory / "kafka.pid")
        self.redis_process = Process(directory / "redis.pid")
        self._state_file = directory / "stack.json"
        self._state: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            self._state = json.loads(self._state_file.read_text("utf-8"))
        if kafka:
            self._state["given_kafka"] = kafka
        if redis:
            self._state["given_redis"] = redis

    @property
    def kafka(self) -> str:
        """`host:port` of the broker."""
        return self._state.get("given_kafka") or f"127.0.0.1:{self._state.get('kafka', 0)}"

    @property
    def redis_url(self) -> str:
        """URL of Redis."""
        return (
            self._state.get("given_redis") or f"redis://127.0.0.1:{self._state.get('redis', 0)}/0"
        )

    @property
    def redis(self) -> str:
        """`host:port` of Redis."""
        parts = urlsplit(self.redis_url)
        return f"{parts.hostname or '127.0.0.1'}:{parts.port or 6379}"

    @property
    def kafka_log(self) -> Path:
        """What the broker says."""
        return self.directory / "logs/kafka.log"

    @property
    def redis_log(self) -> Path:
        """What Redis says."""
        return self.directory / "logs/redis.log"

    def kafka_up(self) -> bool:
        """Say whether the broker answers requests."""
        # A given broker may want TLS and a password first: that it listens must be enough.
        return kafka_answers(self.kafka, ask="given_kafka" not in self._state)

    def redis_up(self) -> bool:
        """Say whether Redis answers."""
        if "given_redis" in self._state:
            return redis_url_answers(self.redis_url)
        return redis_answers(self.redis)

    def up(self) -> Self:
        """Start what is not running; returns when both answer. Safe to call twice.

        Raises:
            ProcessError: with the end of the log, if one does not start.
        """
        self.launch()
        return self.wait()

    def launch(self) -> Self:
        """Start what is not running and do not wait: the addresses are known from now on."""
        with self._locked():
            self._choose_ports()
            if "given_redis" not in self._state:
                self._launch_redis()
            if "given_kafka" not in self._state:
                self._launch_kafka()
        return self

    def wait(self) -> Self:
        """Wait until both answer.

        Raises:
            ProcessError: with the end of the log, if one does not start.
        """
        self._await("redis")
        self._await("kafka")
        return self

    def down(self, *, wipe: bool = False) -> None:
        """Stop what this folder started, jobs attached to it first.

        Args:
            wipe: delete the data, the logs and the chosen ports too.
        """
        if not self.directory.exists():
            return
        with self._locked():
            ours = {self.kafka_process.pid_file, self.redis_process.pid_file}
            for pid_file in sorted(set(self.directory.glob("*.pid")) - ours):
                Process(pid_file).stop(patience_s=20.0)
            self.kafka_process.stop(patience_s=20.0)
            self.redis_process.stop()
            for given in ("given_kafka", "given_redis"):
                self._state.pop(given, None)
            self._save()
        if wipe:
            shutil.rmtree(self.directory, ignore_errors=True)
            self._state = {}

    def restart_kafka(self) -> None:
        """Start the broker again on its old ports with its old data, and wait for it."""
        self._launch_kafka()
        self._await("kafka")

    def restart_redis(self) -> None:
        """Start Redis again on its old port, empty, and wait for it."""
        self._launch_redis()
        self._await("redis")

    def status(self) -> dict[str, Any]:
        """Addresses, and what is up: the object that `scripts/stack status --json` prints."""
        kafka_up, redis_up = self.kafka_up(), self.redis_up()
        return {
            "up": kafka_up and redis_up,
            "kafka": self.kafka,
            "redis": self.redis,
            "redis_url": self.redis_url,
            "kafka_up": kafka_up,
            "redis_up": redis_up,
            "kafka_pid": self.kafka_process.pid,
            "redis_pid": self.redis_process.pid,
            "directory": str(self.directory),
        }

    def environment(self) -> dict[str, str]:
        """Environment variables that point the settings at this stack."""
        return {"SLUICE_KAFKA__BOOTSTRAP": self.kafka, "SLUICE_REDIS__URL": self.redis_url}

    def __enter__(self) -> Self:
        try:
            return self.up()
        except BaseException:
            self.down(wipe=True)
            raise

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

    def _choose_ports(self) -> None:
        """Keep the ports of last time where they can be had; clients may remember them."""
        users = {
            "kafka": self.kafka_process,
            "controller": self.kafka_process,
            "redis": self.redis_process,
        }
        for name, process in users.items():
            port = self._state.get(name)
            if port is None or (process.pid is None and not port_is_free(port)):
                taken = [self._state[other] for other in users if other in self._state]
                self._state[name] = free_port(*taken)
        self._state.setdefault("cluster_id", _kafka_uuid())
        self._save()

    def _save(self) -> None:
        self._state_file.write_text(json.dumps(self._state), "utf-8")

    def _launch_redis(self) -> None:
        if self.redis_process.pid is not None:
            return
        server = shutil.which("redis-server")
        if server is None:
            raise ProcessError("redis-server is not installed; run scripts/setup")
        options = {
            "port": self._state["redis"],
            "bind": "127.0.0.1",
            "protected-mode": "yes",
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
            "dir": self.directory,
        }
        command = [server, *(str(x) for name, v in options.items() for x in (f"--{name}", v))]
        self.redis_process.start(command, log=self.redis_log, die_with_parent=self.die_with_parent)

    def _launch_kafka(self) -> None:
        if self.kafka_process.pid is not None:
            return
        _broker_jar()
        data = self.directory / "kafka"
        config = self.directory / "server.properties"
        config.write_text(
            _BROKER.format(
                kafka=self._state["kafka"], controller=self._state["controller"], data=data
            ),
            "utf-8",
        )
        logging = self.directory / "log4j2.properties"
        logging.write_text(_LOGGING, "utf-8")
        java = ["java", "-cp", f"{_JARS}/*", f"-Dlog4j2.configurationFile={logging}"]
        if not (data / "meta.properties").is_file():
            self._format(java, config, data)
        tuning = _QUICK_JVM if self.quick else ("-XX:+UseSerialGC",)
        self.kafka_process.start(
            [*java, "-Xmx512m", *tuning, "kafka.Kafka", str(config)],
            log=self.kafka_log,
            die_with_parent=self.die_with_parent,
        )

    def _format(self, java: list[str], config: Path, data: Path) -> None:
        """Give the data folder its identity, once.

        The tool takes a second of a JVM's start to write two small files. The first, the
        metadata version to begin with, depends on Kafka's version alone and is kept; the
        second names the cluster.
        """
        kept = ROOT / ".build" / f"{_broker_jar().stem}.bootstrap.checkpoint"
        if kept.is_file():
            data.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(kept, data / "bootstrap.checkpoint")
            (data / "meta.properties").write_text(
                f"node.id=1\nversion=1\ncluster.id={self._state['cluster_id']}\n"
                f"directory.id={_kafka_uuid()}\n",
                "utf-8",
            )
            return
        command = [*java, *_QUICK_JVM, "kafka.tools.StorageTool", "format"]
        command += ["--cluster-id", self._state["cluster_id"], "--config", str(config)]
        self.kafka_log.parent.mkdir(parents=True, exist_ok=True)
        with self.kafka_log.open("ab") as log:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
            )
        if done.returncode != 0:
            raise ProcessError("the broker's data folder could not be made", log=self.kafka_log)
        partial = kept.with_suffix(f".{os.getpid()}")
        shutil.copyfile(data / "bootstrap.checkpoint", partial)
        partial.rename(kept)

    def _await(self, name: str) -> None:
        """Wait until a server answers; fail at once if its process ends."""
        given = f"given_{name}" in self._state
        process = self.kafka_process if name == "kafka" else self.redis_process
        answers = self.kafka_up if name == "kafka" else self.redis_up
        log = self.kafka_log if name == "kafka" else self.redis_log
        address = self.kafka if name == "kafka" else self.redis

        def settled() -> bool:
            return answers() or (not given and process.pid is None)

        wait_until(settled, timeout_s=3.0 if given else _START_TIMEOUT_S, every_s=0.05)
        if answers():
            return
        if given:
            raise ProcessError(f"no {name} answers at {address}")
        raise ProcessError(f"{name} did not start on {address}", log=log)


def _broker_jar() -> Path:
    jar = next(iter(_JARS.glob("kafka_*.jar")), None)
    if jar is None:
        raise ProcessError(f"no broker in {_JARS}; run scripts/setup")
    return jar


def _kafka_uuid() -> str:
    """Make an id as Kafka writes them: 128 random bits in URL-safe base64."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):  # command lines would take it for an option
            return text


def resolve(settings: Settings, *, kafka: str | None = None, redis: str | None = None) -> Settings:
    """Point settings at the addresses that count.

    In this order: the arguments, the environment, the local stack if it is up, the profile.
    """
    stack = Stack()
    if kafka is None and "SLUICE_KAFKA__BOOTSTRAP" not in os.environ and stack.kafka_up():
        kafka = stack.kafka
    if redis is None and "SLUICE_REDIS__URL" not in os.environ and stack.redis_up():
        redis = stack.redis_url
    updates: dict[str, Any] = {}
    if kafka:
        updates["kafka"] = settings.kafka.model_copy(update={"bootstrap": kafka})
    if redis:
        updates["redis"] = settings.redis.model_copy(update={"url": redis})
    return settings.model_copy(update=updates)
