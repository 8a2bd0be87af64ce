"""Columns and fields that several of the analyst tables have."""

from __future__ import annotations

from typing import Final

from schemas.tables import Column, from_ms

TIME: Final = "TIMESTAMP(6)"
SCORES: Final = "MAP<STRING, DOUBLE>"
STAMP: Final = (("timestamp", "TIMESTAMP_LTZ(6)"),)

MODERATION_ID: Final = Column(
    "moderation_id", "STRING", "The decision; the same under every redelivery.", needed=True
)
CONTENT_ID: Final = Column(
    "content_id", "STRING", "The content, as its sender names it.", needed=True
)
USER_ID: Final = Column("user_id", "STRING", "The author.")
COMMUNITY: Final = Column("community_id", "STRING", "Where it was posted; NULL: nowhere special.")
CONTENT_TYPE: Final = Column("content_type", "STRING", "text, image or video.")
CATEGORY: Final = Column("category", "STRING", "Policy category that decided; empty: none.")
SEVERITY: Final = Column("severity", "STRING", "none, mild, moderate or severe.")
ACTION: Final = Column(
    "action",
    "STRING",
    "allow, remove, warn, shadowban, restrict, label, age_gate or review.",
)
STATUS: Final = Column("status", "STRING", "approved, rejected or pending_review.")
PROBABILITY: Final = Column(
    "probability", "DOUBLE", "Calibrated, that it breaks the policy; 0 to 1."
)
FEATURES: Final = Column("features", SCORES, "What else was used, by name, as it was then.")
MODELS: Final = Column("model_versions", "MAP<STRING, STRING>", "Version of each model, by name.")
SCORE_MAP: Final = Column("scores", SCORES, "Calibrated probability of each category, 0 to 1.")
REASON: Final = Column("reason", "STRING", "One sentence for people.")

BROKER: Final = (("broker_timestamp", "BIGINT"),)
# An older release did not say it.
SINCE: Final = Column(
    "asked_at",
    "TIMESTAMP(3)",
    "Broker time of what asked for the decision, UTC.",
    from_ms("broker_timestamp"),
)
