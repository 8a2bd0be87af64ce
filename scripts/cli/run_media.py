"""Run the media job on an embedded mini-cluster, in the foreground."""

from __future__ import annotations

import os
from typing import Final

import typer

from jobs.local import MODEST_JVM_ARGS
from operators.yielding import yield_to_others
from schemas.media_job import load_media
from schemas.settings import ROOT, Settings, load_settings
from scripts.cli.run_job import (
    BoundedOption,
    ProfileOption,
    ResumeOption,
    exit_with,
    run_beside,
)

_ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
app = typer.Typer(add_completion=False, help=__doc__)


@app.command()
def main(
    profile: ProfileOption = "dev",
    bounded: BoundedOption = False,
    resume: ResumeOption = False,
) -> None:
    """Run the media job until SIGTERM or Ctrl-C; print `ready` once it reads from Kafka."""
    exit_with(lambda: run(load_settings(profile), bounded=bounded, resume=resume))


def run(settings: Settings, *, bounded: bool, resume: bool = False, name: str = "media") -> int:
    """Run the job in this process; gives the exit status.

    Args:
        settings: of the moderation job beside it.
        bounded: work off what is in the topics now.
        resume: go on from the newest retained checkpoint.
        name: of its module in `jobs`.
    """
    load_media(ROOT / settings.media.config)  # it is checked before anything starts
    if settings.media.background:
        stand_back()
    # As on a cluster; the mini-cluster would run the function in this process otherwise.
    os.environ["_python_worker_execution_mode"] = "process"  # noqa: SIM112 - PyFlink's own name
    return run_beside(name, settings, bounded=bounded, resume=resume)


def stand_back() -> None:
    """Have this process, and all that it will start, yield to the job that is in a hurry."""
    yield_to_others()
    os.environ.setdefault("JVM_ARGS", MODEST_JVM_ARGS)
    for name in _ONE_THREAD:
        os.environ.setdefault(name, "1")


if __name__ == "__main__":
    app()
