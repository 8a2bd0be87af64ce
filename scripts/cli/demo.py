"""`scripts/demo`: real uploads through a real broker and the real job into decisions."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from schemas.errors import SluiceError
from schemas.settings import Settings, load_settings
from scripts.cli.demo_ledger import Ledger, percentile
from scripts.cli.demo_run import Demo, endless
from scripts.cli.demo_view import WARMUP_S, View, print_summary
from scripts.cli.kafka_topics import delete_topics, ensure_topics
from scripts.cli.local_stack import DEFAULT_DIR, Stack, resolve
from scripts.cli.processes import interruptible, started_at
from scripts.cli.samples import UPLOADS

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def summarise(ledger: Ledger, *, begin: float, unsent: list[str]) -> dict[str, Any]:
    """Make the object of `--json`: counts, and milliseconds between broker times."""
    warm, every = ledger.latencies(skip_s=WARMUP_S), ledger.latencies()
    first = ledger.first_decision_at
    return {
        "uploads": ledger.uploads,
        "decisions": ledger.decisions,
        "dead_letters": ledger.dead_letters.total(),
        "undecided": ledger.outstanding(),
        "unsent": len(unsent),
        "duplicate_ids": ledger.duplicates,
        "conflicting_ids": len(ledger.conflicts),
        "p50_ms": percentile(warm, 0.5),
        "p99_ms": percentile(warm, 0.99),
        "p99_all_ms": percentile(every, 0.99),
        "warmup_s": WARMUP_S,
        "first_decision_s": None if first is None else round(first - begin, 2),
        "actions": dict(ledger.actions.most_common()),
        "stages": dict(ledger.stages.most_common()),
        "categories": dict(ledger.categories.most_common()),
        "statuses": dict(ledger.statuses.most_common()),
        "dead_letter_kinds": dict(ledger.dead_letters.most_common()),
        "degraded": dict(ledger.degraded.most_common()),
        "other_records": dict(ledger.others.most_common()),
        "media": {
            "uploads": ledger.media,
            "looked_at": ledger.media - ledger.unseen(),
            "actions": dict(ledger.later_actions.most_common()),
        },
        "by_kind": {kind: dict(counts) for kind, counts in sorted(ledger.by_kind.items())},
    }


@contextlib.contextmanager
def a_stack(work: Path, *, kafka: str | None, redis: str | None, keep: bool) -> Iterator[Stack]:
    """The addresses given, else the local stack if it is up, else one of this run's own.

    One of this run's own may still be starting: `Stack.wait` waits for it.
    """
    local = Stack()
    if kafka is None and redis is None and local.kafka_up() and local.redis_up():
        yield local
        return
    directory = DEFAULT_DIR if keep else work / "stack"
    stack = Stack(directory, kafka=kafka, redis=redis, die_with_parent=not keep, quick=not keep)
    try:
        yield stack.launch()
    except BaseException:
        stack.down(wipe=not keep)
        raise
    if not keep:
        stack.down(wipe=True)


@app.command()
def demo(
    *,
    seconds: Annotated[
        float | None,
        typer.Option(min=1, help="How long to publish. [default: 20; with --input, the file once]"),
    ] = None,
    rate: Annotated[float, typer.Option(min=1, help="Uploads a second.")] = 200.0,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the job, Kafka and Redis running.")
    ] = False,
    file: Annotated[
        Path | None,
        typer.Option("--input", exists=True, dir_okay=False, help="JSONL uploads of your own."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with one JSON object on standard output.")
    ] = False,
    kafka: Annotated[
        str | None,
        typer.Option(envvar="SLUICE_KAFKA__BOOTSTRAP", help="Use this broker, start none."),
    ] = None,
    redis: Annotated[
        str | None,
        typer.Option(envvar="SLUICE_REDIS__URL", help="Use the Redis at this URL, start none."),
    ] = None,
    patience: Annotated[
        float, typer.Option(min=1, help="Seconds to wait for the last answers.")
    ] = 30.0,
    media: Annotated[
        bool, typer.Option(help="Run the media job as well, on pictures and clips drawn for it.")
    ] = True,
    profile: Annotated[str, typer.Option(help="The job's profile.")] = "dev",
    job: Annotated[
        str, typer.Option(hidden=True, help="Module that runs the job.")
    ] = "scripts.cli.run_job",
) -> None:
    """Publish sample uploads to Kafka, run the moderation job on them, show what it decides.

    Starts what is not there (Kafka, Redis, a Flink mini-cluster), works in topics of its own,
    and stops what it started. Exit status 1 if an upload got neither a decision nor a dead
    letter, or if two different decisions came under one id.
    """
    begin = started_at(os.getpid())
    console = Console(stderr=as_json)
    ledger = Ledger()
    view = View(console, ledger)
    name = f"demo-{secrets.token_hex(3)}"
    base = load_settings(profile)
    uploads = file or UPLOADS
    once = file is not None and seconds is None
    duration = 0.0 if once else (seconds or 20.0)
    work = DEFAULT_DIR.parent / name
    run: Demo | None = None
    interrupted = False
    try:
        with interruptible(), contextlib.ExitStack() as cleanup:
            cleanup.callback(view.end)
            if not keep:
                cleanup.callback(shutil.rmtree, work, ignore_errors=True)
            view.say("starting Kafka and Redis, or finding them")
            stack = cleanup.enter_context(a_stack(work, kafka=kafka, redis=redis, keep=keep))
            settings = _for_this_run(resolve(base, kafka=stack.kafka, redis=stack.redis_url), name)
            run = Demo(
                settings,
                job=job,
                directory=work,
                pid_file=(DEFAULT_DIR if keep else work) / f"{name}.pid",
                keep=keep,
                view=view,
                ledger=ledger,
                media=media,
            )
            left = cleanup.enter_context(contextlib.ExitStack())
            left.callback(run.stop)
            _bring_up(run, stack, settings, view)
            if not keep and not _owns_broker(stack, work):
                cleanup.callback(_drop_topics, settings)
            view.say("waiting for the job")
            run.wait_ready()
            view.begin()
            view.say(f"publishing {uploads.name} at {rate:.0f}/s")
            lines = functools.partial(
                endless, uploads, once=once, media=run.drawn if file is None else None
            )
            run.run(lines, rate=rate, seconds=duration, patience=patience)
            if keep:
                left.pop_all()
            view.end()
            view.say("done" if keep else "stopping what was started")
    except KeyboardInterrupt:
        interrupted = True
        if run is None:
            raise typer.Exit(130) from None
    summary = summarise(ledger, begin=begin, unsent=run.unsent)
    print_summary(console, ledger, summary)
    _explain(console, ledger, run, keep=keep and not interrupted)
    if as_json:
        print(json.dumps(summary))
    if interrupted:
        raise typer.Exit(130)
    bad = summary["undecided"] or summary["conflicting_ids"] or summary["unsent"]
    raise typer.Exit(1 if bad or not summary["decisions"] else 0)


def _bring_up(run: Demo, stack: Stack, settings: Settings, view: View) -> None:
    """Start the job first: it takes longest, and waits for its topics by itself."""
    view.say("starting the moderation job")
    run.start_job()
    stack.wait()
    view.say(f"Kafka at {stack.kafka}, Redis at {stack.redis}; making the topics")
    ensure_topics(settings)


def _owns_broker(stack: Stack, work: Path) -> bool:
    """Whether the broker was started for this run, and goes with all its topics."""
    return stack.directory == work / "stack" and stack.kafka_process.pid is not None


def _for_this_run(settings: Settings, name: str) -> Settings:
    """Topics and a consumer group of its own: nothing of other jobs or runs gets in."""
    kafka = settings.kafka.model_copy(
        update={
            "topic_prefix": f"{settings.kafka.topic_prefix}.{name}",
            "group_id": f"{settings.kafka.group_id}-{name}",
        }
    )
    return settings.model_copy(update={"kafka": kafka})


def _drop_topics(settings: Settings) -> None:
    # The broker may be gone already, and then so are they.
    with contextlib.suppress(SluiceError):
        delete_topics(settings)


def _explain(console: Console, ledger: Ledger, run: Demo, *, keep: bool) -> None:
    """Say what went wrong, and what goes on running."""
    for reason in run.unsent[:3]:
        console.print(f"[red]not published:[/] {reason}")
    for place in ledger.unanswered():
        console.print(f"[red]no answer:[/] {place}")
    for identity, fields in list(ledger.conflicts.items())[:5]:
        console.print(f"[red]conflicting decisions:[/] {identity} differs in {', '.join(fields)}")
    if keep:
        variables = " ".join(f"{name}={value}" for name, value in run.environment().items())
        console.print("still running; look on with", highlight=False)
        console.print(f"  export {variables}", highlight=False, soft_wrap=True)
        console.print("  scripts/consume decisions", highlight=False)
        console.print("and stop all of it with scripts/stack down", highlight=False)


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app(prog_name="scripts/demo")
    except SluiceError as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
