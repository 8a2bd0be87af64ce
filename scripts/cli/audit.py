"""`scripts/audit`: check from the topics alone that nothing was lost and nothing contradicts.

Every upload (by content id and revision) must have its decision or its dead letter, every
malformed record its dead letter, and decisions under one id must agree field by field, but for
`latency_ms`, `timestamp`, `cache` and `degraded`. Pairs that were made under different rules,
policy, banks or models, or where a dependency was missing for one of them, are counted apart.
`held` are pictures and videos that were not decided with their evidence (or without it) yet.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import click
from kafka import KafkaConsumer

from schemas.errors import SluiceError
from schemas.settings import Settings, load_settings
from scripts.cli.audit_books import Books, Place
from scripts.cli.consume import Record, open_consumer, poll
from scripts.cli.local_stack import resolve


@click.command(help=__doc__)
@click.option(
    "--uploads",
    is_flag=False,
    flag_value="",
    default="",
    help="Topics of uploads, by comma; without a value (or left out): the three content topics.",
)
@click.option(
    "--decisions",
    is_flag=False,
    flag_value="",
    default="",
    help="Topic of decisions; without a value (or left out): the settings' one.",
)
@click.option("--bootstrap", default=None, help="host:port of the broker, if not the settings'.")
@click.option("--profile", default="dev", help="Profile that names broker and topics.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def audit(
    uploads: str, decisions: str, bootstrap: str | None, profile: str, *, as_json: bool
) -> None:
    """Read the topics, compare, say what is wrong."""
    settings = resolve(load_settings(profile), kafka=bootstrap)
    topics = settings.topics
    report = audit_topics(
        settings,
        uploads.split(",") if uploads else list(topics.content),
        decisions or topics.decisions,
    )
    if as_json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name}: {value if not isinstance(value, list) else json.dumps(value)}")
    sys.exit(0 if report["ok"] else 1)


def audit_topics(settings: Settings, uploads: list[str], decisions: str) -> dict[str, object]:
    """Audit topics as they are now; see `Books.report` for what comes back."""
    books = Books()
    limits = settings.limits
    # Uploads first: each of them has had the longer time for its answer.
    consumer = open_consumer(settings, uploads, from_beginning=True)
    for record in _until_now(consumer):
        books.uploaded(
            Place(record.topic, record.partition, record.offset),
            record.value,
            max_bytes=limits.max_bytes,
            max_text_chars=limits.max_text_chars,
        )
    consumer.close()
    letters = settings.topics.dead_letters
    consumer = open_consumer(settings, [decisions, letters], from_beginning=True)
    for record in _until_now(consumer):
        if record.topic == letters:
            books.refused(record.value)
        else:
            books.decided(record.value)
    consumer.close()
    return dict(books.report())


def _until_now(consumer: KafkaConsumer) -> Iterator[Record]:
    """Records up to what the topics' ends are now."""
    ends = consumer.end_offsets(consumer.assignment())
    while any(consumer.position(partition) < end for partition, end in ends.items()):
        yield from poll(consumer, 200)


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        audit.main(prog_name="scripts/audit")
    except SluiceError as error:
        sys.exit(f"audit: {error}")


if __name__ == "__main__":
    main()
