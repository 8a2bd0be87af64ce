"""What people say finds the decision that it is about, whenever and however often it comes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.features import UserFeatures
from schemas.feedback_job import FeedbackDocument
from tests.fakes import Memory
from tests.feedback_kit import (
    HOUR,
    TOPICS,
    Bench,
    Known,
    appeal,
    at,
    audit,
    decision,
    report,
    verdict,
)

DAYS = 24 * HOUR


def config(**parts: dict[str, Any]) -> FeedbackDocument:
    return FeedbackDocument.model_validate({"version": 1, **parts})


def test_a_verdict_days_later_gets_the_features_of_its_decision() -> None:
    bench = Bench()
    bench.send(decision(seconds=0), audit())
    assert not bench.send(verdict(seconds=3 * DAYS, severity="mild", action="warn"))
    assert not bench.wait(29)
    (record,) = bench.wait(2)
    assert (record.topic, record.key) == (TOPICS.feedback, b"c1")
    (row,) = bench.rows()
    assert (row.source, row.rater, row.rank, row.weight) == ("verdict", "anna", 1, 0.8)
    assert (row.category, row.label, row.delay_s) == ("harassment", True, 3 * DAYS)
    assert (row.text, row.language, row.features) == ("hello there", "en", {"revision": 0.0})
    assert row.scores == {"toxicity": 0.25, "spam": 0.125}
    assert row.model_versions == {"fast_text": "1"}
    assert (row.user_id, row.action, row.probability) == ("author", "allow", 0.25)
    assert (row.severity, row.ordered) == ("mild", "warn")
    assert not bench.timers


def test_what_is_said_about_an_unknown_content_waits_for_its_decision() -> None:
    bench = Bench()
    bench.send(verdict(seconds=HOUR), report(1))
    bench.wait(10 * HOUR)
    assert not bench.records
    bench.send(decision(), audit())
    assert not bench.rows()  # another decision may be on its way
    bench.wait(31)
    assert {row.source for row in bench.rows()} == {"verdict", "report"}
    bench.wait(100 * HOUR)
    assert len(bench.records) == 2


def test_what_no_decision_comes_for_is_given_up_but_not_lost() -> None:
    bench = Bench()
    said = [verdict(), report(1), appeal()]
    bench.send(*said)
    bench.wait(71.9 * HOUR)
    assert not bench.records
    bench.wait(HOUR)
    letters = bench.letters()
    assert {letter.raw for letter in letters} == {raw for _, raw in said}
    assert {letter.error_kind for letter in letters} == {"unmatched"}
    assert {letter.topic for letter in letters} == {TOPICS.verdicts, TOPICS.reports, TOPICS.appeals}
    assert bench.metrics.value("feedback_unmatched", kind="verdict") == 1
    assert not bench.timers


def test_a_decision_that_is_named_is_taken_and_no_other() -> None:
    bench = Bench()
    first, second = decision(seconds=0), decision(seconds=HOUR, revision=1)
    bench.send(first, second)
    named = json.loads(first[1])["moderation_id"]
    bench.send(verdict(seconds=5 * HOUR, moderation_id=named))
    bench.send(verdict("v2", seconds=5 * HOUR, moderation_id="of another content"))
    bench.wait(80 * HOUR)
    (row,) = bench.rows()
    assert (row.moderation_id, row.revision) == (named, 0)
    assert [letter.error_kind for letter in bench.letters()] == ["unmatched"]


@pytest.mark.parametrize(
    ("seconds", "revision"), [(50, 0), (100, 0), (199.9, 0), (200, 1), (1000, 1), (10, 0)]
)
def test_without_a_name_it_is_the_one_in_force(seconds: float, revision: int) -> None:
    bench = Bench()
    bench.send(decision(seconds=200, revision=1), decision(seconds=50, revision=0))
    bench.send(verdict(seconds=seconds))
    bench.wait(60)
    (row,) = bench.rows()
    assert row.revision == revision
    # Who spoke before the first decision spoke about that one, and the row says so.
    assert (row.delay_s < 0) == (seconds < 50)


def test_times_come_out_in_utc() -> None:
    bench = Bench()
    bench.send(decision(), verdict(at="2026-01-02T01:00:00+01:00"))
    (record,) = bench.wait(60)
    assert b'"said_at":"2026-01-02T00:00:00Z"' in record.value


def test_nobody_speaks_later_than_the_broker_hears_of_it() -> None:
    bench = Bench()
    bench.send(decision(), verdict(seconds=365 * DAYS))
    bench.wait(60)
    (row,) = bench.rows()
    assert row.delay_s == 31 * DAYS


def test_a_reviewer_who_finds_nothing_denies_what_was_scored() -> None:
    bench = Bench()
    bench.send(decision(category="harassment"), verdict(violates=False, category=""))
    bench.send(
        decision("c2", scores={}), verdict("v2", content_id="c2", violates=False, category="")
    )
    bench.wait(60)
    found = {(row.content_id, row.category): row.label for row in bench.rows()}
    assert found == {
        ("c1", "harassment"): False,
        ("c1", "spam"): False,
        ("c1", "toxicity"): False,
        ("c2", ""): False,
    }
    assert len({row.feedback_id for row in bench.rows()}) == 4


@pytest.mark.parametrize(
    ("outcome", "automatic", "label", "weight"),
    [
        ("upheld", False, True, 1.0),
        ("overturned", False, False, 1.0),
        ("overturned", True, False, 0.5),
    ],
)
def test_an_appeal_labels_what_was_decided(
    outcome: str, automatic: bool, label: bool, weight: float
) -> None:
    bench = Bench()
    bench.send(decision(category="threat"), appeal(outcome=outcome, automatic=automatic))
    bench.wait(60)
    (row,) = bench.rows()
    assert (row.category, row.label, row.weight, row.rank) == ("threat", label, weight, 3)


def test_golden_items_and_appeals_that_go_on_label_nothing() -> None:
    bench = Bench()
    bench.send(decision(), verdict(golden=True), appeal(outcome="escalated"))
    bench.wait(100 * HOUR)
    assert not bench.records


def test_an_appeal_that_was_escalated_ends_under_the_same_id() -> None:
    bench = Bench()
    bench.send(decision(category="threat"), appeal(outcome="escalated"))
    bench.wait(60)
    bench.send(appeal(outcome="upheld", seconds=5 * HOUR), appeal(outcome="escalated"))
    bench.wait(60)
    (row,) = bench.rows()
    assert (row.event_id, row.label, row.rank) == ("a1", True, 3)


def test_raters_are_kept_apart_and_contradictions_kept_with_both() -> None:
    bench = Bench()
    bench.send(decision(), report(1), verdict("v1", rater_id="anna"))
    bench.send(verdict("v2", rater_id="bert", violates=False), verdict("v3", role="senior"))
    bench.send(appeal(category="harassment"))
    bench.wait(60)
    found = sorted((row.rank, row.source, row.rater, bool(row.label)) for row in bench.rows())
    assert found == [
        (0, "report", "reporter1", True),
        (1, "verdict", "anna", True),
        (1, "verdict", "bert", False),
        (2, "verdict", "anna", True),
        (3, "appeal", "bert", False),
    ]
    assert bench.metrics.value("feedback_contradictions") == 1


def test_a_report_weighs_what_its_reporter_is_trusted() -> None:
    users = Known({"reporter2": UserFeatures(reputation=90.0, uploads=50, known=True)})
    bench = Bench(users=users)
    bench.send(decision(), report(1), report(2, account={}), report(3, account={}))
    bench.send(report(4, account={"created_at": at(HOUR - 3 * DAYS)}))
    bench.send(report(5, account={"created_at": at(HOUR), "verified": True}))
    bench.wait(60)
    assert {row.rater: row.weight for row in bench.rows()} == {
        "reporter1": 0.1,
        "reporter2": 0.18,
        "reporter3": 0.01,
        "reporter4": 0.01,
        "reporter5": 0.05,
    }


@pytest.mark.parametrize(
    ("raw", "kind"),
    [(b"{", "not_json"), (b'{"content_id": "c1"}', "missing_field"), (b"\xff", "encoding")],
)
@pytest.mark.parametrize("topic", [TOPICS.decisions, TOPICS.audit, TOPICS.reports, TOPICS.appeals])
def test_what_cannot_be_read_is_a_dead_letter(topic: str, raw: bytes, kind: str) -> None:
    bench = Bench()
    bench.send((topic, raw), key="c1")
    (letter,) = bench.letters()
    assert (letter.raw, letter.topic, letter.error_kind) == (raw, topic, kind)
    assert not bench.states["c1"].writes


def test_a_record_under_another_contents_key_is_refused() -> None:
    bench = Bench()
    bench.send(verdict(content_id="c1"), key="c2")
    assert [letter.error_kind for letter in bench.letters()] == ["key_mismatch"]


def test_a_content_is_forgotten_when_nothing_came_for_long() -> None:
    bench = Bench(config(join={"remember_hours": 48, "hold_hours": 24}))
    bench.send(decision())
    bench.wait(47 * HOUR)
    bench.send(verdict("in time"))
    bench.wait(60)
    assert len(bench.rows()) == 1
    bench.wait(49 * HOUR)
    bench.send(verdict("too late"))
    bench.wait(25 * HOUR)
    assert len(bench.rows()) == 1
    assert [letter.error_kind for letter in bench.letters()] == ["unmatched"]


def test_state_that_cannot_be_read_costs_one_content_alone() -> None:
    bench = Bench()
    bench.states["c1"] = Memory(b"\x09broken")
    bench.send(decision(), verdict())
    bench.wait(60)
    assert len(bench.rows()) == 1
    assert bench.metrics.value("state_resets") == 1


def test_what_waits_is_bounded_and_the_oldest_waits_no_longer() -> None:
    bench = Bench(config(join={"most_waiting": 3}))
    bench.send(decision())
    bench.send(*(verdict(f"v{i}") for i in range(5)))
    assert [row.event_id for row in bench.rows()] == ["v0", "v1"]
    bench.wait(60)
    assert [row.event_id for row in bench.rows()] == [f"v{i}" for i in range(5)]


def test_the_state_of_a_content_is_bounded() -> None:
    bench = Bench(config(join={"text_chars": 100, "most_waiting": 4}, reports={"most_reports": 16}))
    sizes = []
    for i in range(60):
        bench.send(decision(seconds=i, revision=i), audit(revision=i, text="x" * 10_000))
        bench.send(*(report(100 * i + j, seconds=i) for j in range(20)))
        bench.wait(60)
        sizes.append(len(bench.states["c1"].stored or b""))
    assert max(sizes[40:]) <= 1.1 * max(sizes[:40])
    assert max(sizes) < 20_000


def test_when_the_input_ends_nothing_waits_any_longer() -> None:
    bench = Bench()
    bench.send(decision("c1"), verdict(content_id="c1"), verdict("v2", content_id="c2"))
    bench.end()
    assert [row.event_id for row in bench.rows()] == ["v1"]
    assert [letter.error_kind for letter in bench.letters()] == ["unmatched"]


def test_rows_have_no_names_that_the_upload_tells_and_evidence_has_the_text() -> None:
    bench = Bench()
    text = "ana souza here, ask Bob Lima"
    told: dict[str, Any] = {"display_name": "Ana Souza", "mentions": [{"username": "Bob Lima"}]}
    bench.send(
        decision(), audit("c1", 0, text, "author", **told), verdict(), *map(report, range(6))
    )
    bench.wait(60)
    assert {row.text for row in bench.rows()} == {"[name] here, ask [name]"}
    (evidence,) = bench.evidence()
    assert evidence.text == text
