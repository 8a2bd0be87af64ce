"""What `flink run` executes: builds one job from its settings and hands it to the cluster.

    flink run ... --pyModule jobs.submit_entry --sluice-job moderation --profile cluster

Settings come from the profile and the environment of the process that submits; the tasks get
them with the job. `scripts/submit` puts the command together.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Final, NamedTuple

from jobs.environment import make_environment
from jobs.shipped_code import ship
from schemas.errors import SluiceError
from schemas.settings import load_settings


class _Job(NamedTuple):
    """Where a job is built, and the functions that it hands to PyFlink."""

    module: str
    functions: tuple[str, ...]


JOBS: Final = {
    "moderation": _Job("jobs.moderation", ("operators.moderate:Moderate",)),
    "media": _Job("jobs.media", ("operators.media_udf:LookAtMedia",)),
    "rescan": _Job("jobs.rescan", ("operators.rescan:Rescan",)),
    "feedback": _Job("jobs.feedback", ("operators.feedback:Join",)),
    "campaigns": _Job(
        "jobs.campaigns",
        ("operators.campaigns:Sign", "operators.campaigns:Count", "operators.campaigns:Register"),
    ),
    "tables": _Job("jobs.tables", ()),  # enters no Python
}


def main(arguments: list[str] | None = None) -> None:
    """Build and execute one job."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--job", "--sluice-job", dest="job", choices=sorted(JOBS), default="moderation"
    )
    parser.add_argument("--profile", default="cluster")
    parser.add_argument(
        "--package", help="name of the folder that --pyFiles unpacks, where code travels"
    )
    parser.add_argument("--jar", action="append", default=[], help="URL of a jar to take along")
    options = parser.parse_args(arguments)
    job = JOBS[options.job]
    settings = load_settings(options.profile)
    if options.package:
        ship([_class(name) for name in job.functions], options.package)
    module = importlib.import_module(job.module)
    # A job that needs other settings than the moderation job says which.
    if hasattr(module, "job_settings"):
        settings = module.job_settings(settings, local=False)
    env, t_env = make_environment(settings, local=False)
    if options.jar:
        env.add_jars(*options.jar)
    module.build(t_env, settings)
    env.execute_async(f"sluice-{options.job}")


def _class(name: str) -> type:
    module, _, attribute = name.partition(":")
    found: type = getattr(importlib.import_module(module), attribute)
    return found


if __name__ == "__main__":
    try:
        main()
    except SluiceError as error:
        sys.exit(f"error: {error}")
