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
from udfs.pii import mask

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
_RANKS: Final = {"verdict": 1, "appeal": 3}
"""Of rows that do not say theirs: people before reports, banks and rules."""


class _Row(msgspec.Struct, frozen=True):
    content_id: str
    source: str
    category: str
    label: bool | None
    weight: float
    text: str | None
    language: str | None
    time: str
    rank: int | None = None


class _Ranked(Feedback, frozen=True, kw_only=True):
    """Any row: those of the feedback job say their rank."""

    rank: int | None = None


def read(path: Path, weight: float) -> Iterator[Example]:
    """Examples from a JSONL or Parquet file of `schemas.decision.Feedback`.

    Of the labels of one content and category those of the highest rank are put to a weighted vote;
    a tie is unknown. Rows without a label, without text, or about a category that no text model
    has are passed over. Personal data in the texts is masked (`udfs.pii`).

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
            about = [row for row in own if row.category == category]
            highest = max(map(_rank, about))
            said = [(bool(row.label), row.weight) for row in about if _rank(row) == highest]
            vote = majority(said)
            votes[category] = (sum(yes for yes, _ in said), len(said))
            if vote.label is not None:
                labels[category] = vote.label
        newest = max(own, key=lambda row: row.time)
        yield Example(
            mask(newest.text or ""),
            FEEDBACK,
            labels,
            weight,
            votes=votes,
            time=newest.time,
            language=newest.language or "und",
            link=f"feedback/{content_id}",
            content_id=content_id,
        )


def _rank(row: _Row) -> int:
    return _RANKS.get(row.source, 0) if row.rank is None else row.rank


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
        row = msgspec.json.decode(line, type=_Ranked)
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
        row.rank,
    )


def _parquet(path: Path) -> Iterator[_Row]:
    try:
        file = pq.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be read as Parquet: {error}", file=str(path)) from None
    absent = [name for name in NEEDED if name not in file.schema_arrow.names]
    if absent:
        raise ConfigError(f"is no feedback table: lacks {', '.join(absent)}", file=str(path))
    ranked = ["rank"] if "rank" in file.schema_arrow.names else []
    for batch in file.iter_batches(columns=[*NEEDED, *ranked]):
        for values in batch.to_pylist():
            time = values.pop("timestamp")
            yield msgspec.convert({**values, "time": _iso(time)}, _Row)


def _iso(value: Any) -> str:
    return str(value.isoformat() if hasattr(value, "isoformat") else value)
