"""Tables of what people say: reports, verdicts, appeals, labels of users; and the rows from it."""

from __future__ import annotations

from typing import Final

from schemas.tables import Column, Table, rfc3339, utc
from schemas.tables_columns import (
    ACTION,
    BROKER,
    COMMUNITY,
    CONTENT_ID,
    CONTENT_TYPE,
    FEATURES,
    MODELS,
    PROBABILITY,
    SCORE_MAP,
    SINCE,
    STAMP,
    STATUS,
    TIME,
    USER_ID,
)

REPORTS: Final = Table(
    "reports",
    "reports",
    "What users reported.",
    (
        Column("report_id", "STRING", "The report, as its sender names it.", needed=True),
        CONTENT_ID,
        Column("reporter_id", "STRING", "Who reported."),
        Column("category", "STRING", "What the reporter chose; empty or NULL: nothing."),
        Column("note", "STRING", "In the reporter's words."),
        Column("said_at", TIME, "When it was reported, UTC.", rfc3339("at")),
    ),
    day=rfc3339("at"),
    key=("report_id", "content_id"),
    fields=(("at", "STRING"),),
    times=(("at", True),),
    people=("reporter_id",),
)
VERDICTS: Final = Table(
    "verdicts",
    "verdicts",
    "What reviewers answered; several about one content stand side by side.",
    (
        Column("verdict_id", "STRING", "The verdict, as its sender names it.", needed=True),
        CONTENT_ID,
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
        Column("said_at", TIME, "When it was answered, UTC.", rfc3339("at")),
    ),
    day=rfc3339("at"),
    key=("verdict_id", "content_id"),
    fields=(("at", "STRING"), ("role", "STRING"), ("severity", "STRING"), ("golden", "BOOLEAN")),
    times=(("at", True),),
)
APPEALS: Final = Table(
    "appeals",
    "appeals",
    "How appeals ended; an escalated one has another row when it ends.",
    (
        Column("appeal_id", "STRING", "The appeal, as its sender names it.", needed=True),
        Column("outcome", "STRING", "upheld, overturned or escalated.", needed=True),
        CONTENT_ID,
        Column("moderation_id", "STRING", "The decision appealed; NULL: the one in force."),
        Column("user_id", "STRING", "Who appealed, the author."),
        Column("category", "STRING", "What it is about; empty or NULL: the decision's."),
        Column("automatic", "BOOLEAN", "Resolved without a person.", "COALESCE(automatic, FALSE)"),
        Column("rater_id", "STRING", "Who resolved it; empty or NULL: nobody."),
        Column("note", "STRING", "In words."),
        Column("appealed_at", TIME, "When it was made, UTC.", rfc3339("appealed_at")),
        Column("said_at", TIME, "When it was resolved, UTC.", rfc3339("at")),
        Column("revision", "INT", "Of the case, that was appealed; NULL: every decision about it."),
    ),
    day=rfc3339("at"),
    key=("appeal_id", "outcome"),
    fields=(("at", "STRING"), ("appealed_at", "STRING"), ("automatic", "BOOLEAN")),
    times=(("at", True), ("appealed_at", False)),
    people=("user_id",),
)
FEEDBACK: Final = Table(
    "feedback",
    "feedback",
    "Labels, and what is worth one, with the decision's features as they were then.",
    (
        Column("feedback_id", "STRING", "The row.", needed=True),
        Column("moderation_id", "STRING", "The decision that it is about."),
        CONTENT_ID,
        USER_ID,
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
        SCORE_MAP,
        FEATURES,
        MODELS,
        COMMUNITY,
        STATUS,
        ACTION,
        Column("decided_category", "STRING", "Of the decision."),
        CONTENT_TYPE,
        Column("revision", "INT", "Of the case, as the decision's."),
        Column("severity", "STRING", "That the rater gave: none, mild, moderate or severe."),
        Column("ordered", "STRING", "Action that the rater ordered; NULL: nobody asked."),
        PROBABILITY,
        Column("said_at", TIME, "When it was said, UTC.", utc("said_at")),
        Column("decided_at", TIME, "When the decision was made, UTC.", utc("timestamp")),
        SINCE,
    ),
    day=f"COALESCE({utc('said_at')}, {SINCE.value}, {utc('timestamp')})",
    key=("feedback_id",),
    fields=(*STAMP, ("said_at", "TIMESTAMP_LTZ(6)"), *BROKER),
    people=("user_id", "rater"),
)
_LABEL: Final = "`name`, `source`, `by`, `at`, `expires_at`, `reason`"
USER_LABELS: Final = Table(
    "user_labels",
    "user_events",
    "Labels that people and other systems gave to users, denied them or took back.",
    (
        Column("user_id", "STRING", "The user.", needed=True),
        Column(
            "label_id",
            "STRING",
            "Of what the record says, hex: sent twice it is one row.",
            f"SHA256(CONCAT_WS('|', CAST(`present` AS STRING), {_LABEL}))",
        ),
        Column("name", "STRING", "Of the label."),
        Column("source", "STRING", "rule, model or person.", "COALESCE(source, 'person')"),
        Column(
            "present",
            "BOOLEAN",
            "False: the user shall not have it, whatever others say.",
            "COALESCE(present, TRUE)",
        ),
        Column("reason", "STRING", "In words."),
        Column("given_by", "STRING", "Rule, model or person.", "`by`"),
        Column("said_at", TIME, "When it was said, UTC.", rfc3339("at")),
        Column("expires_at", TIME, "When it lapses, UTC; NULL: never.", rfc3339("expires_at")),
    ),
    day=rfc3339("at"),
    key=("user_id", "label_id"),
    fields=(
        *(("kind", "STRING"), ("source", "STRING"), ("present", "BOOLEAN"), ("by", "STRING")),
        *(("at", "STRING"), ("expires_at", "STRING")),
    ),
    times=(("at", False), ("expires_at", False)),
    # The topic's other records say that a user is erased: a row would keep the id.
    where="`kind` = 'label'",
    people=("user_id",),
    contents=(),
)
