"""The tables job: what the topics say becomes tables for analysts. Wiring only.

Kafka -> Flink SQL -> Paimon tables, all of it in the JVM. A record that comes twice, or is read
again after a restart, gives the same row: the tables keep one row of each key.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from pyflink.table import StreamTableEnvironment

from jobs.beside import settings_beside
from operators.erasures import read_erasures
from operators.kafka_tables import json_source_ddl, source_ddl
from operators.table_sql import (
    CATALOG,
    add_columns_ddl,
    insert_sql,
    json_topics,
    raw_sources,
    raw_view_ddl,
    source_fields,
    source_name,
    table_ddl,
    text,
)
from schemas.settings import ROOT, Settings
from schemas.tables_conf import load_tables, warehouse_uri
from schemas.tables_records import ALL

_MARGIN: Final = dt.timedelta(days=1)
"""Kafka deletes whole segments, some time after their last record has expired."""


def job_settings(settings: Settings, *, local: bool) -> Settings:
    """The settings as this job needs them: its own group and checkpoints, exactly once.

    What is fixed for it in Flink's options can be overridden by `flink.options`.

    Args:
        settings: of the moderation job beside it.
        local: a mini-cluster; its checkpoints must not lie among the moderation job's.
    """
    own = settings_beside(settings, "tables", settings.tables, local=local)
    options = {
        # Files become part of a table when the checkpoint that they belong to is complete.
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "table.local-time-zone": "UTC",
        **own.flink.options,
    }
    # Nobody waits for a row.
    flink = own.flink.model_copy(update={"options": options, "buffer_timeout_ms": 100})
    # Without a checkpoint it reads what the topics still hold: a row that is there stays one row.
    kafka = own.kafka.model_copy(update={"start": "earliest-offset"})
    return own.model_copy(update={"flink": flink, "kafka": kafka})


def build(t_env: StreamTableEnvironment, settings: Settings, *, bounded: bool = False) -> None:
    """Add the job to the environment; executing that runs it. Makes and completes the tables.

    Args:
        t_env: made from `job_settings`.
        settings: `job_settings` as well.
        bounded: stop at what is in the topics when it starts.

    Raises:
        ConfigError: what `tables.config` names is wrong.
    """
    document = load_tables(ROOT / settings.tables.config)
    topics, kafka = settings.topics, settings.kafka
    use_lake(t_env, settings)
    for table in ALL.values():
        t_env.execute_sql(table_ddl(table, settings.tables.database, document.paimon_options()))
        path = f"`{CATALOG}`.`{settings.tables.database}`.`{table.name}`"
        there = t_env.from_path(path).get_schema().get_field_names()
        more = add_columns_ddl(table, settings.tables.database, there)
        if more is not None:
            t_env.execute_sql(more)
    for short in json_topics():
        ddl = json_source_ddl(
            source_name(short), getattr(topics, short), source_fields(short), kafka, bounded=bounded
        )
        t_env.execute_sql(ddl)
    # Two readers must not share a group: the later one's offsets would count for both.
    raw = kafka.model_copy(update={"group_id": f"{kafka.group_id}-raw"})
    for name, control in raw_sources().items():
        read = [topics.control] if control else [getattr(topics, short) for short in json_topics()]
        t_env.execute_sql(source_ddl(f"{name}_bytes", read, raw, bounded=bounded))
        t_env.execute_sql(raw_view_ddl(name))
    now = dt.datetime.now(dt.UTC)
    still_there = now - dt.timedelta(hours=kafka.retention_hours) - _MARGIN
    erased = [one for one in read_erasures(warehouse_uri(settings)) if one.at > still_there]
    statements = t_env.create_statement_set()
    for table in ALL.values():
        statements.add_insert_sql(
            insert_sql(
                table, settings.tables.database, topics, erased, masked=document.mask_personal_data
            )
        )
    statements.attach_as_datastream()


def use_lake(t_env: StreamTableEnvironment, settings: Settings) -> None:
    """Make the catalog and the database known."""
    t_env.execute_sql(
        f"CREATE CATALOG `{CATALOG}` WITH"
        f" ('type' = 'paimon', 'warehouse' = {text(warehouse_uri(settings))})"
    )
    t_env.execute_sql(f"CREATE DATABASE IF NOT EXISTS `{CATALOG}`.`{settings.tables.database}`")
