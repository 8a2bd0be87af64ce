"""Configuration of a standalone Flink cluster, and how its JVMs are started from it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import yaml

from schemas.settings import ROOT
from scripts.cli.flink_wheel import FLINK_HOME
from scripts.cli.processes import ProcessError

TEMPLATE: Final = ROOT / "conf/flink/cluster.yaml"
"""What people may change, short of addresses, ports and folders."""

Role = Literal["JM", "TM"]

_LONG: Final[dict[Role, str]] = {"JM": "jobmanager", "TM": "taskmanager"}
_MEMORY: Final = "org.apache.flink.runtime.util.bash.BashJavaUtils"
_RESULT: Final = "BASH_JAVA_UTILS_EXEC_RESULT:"
_ZOO: Final = """\
tickTime=1000
initLimit=10
syncLimit=5
dataDir={data}
clientPort={port}
clientPortAddress=127.0.0.1
admin.enableServer=false
"""


class Launch(NamedTuple):
    """How the JVM of a role is started, as Flink works it out from the configuration."""

    jvm: list[str]
    """Arguments of the JVM itself."""
    dynamic: list[str]
    """Arguments of the program: the memory of each part."""


def flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flink's options by their full names, however deeply a YAML file nests them."""
    found: dict[str, str] = {}
    for name, value in document.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = str(value).lower() if isinstance(value, bool) else str(value)
    return found


def base_options(
    directory: Path, ports: Mapping[str, int], checkpoints: Path, savepoints: Path
) -> dict[str, str]:
    """Options of a cluster on this machine: the template's, and what only the command knows.

    Args:
        directory: of the cluster.
        ports: of `rest` and `rpc`.
        checkpoints: their folder.
        savepoints: their folder.
    """
    wheel = flat(yaml.safe_load((FLINK_HOME / "conf/config.yaml").read_text("utf-8")))
    return {
        # Without these the JVM refuses Flink (and PyFlink) what they need.
        "env.java.opts.all": wheel["env.java.opts.all"],
        **flat(yaml.safe_load(TEMPLATE.read_text("utf-8"))),
        "jobmanager.rpc.address": "127.0.0.1",
        "jobmanager.rpc.port": str(ports.get("rpc", 0)),
        "jobmanager.bind-host": "127.0.0.1",
        "taskmanager.host": "127.0.0.1",
        "taskmanager.bind-host": "127.0.0.1",
        "rest.address": "127.0.0.1",
        "rest.bind-address": "127.0.0.1",
        "rest.port": str(ports.get("rest", 0)),
        "io.tmp.dirs": str(directory / "tmp"),
        "execution.checkpointing.dir": checkpoints.as_uri(),
        "execution.checkpointing.savepoint-dir": savepoints.as_uri(),
    }


def zookeeper_options(directory: Path, ports: Mapping[str, int]) -> dict[str, str]:
    """Options by which the JobManager keeps what it must remember in a ZooKeeper.

    Args:
        directory: of the cluster.
        ports: of `rpc` and `zookeeper`.
    """
    return {
        "high-availability.type": "zookeeper",
        "high-availability.cluster-id": "/sluice",
        "high-availability.storageDir": (directory / "ha").as_uri(),
        "high-availability.jobmanager.port": str(ports.get("rpc", 0)),
        "high-availability.zookeeper.quorum": f"127.0.0.1:{ports.get('zookeeper', 0)}",
        # How long a dead JobManager's claim to lead holds up the next one.
        "high-availability.zookeeper.client.session-timeout": "6 s",
        "high-availability.zookeeper.client.connection-timeout": "5 s",
        # It listens on the loopback interface alone.
        "zookeeper.sasl.disable": "true",
    }


def write_configuration(conf: Path, options: Mapping[str, str], data: Path, port: int) -> None:
    """Write Flink's and ZooKeeper's configuration files.

    Args:
        conf: folder that gets them.
        options: Flink's.
        data: ZooKeeper's folder.
        port: ZooKeeper's port.
    """
    (conf / "config.yaml").write_text(yaml.safe_dump(dict(options)), "utf-8")
    (conf / "zoo.cfg").write_text(_ZOO.format(data=data, port=port), "utf-8")


def work_out(role: Role, options: Mapping[str, str], conf: Path, class_path: str) -> Launch:
    """Ask Flink how to start the JVM of a role, as its shell scripts do.

    Args:
        role: which.
        options: the configuration.
        conf: the folder that it was written to.
        class_path: of the cluster.

    Raises:
        ProcessError: where Flink refuses the configuration, with its words.
    """
    utilities = FLINK_HOME / "bin/bash-java-utils.jar"
    command = ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{utilities}:{class_path}", _MEMORY]
    command += [f"GET_{role}_RESOURCE_PARAMS", "--configDir", str(conf)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    found = [line.removeprefix(_RESULT) for line in lines if line.startswith(_RESULT)]
    if len(found) != 2:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
        raise ProcessError(f"Flink refuses its configuration:\n{said}")
    own = options["env.java.opts.all"].split()
    own += options.get(f"env.java.opts.{_LONG[role]}", "").split()
    return Launch([*found[0].split(), *own], found[1].split())
