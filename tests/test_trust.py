"""Trust: the same from every order of events, online and offline, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import ConfigError, InvalidUploadError
from schemas.features import UserFeatures
from schemas.kept import StateError
from schemas.settings import ROOT
from schemas.trust import (
    Decided,
    Labelled,
    Overturned,
    ReportsPassed,
    TrustDocument,
    TrustEvent,
    UserRow,
    load_trust,
)
from schemas.user_events import LabelGiven, decode_user_event
from schemas.user_events import labelled as labelled_of
from udfs.trust import (
    apply,
    features,
    labels,
    replay,
    reputation,
    restriction,
    row,
    strikes,
)
from udfs.trust_state import TrustState, decode_trust, encode_trust

DAY = 86_400_000
T0 = 1_767_225_600_000
CONFIG = load_trust(ROOT / "conf/trust.yaml")


def decided(name: str, day: float = 0, **more: Any) -> Decided:
    return Decided(content_id=name, at_ms=T0 + int(day * DAY), **more)


def label(name: str, source: Any = "rule", day: float = 0, **more: Any) -> Labelled:
    return Labelled(name=name, source=source, at_ms=T0 + int(day * DAY), **more)


def at(day: float) -> int:
    return T0 + int(day * DAY)


def test_an_unknown_user_has_the_defaults() -> None:
    assert features(TrustState(), at(0), CONFIG) == UserFeatures()
    assert decode_trust(None) == decode_trust(b"") == TrustState()
    assert restriction(TrustState(), at(0), CONFIG) is None


def test_each_part_of_the_formula() -> None:
    old = decided("c", account_created_ms=at(-365 / 2), verified=True)
    assert reputation(replay([old], CONFIG), at(0), CONFIG) == 50 + 7.5 + 10 + 0.075
    many = replay((decided(f"c{i}") for i in range(200)), CONFIG)
    assert reputation(many, at(0), CONFIG) == 65
    one = replay([decided("c", severity="severe")], CONFIG)
    assert [reputation(one, at(day), CONFIG) for day in (0, 30, 60, 3000)] == [20, 35, 42.5, 50]
    worst = replay((decided(f"c{i}", -i / 12, severity="severe") for i in range(9)), CONFIG)
    assert reputation(worst, at(0), CONFIG) == 0


def test_violations_of_one_hour_are_one_incident() -> None:
    flood = [decided(f"c{i}", i / 86_400, severity="mild") for i in range(60)]
    one = replay(flood[:1], CONFIG)
    state = replay([*flood, decided("worse", 60 / 86_400, severity="moderate")], CONFIG)
    assert reputation(one, at(1), CONFIG) > reputation(state, at(1), CONFIG) > 34
    assert [strike.severity for strike in strikes(state, at(1), CONFIG)] == ["moderate"]
    assert features(state, at(1), CONFIG).violations == 61
    later = apply(state, decided("next", 1 / 24, severity="severe"), CONFIG)
    assert [strike.weight for strike in strikes(later, at(1), CONFIG)] == [1, 2]


def test_an_overturned_decision_gives_back_what_it_took_and_more() -> None:
    state = replay([decided("c", severity="severe")], CONFIG)
    assert strikes(state, at(1), CONFIG)
    state = apply(state, Overturned(content_id="c", at_ms=at(1)), CONFIG)
    assert reputation(state, at(1), CONFIG) == 50 + 0.075 + 5
    assert (state.uploads, state.rejected, state.overturned) == (1, 0, 1)
    assert not strikes(state, at(1), CONFIG)
    # A later decision about the same content counts by itself.
    state = apply(state, decided("c", 2, revision=1, severity="mild"), CONFIG)
    assert (state.uploads, state.rejected, state.overturned) == (1, 1, 0)
    granted = [Overturned(content_id=f"c{i}", at_ms=at(1)) for i in range(8)]
    many = replay([*(decided(f"c{i}", severity="mild") for i in range(8)), *granted], CONFIG)
    assert reputation(many, at(1), CONFIG) == 50 + 0.6 + 15


def test_the_newest_revision_of_a_case_counts() -> None:
    state = replay([decided("c", severity="severe"), decided("c", 1, revision=1)], CONFIG)
    assert (state.uploads, state.rejected) == (1, 0)
    state = replay([decided("c", 1, revision=1), decided("c", severity="severe")], CONFIG)
    assert (state.uploads, state.rejected) == (1, 0)


def test_rates_are_shares_of_uploads() -> None:
    events = [decided(f"c{i}", severity="mild" if i < 2 else "none") for i in range(8)]
    state = replay([*events, ReportsPassed(content_id="c3", at_ms=at(1))], CONFIG)
    found = features(state, at(0), CONFIG)
    assert (found.uploads, found.violations, found.known) == (8, 2, True)
    assert (found.toxicity_rate, found.report_rate) == (0.25, 0.125)


def test_strikes_lapse() -> None:
    events = [
        decided("a", 0, severity="mild"),
        decided("b", 10, severity="moderate"),
        decided("c", 20, severity="severe"),
    ]
    state = replay(events, CONFIG)
    found = strikes(state, at(21), CONFIG)
    assert [(s.severity, s.weight, s.expires_ms) for s in found] == [
        ("moderate", 1.0, at(100)),
        ("severe", 2.0, at(110)),
    ]
    held = restriction(state, at(99.9), CONFIG)
    assert held is not None
    assert held.measure == "review"
    assert restriction(state, at(100), CONFIG) is None


def test_the_strictest_restriction_acts() -> None:
    events = [decided(f"c{i}", -i / 12, severity="severe") for i in range(3)]
    state = replay([*events, label("watched")], CONFIG)
    assert restriction(state, at(1), CONFIG) is not None
    assert restriction(state, at(1), CONFIG).measure == "restrict"  # type: ignore[union-attr]  # asserted
    state = apply(state, label("suspended", "person", reason="Asked for it."), CONFIG)
    assert restriction(state, at(1), CONFIG).measure == "remove"  # type: ignore[union-attr]  # it acts


def test_a_persons_label_outranks_rules_and_models_until_it_expires() -> None:
    state = replay(
        [
            label("spammer", "person", 1, present=False, expires_ms=at(10), by="anna"),
            label("spammer", "rule", 2, by="links"),
            label("spammer", "model", 3, by="fast_text"),
            label("watched", "rule", 1, expires_ms=at(5)),
        ],
        CONFIG,
    )
    assert [each.name for each in labels(state, at(4))] == ["watched"]
    assert labels(state, at(5)) == []
    assert [(each.name, each.by) for each in labels(state, at(10))] == [("spammer", "fast_text")]
    state = apply(state, label("spammer", "person", 11, by="bert"), CONFIG)
    assert [each.by for each in labels(state, at(12))] == ["bert"]
    state = apply(state, label("spammer", "person", 13, present=False), CONFIG)
    assert labels(state, at(14)) == []


def test_what_is_kept_is_bounded() -> None:
    state = TrustState()
    for i in range(2000):
        severity = "mild" if i % 3 else "none"
        state = apply(state, decided(f"c{i}", i, severity=severity), CONFIG)
        state = apply(state, label(f"label{i}", day=i), CONFIG)
    assert (len(state.clean), len(state.violations), len(state.labels)) == (8, 32, 32)
    assert (state.uploads, state.rejected) == (2000, 1333)
    assert len(encode_trust(state)) < 5_000
    flood = replay((decided(f"c{i}", i / 86_400) for i in range(300)), CONFIG)
    assert (len(flood.clean), flood.uploads) == (64, 300)
    usual = replay((decided(f"c{i}", i) for i in range(100)), CONFIG)
    assert len(encode_trust(usual)) < 400


@pytest.mark.parametrize("value", [b"\x02\x96", b"\x01", b"\x01\xff\xff", b"\x01\x90garbage"])
def test_a_value_that_cannot_be_read_is_an_error(value: bytes) -> None:
    with pytest.raises(StateError):
        decode_trust(value)


def test_the_row_is_what_the_cascade_reads() -> None:
    state = replay([decided("c", severity="severe"), label("watched", "person")], CONFIG)
    raw = msgspec.json.encode(row(state, at(3), CONFIG))
    assert msgspec.json.decode(raw, type=UserFeatures) == features(state, at(3), CONFIG)
    read = msgspec.json.decode(raw, type=UserRow)
    assert read == row(state, at(3), CONFIG)
    assert (read.strikes[0].weight, read.labels[0].name, read.at_ms) == (2.0, "watched", at(3))


def test_a_word_about_a_user_is_checked() -> None:
    good = {
        "kind": "label", "user_id": "u1", "name": "watched",
        "at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-02T00:00:00Z",
    }  # fmt: skip
    event = decode_user_event(msgspec.json.encode(good))
    assert isinstance(event, LabelGiven)
    assert labelled_of(event) == Labelled(
        name="watched", source="person", at_ms=T0, expires_ms=T0 + DAY
    )
    for change, field in (
        ({"name": "Watched!"}, "$.name"),
        ({"at": "yesterday"}, "$.at"),
        ({"expires_at": "2025-12-31T00:00:00Z"}, "$.expires_at"),
        ({"kind": "praise"}, "$.kind"),
    ):
        with pytest.raises(InvalidUploadError) as caught:
            decode_user_event(msgspec.json.encode(good | change))
        assert caught.value.field == field


def test_the_shipped_figures_are_the_defaults() -> None:
    plain = CONFIG.model_copy(update={"restrictions": (), "labels": ()})
    assert plain == TrustDocument(version=1)


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("restrictions: [{measure: review, reason: x}]", "restrictions.0.strikes"),
        ("restrictions: [{strikes: 1, measure: shout, reason: x}]", "restrictions.0.measure"),
        ("reputation: {half_life_days: 0}", "reputation.half_life_days"),
        ("labels: [{label: x, days: 1, reason: x}]", "labels.0.rule"),
        ("idle_days: 30", "idle_days"),
    ],
)
def test_a_mistake_names_its_field(line: str, field: str, tmp_path: Path) -> None:
    path = tmp_path / "trust.yaml"
    path.write_text(f"version: 1\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        load_trust(path)
    assert (caught.value.field, caught.value.line) == (field, 2)


# Laws.

names = st.sampled_from([f"c{i}" for i in range(8)])
times = st.integers(0, 200).map(lambda days: T0 + days * DAY)
severities: Any = st.sampled_from(["none", "mild", "moderate", "severe"])
revisions = st.integers(0, 2)
decisions = st.builds(
    Decided,
    content_id=names,
    revision=revisions,
    severity=severities,
    at_ms=times,
    account_created_ms=st.sampled_from([0, T0 - DAY, T0 - 400 * DAY]),
    verified=st.booleans(),
)
labelled = st.builds(
    Labelled,
    name=st.sampled_from(["spammer", "watched", "suspended"]),
    source=st.sampled_from(["rule", "model", "person"]),
    present=st.booleans(),
    at_ms=times,
    expires_ms=st.just(0) | times,
    by=st.sampled_from(["a", "b"]),
)
events: st.SearchStrategy[TrustEvent] = st.one_of(
    decisions,
    st.builds(Overturned, content_id=names, revision=revisions, at_ms=times),
    st.builds(ReportsPassed, content_id=names, at_ms=times),
    labelled,
)
histories = st.lists(events, max_size=14)


@settings(max_examples=100, deadline=None)
@given(histories, st.data(), times)
def test_order_and_duplicates_change_no_bit(
    history: list[TrustEvent], data: st.DataObject, when: int
) -> None:
    again = data.draw(st.lists(st.sampled_from(history), max_size=5)) if history else []
    other = data.draw(st.permutations([*history, *again]))
    one, two = replay(history, CONFIG), replay(other, CONFIG)
    assert encode_trust(one) == encode_trust(two)
    assert msgspec.json.encode(row(one, when, CONFIG)) == msgspec.json.encode(
        row(two, when, CONFIG)
    )


@settings(max_examples=100, deadline=None)
@given(histories)
def test_the_row_rebuilt_from_the_log_is_the_online_row(history: list[TrustEvent]) -> None:
    """Online the state is kept as bytes between events; offline it is built in one go."""
    kept: bytes | None = None
    online = []
    for event in history:
        state = apply(decode_trust(kept), event, CONFIG)
        kept = encode_trust(state)
        online.append(msgspec.json.encode(row(state, event.at_ms, CONFIG)))
    offline = [
        msgspec.json.encode(row(replay(history[: i + 1], CONFIG), event.at_ms, CONFIG))
        for i, event in enumerate(history)
    ]
    assert online == offline
    assert decode_trust(kept) == replay(history, CONFIG)


@settings(max_examples=100, deadline=None)
@given(histories, times)
def test_figures_stay_within_their_ranges(history: list[TrustEvent], when: int) -> None:
    state = replay(history, CONFIG)
    found = features(state, when, CONFIG)
    assert 0 <= found.reputation <= 100
    assert 0 <= found.toxicity_rate <= 1
    assert 0 <= found.report_rate <= 1
    assert 0 <= found.violations <= found.uploads
    assert found.uploads == len({e.content_id for e in history if isinstance(e, Decided)})
    assert all(strike.expires_ms > when for strike in strikes(state, when, CONFIG))


@settings(max_examples=100, deadline=None)
@given(histories, decisions, times)
def test_a_violation_never_helps_and_overturning_it_never_hurts(
    history: list[TrustEvent], event: Decided, when: int
) -> None:
    fresh = msgspec.structs.replace(event, content_id="fresh", severity="none")
    worse = msgspec.structs.replace(fresh, severity="moderate")
    clean, bad = (replay([*history, each], CONFIG) for each in (fresh, worse))
    undone = apply(bad, Overturned(content_id="fresh", revision=event.revision, at_ms=when), CONFIG)
    lowest, middle, highest = (reputation(each, when, CONFIG) for each in (bad, clean, undone))
    assert lowest <= middle <= highest


@settings(max_examples=60, deadline=None)
@given(histories, times, st.integers(0, 100))
def test_time_alone_heals(history: list[TrustEvent], when: int, days: int) -> None:
    state = replay(history, CONFIG)
    past = max([when, *(event.at_ms for event in history)])
    assert reputation(state, past + days * DAY, CONFIG) >= reputation(state, past, CONFIG)
