from __future__ import annotations

from typing import Any

import msgspec

from schemas.decision import moderation_id
from scripts.cli.audit_books import Books, Place
from tests.fakes import payload

LIMITS = {"max_bytes": 10_000, "max_text_chars": 1_000}


def place(offset: int) -> Place:
    return Place("moderation.content.text", 0, offset)


def answer(content_id: str, stage: str = "final", **fields: Any) -> bytes:
    return msgspec.json.encode(
        {
            "moderation_id": moderation_id(content_id, 0, 0, stage),
            "content_id": content_id,
            "action": "allow",
            "rules_hash": "r1",
            "degraded": [],
            "latency_ms": 1.0,
            **fields,
        }
    )


def letter(offset: int) -> bytes:
    return msgspec.json.encode(dict(place(offset)._asdict()))


def books(*uploads: bytes) -> Books:
    made = Books()
    for offset, value in enumerate(uploads):
        made.uploaded(place(offset), value, **LIMITS)
    return made


def test_answered_uploads_and_refused_records_are_in_order() -> None:
    made = books(payload("a"), payload("b"), b"{", payload("a"), payload("c", text="x" * 2000))
    made.decided(answer("a"))
    made.decided(answer("a", latency_ms=5.0))
    made.decided(answer("b", stage="interim"))
    made.refused(letter(2))
    made.refused(letter(4))
    report = made.report()
    assert report["ok"]
    assert (report["uploads"], report["redelivered"], report["repeated_decisions"]) == (2, 1, 1)


def test_an_upload_that_broke_the_cascade_is_answered_by_its_dead_letter() -> None:
    made = books(payload("a"))
    made.refused(letter(0))
    assert made.report()["ok"]


def test_pictures_that_are_still_held_are_counted() -> None:
    made = books(payload("a"), payload("b"), payload("b", revision=1))
    made.decided(answer("a", stage="interim", interim=True))
    made.decided(answer("b", stage="interim", interim=True))
    again: dict[str, Any] = {"moderation_id": moderation_id("b", 1, 0, "interim")}
    again["upload_revision"] = 1
    made.decided(answer("b", interim=True, **again))
    later: dict[str, Any] = {"moderation_id": moderation_id("b", 0, 1, "final"), "revision": 1}
    made.decided(answer("b", **later))
    report = made.report()
    assert report["ok"]
    assert report["held"] == 2


def test_what_is_missing_is_named() -> None:
    made = books(payload("a"), b"{")
    report = made.report()
    assert not report["ok"]
    assert report["missing"] == 2
    assert report["missing_examples"][0]["content_id"] == "a"
    assert report["missing_examples"][1]["offset"] == 1


def test_a_contradiction_is_named_by_field() -> None:
    made = books(payload("a"))
    made.decided(answer("a"))
    made.decided(answer("a", action="remove"))
    report = made.report()
    assert not report["ok"]
    assert report["contradicting_examples"][0]["fields"] == ["action"]


def test_other_rules_or_a_missing_store_explain_a_difference() -> None:
    made = books(payload("a"), payload("b"))
    made.decided(answer("a"))
    made.decided(answer("a", action="remove", rules_hash="r2"))
    made.decided(answer("b"))
    made.decided(answer("b", action="review", degraded=["redis"]))
    report = made.report()
    assert report["ok"]
    assert (report["differ_by_configuration"], report["differ_by_degradation"]) == (1, 1)
