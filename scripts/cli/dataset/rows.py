"""Rows of a data set, and their Parquet form."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec
import pyarrow as pa

from schemas.categories import TEXT_CATEGORIES

SPLITS: Final = ("train", "dev", "test")
"""Fitted, for calibration and early stopping, for measuring."""
Kind = Literal["original", "copy", "disguised", "counterfactual"]

SCHEMA: Final = pa.schema(
    [
        ("id", pa.int32()),
        ("text", pa.string()),
        ("source", pa.string()),
        ("language", pa.string()),
        ("split", pa.string()),
        ("kind", pa.string()),
        ("trick", pa.string()),
        ("parent", pa.int32()),
        ("group", pa.int32()),
        ("pattern", pa.string()),
        ("time", pa.string()),
        ("content", pa.string()),
        ("agreement", pa.float32()),
        *((f"label_{category}", pa.int8()) for category in TEXT_CATEGORIES),
        *((f"weight_{category}", pa.float32()) for category in TEXT_CATEGORIES),
    ]
)
"""`label_*` is null where unknown, and then `weight_*` is 0. `parent` is the id of the row that
a copy was made of, or -1."""


class Row(msgspec.Struct, kw_only=True):
    """One text with what is known about it."""

    text: str
    """As it came."""
    source: str
    language: str
    split: str
    labels: tuple[int | None, ...]
    """One a category: 1, 0, None for unknown."""
    weights: tuple[float, ...]
    """In the loss; 0 where unknown."""
    id: int = -1
    kind: Kind = "original"
    trick: str = ""
    parent: int = -1
    group: int = -1
    """Related texts share it, and a split."""
    pattern: str = ""
    time: str = ""
    content: str = ""
    """`content_key` of what a user of the platform wrote; empty for public sets."""
    agreement: float | None = None

    @property
    def positive(self) -> bool:
        """Has any category."""
        return 1 in self.labels


def content_key(content_id: str) -> str:
    """What a row knows its content by: enough to find it when its author is erased, and no name."""
    return hashlib.sha256(content_id.encode()).hexdigest()[:32]


def table(rows: Sequence[Row]) -> pa.Table:
    """The rows as an Arrow table of `SCHEMA`."""
    names = [name for name in SCHEMA.names if not name.startswith(("label_", "weight_"))]
    columns = {name: [getattr(row, name) for row in rows] for name in names}
    for i, category in enumerate(TEXT_CATEGORIES):
        columns[f"label_{category}"] = [row.labels[i] for row in rows]
        columns[f"weight_{category}"] = [row.weights[i] for row in rows]
    return pa.table(columns, schema=SCHEMA)


def made_of(row: Row, text: str, kind: Kind, *, weight: float, trick: str = "") -> Row:
    """A copy of the row with another text, weighing `weight` of it."""
    return Row(
        text=text,
        source=row.source,
        language=row.language,
        split=row.split,
        labels=row.labels,
        weights=tuple(w * weight for w in row.weights),
        kind=kind,
        trick=trick,
        parent=row.id,
        group=row.group,
        pattern=row.pattern,
        time=row.time,
        content=row.content,
        agreement=row.agreement,
    )


def counts(rows: Iterable[Row]) -> dict[str, dict[str, int]]:
    """By category: texts with, without and unknown."""
    out = {category: {"yes": 0, "no": 0, "unknown": 0} for category in TEXT_CATEGORIES}
    for row in rows:
        for category, label in zip(TEXT_CATEGORIES, row.labels, strict=True):
            out[category]["unknown" if label is None else "yes" if label else "no"] += 1
    return out
