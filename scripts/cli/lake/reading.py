"""SQL over the analyst tables: DuckDB plans, pypaimon reads what the plan needs, DuckDB answers.

DuckDB first plans a query over empty tables. From the plan come the columns that it scans and its
conditions on days; only those columns of those days are read, as Arrow. Conditions inside a view,
or that follow from the query's own, are found as well: it is DuckDB's optimiser that looks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import duckdb
import pyarrow as pa

from schemas.errors import SluiceError
from schemas.tables import Table
from schemas.tables_records import ALL
from schemas.tables_views import VIEWS
from scripts.cli.lake.types import duckdb_type

_OPTIONAL: Final = "optional: "


class QueryError(SluiceError):
    """A query that cannot be answered, and why."""


class Scan(NamedTuple):
    """What a query needs of one table."""

    columns: tuple[str, ...]
    """In the table's order."""
    days: tuple[tuple[str, ...], ...]
    """Conditions on `dt` of each place that the table is read, each a list joined by AND."""

    def wants(self, day: str) -> bool:
        """Whether rows of a day can be part of the answer."""
        return any(all(_holds(condition, day) for condition in place) for place in self.days)


class Lake:
    """The analyst tables as they are now.

    Args:
        warehouse: URI of their folder.
        database: their database there.
        prices: US dollars by what is paid for, for the view `cost`.
        say: told what a reader should know besides the answer.
    """

    def __init__(
        self,
        warehouse: str,
        database: str,
        prices: Mapping[str, float] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._warehouse = warehouse
        self._database = database
        self._prices = dict(prices or {})
        self._say = say
        self._tables: dict[str, Any] = {}

    def plan(self, sql: str) -> dict[str, Scan]:
        """What a query reads, by table.

        Raises:
            QueryError: it is not one SELECT over tables and views that there are.
        """
        with duckdb.connect() as empty:
            # It would find out that the tables are empty, and plan nothing.
            empty.execute("SET disabled_optimizers = 'statistics_propagation'")
            self._define(empty, {})
            _check(empty, sql)
            try:
                plan = empty.execute(f"EXPLAIN (FORMAT json) {sql}").fetchall()
            except duckdb.Error as error:
                raise QueryError(_sentence(error)) from None
        found: dict[str, list[tuple[set[str], tuple[str, ...]]]] = {}
        for name, columns, conditions in _scans(
            node for _, text in plan for node in json.loads(text)
        ):
            found.setdefault(name, []).append((columns, conditions))
        return {name: _joined(ALL[name], scans) for name, scans in found.items()}

    def query(self, sql: str, *, may_be_empty: bool = False) -> pa.Table:
        """Answer a query.

        Args:
            sql: one SELECT.
            may_be_empty: whether it is no mistake that nothing it reads was ever written to.

        Raises:
            QueryError: it is wrong, or what it reads is empty.
        """
        plan = self.plan(sql)
        loaded = {name: self.read(name, scan) for name, scan in plan.items()}
        empty = [name for name, rows in loaded.items() if rows is None]
        if empty and len(empty) == len(plan) and not may_be_empty:
            raise QueryError(
                f"{' and '.join(empty)} {'is' if len(empty) == 1 else 'are'} still empty:"
                " nothing has been written yet (is scripts/run_tables running, and has its first"
                " checkpoint passed?)"
            )
        for name in () if may_be_empty else empty:
            self._say(f"{name} is still empty")
        with duckdb.connect() as full:
            self._define(full, loaded)
            try:
                return full.sql(sql).to_arrow_table()
            except duckdb.Error as error:
                raise QueryError(_sentence(error)) from None

    def read(self, name: str, scan: Scan) -> pa.Table | None:
        """Columns of a table's days; None where nothing was ever written to it."""
        table = self._table(name)
        if table is None:
            return None
        there = {field.name for field in table.fields}
        columns = [column for column in scan.columns if column in there]
        builder = table.new_read_builder().with_projection(columns or ["dt"])
        splits = builder.new_scan().plan().splits()
        if not splits and table.snapshot_manager().get_latest_snapshot() is None:
            return None
        chosen = [split for split in splits if scan.wants(split.partition.values[0])]
        return builder.new_read().to_arrow(chosen)

    def days(self, name: str) -> list[str]:
        """Days that a table has rows of."""
        table = self._table(name)
        if table is None:
            return []
        splits = table.new_read_builder().new_scan().plan().splits()
        return sorted({split.partition.values[0] for split in splits})

    def _table(self, name: str) -> Any:
        if name not in self._tables:
            from pypaimon import CatalogFactory  # noqa: PLC0415 - it takes seconds to import

            catalog = CatalogFactory.create({"warehouse": self._warehouse})
            try:
                self._tables[name] = catalog.get_table(f"{self._database}.{name}")
            except Exception as error:
                if type(error).__name__ not in {
                    "TableNotExistException",
                    "DatabaseNotExistException",
                }:
                    raise
                self._tables[name] = None
        return self._tables[name]

    def _define(
        self, connection: duckdb.DuckDBPyConnection, loaded: Mapping[str, pa.Table | None]
    ) -> None:
        """Make every table and view known; tables that are not loaded are empty."""
        connection.execute("CREATE TABLE prices (what VARCHAR, usd DOUBLE)")
        for what, usd in self._prices.items():
            connection.execute("INSERT INTO prices VALUES (?, ?)", [what, usd])
        for name, table in ALL.items():
            rows = loaded.get(name)
            there: Iterable[str] = [column.name for column in table.all_columns]
            if rows is None:
                columns = ", ".join(
                    f'"{column.name}" {duckdb_type(column.type)}' for column in table.all_columns
                )
                connection.execute(f'CREATE TABLE "_{name}" ({columns})')
            else:
                connection.register(f"_{name}", rows)
                there = rows.column_names
            values = ", ".join(
                f"CAST({f'{chr(34)}{c.name}{chr(34)}' if c.name in there else 'NULL'} AS"
                f' {duckdb_type(c.type)}) AS "{c.name}"'
                for c in table.all_columns
            )
            connection.execute(f'CREATE VIEW "{name}" AS SELECT {values} FROM "_{name}"')  # noqa: S608 - names of our own
        for view in VIEWS:
            connection.execute(f'CREATE VIEW "{view.name}" AS {view.sql}')


def _scans(nodes: Iterable[dict[str, Any]]) -> Iterable[tuple[str, set[str], tuple[str, ...]]]:
    """Table, columns and conditions of each scan in a plan."""
    for node in nodes:
        about = node.get("extra_info", {})
        name = str(about.get("Table", "")).rpartition(".")[2].removeprefix("_")
        if name in ALL:
            conditions = [
                condition.removeprefix(_OPTIONAL) for condition in _listed(about.get("Filters"))
            ]
            yield (
                name,
                {column.strip('"') for column in _listed(about.get("Projections"))},
                tuple(conditions),
            )
        yield from _scans(node.get("children", []))


def _listed(value: Any) -> list[str]:
    """What the plan gives as nothing, one text or several."""
    if not value:
        return []
    return [value] if isinstance(value, str) else list(value)


def _joined(table: Table, scans: list[tuple[set[str], tuple[str, ...]]]) -> Scan:
    known = {column.name for column in table.all_columns}
    wanted: set[str] = set()
    days: list[tuple[str, ...]] = []
    for columns, conditions in scans:
        wanted |= columns
        on_days = []
        for condition in conditions:
            # The names in a condition; a text that looks like one costs a column, no more.
            named = {name for name in known if name in condition}
            wanted |= named
            if named == {"dt"} or _is_about_days(condition):
                on_days.append(condition)
        days.append(tuple(on_days))
    in_order = tuple(column.name for column in table.all_columns if column.name in wanted)
    return Scan(in_order, tuple(days))


def _is_about_days(condition: str) -> bool:
    """Whether a condition can be answered by the day alone."""
    try:
        return _holds(condition, "2026-01-01") is not None
    except duckdb.Error:
        return False


def _holds(condition: str, day: str) -> bool:
    answer = duckdb.execute(f"SELECT {condition} FROM (SELECT ? AS dt)", [day]).fetchone()  # noqa: S608 - DuckDB's own words
    return answer is not None and bool(answer[0])


def _check(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryError(_sentence(error)) from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise QueryError("give one SELECT (or DESCRIBE TABLE)")


def _sentence(error: duckdb.Error) -> str:
    return str(error).strip()
