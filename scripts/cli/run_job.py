"""Run the moderation job on an embedded mini-cluster, in the foreground."""

from __future__ import annotations

import importlib
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, NoReturn

import typer

from jobs.local import LOGS, LocalJob, prepare_jvm
from schemas.errors import SluiceError
from schemas.settings import Settings, load_settings

app = typer.Typer(add_completion=False, help=__doc__)

ProfileOption = Annotated[
    str, typer.Option(help="A profile of conf/profiles, or the path of a YAML file.")
]
BoundedOption = Annotated[
    bool, typer.Option("--bounded", help="Work off what is in the topics now, then end.")
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on from the newest retained checkpoint.")
]


@app.command()
def main(
    profile: ProfileOption = "dev",
    bounded: BoundedOption = False,
    resume: ResumeOption = False,
) -> None:
    """Run the moderation job until SIGTERM or Ctrl-C; print `ready` once it reads from Kafka."""
    exit_with(lambda: run(load_settings(profile), bounded=bounded, resume=resume))


def exit_with(work: Callable[[], int]) -> NoReturn:
    """End the process with the status that `work` gives; errors are sentences, not traces."""
    try:
        sys.exit(work())
    except SluiceError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:  # noqa: BLE001 - py4j's own, a hundred lines of Java each
        print(f"error: {_root_cause(error)}; the log is in {LOGS}", file=sys.stderr)
        sys.exit(1)


def _root_cause(error: Exception) -> str:
    """The last `Caused by` of a Java trace, or the error itself."""
    causes = [
        line.removeprefix("Caused by: ")
        for line in str(error).splitlines()
        if line.startswith("Caused by: ")
    ]
    return causes[-1] if causes else f"{type(error).__name__}: {error}"


def run(settings: Settings, *, bounded: bool, resume: bool = False) -> int:
    """Run the job in this process; gives the exit status."""
    stop = stop_on_signals()
    prepare_jvm("moderation", settings)
    # PyFlink takes seconds to import: only once the settings are known to be right.
    from pyflink.java_gateway import get_gateway  # noqa: PLC0415

    # The JVM starts while this process imports; who needs it first waits for it there.
    threading.Thread(target=get_gateway, daemon=True).start()
    from jobs.environment import make_environment  # noqa: PLC0415
    from jobs.moderation import build  # noqa: PLC0415
    from operators.compose import compose_cascade  # noqa: PLC0415

    with ThreadPoolExecutor(1) as checker:
        # Each file of the cascade is checked before anything starts, while the JVM gets ready.
        checked = checker.submit(compose_cascade, settings)
        env, t_env = make_environment(settings, resume=resume)
        build(t_env, settings, bounded=bounded)
        checked.result()
    return follow(env, "sluice-moderation", settings, stop, bounded=bounded)


def run_beside(name: str, settings: Settings, *, bounded: bool, resume: bool) -> int:
    """Run a job that works beside the moderation job in this process; gives the exit status.

    Args:
        name: of its module in `jobs`, which has `job_settings` and `build`.
        settings: of the moderation job. What the job reads besides is checked by who calls.
        bounded: work off what is in the topics now.
        resume: go on from the newest retained checkpoint.
    """
    stop = stop_on_signals()
    prepare_jvm(name, settings)
    # PyFlink takes seconds to import: only once the settings are known to be right.
    from jobs.environment import make_environment  # noqa: PLC0415

    job = importlib.import_module(f"jobs.{name}")
    settings = job.job_settings(settings, local=True)
    env, t_env = make_environment(settings, resume=resume)
    job.build(t_env, settings, bounded=bounded)
    return follow(env, f"sluice-{name}", settings, stop, bounded=bounded)


def stop_on_signals() -> threading.Event:
    """What SIGTERM and Ctrl-C set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def follow(env: Any, name: str, settings: Settings, stop: threading.Event, *, bounded: bool) -> int:
    """Start what was built once its topics are there, say when it reads, and wait for its end.

    Args:
        env: the execution environment.
        name: of the job.
        settings: say how long to wait for the topics.
        stop: ends the job.
        bounded: it ends by itself.

    Returns:
        The exit status.
    """
    if settings.kafka.patience_s:
        from scripts.cli.kafka_topics import wait_for_topics  # noqa: PLC0415 - rarely needed

        if not wait_for_topics(settings, stop.is_set):
            return 0
    job = LocalJob(env.execute_async(name))
    if not bounded and job.wait_until_reading(120, stop.is_set):
        print(f"web UI {job.url}", file=sys.stderr)
        print("ready", flush=True)
    while not stop.wait(0.3):
        status = job.status()
        if status == "FINISHED":
            return 0
        if status in {"FAILED", "CANCELED"}:
            print("error: the job failed; its log is in .run/logs", file=sys.stderr)
            return 1
    job.cancel()
    return 0


if __name__ == "__main__":
    app()
