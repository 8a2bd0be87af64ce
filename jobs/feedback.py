"""The feedback job: decisions and what people say about them in, labelled rows out. Wiring only.

Kafka -> keyed by content in the JVM -> one Python operator -> routed to topics in the JVM.
"""

from __future__ import annotations

from typing import Final

from pyflink.table import StreamTableEnvironment

from jobs.beside import settings_beside
from operators.feedback import Join, erased_state
from operators.feedback_erased import PREFIX
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
from schemas.feedback_job import load_feedback
from schemas.settings import ROOT, Settings

# The content's id from the payload: everything about a content has to meet. What is not JSON is
# about no content: its place spreads it.
_KEYED: Final = arrived_by("content_id", "said")
_ERASURES: Final = f"SELECT k, v FROM control WHERE CAST(k AS STRING) LIKE '{PREFIX}%'"  # noqa: S608 - of our own


def job_settings(settings: Settings, *, local: bool) -> Settings:
    """The settings as this job needs them, see `jobs.beside`."""
    return settings_beside(settings, "feedback", settings.feedback, local=local)


def build(t_env: StreamTableEnvironment, settings: Settings, *, bounded: bool = False) -> None:
    """Add the job to the environment; executing that runs it.

    Args:
        t_env: made from `job_settings`.
        settings: `job_settings` as well.
        bounded: stop at what is in the topics when it starts.

    Raises:
        ConfigError: what `feedback.config` names is wrong.
    """
    config = load_feedback(ROOT / settings.feedback.config)
    topics = settings.topics
    spoken = [topics.reports, topics.verdicts, topics.appeals]
    inputs = [topics.decisions, topics.audit, *spoken, topics.user_events]
    t_env.execute_sql(source_ddl("said", inputs, settings.kafka, bounded=bounded))
    outputs = [topics.feedback, topics.evidence, topics.dead_letters, topics.control_acks]
    t_env.execute_sql(sink_ddl("outputs", outputs, settings.kafka))
    said = keyed_in_jvm(
        t_env,
        t_env.sql_query(_KEYED),
        arrived_row(),
        "said-by-content",
    )
    t_env.execute_sql(
        source_ddl(
            "control", [topics.control], settings.kafka, bounded=bounded, start="earliest-offset"
        )
    )
    messages = t_env.sql_query(_ERASURES)
    erasures = stream_of(t_env, messages, [raw_bytes(), raw_bytes()], "erasures").broadcast(
        erased_state()
    )
    joined = (
        said.connect(erasures)
        .process(
            Join(settings, config, bounded=bounded),
            output_type=routed_row(),
        )
        .name("join-feedback")
        .uid("join-feedback")
    )
    write_routed(t_env, joined, "joined", "outputs")
