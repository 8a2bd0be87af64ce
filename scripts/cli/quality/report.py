"""Results as records, as a page, and as metrics."""

from __future__ import annotations

import datetime as dt
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from scripts.cli.quality.suites import Result

RECORDS: Final = "results.jsonl"
PAGE: Final = "index.html"
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { border-bottom: 1px solid #8884; padding: .3rem .6rem; text-align: left;
         vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.fault { color: #b00020; font-weight: 600 } .warning { color: #9a6700; font-weight: 600 }
.sound { color: #1a7f37 } small { opacity: .75 }
"""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a suite."""

    suite: str
    about: str
    files: list[str]
    rows: int
    started_at: dt.datetime
    results: list[Result]

    @property
    def faults(self) -> list[Result]:
        """Failed checks that make the command fail."""
        return [r for r in self.results if not r.success and r.severity == "error"]

    @property
    def warnings(self) -> list[Result]:
        """Failed checks that do not."""
        return [r for r in self.results if not r.success and r.severity == "warning"]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `results.jsonl`."""

    suite: str
    started_at: dt.datetime
    files: list[str]
    result: Result


def write(run: Run, folder: Path) -> Path:
    """Write records and page; gives the page."""
    folder.mkdir(parents=True, exist_ok=True)
    records = [
        Record(suite=run.suite, started_at=run.started_at, files=run.files, result=result)
        for result in run.results
    ]
    (folder / RECORDS).write_bytes(b"".join(msgspec.json.encode(r) + b"\n" for r in records))
    page = folder / PAGE
    page.write_text(render(run), "utf-8")
    return page


def state(result: Result) -> str:
    """`sound`, `warning` or `fault`."""
    if result.success:
        return "sound"
    return "fault" if result.severity == "error" else "warning"


def render(run: Run) -> str:
    """The page; faults first."""
    order = {"fault": 0, "warning": 1, "sound": 2}
    rows = "\n".join(map(_row, sorted(run.results, key=lambda r: order[state(r)])))
    files = ", ".join(html.escape(name) for name in run.files)
    when = run.started_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    title = f"{html.escape(run.suite)}: {len(run.faults)} faults, {len(run.warnings)} warnings"
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>
<h1>{title}</h1>
<p>{html.escape(run.about)} {run.rows} rows, {len(run.results)} checks, {when}.<br>
<small>{files}</small></p>
<table><tr><th>State<th>Check<th>Expected<th>Found<th>Rows that break it<th>Where</tr>
{rows}
</table></html>
"""


def _row(result: Result) -> str:
    word = state(result)
    found = "" if result.observed is None else str(result.observed)
    about = f"<br><small>{html.escape(result.about)}</small>" if result.about else ""
    more = "" if len(result.places) >= result.unexpected else ", ..."
    cells = [
        f'<td class="{word}">{word}',
        f"<td>{html.escape(result.check)}{about}",
        f"<td>{html.escape(result.expected)}",
        f"<td>{html.escape(found)}",
        f'<td class="number">{result.unexpected} of {result.rows}',
        f"<td>{html.escape(', '.join(result.places))}{more}",
    ]
    return f"<tr>{''.join(cells)}</tr>"


def metrics(runs: Sequence[Run]) -> str:
    """Prometheus text, for the textfile collector of node_exporter."""
    lines = [
        "# HELP sluice_quality_failed Whether a check of closed files failed.",
        "# TYPE sluice_quality_failed gauge",
    ]
    for run in runs:
        for result in run.results:
            labels = f'suite="{run.suite}",check="{result.check}",severity="{result.severity}"'
            lines.append(f"sluice_quality_failed{{{labels}}} {int(not result.success)}")
    for name, about in (("unexpected_rows", "Rows that break a check."),):
        lines += [f"# HELP sluice_quality_{name} {about}", f"# TYPE sluice_quality_{name} gauge"]
        for run in runs:
            for result in run.results:
                labels = f'suite="{run.suite}",check="{result.check}"'
                lines.append(f"sluice_quality_{name}{{{labels}}} {result.unexpected}")
    lines += [
        "# HELP sluice_quality_rows Rows of the last run.",
        "# TYPE sluice_quality_rows gauge",
        *(f'sluice_quality_rows{{suite="{run.suite}"}} {run.rows}' for run in runs),
        "# HELP sluice_quality_last_run_timestamp_seconds When it began.",
        "# TYPE sluice_quality_last_run_timestamp_seconds gauge",
        *(
            f'sluice_quality_last_run_timestamp_seconds{{suite="{run.suite}"}} '
            f"{run.started_at.timestamp():.0f}"
            for run in runs
        ),
    ]
    return "\n".join(lines) + "\n"
