"""Run the feedback job on an embedded mini-cluster, in the foreground."""

from __future__ import annotations

import typer

from jobs.local import prepare_jvm
from schemas.feedback_job import load_feedback
from schemas.settings import ROOT, Settings, load_settings
from scripts.cli.run_job import (
    BoundedOption,
    ProfileOption,
    ResumeOption,
    exit_with,
    follow,
    stop_on_signals,
)

app = typer.Typer(add_completion=False, help=__doc__)


@app.command()
def main(
    profile: ProfileOption = "dev",
    bounded: BoundedOption = False,
    resume: ResumeOption = False,
) -> None:
    """Run the feedback job until SIGTERM or Ctrl-C; print `ready` once it reads from Kafka."""
    exit_with(lambda: run(load_settings(profile), bounded=bounded, resume=resume))


def run(settings: Settings, *, bounded: bool, resume: bool = False) -> int:
    """Run the job in this process; gives the exit status."""
    stop = stop_on_signals()
    load_feedback(ROOT / settings.feedback.config)  # it is checked before anything starts
    prepare_jvm("feedback", settings)
    # PyFlink takes seconds to import: only once the settings are known to be right.
    from jobs.environment import make_environment  # noqa: PLC0415
    from jobs.feedback import build, job_settings  # noqa: PLC0415

    settings = job_settings(settings, local=True)
    env, t_env = make_environment(settings, resume=resume)
    build(t_env, settings, bounded=bounded)
    return follow(env, "sluice-feedback", settings, stop, bounded=bounded)


if __name__ == "__main__":
    app()
