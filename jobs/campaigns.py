"""The campaigns job: uploads and evidence in, campaigns and their banks out. Wiring only.

Kafka -> keyed by content in the JVM -> signed -> keyed by likeness in the JVM -> counted -> one
registry, which reads the control topic as well -> routed to topics in the JVM.
"""

from __future__ import annotations

from typing import Final

from pyflink.common.typeinfo import Types
from pyflink.table import StreamTableEnvironment

from jobs.beside import settings_beside
from operators.campaigns import REGISTRY, Count, Register, Sign
from operators.kafka_tables import sink_ddl, source_ddl
from operators.keyed_stream import (
    arrived_by,
    arrived_row,
    keyed_by_first,
    keyed_in_jvm,
    raw_bytes,
    routed_row,
    stream_of,
    write_routed,
)
from schemas.campaign_job import load_campaigns
from schemas.settings import ROOT, Settings

# The content's id from the payload: an upload has to meet its evidence. What is not JSON is about
# no content: its place spreads it.
_KEYED: Final = arrived_by("content_id", "uploads")


def job_settings(settings: Settings, *, local: bool) -> Settings:
    """The settings as this job needs them, see `jobs.beside`."""
    return settings_beside(settings, "campaigns", settings.campaigns, local=local)


def build(t_env: StreamTableEnvironment, settings: Settings, *, bounded: bool = False) -> None:
    """Add the job to the environment; executing that runs it.

    Args:
        t_env: made from `job_settings`.
        settings: `job_settings` as well.
        bounded: stop at what is in the topics when it starts.

    Raises:
        ConfigError: what `campaigns.config` names is wrong.
    """
    config = load_campaigns(ROOT / settings.campaigns.config)
    topics, kafka = settings.topics, settings.kafka
    inputs = [*topics.content, topics.evidence]
    t_env.execute_sql(source_ddl("uploads", inputs, kafka, bounded=bounded))
    t_env.execute_sql(
        source_ddl("control", [topics.control], kafka, bounded=bounded, start="earliest-offset")
    )
    t_env.execute_sql(sink_ddl("outputs", [topics.campaigns, topics.control], kafka))
    pair = Types.ROW([raw_bytes(), raw_bytes()])
    keyed = Types.ROW([Types.STRING(), pair])
    signed = (
        keyed_in_jvm(t_env, t_env.sql_query(_KEYED), arrived_row(), "uploads-by-content")
        .process(Sign(settings, config), output_type=keyed)
        .name("sign")
        .uid("sign")
    )
    counted = (
        keyed_by_first(signed, pair)
        .process(Count(settings, config), output_type=keyed)
        .name("count-copies")
        .uid("count-copies")
    )
    messages = t_env.sql_query(f"SELECT '{REGISTRY}', ROW(k, v) FROM control")  # noqa: S608 - a name of ours
    control = stream_of(t_env, messages, [Types.STRING(), pair], "control-messages")
    registered = (
        keyed_by_first(counted.union(control), pair)
        .process(Register(settings, config), output_type=routed_row())
        .name("register-campaigns")
        .uid("register-campaigns")
    )
    write_routed(t_env, registered, "registered", "outputs")
