"""The rescan job: what no store gave, media or banks, asked for again. Wiring only.

Kafka -> keyed in the JVM by the store -> one Python operator in process mode -> Kafka. What waits
is in keyed state; its evidence has another id than that of the try before.
"""

from __future__ import annotations

from typing import Final

from pyflink.common.typeinfo import Types
from pyflink.table import StreamTableEnvironment

from jobs import media
from operators.kafka_tables import sink_ddl, source_ddl
from operators.keyed_stream import keyed_in_jvm, raw_bytes, routed_row, write_routed
from operators.rescan import Rescan
from schemas.media_job import load_media
from schemas.settings import ROOT, Settings

# Scheme and authority: what is down together. Media inside an upload never fail this way. What was
# decided without a bank waits for that.
_KEYED: Final = r"""
SELECT
  COALESCE(
    JSON_VALUE(CAST(v AS STRING), '$.waits_for' NULL ON EMPTY NULL ON ERROR),
    LOWER(REGEXP_EXTRACT(
      JSON_VALUE(CAST(v AS STRING), '$.media_uri' NULL ON EMPTY NULL ON ERROR),
      '^([A-Za-z0-9+.-]+://[^/?#]*)', 1
    )),
    'none'
  ),
  ROW(v, EXTRACT(EPOCH FROM ts) * 1000)
FROM unfetched
"""


def job_settings(settings: Settings, *, local: bool) -> Settings:
    """The settings as this job needs them: the media job's, and a consumer group of its own.

    Args:
        settings: of the moderation job beside it.
        local: a mini-cluster; its checkpoints must not lie among the other jobs'.
    """
    return media.job_settings(settings, local=local, name="rescan")


def build(t_env: StreamTableEnvironment, settings: Settings, *, bounded: bool = False) -> None:
    """Add the job to the environment; executing that runs it.

    Args:
        t_env: made from `job_settings`.
        settings: `job_settings` as well.
        bounded: not for this job: it waits for stores, not for the end of a topic.

    Raises:
        ConfigError: what `media.config` names is wrong.
    """
    if bounded:
        raise ValueError("the rescan job has no end")
    document = load_media(ROOT / settings.media.config)
    topics = settings.topics
    t_env.execute_sql(source_ddl("unfetched", [topics.rescan], settings.kafka))
    # Rows name their topic only where the sink has more than one.
    t_env.execute_sql(sink_ddl("found", [topics.evidence, topics.dead_letters], settings.kafka))
    found = (
        keyed_in_jvm(
            t_env,
            t_env.sql_query(_KEYED),
            Types.ROW([raw_bytes(), Types.LONG()]),
            "unfetched-by-store",
        )
        .process(
            Rescan(document, settings.limits, topics.evidence),
            output_type=routed_row(),
        )
        .name("rescan")
        .uid("rescan")
    )
    write_routed(t_env, found, "looked_at_again", "found")
