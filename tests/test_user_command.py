"""`scripts/user` against a real broker and a real Redis."""

from __future__ import annotations

import json
import threading
import time
from typing import Any, Self

import pytest
import redis

from operators.metrics import Metrics
from operators.moderation_logic import ModerationLogic
from operators.redis_store import RedisLookups
from operators.user_state import Arrived
from operators.user_store import DamagedRowError, UserStore
from operators.velocity import VelocityConfig
from schemas.errors import DependencyUnavailableError, SluiceError
from schemas.features import SINGLE
from schemas.settings import ROOT, RedisSettings, Settings
from schemas.trust import Decided, Labelled, TrustEvent, load_trust
from scripts.cli import user
from scripts.cli.consume import open_consumer, poll
from scripts.cli.processes import wait_until
from tests.fakes import FakeBrain, Memory
from udfs.trust import features, replay, row

CONFIG = load_trust(ROOT / "conf/trust.yaml")
NOW = int(time.time() * 1000)
DAY = 86_400_000


def test_durations() -> None:
    assert user.duration_ms("90m") == 5_400_000
    assert user.duration_ms("1.5d") == 129_600_000
    assert user.duration_ms("2w") == 14 * DAY
    for wrong in ("", "7", "d", "7 d", "-1d", "1y"):
        with pytest.raises(SluiceError, match="as 7d"):
            user.duration_ms(wrong)


def test_without_redis_the_command_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLUICE_REDIS__URL", "redis://127.0.0.1:1/0")
    with pytest.raises(SystemExit) as caught:
        user.main(["show", "u1"])
    assert str(caught.value.code).startswith("user: redis unavailable: no answer from redis://")
    with pytest.raises(DependencyUnavailableError):
        UserStore(RedisSettings(url="redis://127.0.0.1:1/0")).row("u1")


class JobInAThread:
    """The moderation job's logic, on a real topic and a real Redis."""

    def __init__(self, settings: Settings, store: UserStore) -> None:
        self._settings = settings
        self._ended = threading.Event()
        self._states: dict[str, Memory] = {}
        brain = FakeBrain()
        self._brain = brain
        self._store = store
        self.logic = ModerationLogic(
            brain,
            settings.topics,
            velocity=VelocityConfig(),
            max_batch=100,
            now_ms=lambda: time.time() * 1000,
            metrics=Metrics(),
            trust=CONFIG,
        )
        self._thread = threading.Thread(target=self._run)

    def take(self, user_id: str, topic: str, raw: bytes) -> None:
        state = self._states.setdefault(user_id, Memory())
        arrived = Arrived(raw, topic, 0, 0, int(time.time() * 1000), SINGLE)
        assert self.logic.on_record(user_id, arrived, state) == ()
        self.logic.on_tick(user_id, state)
        for told, found in self._brain.told:
            self._store.put_row(told, found)
        self._brain.told.clear()

    def __enter__(self) -> Self:
        self._consumer = open_consumer(
            self._settings, [self._settings.topics.user_events], from_beginning=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            for record in poll(self._consumer, 50):
                self.take((record.key or b"").decode(), record.topic, record.value)


@pytest.fixture
def store(stack_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> UserStore:
    monkeypatch.setenv("SLUICE_REDIS__URL", stack_settings.redis.url)
    monkeypatch.setenv("SLUICE_KAFKA__BOOTSTRAP", stack_settings.kafka.bootstrap)
    monkeypatch.setenv("SLUICE_KAFKA__TOPIC_PREFIX", stack_settings.kafka.topic_prefix)
    redis.Redis.from_url(stack_settings.redis.url).flushdb()
    return UserStore(stack_settings.redis)


def run(*arguments: str, status: int = 0) -> None:
    with pytest.raises(SystemExit) as caught:
        user.main(list(arguments))
    assert (caught.value.code or 0) == status, caught.value.code


def shown(capsys: pytest.CaptureFixture[str], user_id: str) -> dict[str, Any]:
    capsys.readouterr()
    run("show", user_id, "--json")
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.stack
def test_a_persons_word_reaches_the_job_and_comes_back(
    store: UserStore, stack_settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with JobInAThread(stack_settings, store):
        run("label", "u1", "suspended", "--reason", "fraud", "--for", "7d", "--by", "anna")
        run("label", "u1", "spammer", "--reason", "wrongly", "--deny")
        found = shown(capsys, "u1")
        assert found["restriction"] == {
            "measure": "remove",
            "reason": "This account is suspended.",
        }
        labels = found["labels"]
        assert [(each["name"], each["by"]) for each in labels] == [("suspended", "anna")]
        assert 6.9 * DAY < labels[0]["expires_ms"] - NOW < 7.1 * DAY
        run("show", "u1")
        text = capsys.readouterr().out
        assert "restriction   remove: This account is suspended." in text
        assert "denied        spammer" in text
        run("clear", "u1", "spammer")
        run("clear", "u1")
        after = shown(capsys, "u1")
        assert (after["labels"], after["restriction"]) == ([], None)
        run("show", "u1")
        assert "denied" not in capsys.readouterr().out
    # Nobody reads it: said, but not taken.
    run("label", "u1", "watched", "--reason", "x", "--wait", "0.2", status=3)
    assert "it has not within 0.2 s" in capsys.readouterr().err
    run("label", "u1", "watched", "--reason", "x", "--wait", "0")


@pytest.mark.stack
def test_what_the_job_wrote_is_shown(store: UserStore, capsys: pytest.CaptureFixture[str]) -> None:
    history: list[TrustEvent] = [
        *(Decided(content_id=f"c{i}", at_ms=NOW - i * DAY, severity="moderate") for i in range(3)),
        Labelled(name="spammer", source="rule", by="links", at_ms=NOW - DAY),
    ]
    state = replay(history, CONFIG)
    store.put_row("u1", row(state, NOW, CONFIG))
    # Without state of its own the cascade reads of that row what the job knew.
    lookups = RedisLookups(RedisSettings(url=store._url, timeout_ms=1000))
    assert lookups.fetch([], ["u1"], []).users == {"u1": features(state, NOW, CONFIG)}
    assert shown(capsys, "u1")["restriction"]["reason"] == "Three strikes within 90 days."
    run("show", "u1")
    assert capsys.readouterr().out.count("\nstrike ") == 3


@pytest.mark.stack
def test_readers_have_a_row_although_no_upload_comes(store: UserStore) -> None:
    """They are written with the decision, not with the next one, which may be hours away."""
    lookups = RedisLookups(RedisSettings(url=store._url, timeout_ms=1000))
    found = row(replay([Decided(content_id="c1", at_ms=NOW)], CONFIG), NOW, CONFIG)
    lookups.remember_user("u9", found)
    assert store.row("u9") is None
    lookups.flush()
    assert wait_until(lambda: store.row("u9") == found, timeout_s=5)


@pytest.mark.stack
def test_mistakes_are_sentences(store: UserStore) -> None:
    for arguments, sentence in (
        (["label", "u1", "Not a name", "--reason", "x"], "user: $.name"),
        (["label", "u1", "watched", "--reason", "x", "--for", "soon"], "user: --for soon"),
        (["clear", "u1", "watched"], "user: nobody gave u1 any of watched"),
    ):
        with pytest.raises(SystemExit) as caught:
            user.main(arguments)
        assert str(caught.value.code).startswith(sentence)
    redis.Redis.from_url(store._url).set("user:u2", b"{")
    with pytest.raises(DamagedRowError, match="user:u2 cannot be read"):
        store.row("u2")


@pytest.mark.stack
def test_an_unknown_user_is_shown_with_the_defaults(
    store: UserStore, capsys: pytest.CaptureFixture[str]
) -> None:
    run("show", "nobody [red]")
    text = capsys.readouterr().out
    assert text.startswith("nobody [red] (not known")
    assert "reputation    50 of 100" in text
    assert shown(capsys, "nobody")["row"] is None
