"""`scripts/submit`: submits a job to a Flink cluster, upgrades or resumes it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from operators.compose import compose_cascade
from schemas.campaign_job import load_campaigns
from schemas.errors import SluiceError
from schemas.feedback_job import load_feedback
from schemas.media_job import load_media
from schemas.settings import ROOT, load_settings
from schemas.tables_conf import load_tables, warehouse_uri
from scripts.cli.cluster import address, options
from scripts.cli.flink_package import pack
from scripts.cli.flink_rest import FlinkRest
from scripts.cli.flink_submit import (
    Interpreter,
    Submission,
    SubmitError,
    archived_interpreter,
    check_cluster,
    checkpoint_folder,
    interpreter,
    latest_checkpoint,
    local_path,
    own_interpreter,
    submit,
)
from scripts.cli.kafka_topics import ensure_topics
from scripts.cli.lake.turns import submitting
from scripts.cli.on_stack import point_at_stack

app = typer.Typer(add_completion=False, rich_markup_mode=None)

Job = Literal["moderation", "media", "rescan", "feedback", "campaigns", "tables"]
"""As `jobs.submit_entry` knows them."""
_LOOPBACK = ("127.0.0.1:", "localhost:", "[::1]:")


@app.command()
def main(
    *,
    jobmanager: Annotated[
        str | None,
        typer.Option(
            envvar="SLUICE_JOBMANAGER",
            help="host:port of its REST interface; the local one's if none.",
        ),
    ] = None,
    job: Annotated[Job, typer.Option(help="Which job.")] = "moderation",
    profile: Annotated[
        str, typer.Option(help="A profile of conf/profiles, or the path of a YAML file.")
    ] = "cluster",
    parallelism: Annotated[
        int | None, typer.Option(min=1, help="Subtasks, one slot each; the profile's if none.")
    ] = None,
    from_savepoint: Annotated[
        str | None, typer.Option(metavar="PATH", help="Savepoint or checkpoint to go on from.")
    ] = None,
    from_latest_checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Go on from the newest retained checkpoint there; auto: this job's."
        ),
    ] = None,
    upgrade: Annotated[
        bool,
        typer.Option("--upgrade", help="Stop the running job by a savepoint, go on from that."),
    ] = False,
    allow_dropped_state: Annotated[
        bool,
        typer.Option("--allow-dropped-state", help="State of operators that are gone may be lost."),
    ] = False,
    python: Annotated[
        str | None, typer.Option(metavar="PATH", help="Interpreter on the TaskManagers; this one.")
    ] = None,
    archive: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Archive of a Python environment to send along."),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE, one of Flink's options; repeatable.")
    ] = None,
    make_topics: Annotated[
        bool, typer.Option("--make-topics", help="Make the topics that are not there.")
    ] = False,
    package_only: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Only write the package there and print its path."),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until every subtask runs.")] = True,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for that.")] = 120.0,
) -> None:
    """Submit a job and print its id. What goes on from nothing starts with empty state."""
    given = [name for name in (from_savepoint, from_latest_checkpoint, upgrade or None) if name]
    if len(given) > 1:
        raise SluiceError("give one of --from-savepoint, --from-latest-checkpoint and --upgrade")
    where = address(jobmanager)
    if where.startswith(_LOOPBACK):
        point_at_stack()
    settings = load_settings(profile)
    if job == "moderation":
        compose_cascade(settings)  # each of its files is checked before anything is touched
    elif job in {"media", "rescan"}:
        load_media(ROOT / settings.media.config)
    elif job == "feedback":
        load_feedback(ROOT / settings.feedback.config)
    elif job == "campaigns":
        load_campaigns(ROOT / settings.campaigns.config)
    elif job == "tables":
        load_tables(ROOT / settings.tables.config)
        _say(f"tables in {warehouse_uri(settings)}")
    if package_only:
        print(pack(package_only, settings, profile).path)
        return
    if make_topics:
        ensure_topics(settings)
    rest = FlinkRest(where)
    check_cluster(rest, job)
    checkpoints = checkpoint_folder(rest, settings, job)
    savepoint = from_savepoint
    if from_latest_checkpoint:
        savepoint = _latest(from_latest_checkpoint, checkpoints)
    savepoint = _make_room(rest, f"sluice-{job}", upgrade=upgrade) or savepoint
    _say(f"Kafka {settings.kafka.bootstrap}, checkpoints below {checkpoints}")
    _say(f"going on from {savepoint}" if savepoint else _fresh(checkpoints))
    _say_slots(rest, parallelism or settings.flink.parallelism)
    submission = Submission(
        where,
        settings,
        profile,
        job,
        parallelism,
        savepoint,
        allow_dropped_state=allow_dropped_state,
        options=options(option or []),
    )
    with _turn(submission) as note:
        job_id = submit(submission, _interpreter(python, archive))
        note(job_id)
    if wait:
        rest.wait_running(job_id, timeout)
    print(job_id)


@contextlib.contextmanager
def _turn(submission: Submission) -> Iterator[Callable[[str], None]]:
    """See that nobody else writes what the job writes; what this gives takes the job's id."""
    if submission.job != "tables":
        yield lambda _: None
        return
    with submitting(warehouse_uri(submission.settings), submission.address) as note:
        yield note


def _make_room(rest: FlinkRest, name: str, *, upgrade: bool) -> str | None:
    """See that no job of this name runs; gives the savepoint that ended one for an upgrade."""
    running = rest.live_jobs(name)
    if upgrade:
        if len(running) != 1:
            raise SubmitError(f"there are {len(running)} running jobs {name}, not one")
        return rest.stop(running[0].id)
    if running:
        raise SubmitError(
            f"{name} runs already ({running[0].id}, {running[0].state}); --upgrade replaces it"
            " without loss"
        )
    return None


def _latest(folder: str, own: str) -> str:
    looked = own if folder == "auto" else folder
    found = latest_checkpoint(looked)
    if found is None:
        raise SubmitError(f"there is no complete checkpoint below {looked}")
    return found


def _say_slots(rest: FlinkRest, wanted: int) -> None:
    free = int(rest.overview()["slots-available"])
    if free < wanted:
        _say(f"the job needs {wanted} slots, {free} are free now: it will wait for them")


def _interpreter(python: str | None, archive: str | None) -> Interpreter:
    if python and archive:
        raise SluiceError("give one of --python and --archive")
    if archive:
        return archived_interpreter(archive)
    return interpreter(python) if python else own_interpreter()


def _fresh(checkpoints: str) -> str:
    newest = latest_checkpoint(checkpoints) if local_path(checkpoints) else None
    if newest is None:
        return "starting with empty state"
    return f"starting with empty state, though there is {newest} (--from-latest-checkpoint auto)"


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def run() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app(prog_name="scripts/submit")
    except SluiceError as error:
        sys.exit(f"submit: {error}")


if __name__ == "__main__":
    run()
