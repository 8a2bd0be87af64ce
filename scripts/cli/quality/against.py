"""What one day's rows cannot say alone: freshness, volume, drift and joins.

These compare a day with its end, with the weeks before, or with what was said on it, and are no
expectations of Great Expectations, which know one batch of rows.
"""

from __future__ import annotations

import datetime as dt
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import pandas as pd

from schemas.quality import QualityCheck
from scripts.cli.quality.config import (
    DriftCheck,
    FreshnessCheck,
    JoinCheck,
    Reader,
    SuiteConfig,
    VolumeCheck,
)
from scripts.cli.quality.suites import between

MAD_TO_DEVIATION: Final = 1.4826
"""1 / the third quartile of the standard normal."""
MOST_VALUES: Final = 40
"""Of a column that are told apart; the rarest are `other`."""
_VALUE_CHARS: Final = 32
_TOO_LITTLE: Final = "too little history"
_TIMES: Final[dict[Reader, tuple[str, ...]]] = {
    "upload": ("created_at",),
    "decision": ("asked_at", "decided_at", "timestamp"),
    "feedback": ("said_at", "timestamp"),
    "training": ("time",),
}
"""Columns with the time of a row, by reader: the first that has one counts."""


class Day(NamedTuple):
    """What is known of a day besides the rows that are checked."""

    date: dt.date
    rows: int
    """All of the day."""
    newest: dt.datetime | None
    """Time of the newest row; None where none has a time."""
    volumes: Mapping[dt.date, int]
    """Rows of earlier days, as far as they are known."""
    mixes: Mapping[dt.date, Mapping[str, Mapping[str, int]]]
    """Of earlier days: by column, rows of each value."""
    joins: Mapping[str, tuple[int, int]]
    """By what was said (report, verdict, appeal): joined, and all."""

    @property
    def end(self) -> dt.datetime:
        """Midnight after it."""
        return midnight(self.date + dt.timedelta(days=1))


def midnight(date: dt.date) -> dt.datetime:
    """When a day begins, UTC."""
    return dt.datetime.combine(date, dt.time(), dt.UTC)


def compare(
    config: SuiteConfig, day: Day, mixes: Mapping[str, Mapping[str, int]]
) -> list[QualityCheck]:
    """Everything of a suite that needs more than the rows.

    Args:
        config: the suite.
        day: the day.
        mixes: of the day's rows, by column (`mixes_of`).
    """
    out = []
    if config.freshness is not None:
        out.append(freshness(config.freshness, day))
    if config.volume is not None:
        out.append(volume(config.volume, day))
    for name, wanted in config.drift.items():
        out.append(drift(name, wanted, day, mixes.get(wanted.column, {})))
    for kind, join in config.joins.items():
        if kind in day.joins:
            out.append(joined(kind, join, *day.joins[kind]))
    return out


def freshness(config: FreshnessCheck, day: Day) -> QualityCheck:
    """How old the newest row is where the day ends."""
    hours = None if day.newest is None else (day.end - day.newest).total_seconds() / 3600
    return _check(
        "freshness",
        config,
        f"at most {config.max_hours:g} hours",
        success=hours is not None and hours <= config.max_hours,
        observed="no row has a time" if hours is None else round(hours, 3),
        rows=day.rows,
    )


def volume(config: VolumeCheck, day: Day) -> QualityCheck:
    """Rows beside the same weekday of the weeks before; see `VolumeCheck` for the bounds."""
    weeks = (day.date - dt.timedelta(weeks=back) for back in range(1, config.weeks + 1))
    before = [found for week in weeks if (found := day.volumes.get(week, 0)) > 0]
    if len(before) < config.least_weeks:
        said = f"{_TOO_LITTLE}: {len(before)} weeks, {day.rows} rows"
        expected = f"rows of the same weekday in {config.least_weeks} of {config.weeks} weeks"
        return _check("volume", config, expected, success=True, observed=said, rows=day.rows)
    low, high = bounds(before, config)
    return _check(
        "volume",
        config,
        f"{between(low, high)} (median of {len(before)} weeks -+ the larger of"
        f" {config.z:g} * {MAD_TO_DEVIATION} * MAD and {config.slack:.0%})",
        success=low <= day.rows <= high,
        observed=float(day.rows),
        rows=day.rows,
    )


def bounds(before: list[int], config: VolumeCheck) -> tuple[float, float]:
    """Least and most rows beside those of earlier weeks; see `VolumeCheck`."""
    middle = statistics.median(before)
    away = statistics.median(abs(rows - middle) for rows in before)
    slack = max(config.z * MAD_TO_DEVIATION * away, config.slack * middle)
    return max(0.0, math.floor(middle - slack)), math.ceil(middle + slack)


def drift(name: str, config: DriftCheck, day: Day, mix: Mapping[str, int]) -> QualityCheck:
    """How far a column's values have moved since the same weekday of last week."""
    before = day.mixes.get(day.date - dt.timedelta(weeks=1), {}).get(config.column, {})
    now, then = sum(mix.values()), sum(before.values())
    if min(now, then) < config.least:
        expected = f"{config.least} rows and as many a week before"
        said = f"{_TOO_LITTLE}: {now} rows, {then} a week before"
        return _check(f"drift.{name}", config, expected, success=True, observed=said, rows=now)
    value = stability(before, mix)
    most = config.max + (len({*before, *mix}) - 1) * (1 / now + 1 / then)
    return _check(
        f"drift.{name}",
        config,
        f"index at most {most:.4g} beside a week before",
        success=value <= most,
        observed=round(value, 4),
        rows=now,
    )


def stability(before: Mapping[str, int], now: Mapping[str, int]) -> float:
    """The population stability index of two counts; see `DriftCheck`. 0 where they say the same."""
    values = sorted({*before, *now})
    old = [before.get(value, 0) + 0.5 for value in values]
    new = [now.get(value, 0) + 0.5 for value in values]
    pairs = [(p / sum(new), q / sum(old)) for p, q in zip(new, old, strict=True)]
    return sum((p - q) * math.log(p / q) for p, q in pairs)


def joined(kind: str, config: JoinCheck, found: int, said: int) -> QualityCheck:
    """The share of what people said that was joined with a decision."""
    share = found / said if said else None
    return _check(
        f"joins.{kind}",
        config,
        f"at least {config.min:g}",
        success=share is None or share >= config.min,
        observed=f"no {kind}" if share is None else round(share, 6),
        rows=said,
        unexpected=said - found,
    )


def mixes_of(config: SuiteConfig, frame: pd.DataFrame) -> dict[str, dict[str, int]]:
    """How many rows have which value, of the columns whose drift is watched.

    Values beyond the 40 most frequent are `other`, and long ones are cut: they are codes and names
    of a few, and a column that turns out to hold anything else must not be written down.
    """
    out = {}
    for column in sorted({wanted.column for wanted in config.drift.values()}):
        if column in frame:
            counted = Counter(str(value)[:_VALUE_CHARS] for value in frame[column].dropna())
            ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
            mix = dict(ordered[:MOST_VALUES])
            if rest := sum(count for _, count in ordered[MOST_VALUES:]):
                mix["other"] = mix.get("other", 0) + rest
            out[column] = mix
    return out


def newest_of(reader: Reader, frame: pd.DataFrame) -> dt.datetime | None:
    """Time of the newest row; None where none has one."""
    there = [frame[column].to_list() for column in _TIMES[reader] if column in frame]
    times = (
        moment
        for values in zip(*there, strict=True)
        if (moment := next(_moments(values), None)) is not None
    )
    return max(times, default=None)


def _moments(values: Iterable[object]) -> Iterator[dt.datetime]:
    for value in values:
        moment = value
        if isinstance(value, str):
            try:
                moment = dt.datetime.fromisoformat(value)
            except ValueError:
                continue
        if isinstance(moment, dt.datetime) and not pd.isna(moment):
            # Tables hold UTC without saying so.
            yield moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _check(
    name: str,
    config: FreshnessCheck | VolumeCheck | DriftCheck | JoinCheck,
    expected: str,
    *,
    success: bool,
    observed: float | str,
    rows: int,
    unexpected: int = 0,
) -> QualityCheck:
    return QualityCheck(
        check=name,
        severity=config.severity,
        about=config.about,
        expectation="",
        expected=expected,
        success=success,
        observed=observed,
        unexpected=unexpected,
        rows=rows,
        places=[],
    )
