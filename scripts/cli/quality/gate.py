"""No training on rows that failed their checks, or that nobody checked.

Rows are known by the SHA-256 of their file: a result is about exactly these bytes. Results are
looked for in `quality.json` beside the file, where scripts/build_dataset leaves its own, and in the
history of scripts/quality; the newest counts.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from schemas.errors import SluiceError
from schemas.quality import QualityCheck, QualityFile, QualityRecord
from scripts.cli.quality import config, frames, history, suites
from scripts.cli.quality.frames import Table

BESIDE: Final = "quality.json"
"""Result that travels with the rows."""
UNCHECKED_HELP: Final = (
    "Train on rows that failed their checks (scripts/quality) or were never checked; "
    "why, for the lineage."
)


class UncheckedRowsError(SluiceError):
    """Rows that must not be trained on as they are."""


def digest(path: Path) -> str:
    """SHA-256 of a file, hex.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require(
    path: Path, suite: str, *, unchecked: str | None = None, results: Path | None = None
) -> dict[str, Any]:
    """Refuse rows whose newest result is a failure, and rows without one.

    Args:
        path: of the rows.
        suite: that they have to pass.
        unchecked: why they are taken in any case; None: they are not.
        results: folder of the history; None: the usual one.

    Returns:
        What the lineage says about it: the suite, and `passed` or the reason.

    Raises:
        UncheckedRowsError: they failed, or nobody checked them.
        ConfigError: the history is damaged.
    """
    if unchecked is not None:
        return excused(suite, unchecked)
    try:
        own = digest(path)
    except OSError as error:
        raise UncheckedRowsError(f"{path}: cannot be read: {error.strerror}") from None
    found = [
        record
        for place in (path.with_name(BESIDE), results or history.OUT)
        for record in history.read(place)
        if record.suite == suite and own in {file.sha256 for file in record.files}
    ]
    newest = max(found, key=lambda record: record.started_at, default=None)
    override = 'or say why not with --unchecked "REASON"'
    if newest is None:
        raise UncheckedRowsError(
            f"{path}: not checked as it is now: run scripts/quality run --suite {suite} {path},"
            f" {override}"
        )
    if not newest.passed:
        raise UncheckedRowsError(
            f"{path}: failed the suite {suite} on {newest.started_at:%Y-%m-%d %H:%M} UTC:"
            f" {_named(newest.faults)}; mend it and check it again, {override}"
        )
    return {"suite": suite, "sha256": own[:16], "passed": True}


def examine(table: Table, suite: str, files: Sequence[QualityFile] = ()) -> QualityRecord:
    """Run a suite over rows at hand; it takes Great Expectations some seconds to load.

    Args:
        table: as the suite's reader makes it.
        suite: its name.
        files: that the rows came from.
    """
    chosen = config.load(suite)
    started = dt.datetime.now(dt.UTC)
    checks = suites.run(chosen, table, suite)
    return QualityRecord(
        suite=suite,
        day="",
        source="files",
        closed=True,
        files=list(files),
        rows=len(table.frame),
        checked=len(table.frame),
        started_at=started,
        passed=all(check.success or check.severity != "error" for check in checks),
        checks=checks,
        mixes={},
    )


def examine_file(path: Path, suite: str) -> QualityRecord:
    """Check rows, and leave the result beside them.

    Raises:
        ConfigError: the rows cannot be read.
    """
    file = QualityFile(name=path.name, sha256=digest(path))
    table = frames.read([path], config.load(suite).reader)
    record = examine(table, suite, [file])
    path.with_name(BESIDE).write_bytes(msgspec.json.encode(record) + b"\n")
    return record


def require_sound(table: Table, suite: str) -> dict[str, Any]:
    """Check rows that are in no file, and refuse them where they fail.

    Raises:
        UncheckedRowsError: naming what failed.
    """
    record = examine(table, suite)
    if not record.passed:
        raise UncheckedRowsError(
            f"the rows fail the suite {suite}: {_named(record.faults)}; mend them, or say why"
            ' they will do with --unchecked "REASON"'
        )
    return {"suite": suite, "rows": record.rows, "passed": True}


def excused(suite: str, reason: str) -> dict[str, Any]:
    """What the lineage says of rows that are taken without a result.

    Raises:
        UncheckedRowsError: no reason is given.
    """
    if not reason.strip():
        raise UncheckedRowsError("--unchecked wants a reason; it stands in the lineage")
    return {"suite": suite, "unchecked": reason.strip()}


def _named(faults: Sequence[QualityCheck]) -> str:
    most = 4
    more = f" and {len(faults) - most} more" if len(faults) > most else ""
    return ", ".join(check.check for check in faults[:most]) + more
