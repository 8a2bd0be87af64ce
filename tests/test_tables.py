"""The analyst tables as data, and the SQL that is made of them. The job itself: test_tables_e2e."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from operators.erasures import add_erasure, read_erasures, user_sha256
from operators.table_sql import Erased, add_columns_ddl, insert_sql, source_fields, table_ddl
from schemas.campaign import Campaign
from schemas.decision import Audit, Decision, Enforcement, Feedback, ReviewItem
from schemas.errors import ConfigError
from schemas.feedback import AppealOutcome, JoinedFeedback, Report, ReviewVerdict
from schemas.quality import QualityRecord
from schemas.settings import CONF, load_settings
from schemas.tables import Table
from schemas.tables_conf import load_holds, load_tables, warehouse_uri
from schemas.tables_records import ALL, DECISIONS, RAW_TABLES, TABLES
from schemas.tables_said import APPEALS, FEEDBACK, REPORTS, USER_LABELS, VERDICTS
from schemas.topics import topics
from schemas.user_events import LabelGiven, UserErased

RECORDS: dict[str, tuple[type[msgspec.Struct], ...]] = {
    "decisions": (Decision,),
    "review": (ReviewItem,),
    "reports": (Report,),
    "verdicts": (ReviewVerdict,),
    "appeals": (AppealOutcome,),
    "feedback": (Feedback, JoinedFeedback),
    "enforcement": (Enforcement,),
    "audit": (Audit,),
    "user_events": (LabelGiven, UserErased),
    "quality": (QualityRecord,),
    "campaigns": (Campaign,),
}
"""Short topic name to what is written to it; dead letters are written from JVM and Python alike."""


def fields_of(topic: str) -> set[str]:
    """Names of the fields of a topic's records, the one that tells kinds apart included."""
    names = {name for kind in RECORDS[topic] for name in kind.__struct_encode_fields__}
    tags = {kind.__struct_config__.tag_field for kind in RECORDS[topic]}
    return names | {tag for tag in tags if tag}


@pytest.mark.parametrize("topic", RECORDS)
def test_tables_read_fields_that_records_have(topic: str) -> None:
    read = {name for name, _ in source_fields(topic)}
    assert read <= fields_of(topic)


@pytest.mark.parametrize("topic", RECORDS)
def test_no_field_of_a_record_is_forgotten(topic: str) -> None:
    # Of a reporter, which is weighed when the report comes; for the comparison of days alone.
    left_out = {"account", "mixes"}
    if topic == "user_events":  # an erasure is no row
        left_out |= {"until", "content_id"}
    assert fields_of(topic) - {name for name, _ in source_fields(topic)} <= left_out


@pytest.mark.parametrize("table", ALL.values(), ids=lambda table: table.name)
def test_every_column_says_what_it_holds(table: Table) -> None:
    names = [column.name for column in table.all_columns]
    assert len(names) == len(set(names))
    assert set(table.key) | set(table.sequence) | set(table.people) <= set(names)
    for column in table.columns:
        assert column.comment.endswith(".")
    ddl = table_ddl(table, "sluice", {"bucket": "1"})
    assert ddl.count(" COMMENT ") == len(names) + 1


def test_the_first_record_of_an_id_counts_and_of_a_case_the_latest() -> None:
    ordered = {table.name: table_ddl(table, "d", {}) for table in (*TABLES, *RAW_TABLES)}
    latest = {name for name, ddl in ordered.items() if "'record_order'" not in ddl}
    assert latest == {"cases"}
    assert "'sequence.field' = 'upload_revision,revision,asked_at'" in ordered["cases"]
    assert "'sequence.field' = 'record_order'" in ordered["decisions"]
    # Paimon does not order rows that are written together that way.
    assert "descending" not in "".join(ordered.values())
    assert "-record_offset AS `record_order`" in insert_sql(DECISIONS, "d", topics())


def test_only_missing_columns_are_added() -> None:
    names = [column.name for column in VERDICTS.all_columns]
    assert add_columns_ddl(VERDICTS, "d", names) is None
    ddl = add_columns_ddl(VERDICTS, "d", [n for n in names if n != "golden"])
    assert ddl is not None
    assert ddl.startswith("ALTER TABLE `lake`.`d`.`verdicts` ADD (`golden` BOOLEAN COMMENT ")


def whole(table: Table, record: dict[str, Any]) -> bool:
    """Whether a record passes the table's checks, as the job asks it."""
    picked = {name: record[name] for name in sorted(table.checks) if name in record}
    form = "(?s)^" + "".join(f"(?{check})" for check in table.checks.values())
    return bool(re.search(form, msgspec.json.encode(picked).decode()))


AT = "2026-03-01T23:30:00.5-02:00"
VERDICT = {"verdict_id": "v", "content_id": "c", "violates": True, "seconds": 1.5, "at": AT}


@pytest.mark.parametrize(
    ("change", "readable"),
    [
        ({}, True),
        ({"seconds": None}, True),
        ({"seconds": 12}, True),
        ({"seconds": 1e-7}, True),
        ({"seconds": "12"}, False),
        ({"seconds": [1]}, False),
        ({"violates": "yes"}, False),
        ({"violates": None}, False),
        ({"verdict_id": ""}, False),
        ({"verdict_id": 5}, False),
        ({"verdict_id": '","violates":true,"x":"', "violates": None}, False),
        ({"content_id": {"violates": True}, "violates": 3}, False),
        ({"verdict_id": '"'}, True),
    ],
)
def test_what_is_no_whole_row(change: dict[str, Any], *, readable: bool) -> None:
    assert whole(VERDICTS, VERDICT | change) is readable


def test_what_is_missing_is_no_whole_row() -> None:
    for name in ("verdict_id", "content_id", "violates", "at"):
        assert not whole(VERDICTS, {key: VERDICT[key] for key in VERDICT if key != name})
    assert whole(VERDICTS, {key: VERDICT[key] for key in VERDICT if key != "seconds"})
    for time, readable in {"2026-01-01T00:00:00Z": True, "2026-01-01": False, 5: False}.items():
        record = {"feedback_id": "f", "content_id": "c", "source": "rule", "timestamp": time}
        assert whole(FEEDBACK, record) is readable


@pytest.mark.parametrize(
    ("time", "readable"),
    [
        ("2026-03-01t23:30:00z", True),
        ("2026-03-01 23:30:00.123456789+05:45", True),
        ("2026-02-30T00:00:00Z", False),
        ("2026-04-31T00:00:00Z", False),
        ("2026-13-01T00:00:00Z", False),
        ("2026-03-01T24:00:00Z", False),
        ("2026-03-01T00:00:00", False),
        ("2026-03-01T00:00:00+25:00", False),
        ("yesterday", False),
        ("", False),
        (1_772_409_600, False),
        (None, False),
    ],
)
def test_a_time_that_is_none_is_listed(time: object, *, readable: bool) -> None:
    assert whole(VERDICTS, VERDICT | {"at": time}) is readable
    appeal = {"appeal_id": "a", "outcome": "upheld", "content_id": "c", "at": AT}
    # When it was made is not always known.
    allowed = readable or time is None
    assert whole(APPEALS, appeal | {"appealed_at": time}) is allowed
    label = {"user_id": "u", "kind": "label", "name": "watched"}
    assert whole(USER_LABELS, label | {"expires_at": time}) is allowed
    assert whole(APPEALS, appeal)


def test_a_new_table_goes_to_the_end() -> None:
    # What is filled is numbered in this order: another one loses the offsets of a job that goes on.
    assert [*ALL][:12] == [
        *("decisions", "cases", "review_items", "reports", "verdicts", "appeals", "feedback"),
        *("enforcement", "audit", "dead_letters", "control_history", "unreadable"),
    ]
    assert set(ALL.values()) == {*TABLES, *RAW_TABLES}


def test_the_day_of_what_goes_with_a_decision_is_the_decisions() -> None:
    for name in ("review_items", "enforcement", "feedback"):
        sql = insert_sql(ALL[name], "d", topics())
        day = sql[sql.index("SELECT") : sql.index(" AS dt,")]
        assert "COALESCE(" in day
        for other in ("`timestamp`", "`due_at`"):
            assert day.find(other) == -1 or day.index("`broker_timestamp`") < day.index(other)


def test_erased_users_are_left_out_until_then() -> None:
    at = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    sql = insert_sql(DECISIONS, "d", topics(), [Erased("ab" * 32, at)])
    assert f"SHA256(`user_id`) <> '{'ab' * 32}'" in sql
    assert "CAST('2026-03-01 12:00:00' AS TIMESTAMP(3))" in sql
    assert "SHA256(`reporter_id`)" in insert_sql(REPORTS, "d", topics(), [Erased("ab" * 32, at)])
    assert "SHA256" not in insert_sql(DECISIONS, "d", topics())


def test_the_list_of_erased_users_names_nobody(tmp_path: Path) -> None:
    uri = (tmp_path / "lake").as_uri()
    assert read_erasures(uri) == []
    first, second = (dt.datetime(2026, 3, day, tzinfo=dt.UTC) for day in (1, 2))
    add_erasure(uri, "somebody", first)
    add_erasure(uri, "nobody", first)
    add_erasure(uri, "somebody", second)
    found = {one.user_sha256: one.at for one in read_erasures(uri)}
    assert found == {user_sha256("somebody"): second, user_sha256("nobody"): first}
    assert b"body" not in (tmp_path / "lake" / "erasures.jsonl").read_bytes()


def test_the_files_in_conf_are_right_and_mistakes_are_named(tmp_path: Path) -> None:
    keep = load_tables(CONF / "tables.yaml").retention
    assert (keep["audit"].safe_days, keep["audit"].violation_days) == (30, None)
    assert load_holds(CONF / "legal_holds.yaml").holds == ()
    path = tmp_path / "tables.yaml"
    for text, says in {
        "retention: {audits: {safe_days: 3}}": "there is no such table",
        "retention: {audit: {safe_days: 9, violation_days: 3}}": "must not be below safe_days",
    }.items():
        path.write_text(f"version: 1\n{text}\n")
        with pytest.raises(ConfigError, match=says):
            load_tables(path)


def test_holds_end(tmp_path: Path) -> None:
    path = tmp_path / "holds.yaml"
    path.write_text(
        "version: 1\nholds:\n"
        "  - {user_id: u, reason: a, until: 2026-01-31}\n  - {content_id: c, reason: b}\n"
    )
    holds = load_holds(path)
    assert holds.on(dt.date(2026, 1, 31)).users == ("u",)
    assert holds.on(dt.date(2026, 2, 1)).users == ()
    assert holds.on(dt.date(2026, 2, 1)).contents == ("c",)
    path.write_text("version: 1\nholds: [{user_id: u, content_id: c, reason: a}]\n")
    with pytest.raises(ConfigError, match="give one of user_id and content_id"):
        load_holds(path)


def test_the_warehouse_is_a_uri() -> None:
    settings = load_settings("dev")
    assert warehouse_uri(settings).startswith("file:///")
    elsewhere = settings.tables.model_copy(update={"warehouse": "s3://bucket/lake/"})
    moved = settings.model_copy(update={"tables": elsewhere})
    assert warehouse_uri(moved) == "s3://bucket/lake"
