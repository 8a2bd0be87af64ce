"""Labelled rows from `moderation.feedback` as training examples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow.parquet as pq

from schemas.categories import TEXT_CATEGORIES
from schemas.decision import Feedback
from schemas.errors import ConfigError
from scripts.cli.dataset.agreement import majority
from scripts.cli.dataset.config import FEEDBACK
from scripts.cli.training_data import Example

NEEDED: Final = (
    "content_id",
    "source",
    "category",
    "label",
    "weight",
    "text",
    "language",
    "timestamp",
)
_JUDGED: Final = frozenset({"verdict", "appeal", "report", "bank", "rule"})
"""Who can label; a `sample` has no label yet."""


class _Row(msgspec.Struct, frozen=True):
    content_id: str
    source: str
    category: str
    label: bool | None
    weight: float
    text: str | None
    language: str | None
    time: str


def read(path: Path, weight: float) -> Iterator[Example]:
    """Examples from a JSONL or Parquet file of `schemas.decision.Feedback`.

    Labels of one content and category are put to a weighted vote; a tie is unknown. Rows without
    a label, without text, or about a category that no text model has are passed over.

    Args:
        path: `.parquet` is read as Parquet, anything else as JSON lines.
        weight: of each example.

    Raises:
        ConfigError: the file cannot be read, or a row is no feedback, naming the line.
    """
    rows = _parquet(path) if path.suffix == ".parquet" else _jsonl(path)
    yield from examples(rows, weight)


def examples(rows: Iterable[_Row], weight: float) -> Iterator[Example]:
    """One example a content, in order of first appearance."""
    contents: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        if (
            row.label is not None
            and row.text
            and row.text.strip()
            and row.weight > 0
            and row.category in TEXT_CATEGORIES
            and row.source in _JUDGED
        ):
            contents[row.content_id].append(row)
    for content_id, own in contents.items():
        labels, votes = {}, {}
        for category in sorted({row.category for row in own}):
            said = [(bool(row.label), row.weight) for row in own if row.category == category]
            vote = majority(said)
            votes[category] = (sum(yes for yes, _ in said), len(said))
            if vote.label is not None:
                labels[category] = vote.label
        newest = max(own, key=lambda row: row.time)
        yield Example(
            newest.text or "",
            FEEDBACK,
            labels,
            weight,
            votes=votes,
            time=newest.time,
            language=newest.language or "und",
            link=f"feedback/{content_id}",
        )


def _jsonl(path: Path) -> Iterator[_Row]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _row(line, path, number)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None


def _row(line: bytes, path: Path, number: int) -> _Row:
    try:
        row = msgspec.json.decode(line, type=Feedback)
    except msgspec.DecodeError as error:
        # The message names the field; it never quotes the text.
        raise ConfigError(f"is no feedback row: {error}", file=str(path), line=number) from None
    return _Row(
        row.content_id,
        row.source,
        row.category,
        row.label,
        row.weight,
        row.text,
        row.language,
        row.timestamp.isoformat(),
    )


def _parquet(path: Path) -> Iterator[_Row]:
    try:
        file = pq.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be read as Parquet: {error}", file=str(path)) from None
    absent = [name for name in NEEDED if name not in file.schema_arrow.names]
    if absent:
        raise ConfigError(f"is no feedback table: lacks {', '.join(absent)}", file=str(path))
    for batch in file.iter_batches(columns=list(NEEDED)):
        for values in batch.to_pylist():
            time = values.pop("timestamp")
            yield msgspec.convert({**values, "time": _iso(time)}, _Row)


def _iso(value: Any) -> str:
    return str(value.isoformat() if hasattr(value, "isoformat") else value)
