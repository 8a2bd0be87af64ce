"""Results as records, as a page, and as metrics."""

from __future__ import annotations

import datetime as dt
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from schemas.quality import QualityCheck, QualityRecord

RECORDS: Final = "results.jsonl"
PAGE: Final = "index.html"
STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { border-bottom: 1px solid #8884; padding: .3rem .6rem; text-align: left;
         vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.fault { color: #b00020; font-weight: 600 } .warning { color: #9a6700; font-weight: 600 }
.sound { color: #1a7f37 } small { opacity: .75 }
"""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `results.jsonl`."""

    suite: str
    started_at: dt.datetime
    files: list[str]
    result: QualityCheck


def write(run: QualityRecord, about: str, folder: Path) -> Path:
    """Write records and page; gives the page."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [file.name for file in run.files]
    records = [
        Record(suite=run.suite, started_at=run.started_at, files=files, result=check)
        for check in run.checks
    ]
    (folder / RECORDS).write_bytes(b"".join(msgspec.json.encode(r) + b"\n" for r in records))
    page = folder / PAGE
    page.write_text(render(run, about), "utf-8")
    return page


def state(result: QualityCheck) -> str:
    """`sound`, `warning` or `fault`."""
    if result.success:
        return "sound"
    return "fault" if result.severity == "error" else "warning"


def render(run: QualityRecord, about: str) -> str:
    """The page; faults first."""
    order = {"fault": 0, "warning": 1, "sound": 2}
    rows = "\n".join(map(_row, sorted(run.checks, key=lambda r: order[state(r)])))
    files = ", ".join(html.escape(file.name) for file in run.files) or f"day {run.day}"
    when = run.started_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    title = f"{html.escape(run.suite)}: {len(run.faults)} faults, {len(run.warnings)} warnings"
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>
<h1>{title}</h1>
<p>{html.escape(about)} {run.rows} rows, {len(run.checks)} checks, {when}.<br>
<small>{files}</small></p>
<table><tr><th>State<th>Check<th>Expected<th>Found<th>Rows that break it<th>Where</tr>
{rows}
</table></html>
"""


def _row(result: QualityCheck) -> str:
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


def metrics(runs: Sequence[QualityRecord]) -> str:
    """Prometheus text, for the textfile collector of node_exporter."""
    lines = _family("failed", "Whether a check of closed rows failed.")
    for run in runs:
        for check in run.checks:
            labels = _labels(suite=run.suite, check=check.check, severity=check.severity)
            lines.append(f"sluice_quality_failed{labels} {int(not check.success)}")
    lines += _family("unexpected_rows", "Rows that break a check.")
    for run in runs:
        for check in run.checks:
            labels = _labels(suite=run.suite, check=check.check)
            lines.append(f"sluice_quality_unexpected_rows{labels} {check.unexpected}")
    lines += _family("observed", "What a check found, where that is a number.")
    for run in runs:
        for check in run.checks:
            if isinstance(check.observed, int | float):
                labels = _labels(suite=run.suite, check=check.check)
                lines.append(f"sluice_quality_observed{labels} {check.observed}")
    lines += _family("rows", "Rows of the last run.")
    lines += [f"sluice_quality_rows{_labels(suite=run.suite)} {run.rows}" for run in runs]
    lines += _family("last_run_timestamp_seconds", "When it began.")
    lines += [
        f"sluice_quality_last_run_timestamp_seconds{_labels(suite=run.suite)} "
        f"{run.started_at.timestamp():.0f}"
        for run in runs
    ]
    return "\n".join(lines) + "\n"


def _family(name: str, about: str) -> list[str]:
    return [f"# HELP sluice_quality_{name} {about}", f"# TYPE sluice_quality_{name} gauge"]


def _labels(**values: str) -> str:
    def quoted(text: str) -> str:
        return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    return "{" + ",".join(f'{name}="{quoted(value)}"' for name, value in values.items()) + "}"
