"""Analyst tables made without the job, for tests of what reads them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from pypaimon import CatalogFactory, Schema

from schemas.tables import Table
from schemas.tables_records import ALL
from scripts.cli.lake.reading import Lake
from scripts.cli.lake.types import duckdb_type

PRICES = {"machine_hour": 0.5, "machines": 2.0, "review_hour": 36.0}
DAY = dt.datetime(2026, 3, 1)  # noqa: DTZ001 - the tables hold UTC without saying so
"""Midnight that begins the first day."""

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def arrow_schema(table: Table) -> pa.Schema:
    """Columns of a table as Arrow has them."""
    columns = ", ".join(f'"{c.name}" {duckdb_type(c.type)}' for c in table.all_columns)
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE t ({columns})")
        return connection.sql("SELECT * FROM t").to_arrow_table().schema


def make_lake(folder: Path, rows: Rows) -> Lake:
    """Write rows into fresh tables; tables without any are made as well."""
    catalog = CatalogFactory.create({"warehouse": folder.as_uri()})
    catalog.create_database("sluice", ignore_if_exists=True)
    for name, table in ALL.items():
        arrow = arrow_schema(table)
        options = {"bucket": "1", "sequence.field": "record_offset"}
        schema = Schema.from_pyarrow_schema(
            arrow, partition_keys=["dt"], primary_keys=["dt", *table.key], options=options
        )
        catalog.create_table(f"sluice.{name}", schema, ignore_if_exists=False)
        if rows.get(name):
            builder = catalog.get_table(f"sluice.{name}").new_batch_write_builder()
            write = builder.new_write()
            write.write_arrow(pa.Table.from_pylist([dict(row) for row in rows[name]], arrow))
            builder.new_commit().commit(write.prepare_commit())
    return Lake(folder.as_uri(), "sluice", PRICES)


def decided(number: int, at: dt.datetime = DAY, **fields: Any) -> dict[str, Any]:
    """A row of `decisions` or `cases`."""
    latency = fields.pop("latency_ms", 10.0)
    row = {
        "dt": f"{at:%Y-%m-%d}",
        "moderation_id": f"m{number}",
        "content_id": f"c{number}",
        "revision": 0,
        "upload_revision": 0,
        "content_type": "text",
        "user_id": "u1",
        "community_id": None,
        "status": "approved",
        "action": "allow",
        "category": "",
        "scores": [("toxicity", 0.1)],
        "interim": False,
        "degraded": [],
        "evidence": [],
        "latency_ms": latency,
        "asked_at": at,
        "decided_at": at + dt.timedelta(milliseconds=latency),
        "record_partition": 0,
        "record_offset": number,
    }
    return row | fields


def verdict(number: int, content: str, *, violates: bool, **fields: Any) -> dict[str, Any]:
    """A row of `verdicts`, said two hours into the second day."""
    row = {
        "dt": "2026-03-02",
        "verdict_id": f"v{number}",
        "content_id": content,
        "moderation_id": None,
        "rater_id": "r1",
        "role": "reviewer",
        "violates": violates,
        "category": "harassment" if violates else "",
        "severity": "none",
        "seconds": 30.0,
        "golden": False,
        "said_at": DAY + dt.timedelta(hours=26),
        "record_partition": 0,
        "record_offset": number,
    }
    return row | fields


def appeal(number: int, content: str, outcome: str, **fields: Any) -> dict[str, Any]:
    """A row of `appeals`, made at noon of the second day and resolved two hours later."""
    row = {
        "dt": "2026-03-02",
        "appeal_id": f"a{number}",
        "content_id": content,
        "outcome": outcome,
        "moderation_id": None,
        "user_id": "u1",
        "category": "",
        "automatic": False,
        "rater_id": "r9",
        "appealed_at": DAY + dt.timedelta(hours=36),
        "said_at": DAY + dt.timedelta(hours=38),
        "record_partition": 0,
        "record_offset": number,
    }
    return row | fields


def found(kind: str, name: str, **fields: Any) -> dict[str, Any]:
    """One piece of a decision's evidence."""
    return {"kind": kind, "id": name, "observe_only": False, **fields}
