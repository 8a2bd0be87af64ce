"""The media job: uploads of pictures and videos in, evidence out. Wiring only.

Kafka -> one vectorised Python function in process mode -> Kafka. It keeps no state: after a
restart uploads since the last checkpoint are looked at again, and their evidence has the same id.
An upload whose store did not answer also goes, as it came, to the topic of the rescan job.
"""

from __future__ import annotations

from typing import Final

from pyflink.table import DataTypes, Schema, StreamTableEnvironment

from jobs.beside import settings_beside
from operators.kafka_tables import sink_ddl, source_ddl
from operators.keyed_stream import raw_bytes, stream_of
from operators.media_udf import look_at_media
from schemas.media_job import load_media
from schemas.settings import ROOT, Settings

# The user's id from the payload: evidence must reach the state of its upload, which is keyed by
# that. A record without one is no upload, and has no evidence.
_LOOKED_AT: Final = """
SELECT
  CAST(
    JSON_VALUE(CAST(v AS STRING), '$.user_id' NULL ON EMPTY NULL ON ERROR) AS BYTES
  ),
  look_at_media(v),
  v
FROM media_uploads
"""
# As `operators.rescan_logic.is_transient` says it; only fetching fails alone and first.
_UNFETCHED: Final = """
SELECT f0, f2, '{topic}' FROM looked_at
WHERE f0 IS NOT NULL AND f1 IS NOT NULL
  AND JSON_VALUE(CAST(f1 AS STRING), '$.errors[0].step' NULL ON EMPTY NULL ON ERROR) = 'fetch'
  AND JSON_VALUE(CAST(f1 AS STRING), '$.errors[0].kind' NULL ON EMPTY NULL ON ERROR)
    IN ('unreachable', 'timeout')
"""


def job_settings(settings: Settings, *, local: bool, name: str = "media") -> Settings:
    """The settings as this job needs them: process mode, and a consumer group of its own.

    What is fixed for it in Flink's options can be overridden by `flink.options`.

    Args:
        settings: of the moderation job beside it.
        local: a mini-cluster; its checkpoints must not lie among the moderation job's. Where a
            job is submitted, who submits it sees to that.
        name: of the job, another one where it looks at media in another order.
    """
    media = settings.media
    options = {
        "python.execution-mode": "process",
        "python.fn-execution.bundle.size": str(media.batch),
        "python.fn-execution.bundle.time": str(media.batch_ms),
        "python.fn-execution.arrow.batch.size": str(media.batch),
        **settings.flink.options,
    }
    if name != "media":
        media = media.model_copy(update={"group_id": f"{media.group_id}-{name}"})
    own = settings_beside(settings, name, media, local=local)
    return own.model_copy(update={"flink": own.flink.model_copy(update={"options": options})})


def build(t_env: StreamTableEnvironment, settings: Settings, *, bounded: bool = False) -> None:
    """Add the job to the environment; executing that runs it.

    Args:
        t_env: made from `job_settings`.
        settings: `job_settings` as well.
        bounded: stop at what is in the topics when it starts.

    Raises:
        ConfigError: what `media.config` names is wrong.
    """
    media = load_media(ROOT / settings.media.config)
    topics = settings.topics
    uploads = (topics.content_image, topics.content_video)
    t_env.execute_sql(source_ddl("media_uploads", uploads, settings.kafka, bounded=bounded))
    # Rows name their topic only where the sink has more than one.
    outputs = [topics.evidence, topics.rescan]
    t_env.execute_sql(sink_ddl("evidence", outputs, settings.kafka))
    t_env.create_temporary_function("look_at_media", look_at_media(media, settings.limits))
    # By way of a stream: within one query the planner would call the function once to ask whether
    # its result is there, and again for the result.
    row = [raw_bytes(), raw_bytes(), raw_bytes()]
    looked_at = stream_of(t_env, t_env.sql_query(_LOOKED_AT), row, "looked-at-media")
    columns = Schema.new_builder()
    for name in ("f0", "f1", "f2"):
        columns = columns.column(name, DataTypes.BYTES())
    schema = columns.build()
    t_env.create_temporary_view("looked_at", t_env.from_data_stream(looked_at, schema))
    statements = t_env.create_statement_set()
    statements.add_insert_sql(
        f"INSERT INTO evidence SELECT f0, f1, '{topics.evidence}' FROM looked_at"  # noqa: S608 - a topic's name, checked by its setting
        " WHERE f0 IS NOT NULL AND f1 IS NOT NULL"
    )
    statements.add_insert_sql(f"INSERT INTO evidence {_UNFETCHED.format(topic=topics.rescan)}")
    statements.attach_as_datastream()
