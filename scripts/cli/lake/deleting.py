"""Deletes rows of the analyst tables so that no file holds them any more.

Flink's batch engine writes the days anew that lose some of their rows; days that lose all are
dropped. Then manifests are put together, older snapshots expire with the files that only they
need, and files that no snapshot knows (left by a writer that was killed) are removed.
"""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from jobs.local import prepare_jvm
from operators.table_sql import CATALOG, text
from schemas.errors import SluiceError
from schemas.settings import Settings
from scripts.cli.lake.doomed import DEPENDENT, Doomed
from scripts.cli.lake.jars import put_on_class_path
from scripts.cli.lake.reading import Lake

_JVM: Final = "-Xms256m -Xmx2g -XX:+UseSerialGC -XX:TieredStopAtLevel=1"


class DayCount(NamedTuple):
    """Rows of one day of one table."""

    dt: str
    total: int
    going: int
    held: int


class Deletion(NamedTuple):
    """What one table loses."""

    doomed: Doomed
    """As Flink reads it."""
    days: tuple[DayCount, ...]
    """Those that lose rows, or would without a hold."""

    @property
    def going(self) -> int:
        """Rows."""
        return sum(day.going for day in self.days)

    @property
    def held(self) -> int:
        """Rows that a hold keeps."""
        return sum(day.held for day in self.days)


def count(lake: Lake, counted: Doomed, doomed: Doomed | None = None) -> Deletion:
    """Count what a table loses.

    Args:
        lake: the tables.
        counted: which rows, as DuckDB reads it.
        doomed: the same as Flink reads it, if that is another text.
    """
    rows = lake.query(counted.counted(), may_be_empty=True).to_pylist()
    days = tuple(DayCount(**row) for row in rows if row["going"] or row["held"])
    return Deletion(doomed or counted, days)


def delete(settings: Settings, deletions: Sequence[Deletion], say: Callable[[str], None]) -> None:
    """Delete what was counted, in this order. The caller holds the turn to write.

    Raises:
        SluiceError: Flink could not.
    """
    todo = [deletion for deletion in deletions if deletion.going]
    if not todo:
        return
    flink = _Batch(settings)
    # Those that only the others can tell the user of are through before the others begin:
    # after a failure a second run finds what is left.
    for dependent in (True, False):
        flink.together(
            f"INSERT OVERWRITE `{one.doomed.table}` {one.doomed.staying(days)}"
            for one in todo
            if (one.doomed.table in DEPENDENT) is dependent
            and (days := [day.dt for day in one.days if 0 < day.going < day.total])
        )
        for one in todo:
            if (one.doomed.table in DEPENDENT) is dependent:
                for day in one.days:
                    if day.going == day.total:
                        partition = f"PARTITION (dt = {text(day.dt)})"
                        flink.run(f"ALTER TABLE `{one.doomed.table}` DROP {partition}")
    _forget(flink, settings.tables.database, [one.doomed.table for one in todo])
    for one in todo:
        say(f"{one.doomed.table}: {one.going} rows deleted")


def _forget(flink: _Batch, database: str, tables: Sequence[str]) -> None:
    """Leave the newest snapshot of each table, and no file that it does not need."""
    names = [f"`table` => {text(f'{database}.{table}')}" for table in tables]
    for name in names:
        flink.run(f"CALL sys.compact_manifest({name})")
        flink.run(f"CALL sys.expire_snapshots({name}, retain_max => 1, retain_min => 1)")
    # Paimon wants a time that has passed, in the JVM's time zone. We have the turn to write, so
    # no file is on its way into a snapshot.
    time.sleep(1.1)
    now = text(f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M:%S}")
    for name in names:
        flink.run(f"CALL sys.remove_orphan_files({name}, older_than => {now}, mode => 'local')")


class _Batch:
    """Flink's batch engine over the tables, in this process.

    Args:
        settings: where the tables are.
    """

    def __init__(self, settings: Settings) -> None:
        put_on_class_path()
        os.environ.setdefault("JVM_ARGS", _JVM)
        os.environ["JVM_ARGS"] += " -Duser.timezone=UTC"
        prepare_jvm("tables-delete", settings)
        # PyFlink takes seconds to import: only where something is deleted.
        from pyflink.common import Configuration  # noqa: PLC0415
        from pyflink.table import EnvironmentSettings, TableEnvironment  # noqa: PLC0415

        from jobs.tables import use_lake  # noqa: PLC0415

        config = Configuration()
        for name, value in {
            "table.local-time-zone": "UTC",
            "parallelism.default": "1",
            "rest.bind-port": "0",
            "rest.bind-address": "127.0.0.1",
        }.items():
            config.set_string(name, value)
        options = EnvironmentSettings.new_instance().in_batch_mode().with_configuration(config)
        self._environment: Any = TableEnvironment.create(options.build())
        use_lake(self._environment, settings)
        self._environment.use_catalog(CATALOG)
        self._environment.use_database(settings.tables.database)

    def run(self, statement: str) -> None:
        """Run one statement to its end.

        Raises:
            SluiceError: it failed.
        """
        self._wait(lambda: self._environment.execute_sql(statement), statement)

    def together(self, statements: Iterable[str]) -> None:
        """Run several that write tables, as one job; each reads the tables as they were before.

        Raises:
            SluiceError: one failed.
        """
        listed = list(statements)
        if listed:
            statement_set = self._environment.create_statement_set()
            for statement in listed:
                statement_set.add_insert_sql(statement)
            self._wait(statement_set.execute, listed[0])

    def _wait(self, start: Callable[[], Any], statement: str) -> None:
        try:
            start().wait()
        except Exception as error:  # noqa: BLE001 - py4j's own, a hundred lines of Java each
            causes = [x for x in str(error).splitlines() if x.startswith("Caused by: ")]
            reason = causes[-1].removeprefix("Caused by: ") if causes else type(error).__name__
            raise SluiceError(f"{statement.split(' (', maxsplit=1)[0][:80]}: {reason}") from None
