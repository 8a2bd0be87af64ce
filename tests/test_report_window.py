"""Reports: a brigade of new accounts does not pass a threshold, trusted users do."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.report_window import Reported, added, heaviest
from schemas.errors import ConfigError
from schemas.feedback_job import FeedbackDocument, ReportsPart, load_feedback
from schemas.settings import ROOT
from tests.feedback_kit import HOUR, Bench, at, audit, decision, report

NEW = {"created_at": at(0)}


def test_established_users_pass_the_thresholds_once_each() -> None:
    bench = Bench()
    bench.send(decision())
    bench.send(*(report(i, HOUR + i) for i in range(5)))
    assert not bench.evidence()
    bench.send(report(5, HOUR + 5))
    (evidence,) = bench.evidence()
    assert (evidence.weight, evidence.reporters, evidence.level) == (3.0, 6, 0)
    assert (evidence.content_id, evidence.user_id, evidence.revision) == ("c1", "author", 0)
    assert evidence.categories == {"harassment": 3.0}
    assert evidence.at.isoformat() == at(HOUR + 5)
    assert bench.records[-1].key == b"author"
    bench.send(*(report(i, HOUR + i) for i in range(6, 40)))
    assert [(e.level, e.weight) for e in bench.evidence()] == [(0, 3.0), (1, 10.0)]


def test_evidence_says_what_the_reports_doubt() -> None:
    bench = Bench()
    features = {"account_age_days": 10.0}
    bench.send(decision(), decision(seconds=HOUR, revision=1, category="spam", features=features))
    bench.send(audit(revision=1, text="what was said"))
    bench.send(*(report(i, 2 * HOUR) for i in range(6)))
    (evidence,) = bench.evidence()
    before = evidence.before
    assert before is not None
    assert (before.revision, before.category, before.action) == (1, "spam", "allow")
    assert before.made_at.isoformat() == at(HOUR)
    assert before.account_created_at is not None
    assert before.account_created_at.isoformat() == at(HOUR - 240 * HOUR)
    assert (evidence.text, evidence.language) == ("what was said", "en")


def test_a_brigade_of_new_accounts_passes_none() -> None:
    bench = Bench()
    bench.send(decision())
    bench.send(*(report(i, HOUR, account=NEW) for i in range(300)))
    bench.send(*(report(i, HOUR, account={}) for i in range(1000, 1300)))
    bench.send(report(3000, HOUR, account={"created_at": at(-400 * 24 * HOUR)}))
    assert not bench.evidence()


def test_a_brigade_does_not_push_trusted_reports_out() -> None:
    bench = Bench()
    bench.send(decision())
    bench.send(*(report(i, HOUR) for i in range(5)))
    bench.send(*(report(i, 2 * HOUR, account=NEW) for i in range(100, 600)))
    bench.send(report(5, 3 * HOUR))
    assert len(bench.evidence()) == 1


def test_one_user_counts_once_however_often_they_report() -> None:
    bench = Bench()
    bench.send(decision())
    bench.send(*(report(i, HOUR + i, reporter_id=f"user{i % 3}") for i in range(100)))
    assert not bench.evidence()


def test_reports_of_different_days_do_not_add_up() -> None:
    bench = Bench()
    bench.send(decision())
    bench.send(*(report(i, i * 13 * HOUR) for i in range(12)))
    assert not bench.evidence()


def test_reports_before_the_decision_is_known_count_when_it_comes() -> None:
    bench = Bench()
    bench.send(*(report(i, HOUR) for i in range(8)))
    assert not bench.evidence()
    bench.send(decision())
    (evidence,) = bench.evidence()
    assert evidence.weight == 4.0


def test_an_edit_begins_anew() -> None:
    bench = Bench()
    bench.send(decision())
    bench.send(*(report(i, HOUR) for i in range(8)))
    bench.send(decision(seconds=2 * HOUR, upload_revision=1))
    assert [e.revision for e in bench.evidence()] == [0]
    bench.send(*(report(i, 3 * HOUR) for i in range(20, 26)))
    assert [(e.revision, e.level, e.weight) for e in bench.evidence()] == [(0, 0, 3.0), (1, 0, 3.0)]


def entry(number: int, at_h: float, weight: float, reporter: int | None = None) -> Reported:
    who = number if reporter is None else reporter
    return Reported(number, who, int(at_h * 3_600_000), weight, "spam")


def test_beyond_the_bound_the_oldest_go_then_the_lightest() -> None:
    config = ReportsPart(most_reports=3)
    entries: list[Reported] = []
    for number, (hours, weight) in enumerate([(0, 1.0), (60, 0.1), (61, 0.5), (62, 0.5)]):
        entries = added(entries, entry(number, hours, weight), config)
    assert [each.report for each in entries] == [1, 2, 3]
    entries = added(entries, entry(4, 50, 0.2), config)
    assert [each.report for each in entries] == [4, 2, 3]


def test_the_heaviest_window_is_found_wherever_it_is() -> None:
    config = ReportsPart(least_reporters=2)
    entries: list[Reported] = []
    for number, hours in enumerate([0, 1, 30, 31, 32, 70]):
        entries = added(entries, entry(number, hours, 0.5), config)
    found = heaviest(entries, config)
    assert found is not None
    assert (found.weight, found.reporters, found.at_ms) == (1.5, 3, 32 * 3_600_000)
    assert heaviest(entries, config, since_ms=32 * 3_600_000) is None


reports = st.lists(
    st.builds(
        entry,
        st.integers(0, 10_000),
        st.integers(0, 40),
        st.sampled_from([0.01, 0.1, 0.3, 0.5, 1.0]),
        st.integers(0, 12),
    ),
    max_size=30,
    unique_by=lambda each: each.report,
)


@settings(max_examples=150, deadline=None)
@given(reports, st.data())
def test_more_reports_never_weigh_less_and_order_does_not_matter(
    entries: list[Reported], data: st.DataObject
) -> None:
    config = ReportsPart(least_reporters=1)
    whole: list[Reported] = []
    weight = 0.0
    for each in entries:
        whole = added(whole, each, config)
        found = heaviest(whole, config)
        assert found is not None
        assert found.weight >= weight - 1e-9
        weight = found.weight
    other: list[Reported] = []
    for each in data.draw(st.permutations(entries)):
        other = added(other, each, config)
    assert other == whole


@settings(max_examples=100, deadline=None)
@given(reports)
def test_new_accounts_alone_stay_below_their_most(entries: list[Reported]) -> None:
    config = ReportsPart(least_reporters=1)
    new = [each for each in entries if each.weight < config.new_below]
    found = heaviest(new, config)
    assert found is None or found.weight <= config.new_most + 1e-9 < config.thresholds[0]


def test_the_shipped_file_says_the_defaults() -> None:
    assert load_feedback(ROOT / "conf/feedback.yaml") == FeedbackDocument(version=1)


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ("reports: {thresholds: [3, 2]}", "reports.thresholds"),
        ("reports: {thresholds: [1], new_most: 1}", "reports.new_most"),
        ("join: {hold_hours: 500}", "join.hold_hours"),
        ("join: {settle: 3}", "join.settle"),
        ("weights: {report: 2}", "weights.report"),
    ],
)
def test_a_mistake_names_its_field(part: str, field: str, tmp_path: object) -> None:
    path = ROOT.__class__(str(tmp_path)) / "feedback.yaml"
    path.write_text(f"version: 1\n{part}\n")
    with pytest.raises(ConfigError) as caught:
        load_feedback(path)
    assert caught.value.field == field
    assert caught.value.line == 2
