"""`scripts/quality`: checks of closed files of uploads, training rows and feedback rows.

The suites are in conf/expectations; they run as Great Expectations suites. The results are
records (results.jsonl) and a page (index.html) in --out, and they name rows, never their texts.
Leaves with 1 where a check of severity `error` fails.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from schemas.errors import SluiceError
from schemas.settings import ROOT
from scripts.cli.quality import config, frames, report, suites
from scripts.cli.quality.report import Run

OUT: Final = Path(os.environ.get("SLUICE_RUN_DIR", ROOT / ".run")) / "quality"
app = typer.Typer(add_completion=False, rich_markup_mode=None, help=__doc__)


@app.command()
def run(
    files: Annotated[
        list[Path], typer.Argument(help="Closed files (Parquet, JSON lines), folders.")
    ],
    *,
    suite: Annotated[str, typer.Option(help="uploads, training, feedback, or a YAML file.")],
    out: Annotated[Path, typer.Option(help="Folder for records and page.")] = OUT,
    metrics: Annotated[
        Path | None, typer.Option(help="Also write a Prometheus textfile (NAME.prom).")
    ] = None,
) -> None:
    """Run a suite over files, all together."""
    chosen = config.load(suite)
    started = dt.datetime.now(dt.UTC)
    files = frames.closed_files(files)
    table = frames.read(files, chosen.reader)
    name = Path(suite).stem
    done = Run(
        suite=name,
        about=chosen.about,
        files=[str(path) for path in files],
        rows=len(table.frame),
        started_at=started,
        results=suites.run(chosen, table, name),
    )
    page = report.write(done, out / name)
    if metrics is not None:
        part = metrics.with_name(f".{metrics.name}.part")
        part.write_text(report.metrics([done]), "utf-8")
        part.replace(metrics)
    for result in (*done.faults, *done.warnings):
        word = report.state(result).upper()
        where = f" ({result.places[0]} first)" if result.places else ""
        found = "" if result.observed is None else f", found {result.observed}"
        rows = f", {result.unexpected} of {result.rows} rows" if result.unexpected else ""
        print(f"{word} {result.check}: expected {result.expected}{found}{rows}{where}")
    sound = sum(result.success for result in done.results)
    print(f"{name}: {done.rows} rows, {sound} of {len(done.results)} checks sound; {page}")
    if done.faults:
        raise typer.Exit(1)


@app.command("list")
def list_() -> None:
    """List the suites and how many checks each has."""
    for name in config.names():
        suite = config.load(name)
        print(f"{name}: {len(suite.columns)} columns, {len(suite.shares)} shares. {suite.about}")


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
