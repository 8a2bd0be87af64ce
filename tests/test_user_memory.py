"""Trust in the moderation job's state: what acts, when, and the same under every replay."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from operators.compose import compose_cascade
from operators.metrics import Metrics
from operators.moderation_logic import ModerationLogic, Record
from operators.user_state import Arrived
from operators.velocity import VelocityConfig
from schemas.control import ControlMessage
from schemas.decision import VOLATILE_FIELDS, Audit, Decision
from schemas.errors import ConfigError
from schemas.features import SINGLE
from schemas.settings import ROOT, load_settings
from schemas.topics import topics
from schemas.trust import TrustEvent, UserRow, load_trust
from schemas.upload import decode_upload
from schemas.user_events import decode_user_event, labelled, user_sha256
from tests.fakes import NOW_MS, FakeBrain, Memory, payload
from tests.feedback_kit import appeal
from udfs.contracts import Item, Outcome
from udfs.trust import apply, row, worth_telling
from udfs.trust_events import labels_of, of_decision
from udfs.trust_state import TrustState

TOPICS = topics()
CONFIG = load_trust(ROOT / "conf/trust.yaml")
T0 = int(NOW_MS)
SECOND, DAY = 1000, 86_400_000


class StrictBrain(FakeBrain):
    """Removes what says `bad`, and shows what it was told of the author."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, Any] = {}

    def moderate(self, batch: Sequence[Item], now_ms: float) -> list[Outcome]:
        answers = []
        for item, outcome in zip(batch, super().moderate(batch, now_ms), strict=True):
            self.seen[item.upload.content_id] = item.user
            assert item.user is not None
            decision = outcome.decision
            bad = "bad" in (item.upload.text or "")
            answers.append(
                Outcome(
                    msgspec.structs.replace(
                        decision,
                        action="remove" if bad else "allow",
                        status="rejected" if bad else "approved",
                        severity="moderate" if bad else "none",
                        features={"reputation": item.user.reputation, "uploads": item.user.uploads},
                    )
                )
            )
        return answers


class User:
    """One user's records, with a state and a logic that can crash."""

    def __init__(self, max_batch: int = 100) -> None:
        self.brain = StrictBrain()
        self.state = Memory()
        self.max_batch = max_batch
        self.out: list[Record] = []
        self.offset = 0
        self.restart()

    def restart(self) -> None:
        self.logic = ModerationLogic(
            self.brain,
            TOPICS,
            velocity=VelocityConfig(),
            max_batch=self.max_batch,
            now_ms=lambda: NOW_MS,
            metrics=Metrics(),
            trust=CONFIG,
        )

    def take(self, raw: bytes, at_ms: int, topic: str = TOPICS.content_text) -> None:
        self.offset += 1
        arrived = Arrived(raw, topic, 0, self.offset, at_ms, SINGLE)
        self.out += self.logic.on_record("u1", arrived, self.state)

    def tick(self) -> None:
        for records in self.logic.on_tick("u1", self.state):
            self.out += records

    def upload(self, name: str, text: str = "hello", at_ms: int = T0, **fields: Any) -> None:
        self.take(payload(name, text=text, **fields), at_ms)

    @property
    def kept(self) -> int:
        """Bytes of state."""
        return len(self.state.stored or b"")

    @property
    def decisions(self) -> list[Decision]:
        return [
            msgspec.json.decode(record.value, type=Decision)
            for record in self.out
            if record.topic == TOPICS.decisions
        ]


def word(kind: str = "label", at_ms: int = T0, **fields: Any) -> bytes:
    when = dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).isoformat()
    base: dict[str, Any] = {"kind": kind, "user_id": "u1"}
    base |= {"name": "suspended", "at": when} if kind == "label" else {"until": when}
    return json.dumps(base | fields).encode()


def test_a_violation_counts_for_the_next_upload_and_not_for_itself() -> None:
    user = User()
    user.upload("c1", "bad", T0)
    user.tick()
    user.upload("c2", at_ms=T0 + 2 * SECOND)
    user.tick()
    user.upload("c1", "bad", T0 + 5 * SECOND)  # comes again
    user.tick()
    first, second, again = user.decisions
    assert first.features == {"reputation": 50.0, "uploads": 0}
    assert second.features["uploads"] == 1
    assert second.features["reputation"] == pytest.approx(35, abs=0.1)
    assert again.features == first.features
    assert user.brain.seen["c2"].violations == 1


def test_uploads_of_one_batch_are_decided_one_after_the_other_where_they_lie_apart() -> None:
    """Out of a backlog the same answers come as came one by one."""
    together, apart = User(), User()
    for i in range(6):
        for user in (together, apart):
            user.upload(f"c{i}", "bad", T0 + i * 5 * SECOND)
        apart.tick()
    together.tick()
    assert [len(batch) for batch in together.brain.batches] == [1] * 6
    assert [d.features for d in together.decisions] == [d.features for d in apart.decisions]


def test_what_people_say_acts_on_the_next_upload() -> None:
    user = User()
    user.upload("c0")
    user.tick()
    user.take(word(reason="fraud", by="anna"), T0, TOPICS.user_events)
    user.tick()
    user.upload("c1", at_ms=T0 + 3 * SECOND)
    user.tick()
    seen = user.brain.seen["c1"]
    assert (seen.label_names, seen.restriction.measure) == (("suspended",), "remove")
    told_user, told = user.brain.told[-1]
    assert (told_user, told.labels[0].by, told.restriction) == ("u1", "anna", seen.restriction)
    lifted = word(at_ms=T0 + 4 * SECOND, expires_at=word_time(T0 + 4 * SECOND))
    user.take(lifted, T0 + 4 * SECOND, TOPICS.user_events)
    user.upload("c2", at_ms=T0 + 9 * SECOND)
    user.tick()
    assert user.brain.seen["c2"].restriction is None


def word_time(at_ms: int) -> str:
    return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).isoformat()


def test_an_appeal_gives_back_what_its_decision_took() -> None:
    user = User()
    user.upload("c1", "bad")
    user.tick()
    raw = appeal(content_id="c1", user_id="u1")[1]
    user.take(raw, T0 + 60 * SECOND, TOPICS.appeals)
    user.tick()
    user.upload("c2", at_ms=T0 + DAY)
    user.tick()
    assert user.brain.seen["c2"].violations == 0
    assert user.brain.seen["c2"].reputation == pytest.approx(55, abs=0.2)


@pytest.mark.parametrize(
    ("topic", "raw", "kind", "field"),
    [
        (TOPICS.user_events, b"{", "not_json", "$"),
        (TOPICS.user_events, word(name="No Name"), "invalid_field", "$.name"),
        (TOPICS.user_events, word(user_id="u2"), "key_mismatch", "$.user_id"),
        (TOPICS.appeals, b"{}", "missing_field", "$.appeal_id"),
    ],
)
def test_a_word_that_cannot_be_read_is_a_dead_letter(
    topic: str, raw: bytes, kind: str, field: str
) -> None:
    user = User()
    user.take(raw, T0, topic)
    (record,) = user.out
    found = json.loads(record.value)
    assert record.topic == TOPICS.dead_letters
    assert (found["error_kind"], found["field"]) == (kind, field)
    assert user.kept == 0


def test_an_erased_user_leaves_nothing_and_old_uploads_bring_nothing_back() -> None:
    user = User()
    user.upload("c1", "bad")
    user.tick()
    assert user.kept > 50
    until = T0 + 60 * SECOND
    user.take(word("erase", until), until, TOPICS.user_events)
    user.tick()
    assert user.kept == 0
    # The stream is read again from its beginning: decided, and forgotten.
    user.brain.erased["u1"] = until
    user.upload("c1", "bad")
    user.tick()
    assert user.kept == 0
    assert next(d.moderation_id for d in user.decisions) == user.decisions[-1].moderation_id
    user.take(word(at_ms=T0), until, TOPICS.user_events)
    user.tick()
    assert user.kept == 0
    user.upload("c9", at_ms=until + DAY)
    user.tick()
    assert user.brain.seen["c9"].known is False
    assert user.kept > 0


def test_an_erasure_of_one_content_is_for_other_jobs() -> None:
    user = User()
    user.upload("c1", "bad")
    user.tick()
    kept = user.kept
    event = word("erase", T0 + 60 * SECOND, content_id="c1")
    user.take(event, T0 + 60 * SECOND, TOPICS.user_events)
    user.tick()
    assert user.kept == kept


def test_an_erasure_while_an_upload_waits_loses_no_answer() -> None:
    user = User()
    user.upload("c1", "bad")
    user.take(word("erase", T0 + SECOND), T0 + SECOND, TOPICS.user_events)
    user.restart()
    user.brain.erased["u1"] = T0 + SECOND
    user.tick()
    assert [d.content_id for d in user.decisions] == ["c1"]
    assert user.kept == 0


def test_the_erasure_that_a_control_message_carries() -> None:
    base = load_settings("dev")
    files = base.cascade.model_copy(update={"fast_text": None, "deep_text": None})
    redis = base.redis.model_copy(update={"enabled": False})
    live = compose_cascade(base.model_copy(update={"cascade": files, "redis": redis}))
    before = live.applied()

    def message(text: str) -> ControlMessage:
        when = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
        return ControlMessage(kind="erase", name=user_sha256("u1"), text=text, published_at=when)

    with pytest.raises(ConfigError, match="until"):
        live.apply(message("until: soon"))
    live.apply(message("until: 2026-01-01T00:00:00Z"))
    assert live.erased_until_ms("u1") == T0
    assert live.erased_until_ms("u2") == 0
    assert live.applied() == before
    live.withdraw(message("").key)
    assert live.erased_until_ms("u1") == 0


steps = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.integers(0, 4000),
        st.sampled_from(["", "tick", "crash"]),
    ),
    max_size=14,
)


# The same content twice within a second, as the first of a batch and with a later broker time.
@example([(0, 0, ""), (0, 0, ""), (0, 0, ""), (1, 1, ""), (1, 999, "")], 3)
@settings(max_examples=150, deadline=None)
@given(steps, st.integers(1, 4))
def test_however_it_is_cut_into_batches_and_crashes_the_answers_are_the_same(
    history: list[tuple[int, int, str]], max_batch: int
) -> None:
    smooth, rough = User(), User(max_batch)
    now = T0
    for number, gap, then in history:
        now += gap
        for user in (smooth, rough):
            user.upload(f"c{number}", "bad" if number % 3 else "good", now)
        smooth.tick()
        if then == "tick":
            rough.tick()
        elif then == "crash":
            rough.restart()
    rough.restart()
    rough.tick()
    assert smooth.state.stored == rough.state.stored
    by_id: dict[str, set[bytes]] = {}
    for each in smooth.decisions + rough.decisions:
        fixed = {n: getattr(each, n) for n in each.__struct_fields__ if n not in VOLATILE_FIELDS}
        by_id.setdefault(each.moderation_id, set()).add(msgspec.json.encode(fixed))
    assert all(len(answers) == 1 for answers in by_id.values())


def test_the_row_rebuilt_from_the_topics_is_the_row_that_readers_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The job's own cascade and records; offline from decisions, audits and words, bit for bit."""
    base = load_settings("dev")
    redis = base.redis.model_copy(update={"enabled": False})
    told: dict[str, UserRow] = {}
    live = compose_cascade(base.model_copy(update={"redis": redis}))
    monkeypatch.setattr(live, "remember_user", told.__setitem__)  # where Redis would be
    metrics = Metrics()
    logic = ModerationLogic(
        live,
        TOPICS,
        velocity=VelocityConfig(),
        max_batch=100,
        now_ms=lambda: NOW_MS,
        metrics=metrics,
        trust=CONFIG,
    )
    state = Memory()
    out: list[Record] = []
    given_label = word(name="watched", by="anna", at_ms=T0 + 90 * SECOND)
    texts = ["a nice day", "you are a worthless idiot, i will find you and kill you", "hello"]
    for i, text in enumerate([*texts, texts[1]]):
        at_ms = T0 + i * 30 * SECOND
        account = {"created_at": "2025-06-01T00:00:00Z", "verified": True}
        raw = payload(f"c{i}", text=text, account=account)
        out += logic.on_record("u1", Arrived(raw, TOPICS.content_text, 0, i, at_ms, SINGLE), state)
        for records in logic.on_tick("u1", state):
            out += records
    event = Arrived(given_label, TOPICS.user_events, 0, 9, T0 + 90 * SECOND, SINGLE)
    out += logic.on_record("u1", event, state)
    logic.on_tick("u1", state)

    audits = {
        audit.moderation_id: audit
        for record in out
        if record.topic == TOPICS.audit
        for audit in [msgspec.json.decode(record.value, type=Audit)]
    }
    events: list[TrustEvent] = []
    for record in out:
        if record.topic == TOPICS.decisions:
            decision = msgspec.json.decode(record.value, type=Decision)
            audit = audits[decision.moderation_id]
            account_of = decode_upload(bytes(audit.upload)).account
            made = of_decision(decision, account_of, audit.broker_timestamp)
            assert made is not None
            events += [made, *labels_of(decision, audit.broker_timestamp, CONFIG)]
    said = decode_user_event(given_label)
    events.append(labelled(said))  # type: ignore[arg-type]  # it is a label
    rebuilt, trust = None, TrustState()
    for each in events:
        after = apply(trust, each, CONFIG)
        if worth_telling(trust, after):
            rebuilt = row(after, each.at_ms, CONFIG)
        trust = after
    assert rebuilt is not None
    assert msgspec.json.encode(told["u1"]) == msgspec.json.encode(rebuilt)
    assert rebuilt.violations >= 1
    assert rebuilt.labels[0].name == "watched"
