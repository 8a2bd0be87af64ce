"""Which rows of the analyst tables go, in SQL that DuckDB (to count) and Flink (to delete) read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

from operators.table_sql import text
from schemas.tables import Table
from schemas.tables_conf import HoldsDocument, Keep
from schemas.tables_records import ALL, CAMPAIGNS
from schemas.tables_said import FEEDBACK, REPORTS, VERDICTS

Dialect = Literal["duckdb", "flink"]

AUTHORED: Final = tuple(
    table for table in ALL.values() if "user_id" in table.people and "content_id" in table.contents
)
"""Tables that say whose a content is."""
DEPENDENT: Final = tuple(table.name for table in (REPORTS, VERDICTS, FEEDBACK, CAMPAIGNS))
"""Tables with rows that only the others can tell the user of."""
_BYTES: Final = {"unreadable": ("record_value",), "dead_letters": ("raw",)}
"""Columns with records as they came: the id may stand anywhere in them, as a JSON string."""


class Doomed(NamedTuple):
    """Rows `t` of one table that go, and those that would go but for a legal hold."""

    table: str
    joins: str
    goes: str
    held: str

    def counted(self) -> str:
        """SQL of the rows of each day: all, going and held."""
        goes, held = f"COALESCE({self.goes}, FALSE)", f"COALESCE({self.held}, FALSE)"
        return (
            f"SELECT t.dt AS dt, count(*) AS total,"  # noqa: S608 - names of our own; texts are quoted
            f" count(*) FILTER (WHERE {goes} AND NOT {held}) AS going,"
            f" count(*) FILTER (WHERE {goes} AND {held}) AS held"
            f" FROM {self.table} t{self.joins} GROUP BY t.dt ORDER BY t.dt"
        )

    def staying(self, days: Sequence[str]) -> str:
        """SQL of the rows of some days that stay, with the table's columns."""
        goes, held = f"COALESCE({self.goes}, FALSE)", f"COALESCE({self.held}, FALSE)"
        return (
            f"SELECT t.* FROM {self.table} t{self.joins}"  # noqa: S608 - likewise
            f" WHERE t.dt IN ({_listed(days)}) AND NOT ({goes} AND NOT {held})"
        )


def too_old(table: Table, keep: Keep, holds: HoldsDocument, today: dt.date) -> Doomed | None:
    """Rows that are older than they may be; None where a table is kept without limit.

    A content is safe where every decision about it allowed it; one that no decision is about
    counts as safe. Tables that are not about contents know `safe_days` alone.
    """
    if keep.safe_days is None:
        return None
    safe = f"t.dt < {text(_day(today, keep.safe_days))}"
    joins, held = _held(table, holds)
    if not table.contents:
        return Doomed(table.name, joins, safe, held)
    joins += (
        " LEFT JOIN (SELECT DISTINCT content_id AS id FROM decisions WHERE action <> 'allow') v"
        " ON t.content_id = v.id"
    )
    goes = f"({safe} AND v.id IS NULL)"
    if keep.violation_days is not None:
        goes = f"({goes} OR t.dt < {text(_day(today, keep.violation_days))})"
    return Doomed(table.name, joins, goes, held)


def of_user(table: Table, user_id: str, holds: HoldsDocument, dialect: Dialect) -> Doomed | None:
    """Rows about a user or the user's contents; None where a table has no such."""
    user = text(user_id)
    conditions = [f"t.{column} = {user}" for column in table.people]
    joins = ""
    if table.name in DEPENDENT:
        theirs = " UNION ".join(
            f"SELECT content_id AS id FROM {one.name} WHERE user_id = {user}"  # noqa: S608 - likewise
            for one in AUTHORED
        )
        joins = f" LEFT JOIN ({theirs}) m ON t.content_id = m.id"
        conditions.append("m.id IS NOT NULL")
    conditions += [
        _contains(f"t.{column}", f'"{user_id}"', dialect) for column in _BYTES.get(table.name, ())
    ]
    if not conditions:
        return None
    held = (
        f"t.content_id IN ({_listed(holds.contents)})"
        if holds.contents and table.contents
        else "FALSE"
    )
    return Doomed(table.name, joins, f"({' OR '.join(conditions)})", held)


def contents_of(user_id: str) -> str:
    """SQL of the ids of a user's contents."""
    return " UNION ".join(
        f"SELECT content_id FROM {one.name} WHERE user_id = {text(user_id)}"  # noqa: S608 - likewise
        for one in AUTHORED
    )


def spoken_about(user_id: str) -> str:
    """SQL of the ids of contents that a user reported."""
    return f"SELECT content_id FROM {REPORTS.name} WHERE reporter_id = {text(user_id)}"  # noqa: S608 - likewise


def _held(table: Table, holds: HoldsDocument) -> tuple[str, str]:
    """Joins and condition of the rows that a hold keeps."""
    joins = ""
    people = table.people if holds.users else ()
    conditions = [f"t.{column} IN ({_listed(holds.users)})" for column in people]
    if holds.contents and table.contents:
        conditions.append(f"t.content_id IN ({_listed(holds.contents)})")
    if holds.users and table.contents:
        joins = (
            " LEFT JOIN (SELECT DISTINCT content_id AS id FROM decisions"  # noqa: S608 - likewise
            f" WHERE user_id IN ({_listed(holds.users)})) h ON t.content_id = h.id"
        )
        conditions.append("h.id IS NOT NULL")
    return joins, " OR ".join(f"COALESCE({one}, FALSE)" for one in conditions) or "FALSE"


def _contains(column: str, part: str, dialect: Dialect) -> str:
    if dialect == "flink":
        return f"POSITION({text(part)} IN DECODE({column}, 'UTF-8')) > 0"
    # DuckDB reads bytes as text only where they are; two digits stand for each.
    return f"contains(regexp_replace(hex({column}), '(..)', '\\1 ', 'g'), {text(_spaced(part))})"


def _spaced(part: str) -> str:
    return part.encode("utf-8", "surrogatepass").hex(" ").upper()


def _listed(values: Iterable[str]) -> str:
    return ", ".join(text(value) for value in values)


def _day(today: dt.date, days: int) -> str:
    return (today - dt.timedelta(days=days)).isoformat()
