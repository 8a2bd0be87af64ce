"""A Flink environment for a Sluice job: thread-mode Python, jars, state, checkpoints, restarts."""

from __future__ import annotations

import sys
import sysconfig
import urllib.parse
from pathlib import Path
from typing import Final

from pyflink.common import Configuration
from pyflink.datastream import RuntimeExecutionMode, StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from jobs.checkpoints import newest_checkpoint
from schemas.errors import ConfigError
from schemas.settings import ROOT, Settings

_PROMETHEUS: Final = "org.apache.flink.metrics.prometheus.PrometheusReporterFactory"
JARS: Final = ROOT / ".build" / "jars"


def make_environment(
    settings: Settings, *, local: bool = True, resume: bool = False
) -> tuple[StreamExecutionEnvironment, StreamTableEnvironment]:
    """Make the environments of one job.

    Args:
        settings: the job's settings.
        local: an embedded mini-cluster; False where the job is submitted by `flink run`,
            which brings interpreter, jars and parallelism itself.
        resume: go on from the newest retained checkpoint (a local job; starts anew where
            there is none).

    Raises:
        ConfigError: where the connector jars are missing.
    """
    config = Configuration()
    for name, value in _options(settings, local=local).items():
        config.set_string(name, value)
    newest = newest_checkpoint(_local_checkpoints(settings)) if resume else None
    if newest is not None:
        config.set_string("execution.state-recovery.path", newest.as_uri())
    env = StreamExecutionEnvironment.get_execution_environment(config)
    env.set_runtime_mode(RuntimeExecutionMode.STREAMING)
    if local:
        env.set_parallelism(settings.flink.parallelism)
    t_env = StreamTableEnvironment.create(env)
    return env, t_env


def _local_checkpoints(settings: Settings) -> Path:
    """Folder of the checkpoints, where that is on this machine."""
    configured = settings.flink.checkpoint_dir
    if not configured:
        return ROOT / ".run" / "checkpoints"
    parts = urllib.parse.urlsplit(configured)
    if parts.scheme not in {"", "file"}:
        raise ConfigError(
            f"cannot look for checkpoints in {configured}", field="flink.checkpoint_dir"
        )
    return Path(urllib.parse.unquote(parts.path))


def _options(settings: Settings, *, local: bool) -> dict[str, str]:
    flink = settings.flink
    checkpoints = flink.checkpoint_dir
    if "://" not in checkpoints:
        checkpoints = _local_checkpoints(settings).resolve().as_uri()
    options = {
        # One Python interpreter inside the task thread: no gRPC between engine and function.
        "python.execution-mode": "thread",
        "execution.buffer-timeout.interval": f"{flink.buffer_timeout_ms} ms",
        "execution.checkpointing.interval": f"{flink.checkpoint_interval_ms} ms",
        "execution.checkpointing.mode": "AT_LEAST_ONCE",
        "execution.checkpointing.dir": checkpoints,
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.num-retained": "2",
        # A checkpoint that fails (a full disk) does not stop the stream.
        "execution.checkpointing.tolerable-failed-checkpoints": "1000000",
        "execution.checkpointing.timeout": "60 s",
        "state.backend.type": flink.state_backend,
        "execution.checkpointing.incremental": str(flink.state_backend == "rocksdb").lower(),
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": str(flink.restart_attempts),
        "restart-strategy.fixed-delay.delay": f"{flink.restart_delay_ms} ms",
        # SQL operators need fixed uids as well, or a changed plan loses the source's offsets.
        "table.exec.uid.generation": "ALWAYS",
        "table.exec.source.idle-timeout": "0 ms",
        "pipeline.object-reuse": "true",
    }
    if local:
        jars = sorted(JARS.glob("*.jar"))
        if not jars:
            raise ConfigError("no connector jars; run scripts/setup", file=str(JARS))
        options |= {
            "pipeline.jars": ";".join(jar.as_uri() for jar in jars),
            # In a virtual environment thread mode finds nothing by itself.
            "python.executable": sys.executable,
            "python.client.executable": sys.executable,
            "python.pythonpath": f"{sysconfig.get_paths()['purelib']}:{ROOT}",
            # 0: whichever port is free when Flink binds it.
            "rest.bind-port": str(flink.rest_port),
            "rest.bind-address": "127.0.0.1",
            # A local mini-cluster: one slot a TaskManager means one operator a process there;
            # here the subtasks share this process and its GIL.
            "taskmanager.numberOfTaskSlots": str(flink.parallelism),
            "taskmanager.memory.network.max": "128m",
        }
        if flink.metrics_port:
            options |= {
                "metrics.reporter.prom.factory.class": _PROMETHEUS,
                "metrics.reporter.prom.port": flink.metrics_port,
                # Or le="+Inf" would come out as "_Inf", and no quantile could be had.
                "metrics.reporter.prom.filterLabelValueCharacters": "false",
            }
    else:
        if not flink.checkpoint_dir:
            # A folder of this machine means nothing elsewhere: the cluster's own setting counts.
            del options["execution.checkpointing.dir"]
        # The highest parallelism that the state can ever be spread over; fixed by the first
        # savepoint. Flink would derive it from the first parallelism, and stop at 128.
        options["pipeline.max-parallelism"] = "1024"
    return {**options, **flink.options}


def prometheus_jar() -> Path:
    """Where the wheel keeps the Prometheus reporter (a mini-cluster does not load plugins)."""
    import pyflink  # noqa: PLC0415 - only to find its folder

    folder = Path(pyflink.__file__).parent / "plugins" / "metrics-prometheus"
    return next(iter(folder.glob("*.jar")))
