"""Deletes rows of the analyst tables that are older than they may be (conf/tables.yaml)."""

from __future__ import annotations

import datetime as dt
import json
import sys
from typing import Annotated, Any

import typer

from schemas.errors import SluiceError
from schemas.settings import ROOT, Settings, load_settings
from schemas.tables_conf import load_holds, load_tables, warehouse_uri
from schemas.tables_records import ALL
from scripts.cli.lake.deleting import Deletion, count, delete
from scripts.cli.lake.doomed import too_old
from scripts.cli.lake.turns import JobStopped, writing
from scripts.cli.query import open_lake

app = typer.Typer(add_completion=False, help=__doc__)
Profile = Annotated[
    str, typer.Option(help="A profile of conf/profiles, or the path of a YAML file.")
]
Today = Annotated[str, typer.Option(help="Count the days up to this one (yyyy-MM-dd), not today.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


@app.command()
def plan(profile: Profile = "dev", today: Today = "", *, as_json: AsJson = False) -> None:
    """Say what `run` would delete, and what a legal hold keeps."""
    _guarded(lambda: _print(_report(planned(load_settings(profile), _day(today))), as_json=as_json))


@app.command()
def run(
    profile: Profile = "dev",
    today: Today = "",
    *,
    as_json: AsJson = False,
    job_stopped: JobStopped = False,
) -> None:
    """Delete it. The tables job must not run meanwhile."""

    def work() -> None:
        settings = load_settings(profile)
        turn = writing(warehouse_uri(settings), "scripts/retention", job_stopped=job_stopped)
        with turn:
            deletions = planned(settings, _day(today))
            delete(settings, deletions, lambda text: print(text, file=sys.stderr))
        _print(_report(deletions), as_json=as_json)

    _guarded(work)


def planned(settings: Settings, today: dt.date) -> list[Deletion]:
    """What is too old, by table, in the order in which it can be deleted.

    Raises:
        ConfigError: of the settings' files.
        SluiceError: the table of decisions is empty, so that nobody knows what is safe.
    """
    keep = load_tables(ROOT / settings.tables.config).retention
    holds = load_holds(ROOT / settings.tables.holds).on(today)
    lake = open_lake(settings)
    if not lake.days("decisions"):
        raise SluiceError("the table decisions is empty: nothing tells what is safe")
    deletions = []
    for name in ALL:
        if name in keep:
            doomed = too_old(ALL[name], keep[name], holds, today)
            if doomed is not None:
                deletions.append(count(lake, doomed))
    return deletions


def _day(today: str) -> dt.date:
    try:
        return dt.date.fromisoformat(today) if today else dt.datetime.now(dt.UTC).date()
    except ValueError:
        raise SluiceError(f"{today} is no day; give yyyy-MM-dd") from None


def _report(deletions: list[Deletion]) -> dict[str, Any]:
    return {
        deletion.doomed.table: {
            "rows": deletion.going,
            "held": deletion.held,
            "days": [day.dt for day in deletion.days if day.going],
        }
        for deletion in deletions
    }


def _print(report: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report))
        return
    for table, found in report.items():
        days = found["days"]
        span = f" ({days[0]} to {days[-1]})" if days else ""
        held = f"; {found['held']} stay by a legal hold" if found["held"] else ""
        print(f"{table}: {found['rows']} rows{span}{held}")


def _guarded(work: Any) -> None:
    try:
        work()
    except (SluiceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    app()
