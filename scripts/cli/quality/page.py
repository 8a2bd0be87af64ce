"""All suites of a day on one page, with how their figures went for two weeks.

The page stands alone: no script, no style or picture from elsewhere.
"""

from __future__ import annotations

import datetime as dt
import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from schemas.quality import QualityCheck, QualityRecord
from scripts.cli.quality import history
from scripts.cli.quality.report import PAGE, STYLE, state

DAYS: Final = 14
_WIDTH, _HEIGHT, _EDGE = 140.0, 26.0, 3.0
_ORDER: Final = {"fault": 0, "warning": 1, "sound": 2}
_Point = tuple[float, float]
_TREND_STYLE: Final = """
svg.trend { width: 140px; height: 26px; overflow: visible }
svg.trend polyline { fill: none; stroke: currentColor; stroke-width: 1.5; opacity: .6 }
svg.trend circle { fill: currentColor } svg.trend circle.fault { fill: #b00020 }
svg.trend circle.warning { fill: #9a6700 }
h2 { margin-top: 2rem } nav a { margin-right: 1rem }
"""


def write(folder: Path, day: dt.date, records: Sequence[QualityRecord]) -> Path:
    """Write the page of a day; gives its path.

    Args:
        folder: of the results.
        day: whose newest results are shown.
        records: the history.
    """
    path = folder / day.isoformat() / PAGE
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{PAGE}.part")
    part.write_text(render(day, records), "utf-8")
    part.replace(path)
    return path


def render(day: dt.date, records: Sequence[QualityRecord]) -> str:
    """The page of a day.

    Args:
        day: whose newest results are shown; suites over files of no one day stand on the day on
            which they ran.
        records: the history, oldest first.
    """
    suites = sorted({record.suite for record in records})
    past = {suite: history.newest_by_day(records, suite) for suite in suites}
    shown = {suite: days[day] for suite, days in past.items() if day in days}
    failed = sum(not record.passed for record in shown.values())
    title = f"Data quality of {day}: {len(shown)} suites, {failed} failed"
    missing = [suite for suite in suites if suite not in shown]
    absent = f"<p>No result for this day: {html.escape(', '.join(missing))}.</p>" if missing else ""
    links = " ".join(f'<a href="#{html.escape(s)}">{html.escape(s)}</a>' for s in shown)
    parts = "\n".join(_suite(day, record, past[suite]) for suite, record in shown.items())
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}{_TREND_STYLE}</style>
<h1>{title}</h1>
<nav>{links}</nav>{absent}
{parts}
</html>
"""


def _suite(day: dt.date, record: QualityRecord, past: Mapping[dt.date, QualityRecord]) -> str:
    checks = sorted(record.checks, key=lambda check: _ORDER[state(check)])
    rows = "\n".join(_row(day, check, past) for check in checks)
    name = html.escape(record.suite)
    verdict = '<span class="sound">passed</span>'
    if not record.passed:
        verdict = '<span class="fault">failed</span>'
    sample = f", of which {record.checked} were looked at" if record.checked < record.rows else ""
    still = "" if record.closed else " The day was still open."
    files = html.escape(", ".join(file.name for file in record.files))
    volume = {date: float(one.rows) for date, one in past.items()}
    return f"""<h2 id="{name}">{name}: {verdict}</h2>
<p>{record.rows} rows{sample}, {len(record.checks)} checks,
{record.started_at:%Y-%m-%d %H:%M:%S} UTC, {record.source}.{still} {files}<br>
rows by day {trend(day, volume, {})}</p>
<table><tr><th>State<th>Check<th>Expected<th>Found<th>Breaking<th>{DAYS} days<th>Where</tr>
{rows}
</table>"""


def _row(day: dt.date, check: QualityCheck, past: Mapping[dt.date, QualityRecord]) -> str:
    values: dict[dt.date, float] = {}
    states: dict[dt.date, str] = {}
    for date, record in past.items():
        for same in record.checks:
            if same.check == check.check:
                states[date] = state(same)
                if isinstance(same.observed, int | float):
                    values[date] = float(same.observed)
    word = state(check)
    found = "" if check.observed is None else str(check.observed)
    about = f"<br><small>{html.escape(check.about)}</small>" if check.about else ""
    cells = [
        f'<td class="{word}">{word}',
        f"<td>{html.escape(check.check)}{about}",
        f"<td>{html.escape(check.expected)}",
        f"<td>{html.escape(found)}",
        f'<td class="number">{check.unexpected} of {check.rows}',
        f"<td>{trend(day, values, states)}",
        f"<td>{html.escape(', '.join(check.places))}",
    ]
    return f"<tr>{''.join(cells)}</tr>"


def trend(day: dt.date, values: Mapping[dt.date, float], states: Mapping[dt.date, str]) -> str:
    """A line of the last 14 days as SVG; days without a value leave a gap.

    Args:
        day: the last one.
        values: by day.
        states: `fault` or `warning` of days whose dot is coloured.
    """
    days = [day - dt.timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    there = [values[date] for date in days if date in values]
    if not there:
        return ""
    low, high = min(there), max(there)
    spread = (high - low) or 1.0

    def place(number: int, value: float) -> _Point:
        x = _EDGE + number * (_WIDTH - 2 * _EDGE) / (DAYS - 1)
        # A line without ups and downs runs in the middle.
        share = (value - low) / spread if high > low else 0.5
        return round(x, 1), round(_HEIGHT - _EDGE - share * (_HEIGHT - 2 * _EDGE), 1)

    lines = "".join(
        f'<polyline points="{" ".join(f"{x},{y}" for x, y in run)}"/>'
        for run in _runs(days, values, place)
        if len(run) > 1
    )
    dots = "".join(
        f'<circle class="{states.get(date, "sound")}" cx="{x}" cy="{y}" r="2.2"/>'
        for number, date in enumerate(days)
        if date in values and (date == day or states.get(date, "sound") != "sound")
        for x, y in [place(number, values[date])]
    )
    about = f"{len(there)} of {DAYS} days, {low:.6g} to {high:.6g}"
    return (
        f'<svg class="trend" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img">'
        f"<title>{about}</title>{lines}{dots}</svg>"
    )


def _runs(
    days: Sequence[dt.date],
    values: Mapping[dt.date, float],
    place: Callable[[int, float], _Point],
) -> Iterator[list[_Point]]:
    run: list[_Point] = []
    for number, date in enumerate(days):
        if date in values:
            run.append(place(number, values[date]))
        elif run:
            yield run
            run = []
    if run:
        yield run
