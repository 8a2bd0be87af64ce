"""Closed days of the analyst tables as rows to check."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow as pa

from operators.model_store import ModelStore
from schemas.errors import SluiceError
from schemas.settings import CONF
from scripts.cli.lake.reading import Lake
from scripts.cli.quality.against import midnight
from scripts.cli.quality.config import Reader
from scripts.cli.quality.derive import Row, Versions
from scripts.cli.quality.frames import Table, table_of
from udfs.fusion import LinearFusion
from udfs.model_package import MANIFEST

TABLES: Final[dict[str, Reader]] = {
    "uploads": "upload",
    "decisions": "decision",
    "feedback": "feedback",
}
"""Suites that have a table, and how its rows are read."""
BACK_DAYS: Final = 7
"""How far back the decision of a feedback row is looked for."""

# A sample is drawn by hash, so that the same rows are checked every time.
_ROWS: Final[dict[str, str]] = {
    # As it came, once a revision: the audit has it again with every later decision.
    "uploads": """
SELECT upload, record_partition, record_offset FROM audit WHERE dt = '{day}'
QUALIFY row_number() OVER (
  PARTITION BY content_id, json_extract_string(upload, '$.revision')
  ORDER BY record_offset, record_partition) = 1
ORDER BY md5(content_id), record_offset LIMIT {most}""",
    "decisions": """
SELECT d.*, d.decided_at AS "timestamp", json_extract_string(a.upload, '$.text') AS text,
  json_extract_string(a.upload, '$.language') AS language
FROM (
  SELECT * FROM decisions WHERE dt = '{day}' ORDER BY md5(moderation_id) LIMIT {most}
) d LEFT JOIN (SELECT moderation_id, upload FROM audit WHERE dt = '{day}') a USING (moderation_id)
ORDER BY d.record_partition, d.record_offset""",
    "feedback": """
SELECT f.*, f.decided_at AS "timestamp", d.features AS decision_features
FROM (
  SELECT * FROM feedback WHERE dt = '{day}' ORDER BY md5(feedback_id) LIMIT {most}
) f LEFT JOIN (
  SELECT moderation_id, any_value(features) AS features FROM decisions
  WHERE dt >= '{since}' AND dt <= '{day}' GROUP BY moderation_id
) d USING (moderation_id)
ORDER BY f.record_partition, f.record_offset""",
}
_COUNTED: Final = {
    "uploads": ("audit", "count(DISTINCT content_id)", "max(uploaded_at)"),
    "decisions": ("decisions", "count(*)", "max(asked_at)"),
    "feedback": ("feedback", "count(*)", "max(COALESCE(said_at, decided_at))"),
}
_JOINS: Final = """
SELECT kind, count(f.event_id) AS joined, count(*) AS said
FROM (
  SELECT 'report' AS kind, report_id AS id, content_id FROM reports WHERE dt = '{day}'
  -- Golden items and appeals that go on say nothing about the content, and give no row.
  UNION ALL
  SELECT 'verdict', verdict_id, content_id FROM verdicts WHERE dt = '{day}' AND NOT golden
  UNION ALL
  SELECT DISTINCT 'appeal', appeal_id, content_id FROM appeals
  WHERE dt = '{day}' AND outcome <> 'escalated'
) s LEFT JOIN (
  SELECT DISTINCT source, event_id, content_id FROM feedback WHERE dt = '{day}'
) f ON f.source = s.kind AND f.event_id = s.id AND f.content_id = s.content_id
GROUP BY kind"""


class OpenDayError(SluiceError):
    """A day that is not over."""


class Found(NamedTuple):
    """A day of a table."""

    table: Table
    rows: int
    """All of the day; of uploads, contents."""
    newest: dt.datetime | None
    volumes: Mapping[dt.date, int]
    """Of the day and of those that were asked for besides, as far as there are rows."""
    joins: Mapping[str, tuple[int, int]]


def is_closed(day: dt.date, now: dt.datetime, grace_hours: float) -> bool:
    """Whether a day is over, and late records have had their time."""
    return now >= midnight(day + dt.timedelta(days=1)) + dt.timedelta(hours=grace_hours)


def require_closed(day: dt.date, now: dt.datetime, grace_hours: float) -> None:
    """Refuse a day that is open.

    Raises:
        OpenDayError: saying when it closes.
    """
    if not is_closed(day, now, grace_hours):
        closes = midnight(day + dt.timedelta(days=1)) + dt.timedelta(hours=grace_hours)
        raise OpenDayError(
            f"{day} is open until {closes:%Y-%m-%d %H:%M} UTC (quality.grace_hours after its end):"
            " its figures would still change. --open checks it nevertheless"
        )


def read(
    lake: Lake,
    suite: str,
    day: dt.date,
    *,
    most: int,
    earlier: Iterable[dt.date],
    known: Versions | None,
) -> Found:
    """Read a day of a table.

    Args:
        lake: the tables.
        suite: one of `TABLES`.
        day: which.
        most: rows that are looked at; a sample where there are more.
        earlier: days to count the rows of.
        known: models that decisions may name.

    Raises:
        QueryError: the tables cannot be read.
    """
    since = day - dt.timedelta(days=BACK_DAYS)
    rows = _plain(
        lake.query(_ROWS[suite].format(day=day, since=since, most=most), may_be_empty=True)
    )
    places = [f"{row['record_partition']}:{row['record_offset']}" for row in rows]
    if suite == "uploads":
        rows = [_object(row["upload"]) for row in rows]
    table, count, newest = _COUNTED[suite]
    days = ", ".join(f"'{one}'" for one in {day, *earlier})
    counted = lake.query(
        f"SELECT dt, {count} AS rows FROM {table} WHERE dt IN ({days}) GROUP BY dt",  # noqa: S608 - of our own
        may_be_empty=True,
    )
    volumes = {dt.date.fromisoformat(row["dt"]): row["rows"] for row in counted.to_pylist()}
    last = lake.query(
        f"SELECT {newest} AS newest FROM {table} WHERE dt = '{day}'",  # noqa: S608 - likewise
        may_be_empty=True,
    ).to_pylist()[0]["newest"]
    joins = {}
    if suite == "feedback":
        said = lake.query(_JOINS.format(day=day), may_be_empty=True).to_pylist()
        joins = {row["kind"]: (row["joined"], row["said"]) for row in said}
        joins |= {kind: (0, 0) for kind in ("report", "verdict", "appeal") if kind not in joins}
    return Found(
        table_of(rows, places, TABLES[suite], known),
        volumes.get(day, 0),
        None if last is None else last.replace(tzinfo=dt.UTC),
        volumes,
        joins,
    )


def known_models(store: str) -> set[tuple[str, str]]:
    """Names and versions of the models that there are: shipped, in the store, and the fusion.

    Args:
        store: folder or address of the model store.
    """
    known = set()
    for path in sorted((CONF / "models").glob(f"*/{MANIFEST}")):
        manifest = msgspec.json.decode(path.read_bytes())
        known.add((str(manifest["name"]), str(manifest["version"])))
    models = ModelStore(store)
    for name in models.names():
        known |= {(name, version) for version in models.versions(name)}
    known.add(("fusion", LinearFusion.load(CONF / "fusion.yaml").version))
    return known


def _plain(rows: pa.Table) -> list[Row]:
    """Rows whose maps are dictionaries."""
    listed: list[Row] = rows.to_pylist()
    maps = [field.name for field in rows.schema if pa.types.is_map(field.type)]
    for row in listed:
        for name in maps:
            row[name] = None if row[name] is None else dict(row[name])
    return listed


def _object(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
