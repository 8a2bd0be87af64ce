"""What was checked so far: one line a run in `history.jsonl`, newest last."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from schemas.errors import ConfigError
from schemas.quality import QualityRecord
from schemas.settings import ROOT

OUT: Final = Path(os.environ.get("SLUICE_RUN_DIR", ROOT / ".run")) / "quality"
"""Where results go if nobody says otherwise."""
FILE: Final = "history.jsonl"
_decoder: Final = msgspec.json.Decoder(QualityRecord)


def add(folder: Path, record: QualityRecord) -> None:
    """Write a run behind the others, in one piece."""
    folder.mkdir(parents=True, exist_ok=True)
    line = line_of(record).encode()
    handle = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(handle, line)
    finally:
        os.close(handle)


def line_of(record: QualityRecord) -> str:
    """A run as a line of the history."""
    return msgspec.json.encode(record).decode() + "\n"


def read(path: Path) -> list[QualityRecord]:
    """Every run, oldest first; none where nothing was checked yet.

    Args:
        path: a file of records, or a folder with `history.jsonl`.

    Raises:
        ConfigError: a line is no record: it may have been a failure, so it is not passed over.
    """
    path = path / FILE if path.is_dir() else path
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None
    out = []
    for number, line in enumerate(lines, start=1):
        try:
            out.append(_decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"is no result of scripts/quality: {error}", file=str(path), line=number
            ) from None
    return sorted(out, key=lambda record: record.started_at)


def newest_by_day(records: Iterable[QualityRecord], suite: str) -> dict[dt.date, QualityRecord]:
    """Of a suite the newest run about each day."""
    return {record.date: record for record in records if record.suite == suite}


def comparable(
    records: Sequence[QualityRecord], record_of: str, source: str
) -> dict[dt.date, QualityRecord]:
    """The newest run about each closed day, of the same suite and source."""
    same = [one for one in records if one.day and one.closed and one.source == source]
    return newest_by_day(same, record_of)
