"""Run the campaigns job on an embedded mini-cluster, in the foreground."""

from __future__ import annotations

import typer

from schemas.campaign_job import load_campaigns
from schemas.settings import ROOT, Settings, load_settings
from scripts.cli.run_job import (
    BoundedOption,
    ProfileOption,
    ResumeOption,
    exit_with,
    run_beside,
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
    load_campaigns(ROOT / settings.campaigns.config)  # it is checked before anything starts
    return run_beside("campaigns", settings, bounded=bounded, resume=resume)


if __name__ == "__main__":
    app()
