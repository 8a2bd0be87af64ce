"""The books of a run: nothing unanswered or contradicted goes unnoticed."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.decision import VOLATILE_FIELDS, moderation_id
from scripts.cli.demo import summarise
from scripts.cli.demo_ledger import Ledger, percentile
from scripts.cli.publisher import Receipt
from scripts.cli.upload_lines import UploadLine, parse_line

NOW = dt.datetime(2024, 5, 5, tzinfo=dt.UTC)


def line(content_id: str, **fields: Any) -> UploadLine:
    upload = {
        "content_id": content_id,
        "content_type": "text",
        "user_id": "u",
        "text": "hello",
        "created_at": "2024-05-05T12:00:00Z",
    }
    return parse_line(msgspec.json.encode(upload | fields), base=NOW)


def decision(content_id: str, revision: int = 0, stage: str = "final", **fields: Any) -> bytes:
    body = {
        "moderation_id": moderation_id(content_id, revision, 0, stage),
        "content_id": content_id,
        "action": "allow",
        "stage": "fast_text",
        "category": "",
        "status": "approved",
        "probability": 0.1,
        "reason": "Nothing found.",
        "degraded": [],
        "latency_ms": 3.0,
        "timestamp": "2024-05-05T12:00:00Z",
        "cache": "",
        "features": {"a": 1.0, "b": 2.0},
    }
    return msgspec.json.encode(body | fields)


def letter(offset: int) -> bytes:
    return msgspec.json.encode(
        {"topic": "t", "partition": 0, "offset": offset, "error_kind": "not_json", "raw": ""}
    )


def publish(ledger: Ledger, upload: UploadLine, offset: int, at: int = 1_000) -> None:
    case = ledger.register(upload)
    ledger.taken(case, Receipt("t", 0, offset, at))


def test_an_upload_is_open_until_its_decision_comes() -> None:
    ledger = Ledger()
    publish(ledger, line("a"), 0, at=1_000)
    publish(ledger, line("b"), 1, at=1_000)
    assert ledger.outstanding() == 2
    ledger.decided(decision("a"), 1_020)
    assert ledger.outstanding() == 1
    assert ledger.unanswered() == ["t/0/1"]
    assert ledger.latencies() == [20]


def test_an_answer_may_come_before_the_receipt() -> None:
    ledger = Ledger()
    case = ledger.register(line("a"))
    ledger.decided(decision("a"), 1_030)
    ledger.taken(case, Receipt("t", 0, 0, 1_000))
    assert ledger.outstanding() == 0
    assert ledger.latencies() == [30]


def test_dead_letters_are_matched_by_place() -> None:
    ledger = Ledger()
    malformed = parse_line(b"not json", base=NOW)
    ledger.refused(letter(7))
    publish(ledger, malformed, 7)
    publish(ledger, malformed, 8)
    assert ledger.outstanding() == 1
    ledger.refused(letter(8))
    ledger.refused(letter(8))
    assert ledger.outstanding() == 0
    assert ledger.dead_letters == {"not_json": 2}


def test_a_valid_upload_may_be_refused_too() -> None:
    ledger = Ledger()
    publish(ledger, line("a"), 0)
    ledger.refused(letter(0))
    assert ledger.outstanding() == 0


def test_the_decision_about_an_edit_is_another_one() -> None:
    ledger = Ledger()
    publish(ledger, line("a"), 0)
    publish(ledger, line("a", revision=1, text="other"), 1)
    ledger.decided(decision("a"), 1_001)
    assert ledger.unanswered() == ["t/0/1"]
    ledger.decided(decision("a", revision=1), 1_002)
    assert ledger.outstanding() == 0
    assert ledger.duplicates == 0


def test_an_interim_decision_is_an_answer() -> None:
    ledger = Ledger()
    publish(ledger, line("a", content_type="image", media_uri="s3://x/y"), 0)
    ledger.decided(decision("a", stage="interim"), 1_002)
    assert ledger.outstanding() == 0


def test_redelivery_pairs_first_with_first() -> None:
    ledger = Ledger()
    publish(ledger, line("a"), 0, at=1_000)
    publish(ledger, line("a"), 1, at=5_000)
    ledger.decided(decision("a"), 1_010)
    assert ledger.latencies() == [10]
    ledger.decided(decision("a"), 5_020)
    assert ledger.latencies() == [10, 20]
    assert (ledger.duplicates, ledger.conflicts) == (1, {})
    assert ledger.actions.total() == 1  # counted once


@pytest.mark.parametrize("field", sorted(VOLATILE_FIELDS))
def test_fields_about_the_run_may_differ(field: str) -> None:
    ledger = Ledger()
    ledger.decided(decision("a"), 1)
    changed: dict[str, Any] = {field: ["redis"] if field == "degraded" else "other"}
    ledger.decided(decision("a", **changed), 2)
    assert (ledger.duplicates, ledger.conflicts) == (1, {})


def test_every_other_difference_is_a_conflict() -> None:
    ledger = Ledger()
    ledger.decided(decision("a"), 1)
    ledger.decided(decision("a", features={"b": 2.0, "a": 1.0}), 2)  # order says nothing
    assert ledger.conflicts == {}
    ledger.decided(decision("a", features={"a": 1.0, "b": 2.5}, reason="Else."), 3)
    assert ledger.conflicts == {moderation_id("a", 0, 0, "final"): ["features", "reason"]}
    ledger.decided(decision("a", added=1), 4)
    assert ledger.conflicts == {moderation_id("a", 0, 0, "final"): ["features", "reason", "added"]}


def test_latency_after_the_warm_up() -> None:
    ledger = Ledger()
    for number, (at, took) in enumerate([(1_000, 900), (2_000, 50), (7_000, 5), (8_000, 7)]):
        publish(ledger, line(f"c{number}"), number, at=at)
        ledger.decided(decision(f"c{number}"), at + took)
    assert ledger.latencies() == [900, 50, 5, 7]
    assert ledger.latencies(skip_s=5) == [5, 7]
    assert ledger.latencies(last=1) == [7]
    assert ledger.latencies(skip_s=60) == [900, 50, 5, 7]  # a short run has no other


def test_summary_counts() -> None:
    ledger = Ledger()
    publish(ledger, line("a"), 0)
    publish(ledger, line("b"), 1)
    publish(ledger, line("c"), 2)
    ledger.decided(decision("a", action="remove", category="spam", status="rejected"), 1_040)
    ledger.refused(letter(1))
    summary = summarise(ledger, begin=0.0, unsent=["too large"])
    wanted = {"uploads": 3, "decisions": 1, "dead_letters": 1, "undecided": 1, "unsent": 1}
    assert wanted.items() <= summary.items()
    assert summary["actions"] == {"remove": 1}
    assert summary["categories"] == {"spam": 1}
    assert (summary["p50_ms"], summary["p99_ms"]) == (40.0, 40.0)
    assert [seen.action for seen in ledger.shown] == ["remove"]


def test_percentile_is_a_value_that_occurred() -> None:
    assert percentile([], 0.5) is None
    assert percentile([4, 1, 3, 2], 0.5) == 2
    assert percentile(list(range(1, 101)), 0.99) == 99
    assert percentile(list(range(1, 101)), 1.0) == 100


@given(st.lists(st.integers(0, 10_000), min_size=1), st.floats(0.01, 1.0))
def test_percentile_holds_the_share(values: list[int], share: float) -> None:
    found = percentile(values, share)
    assert found is not None
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6
    assert sum(value < found for value in values) < share * len(values) + 1e-6
