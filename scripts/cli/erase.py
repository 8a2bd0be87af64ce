"""Erases what is kept of one user: analyst tables, the jobs' state, Redis, training rows.

It reports what went. The tables job must not run meanwhile (it goes on with `scripts/run_tables
--resume`); the others go on. What a legal hold names stays, and the report says so. The topics
forget by themselves, after their retention.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from operators.erasures import add_erasure
from operators.user_erasure import erase_user_keys
from schemas.errors import SluiceError
from schemas.settings import ROOT, Settings, load_settings
from schemas.tables_conf import load_holds, warehouse_uri
from schemas.tables_records import ALL
from scripts.cli.erase_state import forget_state, forgotten
from scripts.cli.lake.deleting import Deletion, count, delete
from scripts.cli.lake.doomed import contents_of, of_user, spoken_about
from scripts.cli.lake.reading import Lake
from scripts.cli.lake.training_rows import erase_rows
from scripts.cli.lake.turns import JobStopped, writing
from scripts.cli.query import open_lake

app = typer.Typer(add_completion=False, help=__doc__)


@app.command(help=__doc__)
def main(
    user: Annotated[str, typer.Option(help="Id of the user.")],
    dataset: Annotated[
        list[Path] | None, typer.Option(help="Folder with training rows; repeatable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    job_stopped: JobStopped = False,
    profile: Annotated[
        str, typer.Option(help="A profile of conf/profiles, or the path of a YAML file.")
    ] = "dev",
) -> None:
    """Erase a user and print the report, one JSON object."""
    try:
        settings = load_settings(profile)
        turn = writing(warehouse_uri(settings), "scripts/erase", job_stopped=job_stopped)
        with contextlib.nullcontext() if dry_run else turn:
            report = erase(settings, user, dataset or [], dry_run=dry_run)
    except (SluiceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(json.dumps(report, indent=2))
    sys.exit(0 if report["complete"] else 3)


def erase(settings: Settings, user: str, datasets: list[Path], *, dry_run: bool) -> dict[str, Any]:
    """Erase a user; gives the report. The caller holds the turn to write.

    Raises:
        SluiceError: something could not be erased; what was is gone, and a second run goes on.
    """
    now = dt.datetime.now(dt.UTC)
    holds = load_holds(ROOT / settings.tables.holds).on(now.date())
    report: dict[str, Any] = {"user": user, "at": now.isoformat(), "dry_run": dry_run}
    whole = [hold.reason for hold in holds.holds if hold.user_id == user]
    if whole:
        return {**report, "complete": False, "held_by": whole}
    lake = open_lake(settings)
    contents = _column(lake, contents_of(user))
    texts = _texts(lake, contents)
    deletions: list[Deletion] = []
    for name in ALL:
        counted = of_user(ALL[name], user, holds, "duckdb")
        if counted is not None:
            deletions.append(count(lake, counted, of_user(ALL[name], user, holds, "flink")))
    report["tables"] = {one.doomed.table: one.going for one in deletions if one.going}
    report["held"] = {one.doomed.table: one.held for one in deletions if one.held}
    report["held_by"] = [hold.reason for hold in holds.holds if hold.content_id in contents]
    if not dry_run:
        named = {*contents, *_column(lake, spoken_about(user))}
        # First, so that a job that starts from the topics' beginning knows of it in any case.
        add_erasure(warehouse_uri(settings), user, now)
        # Before the tables lose what tells the contents: a second run would not know them.
        report["state"] = forget_state(settings, user, now, named)
        delete(settings, deletions, lambda text: print(text, file=sys.stderr))
        report["redis"] = erase_user_keys(settings.redis, user, contents)
        report["training_rows"] = {
            str(folder): erase_rows(folder, set(contents), texts) for folder in datasets
        }
    report["complete"] = not report["held"] and (dry_run or forgotten(report["state"]))
    return report


def _column(lake: Lake, sql: str) -> list[str]:
    rows = lake.query(f"SELECT DISTINCT * FROM ({sql}) ORDER BY 1", may_be_empty=True)  # noqa: S608 - SQL of our own
    return [value for value in rows.column(0).to_pylist() if value is not None]


def _texts(lake: Lake, contents: list[str]) -> list[str]:
    """What a user wrote, as far as a table has it."""
    if not contents:
        return []
    listed = ", ".join("'" + content.replace("'", "''") + "'" for content in contents)
    return _column(
        lake,
        f"SELECT json_extract_string(upload, '$.text') FROM audit WHERE content_id IN ({listed})"  # noqa: S608 - the texts are quoted
        f" UNION SELECT text FROM review_items WHERE content_id IN ({listed})"
        f" UNION SELECT text FROM feedback WHERE content_id IN ({listed})",
    )


if __name__ == "__main__":
    app()
