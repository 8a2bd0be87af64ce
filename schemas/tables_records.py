"""The analyst tables: one for each kind of record that the topics carry."""

from __future__ import annotations

from typing import Final

from schemas.tables import UNREADABLE, Column, Table, from_ms, in_object, rfc3339, utc

_TIME: Final = "TIMESTAMP(6)"
_SCORES: Final = "MAP<STRING, DOUBLE>"
_STAMP: Final = (("timestamp", "TIMESTAMP_LTZ(6)"),)
_EVIDENCE: Final = (
    "ARRAY<ROW<kind STRING, id STRING, category STRING, weight DOUBLE, distance INT,"
    " spans ARRAY<ARRAY<INT>>, source STRING, found INT, seconds DOUBLE, observe_only BOOLEAN>>"
)

_MODERATION_ID: Final = Column(
    "moderation_id", "STRING", "The decision; the same under every redelivery.", needed=True
)
_CONTENT_ID: Final = Column(
    "content_id", "STRING", "The content, as its sender names it.", needed=True
)
_USER_ID: Final = Column("user_id", "STRING", "The author.")
_COMMUNITY: Final = Column("community_id", "STRING", "Where it was posted; NULL: nowhere special.")
_CONTENT_TYPE: Final = Column("content_type", "STRING", "text, image or video.")
_CATEGORY: Final = Column("category", "STRING", "Policy category that decided; empty: none.")
_SEVERITY: Final = Column("severity", "STRING", "none, mild, moderate or severe.")
_ACTION: Final = Column(
    "action",
    "STRING",
    "allow, remove, warn, shadowban, restrict, label, age_gate or review.",
)
_STATUS: Final = Column("status", "STRING", "approved, rejected or pending_review.")
_PROBABILITY: Final = Column(
    "probability", "DOUBLE", "Calibrated, that it breaks the policy; 0 to 1."
)
_FEATURES: Final = Column("features", _SCORES, "What else was used, by name, as it was then.")
_MODELS: Final = Column("model_versions", "MAP<STRING, STRING>", "Version of each model, by name.")
_SCORE_MAP: Final = Column("scores", _SCORES, "Calibrated probability of each category, 0 to 1.")
_REASON: Final = Column("reason", "STRING", "One sentence for people.")

# What asked for the decision came at its broker's time: the decision's time less its latency.
# Both are to the microsecond, the broker's time to the millisecond, so that rounding gives it
# back exactly, and a redelivery, decided later, gives the same.
_ASKED: Final = (
    "CAST(TO_TIMESTAMP_LTZ(CAST(ROUND("
    "EXTRACT(EPOCH FROM `timestamp`) * 1000"
    " + CAST(DATE_FORMAT(`timestamp`, 'SSSSSS') AS DOUBLE) / 1000"
    " - COALESCE(latency_ms, 0)) AS BIGINT), 3) AS TIMESTAMP(3))"
)
_DECIDED: Final = (
    Column("revision", "INT", "Of the case: 0 for the first decision, counted up.", needed=True),
    Column(
        "upload_revision",
        "INT",
        "Of the upload: an edit counts it up.",
        "COALESCE(upload_revision, 0)",
    ),
    _CONTENT_TYPE,
    _USER_ID,
    _COMMUNITY,
    _STATUS,
    _ACTION,
    _CATEGORY,
    _SCORE_MAP,
    _SEVERITY,
    Column("severity_score", "DOUBLE", "0 to 1; above 0.95 is critical."),
    Column("confidence", "DOUBLE", "The larger of probability and 1 - probability."),
    _PROBABILITY,
    Column("stage", "STRING", "Stage of the cascade that decided."),
    _REASON,
    Column("evidence", _EVIDENCE, "Rules, bank entries, spans and scores that speak for it."),
    Column("policy_version", "STRING", "Version of the policy, as its author names it."),
    Column("policy_hash", "STRING", "Of the policy that was applied."),
    Column("rules_hash", "STRING", "Of the rules that were applied."),
    Column("banks_hash", "STRING", "Of the banks that were applied."),
    _MODELS,
    Column("interim", "BOOLEAN", "True: another revision follows, with the media's evidence."),
    Column("degraded", "ARRAY<STRING>", "Dependencies or evidence that were missing."),
    Column("cache", "STRING", "Where scores came from: empty (computed), local or redis."),
    Column("latency_ms", "DOUBLE", "From what asked for it to the decision, milliseconds."),
    Column("asked_at", "TIMESTAMP(3)", "Broker time of what asked for it, UTC.", _ASKED),
    Column("decided_at", _TIME, "When it was made, UTC.", utc("timestamp")),
)
_REVISION_FIELD: Final = (("upload_revision", "INT"),)
_BROKER: Final = (("broker_timestamp", "BIGINT"),)
# An older release did not say it.
_SINCE: Final = Column(
    "asked_at",
    "TIMESTAMP(3)",
    "Broker time of what asked for the decision, UTC.",
    from_ms("broker_timestamp"),
)

DECISIONS: Final = Table(
    "decisions",
    "decisions",
    "Every decision, once.",
    (_MODERATION_ID, _CONTENT_ID, *_DECIDED, _FEATURES),
    day=_ASKED,
    key=("moderation_id",),
    fields=(*_STAMP, *_REVISION_FIELD),
    people=("user_id",),
)
CASES: Final = Table(
    "cases",
    "decisions",
    "The latest revision of each content of a day; of all days: the view latest_cases.",
    (_CONTENT_ID, _MODERATION_ID, *_DECIDED),
    day=_ASKED,
    key=("content_id",),
    fields=(*_STAMP, *_REVISION_FIELD),
    order="latest",
    sequence=("upload_revision", "revision", "asked_at"),
    people=("user_id",),
)
REVIEW_ITEMS: Final = Table(
    "review_items",
    "review",
    "What people were asked to look at.",
    (
        _MODERATION_ID,
        _CONTENT_ID,
        _USER_ID,
        _COMMUNITY,
        _CONTENT_TYPE,
        _CATEGORY,
        Column("tier", "INT", "0 (child safety, imminent threat) to 3 (spam, mild)."),
        Column("priority", "DOUBLE", "When it was queued; the queue adds what waiting gives."),
        Column("why", "STRING", "uncertain, policy, degraded, sample, appeal or interim."),
        _PROBABILITY,
        _REASON,
        Column("due_at", _TIME, "When it has to be answered, UTC.", utc("due_at")),
        Column("created_at", _TIME, "When it was queued, UTC.", utc("created_at")),
        Column("text", "STRING", "Of the upload.", in_object("upload", "text")),
        Column("upload", "STRING", "The upload as it came, JSON."),
        _SINCE,
    ),
    day=f"COALESCE({_SINCE.value}, {utc('due_at')})",
    key=("moderation_id",),
    fields=(("due_at", "TIMESTAMP_LTZ(6)"), ("created_at", "TIMESTAMP_LTZ(6)"), *_BROKER),
    people=("user_id",),
)
REPORTS: Final = Table(
    "reports",
    "reports",
    "What users reported.",
    (
        Column("report_id", "STRING", "The report, as its sender names it.", needed=True),
        _CONTENT_ID,
        Column("reporter_id", "STRING", "Who reported."),
        Column("category", "STRING", "What the reporter chose; empty or NULL: nothing."),
        Column("note", "STRING", "In the reporter's words."),
        Column("said_at", _TIME, "When it was reported, UTC.", rfc3339("at")),
    ),
    day=rfc3339("at"),
    key=("report_id", "content_id"),
    fields=(("at", "STRING"),),
    people=("reporter_id",),
)
VERDICTS: Final = Table(
    "verdicts",
    "verdicts",
    "What reviewers answered; several about one content stand side by side.",
    (
        Column("verdict_id", "STRING", "The verdict, as its sender names it.", needed=True),
        _CONTENT_ID,
        Column("moderation_id", "STRING", "The decision that was seen; NULL: the one in force."),
        Column("rater_id", "STRING", "The reviewer."),
        Column("role", "STRING", "reviewer or senior.", "COALESCE(role, 'reviewer')"),
        Column(
            "violates", "BOOLEAN", "Whether it breaks the policy, in the category.", needed=True
        ),
        Column("category", "STRING", "What it is about; empty with violates false: any."),
        Column(
            "severity", "STRING", "none, mild, moderate or severe.", "COALESCE(severity, 'none')"
        ),
        Column("action", "STRING", "What was ordered; NULL: nobody asked."),
        Column("seconds", "DOUBLE", "That the reviewer took, seconds."),
        Column(
            "golden",
            "BOOLEAN",
            "A test of the reviewer, whose answer is known.",
            "COALESCE(golden, FALSE)",
        ),
        Column("note", "STRING", "In the reviewer's words."),
        Column("said_at", _TIME, "When it was answered, UTC.", rfc3339("at")),
    ),
    day=rfc3339("at"),
    key=("verdict_id", "content_id"),
    fields=(("at", "STRING"), ("role", "STRING"), ("severity", "STRING"), ("golden", "BOOLEAN")),
)
APPEALS: Final = Table(
    "appeals",
    "appeals",
    "How appeals ended; an escalated one has another row when it ends.",
    (
        Column("appeal_id", "STRING", "The appeal, as its sender names it.", needed=True),
        Column("outcome", "STRING", "upheld, overturned or escalated.", needed=True),
        _CONTENT_ID,
        Column("moderation_id", "STRING", "The decision appealed; NULL: the one in force."),
        Column("user_id", "STRING", "Who appealed, the author."),
        Column("category", "STRING", "What it is about; empty or NULL: the decision's."),
        Column("automatic", "BOOLEAN", "Resolved without a person.", "COALESCE(automatic, FALSE)"),
        Column("rater_id", "STRING", "Who resolved it; empty or NULL: nobody."),
        Column("note", "STRING", "In words."),
        Column("appealed_at", _TIME, "When it was made, UTC.", rfc3339("appealed_at")),
        Column("said_at", _TIME, "When it was resolved, UTC.", rfc3339("at")),
    ),
    day=rfc3339("at"),
    key=("appeal_id", "outcome"),
    fields=(("at", "STRING"), ("appealed_at", "STRING"), ("automatic", "BOOLEAN")),
    people=("user_id",),
)
FEEDBACK: Final = Table(
    "feedback",
    "feedback",
    "Labels, and what is worth one, with the decision's features as they were then.",
    (
        Column("feedback_id", "STRING", "The row.", needed=True),
        Column("moderation_id", "STRING", "The decision that it is about."),
        _CONTENT_ID,
        _USER_ID,
        Column("source", "STRING", "bank, rule, sample, report, verdict or appeal.", needed=True),
        Column("category", "STRING", "What the label is about."),
        Column("label", "BOOLEAN", "True: it breaks the policy; NULL: no label yet."),
        Column("weight", "DOUBLE", "In training, 0 to 1."),
        Column(
            "rank", "INT", "0 a report, 1 a reviewer, 2 a senior one, 3 an appeal; NULL: a machine."
        ),
        Column("rater", "STRING", "Who said it."),
        Column("event_id", "STRING", "The report, verdict or appeal."),
        Column("delay_s", "DOUBLE", "From the decision to the label, seconds."),
        Column("text", "STRING", "Of the content, where rows carry it."),
        Column("language", "STRING", "Of the text, ISO 639-1."),
        _SCORE_MAP,
        _FEATURES,
        _MODELS,
        _COMMUNITY,
        _STATUS,
        _ACTION,
        Column("decided_category", "STRING", "Of the decision."),
        _CONTENT_TYPE,
        Column("revision", "INT", "Of the case, as the decision's."),
        Column("severity", "STRING", "That the rater gave: none, mild, moderate or severe."),
        Column("ordered", "STRING", "Action that the rater ordered; NULL: nobody asked."),
        _PROBABILITY,
        Column("said_at", _TIME, "When it was said, UTC.", utc("said_at")),
        Column("decided_at", _TIME, "When the decision was made, UTC.", utc("timestamp")),
        _SINCE,
    ),
    day=f"COALESCE({utc('said_at')}, {_SINCE.value}, {utc('timestamp')})",
    key=("feedback_id",),
    fields=(*_STAMP, ("said_at", "TIMESTAMP_LTZ(6)"), *_BROKER),
    people=("user_id", "rater"),
)
ENFORCEMENT: Final = Table(
    "enforcement",
    "enforcement",
    "What the platform was told to do.",
    (
        _MODERATION_ID,
        _CONTENT_ID,
        _USER_ID,
        _ACTION,
        _CATEGORY,
        _SEVERITY,
        _REASON,
        Column("appealable", "BOOLEAN", "Whether the author may appeal."),
        Column("notify_user", "BOOLEAN", "Whether the author is told."),
        Column("ordered_at", _TIME, "When it was ordered, UTC.", utc("timestamp")),
        _SINCE,
    ),
    day=f"COALESCE({_SINCE.value}, {utc('timestamp')})",
    key=("moderation_id",),
    fields=(*_STAMP, *_BROKER),
    people=("user_id",),
)
AUDIT: Final = Table(
    "audit",
    "audit",
    "With its decision, everything that is needed to make the decision again.",
    (
        _MODERATION_ID,
        _CONTENT_ID,
        Column("user_id", "STRING", "The author.", in_object("upload", "user_id")),
        Column("upload", "STRING", "The upload as it came, JSON."),
        Column("text_sha256", "STRING", "Of the normalised text, hex; empty: no text."),
        Column("velocity", "STRING", "What the author did before, JSON."),
        Column("user_features", "STRING", "What was known of the author, JSON.", "`user`"),
        Column("context", "STRING", "Thread and community, JSON."),
        Column("thresholds", _SCORES, "That applied to the category that decided."),
        Column("evidence", "STRING", "What was found in the media, JSON."),
        Column(
            "uploaded_at",
            "TIMESTAMP(3)",
            "Broker time of the upload, UTC.",
            from_ms("broker_timestamp"),
        ),
        Column("decided_at", _TIME, "When the decision was made, UTC.", utc("timestamp")),
    ),
    day=from_ms("broker_timestamp"),
    key=("moderation_id",),
    fields=(*_STAMP, ("user", "STRING"), *_BROKER),
    people=("user_id",),
)
_LETTER: Final = "DECODE(`raw`, 'UTF-8')"
DEAD_LETTERS: Final = Table(
    "dead_letters",
    "dead_letters",
    "Records that could not be moderated, with their bytes and the reason.",
    (
        Column("topic", "STRING", "Topic of the refused record.", needed=True),
        Column("partition", "INT", "Its partition.", needed=True),
        Column("offset", "BIGINT", "Its offset.", needed=True),
        Column("error_kind", "STRING", "Machine-readable class of the mistake."),
        Column("field", "STRING", "Path of the field at fault."),
        Column("message", "STRING", "What is wrong."),
        Column("content_id", "STRING", "Where it could be read."),
        Column(
            "user_id",
            "STRING",
            "Where it can be read.",
            f"JSON_VALUE({_LETTER}, '$.user_id' NULL ON EMPTY NULL ON ERROR)",
        ),
        Column("raw", "BYTES", "Its exact bytes."),
        Column("received_at", "TIMESTAMP(3)", "Its broker time, UTC.", from_ms("timestamp")),
    ),
    day=from_ms("timestamp"),
    key=("topic", "partition", "offset"),
    fields=(("timestamp", "BIGINT"),),
    people=("user_id",),
)
CONTROL_HISTORY: Final = Table(
    "control_history",
    "control",
    "Every control message in the order in which they were published; withdrawals as well.",
    (
        Column(
            "control_key",
            "STRING",
            "What it configures, as rules or bank/scams.",
            "DECODE(k, 'UTF-8')",
        ),
        Column(
            "kind",
            "STRING",
            "rules, policy, communities, switches, bank or model.",
            "JSON_VALUE(m, '$.kind')",
        ),
        Column("name", "STRING", "Of a bank or model.", "JSON_VALUE(m, '$.name')"),
        Column(
            "digest",
            "STRING",
            "First 16 hex digits of the text's SHA-256, as control-acks have them.",
            "SUBSTRING(SHA256(JSON_VALUE(m, '$.text')), 1, 16)",
        ),
        Column("author", "STRING", "Who published it.", "JSON_VALUE(m, '$.author')"),
        Column("comment", "STRING", "In the author's words.", "JSON_VALUE(m, '$.comment')"),
        Column("file", "STRING", "Where the author had it.", "JSON_VALUE(m, '$.file')"),
        Column("text", "STRING", "The document.", "JSON_VALUE(m, '$.text')"),
        Column(
            "withdrawn", "BOOLEAN", "True: the message of this key was taken back.", "v IS NULL"
        ),
        Column(
            "kept_copy",
            "BOOLEAN",
            "True: a copy kept for show and rollback.",
            "DECODE(k, 'UTF-8') LIKE 'history/%'",
        ),
        Column("published_at", "TIMESTAMP(3)", "Broker time of the message, UTC.", "written_at"),
    ),
    day="written_at",
    key=("record_partition", "record_offset"),
    contents=(),
)
"""Read as bytes, as `unreadable` is: a withdrawal has no value."""

TABLES: Final = (
    DECISIONS,
    CASES,
    REVIEW_ITEMS,
    REPORTS,
    VERDICTS,
    APPEALS,
    FEEDBACK,
    ENFORCEMENT,
    AUDIT,
    DEAD_LETTERS,
)
"""Made from JSON."""
RAW_TABLES: Final = (CONTROL_HISTORY, UNREADABLE)
"""Made from bytes."""
ALL: Final = {table.name: table for table in (*TABLES, *RAW_TABLES)}
