"""`scripts/quality`: checks of closed days of the analyst tables, and of closed files.

The suites are in conf/expectations; they run as Great Expectations suites. The results are
records, pages and a history in --out, and they name rows, never their texts. Leaves with 1 where a
check of severity `error` fails, or nothing could be checked.
"""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from schemas.errors import ConfigError, SluiceError
from schemas.quality import QualityRecord
from schemas.settings import load_settings
from scripts.cli.quality import config, days, history, page, publish, report
from scripts.cli.quality.history import OUT
from scripts.cli.quality.running import Runner
from scripts.cli.query import open_lake

MOST_ROWS: Final = 50_000
app = typer.Typer(add_completion=False, rich_markup_mode=None, help=__doc__)
OutOption = Annotated[Path, typer.Option(help="Folder for results and pages.")]
ProfileOption = Annotated[
    str, typer.Option(help="A profile of conf/profiles, or the path of a YAML file.")
]


@app.command()
def run(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Closed files (Parquet, JSON lines), folders; none: the tables."),
    ] = None,
    *,
    suite: Annotated[str, typer.Option(help="Of files: a suite (see list), or a YAML file.")] = "",
    day: Annotated[str, typer.Option(help="Closed day, UTC, yyyy-MM-dd; of files as well.")] = "",
    table: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(days.TABLES)}; repeatable. All of them if none is given."),
    ] = None,
    still_open: Annotated[
        bool, typer.Option("--open", help="Check a day that is not closed yet.")
    ] = False,
    most: Annotated[
        int, typer.Option("--rows", min=1, help="Rows of a table that are looked at, a sample.")
    ] = MOST_ROWS,
    out: OutOption = OUT,
    metrics: Annotated[
        Path | None, typer.Option(help="Also write a Prometheus textfile (NAME.prom).")
    ] = None,
    published: Annotated[
        bool | None,
        typer.Option(
            "--publish/--no-publish",
            help="Results onto the topic moderation.quality; else as quality.publish says.",
        ),
    ] = None,
    store: Annotated[
        str, typer.Option(envvar="SLUICE_MODEL_STORE", help="Model store: versions known.")
    ] = str(OUT.parent / "models"),
    profile: ProfileOption = "dev",
) -> None:
    """Run a suite over files, all together, or all suites of tables over one of their days."""
    settings = load_settings(profile)
    date = _date(day) if day else None
    runner = Runner(history.read(out), most=most, store=store)
    if files:
        if not suite or table:
            raise ConfigError("files want --suite, and no --table")
        done = [runner.over_files(files, suite, date)]
    else:
        if date is None or suite:
            raise ConfigError("give --day for the tables (with --table), or files and --suite")
        now = dt.datetime.now(dt.UTC)
        if not still_open:
            days.require_closed(date, now, settings.quality.grace_hours)
        closed = days.is_closed(date, now, settings.quality.grace_hours)
        lake = open_lake(settings)
        done = [runner.over_table(lake, name, date, closed=closed) for name in _tables(table or [])]
    for record in done:
        history.add(out, record)
    if metrics is not None:
        part = metrics.with_name(f".{metrics.name}.part")
        part.write_text(report.metrics(done), "utf-8")
        part.replace(metrics)
    for record in done:
        folder = out / day / record.suite if day else out / record.suite
        about = config.load(suite or record.suite).about
        _tell(record, report.write(record, about, folder))
    if date is not None:
        print(f"{date}: {page.write(out, date, history.read(out))}")
    if published or (published is None and settings.quality.publish):
        publish.publish(settings, done)
    if not all(record.passed for record in done):
        raise typer.Exit(1)


@app.command("history")
def history_(
    suite: Annotated[str, typer.Option(help="Of one suite.")] = "",
    day: Annotated[str, typer.Option(help="About one day.")] = "",
    last: Annotated[int, typer.Option(min=1, help="Runs of each suite.")] = page.DAYS,
    json_lines: Annotated[bool, typer.Option("--json", help="Whole records, one a line.")] = False,
    out: OutOption = OUT,
) -> None:
    """Show the last runs by suite and day, with what they found."""
    records = [
        record
        for record in history.read(out)
        if (not suite or record.suite == suite) and (not day or record.day == day)
    ]
    shown = [
        record
        for name in sorted({record.suite for record in records})
        for record in [one for one in records if one.suite == name][-last:]
    ]
    if not shown:
        print(f"nothing was checked yet in {out}")
        return
    if json_lines:
        for record in shown:
            sys.stdout.write(history.line_of(record))
        return
    print(f"{'suite':<10} {'day':<10} {'checked at':<16} {'rows':>9} {'sound':>7}  result")
    for record in shown:
        sound = f"{sum(check.success for check in record.checks)}/{len(record.checks)}"
        print(
            f"{record.suite:<10} {record.day or '-':<10} {record.started_at:%Y-%m-%d %H:%M} "
            f"{record.rows:>9} {sound:>7}  {_said(record)}"
        )


@app.command("page")
def page_(
    day: Annotated[str, typer.Option(help="Which day, UTC, yyyy-MM-dd.")],
    out: OutOption = OUT,
) -> None:
    """Write the page of a day anew: all suites, with their figures of 14 days."""
    print(page.write(out, _date(day), history.read(out)))


@app.command("list")
def list_() -> None:
    """List the suites and how many checks each has."""
    for name in config.names():
        suite = config.load(name)
        print(f"{name}: {len(suite.columns)} columns, {len(suite.shares)} shares. {suite.about}")


def _tell(record: QualityRecord, where: Path) -> None:
    for check in (*record.faults, *record.warnings):
        word = report.state(check).upper()
        place = f" ({check.places[0]} first)" if check.places else ""
        found = "" if check.observed is None else f", found {check.observed}"
        rows = f", {check.unexpected} of {check.rows} rows" if check.unexpected else ""
        print(f"{word} {check.check}: expected {check.expected}{found}{rows}{place}")
    sound = sum(check.success for check in record.checks)
    print(
        f"{record.suite}: {record.rows} rows, {sound} of {len(record.checks)} checks sound; {where}"
    )


def _said(record: QualityRecord) -> str:
    """`passed`, or what failed, with what was found."""
    failed = [*record.faults, *record.warnings]
    word = "passed" if record.passed else "FAILED"
    named = ", ".join(
        check.check if check.observed is None else f"{check.check} {check.observed}"
        for check in failed
    )
    still = "" if record.closed else " (open day)"
    return f"{word}{still}: {named}" if named else f"{word}{still}"


def _tables(named: list[str]) -> list[str]:
    for name in named:
        if name not in days.TABLES:
            raise ConfigError(f"no table {name}; there are: {', '.join(days.TABLES)}")
    return list(dict.fromkeys(named)) or list(days.TABLES)


def _date(text: str) -> dt.date:
    try:
        return dt.datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=dt.UTC).date()
    except ValueError:
        raise ConfigError(f"--day reads yyyy-MM-dd, not {text!r}") from None


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app(prog_name="scripts/quality")
    except SluiceError as error:
        sys.exit(f"quality: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
