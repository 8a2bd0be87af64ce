"""SQL over the analyst tables, by DuckDB. Tables and views: --list; columns: DESCRIBE TABLE."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import typer
from rich.console import Console
from rich.table import Table as RichTable

from schemas.errors import SluiceError
from schemas.settings import ROOT, Settings, load_settings
from schemas.tables_conf import load_tables, warehouse_uri
from schemas.tables_records import ALL
from schemas.tables_views import VIEWS
from scripts.cli.lake.reading import Lake, QueryError

app = typer.Typer(add_completion=False, help=__doc__)
Format = Literal["table", "csv", "json", "parquet"]


@app.command(help=__doc__)
def main(
    sql: Annotated[str, typer.Argument(help="One SELECT; - reads it from standard input.")] = "",
    output: Annotated[Format, typer.Option("--format", help="json: one object a line.")] = "table",
    out: Annotated[Path | None, typer.Option(help="Write there, not to standard output.")] = None,
    show: Annotated[bool, typer.Option("--list", help="Name the tables and views.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what would be read, and answer nothing.")
    ] = False,
    profile: Annotated[
        str, typer.Option(help="A profile of conf/profiles, or the path of a YAML file.")
    ] = "dev",
) -> None:
    """Answer one query."""
    try:
        if show:
            _list()
            return
        if not sql:
            raise QueryError("give a query, or --list")
        if output == "parquet" and out is None:
            raise QueryError("Parquet goes to a file: give --out FILE")
        lake = open_lake(load_settings(profile))
        sql = sys.stdin.read() if sql == "-" else sql
        if explain:
            for name, scan in lake.plan(sql).items():
                days = " OR ".join(" AND ".join(place) or "every day" for place in scan.days)
                print(f"{name}: {', '.join(scan.columns) or 'dt'}; {days}")
            return
        write(lake.query(sql), output, out)
    except (SluiceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def open_lake(settings: Settings) -> Lake:
    """The tables that the settings name."""
    prices = load_tables(ROOT / settings.tables.config).prices.model_dump()
    return Lake(
        warehouse_uri(settings),
        settings.tables.database,
        prices,
        say=lambda text: print(f"note: {text}", file=sys.stderr),
    )


def write(rows: pa.Table, output: Format, out: Path | None) -> None:
    """Write an answer to a file or standard output."""
    if output == "parquet" and out is not None:
        pa.parquet.write_table(rows, out)
        return
    if output == "csv":
        sink = out.open("wb") if out else sys.stdout.buffer
        pa.csv.write_csv(_flat(rows), sink)
    else:
        text = _lines(rows) if output == "json" else _drawn(rows, sys.stdout.isatty() and not out)
        if out:
            out.write_text(text, "utf-8")
        else:
            sys.stdout.write(text)


def _lines(rows: pa.Table) -> str:
    return "".join(
        json.dumps(_plain(row), ensure_ascii=False, default=str) + "\n" for row in _rows(rows)
    )


def _rows(rows: pa.Table) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = rows.to_pylist()
    maps = [field.name for field in rows.schema if pa.types.is_map(field.type)]
    for row in listed:
        for name in maps:
            row[name] = None if row[name] is None else dict(row[name])
    return listed


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        for name, value in row.items()
    }


def _flat(rows: pa.Table) -> pa.Table:
    """CSV has no lists: they become JSON."""
    columns = {}
    plain = _rows(rows)
    for field in rows.schema:
        if pa.types.is_nested(field.type):
            columns[field.name] = pa.array(
                [
                    None if row[field.name] is None else json.dumps(row[field.name], default=str)
                    for row in plain
                ]
            )
        elif pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            columns[field.name] = pa.array([_plain(row)[field.name] for row in plain], pa.string())
        else:
            columns[field.name] = rows.column(field.name)
    return pa.table(columns)


def _drawn(rows: pa.Table, wide: bool) -> str:
    table = RichTable(box=None, pad_edge=False, header_style="bold")
    for field in rows.schema:
        number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        table.add_column(field.name, justify="right" if number else "left", no_wrap=not wide)
    for row in _rows(rows):
        table.add_row(*(_shown(value) for value in _plain(row).values()))
    console = Console(width=None if wide else 10_000, no_color=not wide, file=sys.stdout)
    with console.capture() as captured:
        console.print(table)
    said = captured.get()
    return "\n".join(line.rstrip() for line in said.splitlines()) + "\n"


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _list() -> None:
    print("tables")
    for name, table in ALL.items():
        print(f"  {name:24}{table.comment}")
    print("views")
    for view in VIEWS:
        print(f"  {view.name:24}{view.comment}")


if __name__ == "__main__":
    app()
