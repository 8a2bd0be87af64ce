"""Closed files as one table, with the derived columns of `scripts.cli.quality.derive`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pandas as pd
import pyarrow.parquet as pq

from schemas.errors import ConfigError
from scripts.cli.quality.config import Reader
from scripts.cli.quality.derive import Row, Versions, columns_of, plain

_CLOSED: Final = frozenset({".parquet", ".jsonl"})


class Table(NamedTuple):
    """All rows that are checked."""

    frame: pd.DataFrame
    places: list[str]
    """Of each row: FILE:ROW, rows counted from 1 as lines are, or PARTITION:OFFSET of a record."""
    derived: frozenset[str]
    """Columns that no row came with."""


def closed_files(paths: Sequence[Path]) -> list[Path]:
    """The files that paths stand for: a folder stands for its Parquet and JSONL files, in order.

    Files that begin with `.` or `_` are still being written, by the custom of Flink and Hadoop.

    Raises:
        ConfigError: a folder holds none.
    """
    out: list[Path] = []
    for path in paths:
        if not path.is_dir():
            out.append(path)
            continue
        found = [
            file
            for file in sorted(path.rglob("*"))
            if file.suffix in _CLOSED
            and not any(part[0] in "._" for part in file.relative_to(path).parts)
        ]
        if not found:
            raise ConfigError("holds no closed Parquet or JSONL file", file=str(path))
        out += found
    return out


def read(files: Sequence[Path], reader: Reader, known: Versions | None = None) -> Table:
    """Read Parquet and JSONL files and add the reader's derived columns.

    A line that is no JSON object becomes a row without values.

    Args:
        files: `.parquet` is read as Parquet, anything else as JSON lines.
        reader: what the rows are.
        known: models that decisions may name; None: nobody can say.

    Raises:
        ConfigError: a file cannot be read.
    """
    rows: list[Row] = []
    places: list[str] = []
    for path in files:
        for number, row in enumerate(_rows(path), start=1):
            rows.append(row)
            places.append(f"{path.name}:{number}")
    return table_of(rows, places, reader, known)


def table_of(
    rows: Sequence[Row], places: list[str], reader: Reader, known: Versions | None = None
) -> Table:
    """A table of rows that were read, with the reader's derived columns.

    Args:
        rows: by column; one that has none of a column has no value in it.
        places: where each was read.
        reader: what the rows are.
        known: models that decisions may name; None: nobody can say.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    derived = columns_of(reader, rows, known)
    data = {name: [plain(row.get(name)) for row in rows] for name in columns}
    frame = pd.DataFrame({**data, **derived}, dtype=object)
    return Table(frame, places, frozenset(derived))


def _rows(path: Path) -> Iterable[Row]:
    if path.suffix == ".parquet":
        try:
            file = pq.ParquetFile(path)
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot be read as Parquet: {error}", file=str(path)) from None
        for batch in file.iter_batches():
            yield from batch.to_pylist()
        return
    try:
        with path.open("rb") as lines:
            for line in lines:
                if line.strip():
                    yield _object(line)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None


def _object(line: bytes) -> Row:
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}
