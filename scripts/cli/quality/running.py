"""A suite over rows, with everything that its record says."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from schemas.quality import QualityFile, QualityRecord
from scripts.cli.lake.reading import Lake
from scripts.cli.quality import against, config, days, frames, gate, history, suites
from scripts.cli.quality.against import Day
from scripts.cli.quality.config import SuiteConfig
from scripts.cli.quality.frames import Table


class _Read(NamedTuple):
    """Rows that are about to be checked."""

    name: str
    table: Table
    rows: int
    closed: bool
    files: list[QualityFile]
    started_at: dt.datetime


class Runner:
    """Runs suites, one after the other.

    Args:
        past: the history, oldest first.
        most: rows of a table that are looked at.
        store: folder or address of the model store.
    """

    def __init__(self, past: Sequence[QualityRecord], *, most: int, store: str) -> None:
        self._past = past
        self._most = most
        self._store = store

    def over_files(self, files: Sequence[Path], suite: str, date: dt.date | None) -> QualityRecord:
        """Check files, all together.

        Args:
            files: Parquet or JSON lines, or folders of such.
            suite: its name, or a YAML file.
            date: the day that they hold; None: of no one day.

        Raises:
            ConfigError: the suite is wrong, or a file cannot be read.
        """
        chosen = config.load(suite)
        name = config.name_of(suite)
        started = dt.datetime.now(dt.UTC)
        closed = frames.closed_files(files)
        table = frames.read(closed, chosen.reader, self._known(chosen))
        named = [QualityFile(name=str(path), sha256=gate.digest(path)) for path in closed]
        read = _Read(name, table, len(table.frame), True, named, started)
        if date is None:
            return self._record(chosen, read, None)
        newest = against.newest_of(chosen.reader, table.frame)
        past = history.comparable(self._past, name, "files")
        volumes = {one: record.rows for one, record in past.items()}
        return self._record(chosen, read, Day(date, read.rows, newest, volumes, _mixes(past), {}))

    def over_table(self, lake: Lake, suite: str, date: dt.date, *, closed: bool) -> QualityRecord:
        """Check a day of a table.

        Args:
            lake: the tables.
            suite: one of `days.TABLES`.
            date: which day.
            closed: whether it is over.

        Raises:
            QueryError: the tables cannot be read.
        """
        chosen = config.load(suite)
        started = dt.datetime.now(dt.UTC)
        weeks = chosen.volume.weeks if chosen.volume else 0
        earlier = [date - dt.timedelta(weeks=back) for back in range(1, weeks + 1)]
        found = days.read(
            lake, suite, date, most=self._most, earlier=earlier, known=self._known(chosen)
        )
        past = history.comparable(self._past, suite, "tables")
        day = Day(date, found.rows, found.newest, found.volumes, _mixes(past), found.joins)
        read = _Read(suite, found.table, found.rows, closed, [], started)
        return self._record(chosen, read, day)

    def _known(self, chosen: SuiteConfig) -> set[tuple[str, str]] | None:
        return days.known_models(self._store) if chosen.reader == "decision" else None

    def _record(self, chosen: SuiteConfig, read: _Read, day: Day | None) -> QualityRecord:
        checks = suites.run(chosen, read.table, read.name)
        mixes = against.mixes_of(chosen, read.table.frame)
        if day is not None:
            checks += against.compare(chosen, day, mixes)
        return QualityRecord(
            suite=read.name,
            day="" if day is None else day.date.isoformat(),
            source="files" if read.files else "tables",
            closed=read.closed,
            files=read.files,
            rows=read.rows,
            checked=len(read.table.frame),
            started_at=read.started_at,
            passed=all(check.success or check.severity != "error" for check in checks),
            checks=checks,
            mixes=mixes,
        )


def _mixes(
    past: Mapping[dt.date, QualityRecord],
) -> dict[dt.date, Mapping[str, Mapping[str, int]]]:
    return {date: record.mixes for date, record in past.items()}
