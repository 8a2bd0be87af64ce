"""What an upload reads of its author's trust: what had settled before it came, and nothing else."""

from __future__ import annotations

import datetime as dt

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.trust import Decided, Labelled, TrustEvent
from schemas.upload import Account, Upload
from tests.test_trust import CONFIG, DAY, T0, decided, decisions, label, labelled, times
from udfs.trust import apply, at_upload, features, replay, worth_telling
from udfs.trust_state import TrustState


def upload(name: str, created_ms: int | None = None) -> Upload:
    created = None if created_ms is None else dt.datetime.fromtimestamp(created_ms / 1000, dt.UTC)
    return Upload(
        content_id=name,
        content_type="text",
        user_id="u1",
        created_at=dt.datetime.fromtimestamp(T0 / 1000, dt.UTC),
        text="x",
        account=Account(created_at=created),
    )


def read(state: TrustState, name: str, when: int) -> bytes:
    """What an upload reads, with what it says about its account itself."""
    return msgspec.json.encode(
        features(*at_upload(state, upload(name, T0 - DAY), when, CONFIG), CONFIG)
    )


def test_an_upload_reads_what_has_settled_and_never_its_own_decision() -> None:
    bad = decided("c1", severity="severe")
    state = replay([bad], CONFIG)
    begin = bad.at_ms
    assert msgspec.json.decode(read(state, "c2", begin + 999))["violations"] == 0
    assert msgspec.json.decode(read(state, "c2", begin + 1000))["violations"] == 1
    # The same upload again, much later: as it was the first time.
    assert read(state, "c1", begin + 5 * DAY) == read(TrustState(), "c1", begin)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(decisions | labelled, max_size=7),
    st.lists(decisions | labelled, max_size=7),
    times,
    st.booleans(),
)
def test_what_comes_later_changes_nothing_for_a_redelivery(
    before: list[TrustEvent], after: list[TrustEvent], when: int, again: bool
) -> None:
    then = [e for e in before if e.at_ms <= when - CONFIG.settle_ms]
    late = [
        msgspec.structs.replace(e, content_id=f"later-{e.content_id}")
        if isinstance(e, Decided)
        else msgspec.structs.replace(e, name=f"later-{e.name}")
        for e in after
        if isinstance(e, (Decided, Labelled)) and e.at_ms > when - CONFIG.settle_ms
    ]
    first = replay(then, CONFIG)
    own = [Decided(content_id="own", at_ms=when, severity="mild")]
    second = replay([*then, *own, *late], CONFIG)
    came = when + 7 * DAY if again else when
    assert read(first, "own", when) == read(second, "own", came)


def test_readers_hear_of_everything_but_each_clean_upload() -> None:
    state, told = TrustState(), []
    for i in range(30):
        after = apply(state, decided(f"c{i}"), CONFIG)
        told.append(worth_telling(state, after))
        state = after
    assert [i + 1 for i, each in enumerate(told) if each] == [1, 2, 4, 8, 16, 24]
    assert worth_telling(state, apply(state, decided("x", severity="mild"), CONFIG))
    assert worth_telling(state, apply(state, label("watched"), CONFIG))
    assert not worth_telling(state, apply(state, decided("c29"), CONFIG))
