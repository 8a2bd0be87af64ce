"""`scripts/produce`: publish JSONL uploads, or what people say about them, to the jobs' topics."""

from __future__ import annotations

import datetime as dt
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import typer

from schemas.errors import SluiceError
from schemas.settings import Settings, load_settings
from scripts.cli.local_stack import resolve
from scripts.cli.produce_said import publish_said
from scripts.cli.publisher import UploadPublisher, paced
from scripts.cli.upload_lines import UploadLine, parse_line, read_lines

Said = Literal["reports", "verdicts", "appeals"]

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def produce(
    file: Annotated[str, typer.Argument(help="JSONL records; - for standard input.")],
    rate: Annotated[
        float, typer.Option(min=0, help="Uploads a second; 0 for as fast as possible.")
    ] = 0.0,
    bootstrap: Annotated[
        str | None, typer.Option(help="host:port of the broker, if not the settings'.")
    ] = None,
    profile: Annotated[str, typer.Option(help="Profile that names broker and topics.")] = "dev",
    topic: Annotated[
        Said | None,
        typer.Option(help="The lines are no uploads: they go to this topic, keyed by content id."),
    ] = None,
) -> None:
    """Publish JSONL uploads, keyed by user id, each to the topic of its content type.

    A line that is no valid upload goes to the text topic as it is, and becomes a dead letter.
    """
    settings = resolve(load_settings(profile), kafka=bootstrap)
    if file != "-" and not Path(file).is_file():
        raise SluiceError(f"no such file: {file}")
    if topic is None:
        counts, failures = publish(file, settings, rate=rate)
    else:
        counts, failures = publish_said(file, topic, settings, rate=rate)
    total = sum(counts.values())
    parts = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    print(f"{total - len(failures)} of {total} published to {settings.kafka.bootstrap} ({parts})")
    if failures:
        raise SluiceError(f"{len(failures)} were not published; the first: {failures[0]}")


def publish(file: str, settings: Settings, *, rate: float = 0.0) -> tuple[Counter[str], list[str]]:
    """Publish a whole file.

    Args:
        file: path, or - for standard input.
        settings: name broker and topics.
        rate: uploads a second; 0 for as fast as possible.

    Returns:
        Lines read by content type (`malformed` for those that are no valid upload), and why
        lines were not published.
    """
    counts: Counter[str] = Counter()
    base = dt.datetime.now(dt.UTC)
    with (
        UploadPublisher(settings) as publisher,
        sys.stdin.buffer if file == "-" else Path(file).open("rb") as source,
    ):
        lines = (parse_line(line, base=base) for line in read_lines(source))
        for _, line in zip(paced(rate), lines, strict=False):
            counts[_name(line)] += 1
            publisher.send(publisher.prepare(line))
        publisher.flush()
        return counts, publisher.failures


def _name(line: UploadLine) -> str:
    return line.content_type if line.valid else "malformed"


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app(prog_name="scripts/produce")
    except SluiceError as error:
        sys.exit(f"produce: {error}")


if __name__ == "__main__":
    main()
