"""The main job: uploads in, decisions out. Wiring only.

Kafka -> keyed in the JVM -> one Python operator -> routed to topics in the JVM.
"""

from __future__ import annotations

from typing import Final

from pyflink.table import StreamTableEnvironment

from operators.compose import compose_cascade
from operators.kafka_tables import sink_ddl, source_ddl
from operators.keyed_stream import (
    arrived_by,
    arrived_row,
    keyed_in_jvm,
    raw_bytes,
    routed_row,
    stream_of,
    write_routed,
)
from operators.moderate import Moderate, control_state
from schemas.settings import Settings, unhurried

# The user's id from the payload, so that a record without a key, or with a wrong one, still
# reaches its own user's state. What is not JSON has no user: its place spreads it.
_KEYED: Final = arrived_by("user_id", "uploads")


def build(t_env: StreamTableEnvironment, settings: Settings, *, bounded: bool = False) -> None:
    """Add the job to the environment; executing that runs it."""
    if bounded:
        settings = unhurried(settings)
    topics = settings.topics
    # Evidence, appeals and words about users name a user as well, and so reach the same state.
    inputs = (*topics.content, topics.evidence, topics.appeals, topics.user_events)
    kafka = settings.kafka
    wait_ms = kafka.fetch_wait_ms
    t_env.execute_sql(source_ddl("uploads", inputs, kafka, bounded=bounded, fetch_wait_ms=wait_ms))
    outputs = [
        topics.decisions,
        topics.review,
        topics.feedback,
        topics.enforcement,
        topics.audit,
        topics.dead_letters,
        topics.control_acks,
        topics.rescan,
    ]
    t_env.execute_sql(sink_ddl("outputs", outputs, settings.kafka))
    t_env.execute_sql(
        source_ddl(
            "control", [topics.control], settings.kafka, bounded=bounded, start="earliest-offset"
        )
    )
    uploads = keyed_in_jvm(
        t_env,
        t_env.sql_query(_KEYED),
        arrived_row(),
        "uploads-by-user",
    )
    messages = t_env.sql_query("SELECT k, v FROM control")
    control = stream_of(t_env, messages, [raw_bytes(), raw_bytes()], "control-messages").broadcast(
        control_state()
    )
    decided = (
        uploads.connect(control)
        .process(
            Moderate(settings, compose_cascade, bounded=bounded),
            output_type=routed_row(),
        )
        .name("moderate")
        .uid("moderate")
    )
    write_routed(t_env, decided, "decided", "outputs")
