"""The analyst tables: one for each kind of record that the topics carry."""

from __future__ import annotations

from typing import Final

from schemas.tables import UNREADABLE, Column, Table, from_ms, in_object, utc
from schemas.tables_columns import (
    ACTION,
    BROKER,
    CATEGORY,
    COMMUNITY,
    CONTENT_ID,
    CONTENT_TYPE,
    FEATURES,
    MODELS,
    MODERATION_ID,
    PROBABILITY,
    REASON,
    SCORE_MAP,
    SCORES,
    SEVERITY,
    SINCE,
    STAMP,
    STATUS,
    TIME,
    USER_ID,
)
from schemas.tables_said import APPEALS, FEEDBACK, REPORTS, USER_LABELS, VERDICTS

_EVIDENCE: Final = (
    "ARRAY<ROW<kind STRING, id STRING, category STRING, weight DOUBLE, distance INT,"
    " spans ARRAY<ARRAY<INT>>, source STRING, found INT, seconds DOUBLE, observe_only BOOLEAN>>"
)
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
    CONTENT_TYPE,
    USER_ID,
    COMMUNITY,
    STATUS,
    ACTION,
    CATEGORY,
    SCORE_MAP,
    SEVERITY,
    Column("severity_score", "DOUBLE", "0 to 1; above 0.95 is critical."),
    Column("confidence", "DOUBLE", "The larger of probability and 1 - probability."),
    PROBABILITY,
    Column("stage", "STRING", "Stage of the cascade that decided."),
    REASON,
    Column("evidence", _EVIDENCE, "Rules, bank entries, spans and scores that speak for it."),
    Column("policy_version", "STRING", "Version of the policy, as its author names it."),
    Column("policy_hash", "STRING", "Of the policy that was applied."),
    Column("rules_hash", "STRING", "Of the rules that were applied."),
    Column("banks_hash", "STRING", "Of the banks that were applied."),
    MODELS,
    Column("interim", "BOOLEAN", "True: another revision follows, with the media's evidence."),
    Column("degraded", "ARRAY<STRING>", "Dependencies or evidence that were missing."),
    Column("cache", "STRING", "Where scores came from: empty (computed), local or redis."),
    Column("latency_ms", "DOUBLE", "From what asked for it to the decision, milliseconds."),
    Column("asked_at", "TIMESTAMP(3)", "Broker time of what asked for it, UTC.", _ASKED),
    Column("decided_at", TIME, "When it was made, UTC.", utc("timestamp")),
)
_CHECKS: Final = (
    "ARRAY<ROW<`check` STRING, severity STRING, about STRING, expectation STRING, expected STRING,"
    " success BOOLEAN, observed STRING, unexpected BIGINT, `rows` BIGINT, places ARRAY<STRING>>>"
)
_FIRST_SEEN: Final = f"COALESCE({utc('first_seen')}, CAST(written_at AS {TIME}))"
_REVISION_FIELD: Final = (("upload_revision", "INT"),)

DECISIONS: Final = Table(
    "decisions",
    "decisions",
    "Every decision, once.",
    (MODERATION_ID, CONTENT_ID, *_DECIDED, FEATURES),
    day=_ASKED,
    key=("moderation_id",),
    fields=(*STAMP, *_REVISION_FIELD),
    people=("user_id",),
)
CASES: Final = Table(
    "cases",
    "decisions",
    "The latest revision of each content of a day; of all days: the view latest_cases.",
    (CONTENT_ID, MODERATION_ID, *_DECIDED),
    day=_ASKED,
    key=("content_id",),
    fields=(*STAMP, *_REVISION_FIELD),
    order="latest",
    sequence=("upload_revision", "revision", "asked_at"),
    people=("user_id",),
)
REVIEW_ITEMS: Final = Table(
    "review_items",
    "review",
    "What people were asked to look at.",
    (
        MODERATION_ID,
        CONTENT_ID,
        USER_ID,
        COMMUNITY,
        CONTENT_TYPE,
        CATEGORY,
        Column("tier", "INT", "0 (child safety, imminent threat) to 3 (spam, mild)."),
        Column("priority", "DOUBLE", "When it was queued; the queue adds what waiting gives."),
        Column("why", "STRING", "uncertain, policy, degraded, sample, appeal or interim."),
        PROBABILITY,
        REASON,
        Column("due_at", TIME, "When it has to be answered, UTC.", utc("due_at")),
        Column("created_at", TIME, "When it was queued, UTC.", utc("created_at")),
        Column("text", "STRING", "Of the upload.", in_object("upload", "text")),
        Column("upload", "STRING", "The upload as it came, JSON."),
        SINCE,
    ),
    day=f"COALESCE({SINCE.value}, {utc('due_at')})",
    key=("moderation_id",),
    fields=(("due_at", "TIMESTAMP_LTZ(6)"), ("created_at", "TIMESTAMP_LTZ(6)"), *BROKER),
    people=("user_id",),
)
ENFORCEMENT: Final = Table(
    "enforcement",
    "enforcement",
    "What the platform was told to do.",
    (
        MODERATION_ID,
        CONTENT_ID,
        USER_ID,
        ACTION,
        CATEGORY,
        SEVERITY,
        REASON,
        Column("appealable", "BOOLEAN", "Whether the author may appeal."),
        Column("notify_user", "BOOLEAN", "Whether the author is told."),
        Column("ordered_at", TIME, "When it was ordered, UTC.", utc("timestamp")),
        SINCE,
    ),
    day=f"COALESCE({SINCE.value}, {utc('timestamp')})",
    key=("moderation_id",),
    fields=(*STAMP, *BROKER),
    people=("user_id",),
)
AUDIT: Final = Table(
    "audit",
    "audit",
    "With its decision, everything that is needed to make the decision again.",
    (
        MODERATION_ID,
        CONTENT_ID,
        Column("user_id", "STRING", "The author.", in_object("upload", "user_id")),
        Column("upload", "STRING", "The upload as it came, JSON."),
        Column("text_sha256", "STRING", "Of the normalised text, hex; empty: no text."),
        Column("velocity", "STRING", "What the author did before, JSON."),
        Column("user_features", "STRING", "What was known of the author, JSON.", "`user`"),
        Column("context", "STRING", "Thread and community, JSON."),
        Column("thresholds", SCORES, "That applied to the category that decided."),
        Column("evidence", "STRING", "What was found in the media, JSON."),
        Column(
            "uploaded_at",
            "TIMESTAMP(3)",
            "Broker time of the upload, UTC.",
            from_ms("broker_timestamp"),
        ),
        Column("decided_at", TIME, "When the decision was made, UTC.", utc("timestamp")),
    ),
    day=from_ms("broker_timestamp"),
    key=("moderation_id",),
    fields=(*STAMP, ("user", "STRING"), *BROKER),
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

QUALITY: Final = Table(
    "quality",
    "quality",
    "What checks of closed days and training rows found, one row a suite and run.",
    (
        Column("suite", "STRING", "What was checked.", needed=True),
        Column("day", "STRING", "Day that was checked, yyyy-MM-dd; empty: files of no one day."),
        Column("source", "STRING", "tables or files."),
        Column("closed", "BOOLEAN", "False: the day was not over yet."),
        Column("passed", "BOOLEAN", "No check of severity error failed."),
        Column("row_count", "BIGINT", "Rows of the day, or of all files.", "`rows`"),
        Column("checked", "BIGINT", "Rows that were looked at."),
        Column("checks", _CHECKS, "What came of each check."),
        Column("files", "ARRAY<ROW<name STRING, sha256 STRING>>", "Files that were checked."),
        Column("started_at", TIME, "When, UTC.", utc("started_at")),
    ),
    day=utc("started_at"),
    key=("suite", "record_partition", "record_offset"),
    fields=(("started_at", "TIMESTAMP_LTZ(6)"), ("rows", "BIGINT")),
    contents=(),
)

CAMPAIGNS: Final = Table(
    "campaigns",
    "campaigns",
    "What many users said at once, each time that it was told; its day is the first copy's.",
    (
        Column("campaign_id", "STRING", "The campaign; of the same content the same.", needed=True),
        Column("revision", "INT", "Counted up each time that it is told.", needed=True),
        Column("status", "STRING", "live, ended or known_good."),
        Column("kind", "STRING", "exact, near or picture."),
        Column("why", "STRING", "users or communities."),
        Column("mode", "STRING", "What its bank does with later copies: off, observe or act."),
        Column("category", "STRING", "Of its bank."),
        SEVERITY,
        Column("users", "BIGINT", "Distinct ones within one window, the most so far."),
        Column("communities", "BIGINT", "Likewise."),
        Column("uploads", "BIGINT", "Likewise."),
        Column("estimated", "BOOLEAN", "Whether any of these is an estimate."),
        Column("mean_weight", "DOUBLE", "Of its users by the age of their accounts; 1: all new."),
        Column("similarity", "DOUBLE", "Of the examples to what represents them, on average."),
        Column("content_id", "STRING", "The copy that represents it.", "`examples`[1]"),
        Column("examples", "ARRAY<STRING>", "Content ids of some copies."),
        Column("hashes", "ARRAY<STRING>", "SHA-256 of the examples' normalised texts, hex."),
        Column("sketch", "STRING", "Of the representative's text, as banks have it."),
        Column("pdq", "STRING", "Of the representative picture, hex; empty for texts."),
        Column("excerpt", "STRING", "Of the representative's text, as far as a setting allows."),
        Column("first_seen", TIME, "Broker time of the first counted copy, UTC.", _FIRST_SEEN),
        Column("last_seen", TIME, "Of the last, UTC.", utc("last_seen")),
        Column("expires_at", TIME, "When its bank ends, UTC.", utc("expires_at")),
    ),
    day=_FIRST_SEEN,
    # It may come back after it was forgotten, under its id, and counts anew.
    key=("campaign_id", "first_seen", "revision"),
    fields=tuple((name, "TIMESTAMP_LTZ(6)") for name in ("first_seen", "last_seen", "expires_at")),
)

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
    USER_LABELS,
    QUALITY,
    CAMPAIGNS,
)
"""Made from JSON."""
RAW_TABLES: Final = (CONTROL_HISTORY, UNREADABLE)
"""Made from bytes."""
_FIRST: Final = TABLES[: TABLES.index(DEAD_LETTERS) + 1]
ALL: Final = {table.name: table for table in dict.fromkeys((*_FIRST, *RAW_TABLES, *TABLES))}
"""In the order in which Flink numbers what fills them: a new table goes to the end, or a job that
is resumed does not find its offsets."""
