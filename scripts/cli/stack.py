"""`scripts/stack`: Kafka and Redis on this machine, for development and tests."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated

import typer

from schemas.errors import SluiceError
from schemas.settings import load_settings
from scripts.cli.local_stack import DEFAULT_DIR, Stack, resolve
from scripts.cli.processes import interruptible

__all__ = ["Stack", "app"]

app = typer.Typer(
    help=__doc__,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
ProfileOption = Annotated[str, typer.Option(help="Profile whose topics are made.")]


@app.command()
def up(
    kafka: Annotated[
        str | None,
        typer.Option(envvar="SLUICE_KAFKA__BOOTSTRAP", help="Use this broker, start none."),
    ] = None,
    redis: Annotated[
        str | None,
        typer.Option(envvar="SLUICE_REDIS__URL", help="Use the Redis at this URL, start none."),
    ] = None,
    profile: ProfileOption = "dev",
    as_json: JsonOption = False,
) -> None:
    """Start what is not running, make the topics, print the addresses."""
    from scripts.cli.kafka_topics import ensure_topics  # noqa: PLC0415 - `status` is quicker without

    settings = load_settings(profile)
    stack = Stack(kafka=kafka, redis=redis)
    try:
        with interruptible():
            stack.up()
            ensure_topics(resolve(settings, kafka=stack.kafka, redis=stack.redis_url))
    except KeyboardInterrupt:
        stack.down()
        raise
    _print(stack, as_json=as_json)


@app.command()
def down(
    wipe: Annotated[bool, typer.Option(help="Delete the data and the logs too.")] = False,
) -> None:
    """Stop what `up` started, and jobs left running on it. The data stays."""
    Stack().down(wipe=wipe)


@app.command()
def status(as_json: JsonOption = False) -> None:
    """Print the addresses. Exit status 1 unless both servers answer."""
    stack = Stack(
        kafka=os.environ.get("SLUICE_KAFKA__BOOTSTRAP"), redis=os.environ.get("SLUICE_REDIS__URL")
    )
    if not _print(stack, as_json=as_json):
        raise typer.Exit(1)


def _print(stack: Stack, *, as_json: bool) -> bool:
    found = stack.status()
    if as_json:
        print(json.dumps(found))
    else:
        for name, address in (("kafka", stack.kafka), ("redis", stack.redis)):
            print(f"{name:6} {address if found[f'{name}_up'] else 'down'}")
        print(f"data and logs in {DEFAULT_DIR}")
    return bool(found["up"])


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app(prog_name="scripts/stack")
    except SluiceError as error:
        sys.exit(f"stack: {error}")


if __name__ == "__main__":
    main()
