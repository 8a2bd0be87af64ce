"""Reports, verdicts and appeal outcomes: what is read and what is refused."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas.categories import TEXT_CATEGORIES
from schemas.decision import Feedback
from schemas.errors import InvalidUploadError
from schemas.feedback import (
    AppealOutcome,
    JoinedFeedback,
    Report,
    ReviewVerdict,
    Spoken,
    decode_appeal,
    decode_report,
    decode_said,
    decode_verdict,
    event_id,
    event_key,
    feedback_id,
)
from schemas.report_evidence import ReportEvidence, decode_report_evidence, report_evidence_id
from scripts.cli.export_schemas import record_schema

REPORT = {"report_id": "r1", "content_id": "c1", "reporter_id": "u9", "at": "2026-01-02T00:00:00Z"}
VERDICT = {
    "verdict_id": "v1",
    "content_id": "c1",
    "rater_id": "anna",
    "violates": True,
    "category": "harassment",
    "at": "2026-01-02T00:00:00+01:00",
}
APPEAL = {
    "appeal_id": "a1",
    "content_id": "c1",
    "user_id": "u1",
    "outcome": "overturned",
    "rater_id": "bert",
    "at": "2026-01-02T00:00:00Z",
}
SAID: dict[Spoken, dict[str, Any]] = {"report": REPORT, "verdict": VERDICT, "appeal": APPEAL}


def test_what_is_sent_is_read() -> None:
    report = decode_report(json.dumps(REPORT).encode())
    assert (report.reporter_id, report.category, report.account.created_at) == ("u9", "", None)
    verdict = decode_verdict(json.dumps(VERDICT).encode())
    assert (verdict.role, verdict.violates, verdict.category) == ("reviewer", True, "harassment")
    assert verdict.at == dt.datetime(2026, 1, 1, 23, tzinfo=dt.UTC)
    appeal = decode_appeal(json.dumps(APPEAL).encode())
    assert (appeal.outcome, appeal.automatic, appeal.moderation_id) == ("overturned", False, None)
    assert [event_id(said) for said in (report, verdict, appeal)] == ["r1", "v1", "a1"]
    # An appeal that was escalated ends later under the same id.
    keys = [event_key(said) for said in (report, verdict, appeal)]
    assert keys == ["r1", "v1", "a1\x00overturned"]


@pytest.mark.parametrize("kind", SAID)
def test_fields_that_nobody_knows_are_passed_over_and_round_trips_say_the_same(
    kind: Spoken,
) -> None:
    said = decode_said(kind, json.dumps({**SAID[kind], "device": "phone"}).encode())
    assert decode_said(kind, msgspec.json.encode(said)) == said


@pytest.mark.parametrize(
    ("kind", "change", "error", "field"),
    [
        ("report", {"report_id": ...}, "missing_field", "$.report_id"),
        ("report", {"content_id": ""}, "invalid_field", "$.content_id"),
        ("report", {"at": "2026-01-02T00:00:00"}, "invalid_field", "$.at"),
        ("report", {"category": "Bad Words"}, "invalid_field", "$.category"),
        ("report", {"account": {"followers": -1}}, "invalid_field", "$.account.followers"),
        ("verdict", {"violates": "yes"}, "invalid_field", "$.violates"),
        ("verdict", {"violates": ...}, "missing_field", "$.violates"),
        ("verdict", {"category": ...}, "missing_field", "$.category"),
        ("verdict", {"role": "boss"}, "invalid_field", "$.role"),
        ("verdict", {"action": "shout"}, "invalid_field", "$.action"),
        ("appeal", {"outcome": "maybe"}, "invalid_field", "$.outcome"),
        ("appeal", {"rater_id": ...}, "missing_field", "$.rater_id"),
        ("appeal", {"user_id": 7}, "invalid_field", "$.user_id"),
    ],
)
def test_a_mistake_names_its_field(
    kind: Spoken, change: dict[str, Any], error: str, field: str
) -> None:
    document = {name: value for name, value in (SAID[kind] | change).items() if value is not ...}
    with pytest.raises(InvalidUploadError) as caught:
        decode_said(kind, json.dumps(document).encode())
    assert (caught.value.kind, caught.value.field) == (error, field)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"null", "invalid_field"),
        (b"[]", "invalid_field"),
        (b'{"note": "\xff"}', "encoding"),
        (b'{"note": "' + b"x" * 17_000 + b'"}', "oversize"),
        (b'{"device": ' + b"[" * 15_000, "not_json"),
    ],
)
@pytest.mark.parametrize("kind", SAID)
def test_what_is_no_record_is_refused_by_kind(kind: Spoken, raw: bytes, error: str) -> None:
    with pytest.raises(InvalidUploadError) as caught:
        decode_said(kind, raw)
    assert caught.value.kind == error


def test_messages_quote_nothing_that_was_sent() -> None:
    raw = json.dumps({**VERDICT, "role": "my secret"}).encode()
    with pytest.raises(InvalidUploadError) as caught:
        decode_verdict(raw)
    assert "secret" not in str(caught.value)


def test_an_automatic_appeal_has_no_rater() -> None:
    automatic = {**APPEAL, "automatic": True}
    del automatic["rater_id"]
    assert decode_appeal(json.dumps(automatic).encode()).rater_id == ""


_VERDICTS = Draft202012Validator(record_schema("verdict"))
_values = st.none() | st.booleans() | st.integers() | st.text(max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from([*VERDICT, "action", "seconds", "x"]), _values, max_size=3))
def test_decoder_and_exported_schema_agree(change: dict[str, Any]) -> None:
    """As far as a schema can say it: what it refuses, the decoder refuses."""
    document = VERDICT | change
    if not _VERDICTS.is_valid(document):
        with pytest.raises(InvalidUploadError):
            decode_verdict(json.dumps(document).encode())


def test_whoever_reads_feedback_reads_joined_rows() -> None:
    row = JoinedFeedback(
        feedback_id=feedback_id("verdict", "c1", "v1", "harassment"),
        moderation_id="m1",
        content_id="c1",
        source="verdict",
        category="harassment",
        label=True,
        weight=0.8,
        text="x",
        language=None,
        scores={"toxicity": 0.5},
        features={},
        model_versions={},
        timestamp=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        event_id="v1",
        rater="anna",
        rank=1,
        said_at=dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
        delay_s=86_400.0,
        user_id="u1",
        community_id=None,
        content_type="text",
        revision=0,
        status="approved",
        action="allow",
        decided_category="",
        probability=0.5,
        severity="mild",
        ordered=None,
    )
    raw = msgspec.json.encode(row)
    assert msgspec.json.decode(raw, type=JoinedFeedback) == row
    plain = msgspec.json.decode(raw, type=Feedback)
    assert (plain.feedback_id, plain.label, plain.source) == (row.feedback_id, True, "verdict")


def test_ids_tell_apart_what_differs() -> None:
    ids = {
        feedback_id(kind, content, event, category)
        for kind in SAID
        for content in ("c1", "c2")
        for event in ("1", "2")
        for category in TEXT_CATEGORIES
    }
    assert len(ids) == 3 * 2 * 2 * 6
    assert feedback_id("report", "c\ud800", "1", "")  # half of a pair: still an id
    assert report_evidence_id("c", 0, 1) != report_evidence_id("c", 1, 0)


def test_evidence_of_reports_says_its_kind() -> None:
    evidence = ReportEvidence(
        evidence_id=report_evidence_id("c1", 0, 0),
        content_id="c1",
        user_id="u1",
        threshold=3.0,
        weight=3.2,
        reporters=5,
        categories={"harassment": 3.2},
        at=dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
    )
    raw = msgspec.json.encode(evidence)
    assert msgspec.json.decode(raw)["kind"] == "reports"
    assert decode_report_evidence(raw) == evidence
    with pytest.raises(InvalidUploadError):
        decode_report_evidence(raw.replace(b'"reports"', b'"media"'))


@pytest.mark.parametrize(
    ("name", "kind"), [("report", Report), ("verdict", ReviewVerdict), ("appeal", AppealOutcome)]
)
def test_schemas_name_every_field(name: str, kind: type[msgspec.Struct]) -> None:
    definition = record_schema(name)["$defs"][kind.__name__]
    assert set(definition["properties"]) == set(kind.__struct_encode_fields__)
