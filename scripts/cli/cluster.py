"""`scripts/cluster`: a standalone Flink cluster on this machine, and the jobs of any cluster."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated

import typer

from schemas.errors import SluiceError
from scripts.cli.flink_cluster import DEFAULT_DIR, FlinkCluster
from scripts.cli.flink_rest import FlinkRest, Job
from scripts.cli.processes import interruptible

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, rich_markup_mode=None)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
JobManagerOption = Annotated[
    str | None,
    typer.Option(
        envvar="SLUICE_JOBMANAGER", help="host:port of its REST interface; the local one's if none."
    ),
]
JobArgument = Annotated[
    str | None, typer.Argument(help="Id or name of the job; may be left out where one runs.")
]
FolderOption = Annotated[
    str | None, typer.Option(help="URI to write below, if not the cluster's own.")
]


@app.command()
def up(
    taskmanagers: Annotated[
        int, typer.Option("--taskmanagers", "-t", min=1, help="At least so many, one slot each.")
    ] = 2,
    option: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE, one of Flink's options; repeatable.")
    ] = None,
    high_availability: Annotated[
        bool | None,
        typer.Option(
            "--high-availability/--no-high-availability",
            help="A ZooKeeper remembers the jobs when the JobManager dies (at first: yes).",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Start what does not run (after a crash: again), print the addresses."""
    cluster = FlinkCluster(
        options=options(option) if option else None, high_availability=high_availability
    )
    fresh = cluster.jobmanager.pid is None and not any(
        process.pid for process in cluster.taskmanagers.values()
    )
    try:
        with interruptible():
            cluster.up(taskmanagers)
    except KeyboardInterrupt:
        if fresh:
            cluster.down()
        raise
    _print(cluster, as_json=as_json)


@app.command()
def down(
    wipe: Annotated[
        bool, typer.Option(help="Delete checkpoints, savepoints and logs too.")
    ] = False,
) -> None:
    """Stop the local cluster. Its jobs come back with `up`, unless they were stopped before."""
    FlinkCluster().down(wipe=wipe)


@app.command()
def status(as_json: JsonOption = False) -> None:
    """Print addresses and processes. Exit status 1 unless all of them are there."""
    if not _print(FlinkCluster(), as_json=as_json):
        raise typer.Exit(1)


@app.command()
def jobs(jobmanager: JobManagerOption = None, as_json: JsonOption = False) -> None:
    """List the jobs, newest first."""
    found = FlinkRest(address(jobmanager)).jobs()
    if as_json:
        print(json.dumps([job._asdict() for job in found]))
        return
    for job in found:
        print(f"{job.id}  {job.state:10}  {job.name}")


@app.command()
def savepoint(
    job: JobArgument = None,
    *,
    folder: FolderOption = None,
    jobmanager: JobManagerOption = None,
) -> None:
    """Take a savepoint of a job that goes on, print its path."""
    rest = FlinkRest(address(jobmanager))
    print(rest.savepoint(find(rest, job).id, folder))


@app.command()
def stop(
    job: JobArgument = None,
    *,
    folder: FolderOption = None,
    jobmanager: JobManagerOption = None,
) -> None:
    """Take a savepoint and end the job, print the savepoint's path."""
    rest = FlinkRest(address(jobmanager))
    print(rest.stop(find(rest, job).id, folder))


@app.command()
def cancel(job: JobArgument = None, *, jobmanager: JobManagerOption = None) -> None:
    """End a job without a savepoint. Its newest checkpoint stays."""
    rest = FlinkRest(address(jobmanager))
    rest.cancel(find(rest, job).id)


def address(given: str | None) -> str:
    """`host:port` of a JobManager: as given, or the local cluster's."""
    return given or FlinkCluster().address


def find(rest: FlinkRest, wanted: str | None) -> Job:
    """One job that has not ended, by id or name.

    Raises:
        SluiceError: where none or several fit.
    """
    live = rest.live_jobs()
    fitting = [job for job in live if wanted in {None, job.id, job.name}]
    if len(fitting) != 1:
        listed = ", ".join(f"{job.name} ({job.id})" for job in live) or "none"
        raise SluiceError(f"name one of the jobs that run: {listed}")
    return fitting[0]


def options(given: list[str]) -> dict[str, str]:
    """NAME=VALUE pairs of a command line.

    Raises:
        SluiceError: where one is not such a pair.
    """
    parsed = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise SluiceError(f"an option is NAME=VALUE, not {pair}")
        parsed[name] = value
    return parsed


def _print(cluster: FlinkCluster, *, as_json: bool) -> bool:
    found = cluster.status()
    if as_json:
        print(json.dumps(found))
    else:
        print(f"jobmanager  {found['url'] if found['jobmanager_pid'] else 'down'}")
        for tm in found["taskmanagers"]:
            state = f"pid {tm['pid']}, metrics {tm['metrics']}" if tm["pid"] else "down"
            print(f"{tm['name']:10}  {state}{'' if tm['registered'] else ' (not registered)'}")
        print(f"slots       {found['slots_free']} of {found['slots']} free")
        print(f"files in    {DEFAULT_DIR}")
    return bool(found["up"])


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    os.umask(0o077)  # checkpoints hold what users wrote
    try:
        app(prog_name="scripts/cluster")
    except SluiceError as error:
        sys.exit(f"cluster: {error}")


if __name__ == "__main__":
    main()
