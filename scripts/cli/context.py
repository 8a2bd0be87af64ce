"""`scripts/context`: what is known about a thread, a community, or a content to its answers."""

from __future__ import annotations

import datetime as dt
import sys
from typing import Annotated, Any, Literal

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from operators.context_store import ContextStore, Surroundings
from schemas.errors import SluiceError
from schemas.settings import load_settings

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, rich_markup_mode=None)

Kind = Literal["thread", "community", "content"]


@app.callback()
def _commands() -> None:
    """Has the one command be named, as others will be."""


@app.command()
def show(
    kind: Annotated[Kind, typer.Argument(help="What the id is of.")],
    ident: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="Answers in no named thread are a thread under their parent's id."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    profile: Annotated[
        str, typer.Option(help="A profile of conf/profiles, or the path of a YAML file.")
    ] = "dev",
) -> None:
    """Show what an upload that comes now would be told, and what is kept for it."""
    settings = load_settings(profile)
    store = ContextStore(settings.redis, settings.context)
    found: Surroundings = getattr(store, kind)(ident)
    if as_json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        return
    _print(kind, ident, found)


def _print(kind: Kind, ident: str, found: Surroundings) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{escape(ident)}[/bold]" + ("" if found.kept else " (nothing is kept)"))
    context = found.context
    if kind == "thread":
        console.print(f"heat          {context.thread_heat:g}")
        console.print(f"posts         {context.thread_posts}")
    elif kind == "community":
        baseline = context.community_baseline
        known = "not known, too few uploads" if baseline is None else f"{baseline:.1%} hostile"
        console.print(f"baseline      {known}")
        console.print(f"uploads       {context.community_uploads}")
    else:
        toxicity = context.parent_toxicity
        console.print(f"toxicity      {'low, or not known' if toxicity is None else toxicity}")
    for said in found.said:
        edit = f", edit {said.revision}" if said.revision else ""
        console.print(f"said          {said.toxicity:g}, {_time(said.at_ms)}{edit}")
    for bucket in found.buckets:
        console.print(
            f"bucket        {_time(bucket.start_ms)}: {bucket.uploads:.0f} uploads,"
            f" {bucket.hostile:.0f} hostile"
        )
    for key in found.kept:
        size = "" if key.bytes is None else f", {key.bytes} bytes"
        console.print(
            f"kept          {escape(key.key)}: {key.entries} entries{size},"
            f" goes in {dt.timedelta(seconds=key.expires_s)}"
        )


def _time(ms: int) -> str:
    return f"{dt.datetime.fromtimestamp(ms / 1000, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def main(arguments: list[str] | None = None) -> Any:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        return app(arguments, prog_name="scripts/context")
    except SluiceError as error:
        sys.exit(f"context: {error}")


if __name__ == "__main__":
    main()
