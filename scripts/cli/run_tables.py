"""Run the tables job on an embedded mini-cluster, in the foreground."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.local import LocalJob, prepare_jvm
from operators.yielding import yield_to_others
from schemas.errors import ConfigError
from schemas.settings import ROOT, Settings, load_settings
from schemas.tables_conf import load_tables, warehouse_uri
from scripts.cli.lake.jars import put_on_class_path
from scripts.cli.lake.turns import JobStopped, writing
from scripts.cli.run_job import BoundedOption, ProfileOption, exit_with, stop_on_signals

app = typer.Typer(add_completion=False, help=__doc__)


@app.command()
def main(
    profile: ProfileOption = "dev",
    bounded: BoundedOption = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on from the newest retained checkpoint or savepoint."),
    ] = False,
    job_stopped: JobStopped = False,
) -> None:
    """Run the tables job until SIGTERM or Ctrl-C; print `ready` once it reads from Kafka."""
    exit_with(
        lambda: run(load_settings(profile), bounded=bounded, resume=resume, job_stopped=job_stopped)
    )


def run(settings: Settings, *, bounded: bool, resume: bool, job_stopped: bool = False) -> int:
    """Run the job in this process; gives the exit status."""
    if bounded and resume:
        # Where to stop is said when a job starts from nothing, and forgotten in its checkpoints.
        raise ConfigError("give one of --bounded and --resume")
    stop = stop_on_signals()
    load_tables(ROOT / settings.tables.config)  # it is checked before anything starts
    if settings.tables.background:
        yield_to_others()
    put_on_class_path()
    prepare_jvm("tables", settings)
    with writing(warehouse_uri(settings), "scripts/run_tables", job_stopped=job_stopped):
        # PyFlink takes seconds to import: only once the settings are known to be right.
        from jobs.environment import make_environment  # noqa: PLC0415
        from jobs.tables import build, job_settings  # noqa: PLC0415

        settings = job_settings(settings, local=True)
        env, t_env = make_environment(settings, resume=resume)
        build(t_env, settings, bounded=bounded)
        return _follow(env, settings, stop, bounded=bounded)


def _follow(env: Any, settings: Settings, stop: threading.Event, *, bounded: bool) -> int:
    """Start what was built, say when it reads, wait for its end; gives the exit status."""
    job = LocalJob(env.execute_async("sluice-tables"))
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
    # By a savepoint, so that every row that was read is in the tables: nothing waits for a
    # checkpoint while somebody else has the turn to write.
    folder = settings.flink.checkpoint_dir
    job.stop_with_savepoint(folder if "://" in folder else Path(folder).resolve().as_uri())
    return 0


if __name__ == "__main__":
    app()
