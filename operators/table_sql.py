"""The analyst tables in Flink SQL: sources over Kafka, Paimon tables, and what fills them.

Each topic is read twice: as JSON, which gives the rows, and as bytes, which gives the records
that became no row or not a whole one. Flink's JSON format tells nobody which records it could not
read; picking a few fields out of each for `unreadable` costs less than writing the rows.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from operators.table_pii import masked_sql
from schemas.tables import UNREADABLE, Column, Table
from schemas.tables_records import CONTROL_HISTORY, TABLES
from schemas.topics import Topics

CATALOG: Final = "lake"
_RAW: Final = "raw_records"
_CONTROL: Final = "raw_control"


class Erased(NamedTuple):
    """A user whose rows were erased, so that reading the topics again does not bring them back."""

    user_sha256: str
    """Of the id, hex."""
    at: dt.datetime
    """UTC. What the user does later counts again."""


def table_ddl(table: Table, database: str, options: Mapping[str, str]) -> str:
    """DDL of a Paimon table.

    Args:
        table: which.
        database: in the catalog.
        options: of Paimon, for each table.
    """
    columns = ", ".join(_column(column) for column in table.all_columns)
    key = ", ".join(f"`{name}`" for name in ("dt", *table.key))
    # A descending order Paimon 1.3 keeps between files, and not among rows that are written
    # together; hence a column that ascends.
    order = table.sequence if table.order == "latest" else ("record_order",)
    options = {"merge-engine": "deduplicate", "sequence.field": ",".join(order), **options}
    listed = ", ".join(f"{text(name)} = {text(value)}" for name, value in options.items())
    return (
        f"CREATE TABLE IF NOT EXISTS `{CATALOG}`.`{database}`.`{table.name}` ({columns},"
        f" PRIMARY KEY ({key}) NOT ENFORCED) COMMENT {text(table.comment)}"
        f" PARTITIONED BY (dt) WITH ({listed})"
    )


def add_columns_ddl(table: Table, database: str, there: Iterable[str]) -> str | None:
    """DDL that adds the columns that an older release did not know; None where all are there."""
    known = set(there)
    missing = [column for column in table.all_columns if column.name not in known]
    if not missing:
        return None
    columns = ", ".join(_column(column) for column in missing)
    return f"ALTER TABLE `{CATALOG}`.`{database}`.`{table.name}` ADD ({columns})"


def source_fields(topic: str) -> tuple[tuple[str, str], ...]:
    """Fields that the tables of one topic read: name and Flink SQL type."""
    fields: dict[str, str] = {}
    for table in TABLES:
        if table.topic == topic:
            fields |= dict(table.json_fields)
    return tuple(fields.items())


def source_name(topic: str) -> str:
    """Name of the source that reads a topic as JSON."""
    return f"{topic}_records"


def json_topics() -> tuple[str, ...]:
    """Short names of the topics that are read as JSON, each once."""
    return tuple(dict.fromkeys(table.topic for table in TABLES))


def insert_sql(
    table: Table,
    database: str,
    topics: Topics,
    erased: Sequence[Erased] = (),
    *,
    masked: bool = False,
) -> str:
    """The statement that fills a table for as long as the job runs.

    Args:
        table: which.
        database: of the table.
        topics: full names of the topics.
        erased: users whose rows up to a time are left out.
        masked: without personal data, as far as `table_pii` knows it.
    """
    columns = ", ".join(f"`{column.name}`" for column in table.all_columns)
    values = ", ".join(
        f"{(masked_sql(table, column) if masked else None) or _plain(column)} AS `{column.name}`"
        for column in table.all_columns[1:]
    )
    # A record whose time cannot be read still has a day.
    day = f"DATE_FORMAT(COALESCE({table.day}, written_at), 'yyyy-MM-dd')"
    source, condition = _source(table, topics)
    for person in erased:
        until = text(person.at.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S"))
        for column in table.people:
            condition += (
                f" AND ({_value(table, column)} IS NULL"
                f" OR SHA256({_value(table, column)}) <> {text(person.user_sha256)}"
                f" OR COALESCE({table.day}, written_at) > CAST({until} AS TIMESTAMP(3)))"
            )
    target = f"`{CATALOG}`.`{database}`.`{table.name}`"
    return (
        f"INSERT INTO {target} ({columns}) SELECT {day} AS dt, {values} FROM {source}"  # noqa: S608 - names and SQL of our own; the texts are quoted
        f" WHERE {condition}"
    )


def raw_sources() -> dict[str, bool]:
    """Sources of bytes by name, and whether each reads the control topic (else all others)."""
    return {_RAW: False, _CONTROL: True}


def raw_view_ddl(name: str) -> str:
    """DDL of the view over the table NAME_bytes that gives it the names that columns use."""
    return (
        f"CREATE TEMPORARY VIEW {name} AS SELECT k, v, `topic`, `partition` AS record_partition,"  # noqa: S608 - a name of our own
        f" `offset` AS record_offset, CAST(ts AS TIMESTAMP(3)) AS written_at FROM {name}_bytes"
    )


def text(value: str) -> str:
    """A string as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


def _column(column: Column) -> str:
    return f"`{column.name}` {column.type} COMMENT {text(column.comment)}"


def _plain(column: Column) -> str:
    return column.value or f"`{column.name}`"


def _value(table: Table, name: str) -> str:
    value = next(column.value for column in table.all_columns if column.name == name)
    return f"({value})" if value else f"`{name}`"


def _source(table: Table, topics: Topics) -> tuple[str, str]:
    """What a table reads, and which of its rows."""
    if table is CONTROL_HISTORY:
        source = f"(SELECT *, DECODE(v, 'UTF-8') AS m FROM {_CONTROL})"  # noqa: S608 - a name of our own
        return source, "TRUE"
    if table is UNREADABLE:
        return _RAW, f"NOT COALESCE({_readable(topics)}, FALSE)"
    keys = [
        name for name in table.key if any(c.name == name and not c.value for c in table.columns)
    ]
    conditions = [*(f"`{name}` IS NOT NULL" for name in keys), table.where]
    return source_name(table.topic), " AND ".join(conditions)


def _readable(topics: Topics) -> str:
    """SQL condition on bytes `v` of `topic`: every table of the topic has a whole row of it."""
    cases = []
    for short in json_topics():
        checks: dict[str, str] = {}
        for table in TABLES:
            if table.topic == short:
                checks |= table.checks
        # One pass over the record picks the fields out, the rest looks at these few.
        path = "lax $[" + ",".join(f"'{name}'" for name in sorted(checks)) + "]"
        picked = f"JSON_QUERY(DECODE(v, 'UTF-8'), {text(path)} NULL ON EMPTY NULL ON ERROR)"
        form = "(?s)^" + "".join(f"(?{check})" for check in checks.values())
        cases.append(f"WHEN {text(getattr(topics, short))} THEN REGEXP({picked}, {text(form)})")
    # Bytes that are not UTF-8 are read with signs put in their place: that is no whole row.
    return (
        f"v IS NOT NULL AND ENCODE(DECODE(v, 'UTF-8'), 'UTF-8') = v"
        f" AND CASE `topic` {' '.join(cases)} END"
    )
