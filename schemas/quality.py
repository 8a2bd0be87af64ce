"""What a check of closed rows found: one record a suite and run (`moderation.quality`).

A record names rows by their place and counts them; it holds no text and no id of a user.
"""

from __future__ import annotations

import datetime as dt
from typing import Literal

import msgspec

CheckSeverity = Literal["error", "warning"]


class QualityCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one check."""

    check: str
    """`columns.text.length`, `shares.english`, `rows`, `volume`, `drift.language`."""
    severity: CheckSeverity
    """A failed `error` fails the suite, a failed `warning` does not."""
    about: str
    expectation: str
    """Great Expectations' name of it; empty for what compares days or tables."""
    expected: str
    success: bool
    observed: float | str | None
    """A share, a count, or what went wrong."""
    unexpected: int
    """Rows that break it."""
    rows: int
    """Rows that were looked at."""
    places: list[str]
    """FILE:ROW, or PARTITION:OFFSET of a table's record, of the first of those that break it."""


class QualityFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was checked."""

    name: str
    sha256: str
    """Of its bytes, hex: what is trained on can be told by it."""


class QualityRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one suite."""

    suite: str
    day: str
    """The closed day that was checked, UTC, yyyy-MM-dd; empty for files of no one day."""
    source: Literal["tables", "files"]
    closed: bool
    """False: the day was not over yet."""
    files: list[QualityFile]
    rows: int
    """Rows of the day, or of all files."""
    checked: int
    """Rows that the suite looked at: a sample where there are more than it was to read."""
    started_at: dt.datetime
    passed: bool
    """No check of severity `error` failed."""
    checks: list[QualityCheck]
    mixes: dict[str, dict[str, int]]
    """By column: rows of each value, for the comparison with later days."""

    @property
    def faults(self) -> list[QualityCheck]:
        """Failed checks that fail the suite."""
        return [c for c in self.checks if not c.success and c.severity == "error"]

    @property
    def warnings(self) -> list[QualityCheck]:
        """Failed checks that do not."""
        return [c for c in self.checks if not c.success and c.severity == "warning"]

    @property
    def date(self) -> dt.date:
        """The day that it is about, else the day it was made."""
        return dt.date.fromisoformat(self.day) if self.day else self.started_at.date()
