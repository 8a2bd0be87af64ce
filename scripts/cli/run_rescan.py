"""Run the rescan job on an embedded mini-cluster, in the foreground."""

from __future__ import annotations

import typer

from schemas.settings import load_settings
from scripts.cli.run_job import ProfileOption, ResumeOption, exit_with
from scripts.cli.run_media import run

app = typer.Typer(add_completion=False, help=__doc__)


@app.command()
def main(
    profile: ProfileOption = "dev",
    resume: ResumeOption = False,
) -> None:
    """Run the rescan job until SIGTERM or Ctrl-C; print `ready` once it reads from Kafka."""
    exit_with(lambda: run(load_settings(profile), bounded=False, resume=resume, name="rescan"))


if __name__ == "__main__":
    app()
