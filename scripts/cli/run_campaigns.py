"""Run the campaigns job on an embedded mini-cluster, in the foreground."""

from __future__ import annotations

import typer

from jobs.local import prepare_jvm
from schemas.campaign_job import load_campaigns
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
    """Run the campaigns job until SIGTERM or Ctrl-C; print `ready` once it reads from Kafka."""
    exit_with(lambda: run(load_settings(profile), bounded=bounded, resume=resume))


def run(settings: Settings, *, bounded: bool, resume: bool = False) -> int:
    """Run the job in this process; gives the exit status."""
    stop = stop_on_signals()
    load_campaigns(ROOT / settings.campaigns.config)  # it is checked before anything starts
    prepare_jvm("campaigns", settings)
    # PyFlink takes seconds to import: only once the settings are known to be right.
    from jobs.campaigns import build, job_settings  # noqa: PLC0415
    from jobs.environment import make_environment  # noqa: PLC0415

    settings = job_settings(settings, local=True)
    env, t_env = make_environment(settings, resume=resume)
    build(t_env, settings, bounded=bounded)
    return follow(env, "sluice-campaigns", settings, stop, bounded=bounded)


if __name__ == "__main__":
    app()
