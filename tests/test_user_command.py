"""`scripts/user` against a real Redis: people's labels beside the job's row."""

from __future__ import annotations

import json
import time

import pytest
import redis

from operators.redis_store import RedisLookups
from operators.user_store import DamagedRowError, UserStore
from schemas.errors import DependencyUnavailableError, SluiceError
from schemas.settings import ROOT, RedisSettings
from schemas.trust import Decided, Labelled, TrustEvent, load_trust
from scripts.cli import user
from scripts.cli.local_stack import Stack
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
        UserStore(RedisSettings(url="redis://127.0.0.1:1/0")).labels("u1")


@pytest.fixture
def store(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> UserStore:
    monkeypatch.setenv("SLUICE_REDIS__URL", stack.redis_url)
    redis.Redis.from_url(stack.redis_url).flushdb()
    return UserStore(RedisSettings(url=stack.redis_url))


def run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as caught:
        user.main(list(arguments))
    assert not caught.value.code, caught.value.code


def shown(capsys: pytest.CaptureFixture[str], user_id: str) -> dict[str, object]:
    capsys.readouterr()
    run("show", user_id, "--json")
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.stack
def test_a_persons_label_lives_beside_the_jobs_row(
    store: UserStore, capsys: pytest.CaptureFixture[str]
) -> None:
    history: list[TrustEvent] = [
        *(Decided(content_id=f"c{i}", at_ms=NOW - DAY, severity="moderate") for i in range(3)),
        Labelled(name="spammer", source="rule", by="links", at_ms=NOW - DAY),
    ]
    state = replay(history, CONFIG)
    store.put_row("u1", row(state, NOW, CONFIG))
    # What the cascade reads of that row is what the job knew.
    lookups = RedisLookups(RedisSettings(url=store._url, timeout_ms=1000))
    assert lookups.fetch([], ["u1"], []).users == {"u1": features(state, NOW, CONFIG)}
    before = shown(capsys, "u1")
    assert before["restriction"] == {"measure": "review", "reason": "Three strikes within 90 days."}
    run("label", "u1", "suspended", "--reason", "fraud", "--for", "7d", "--by", "anna")
    run("label", "u1", "spammer", "--reason", "wrongly", "--deny")
    after = shown(capsys, "u1")
    assert after["restriction"] == {"measure": "remove", "reason": "This account is suspended."}
    labels = after["labels"]
    assert isinstance(labels, list)
    assert [(each["name"], each["by"]) for each in labels] == [("suspended", "anna")]
    assert 6.9 * DAY < labels[0]["expires_ms"] - NOW < 7.1 * DAY
    run("show", "u1")
    text = capsys.readouterr().out
    assert "restriction   remove: This account is suspended." in text
    assert "denied        spammer" in text
    assert text.count("\nstrike ") == 3
    run("clear", "u1", "spammer")
    run("clear", "u1")
    assert shown(capsys, "u1") == before


@pytest.mark.stack
def test_mistakes_are_sentences(store: UserStore, stack: Stack) -> None:
    for arguments, sentence in (
        (["label", "u1", "Not a name", "--reason", "x"], "user: $.name"),
        (["label", "u1", "watched", "--reason", "x", "--for", "soon"], "user: --for soon"),
        (["clear", "u1", "watched"], "user: nobody gave u1 any of watched"),
    ):
        with pytest.raises(SystemExit) as caught:
            user.main(arguments)
        assert str(caught.value.code).startswith(sentence)
    client = redis.Redis.from_url(stack.redis_url)
    client.set("user:u2", b"{")
    client.hset("labels:u2", "x", "[]")
    with pytest.raises(DamagedRowError, match="user:u2 cannot be read"):
        store.row("u2")
    with pytest.raises(DamagedRowError, match="labels:u2 cannot be read"):
        store.labels("u2")


@pytest.mark.stack
def test_an_unknown_user_is_shown_with_the_defaults(
    store: UserStore, capsys: pytest.CaptureFixture[str]
) -> None:
    run("show", "nobody [red]")
    text = capsys.readouterr().out
    assert text.startswith("nobody [red] (not known")
    assert "reputation    50 of 100" in text
    assert shown(capsys, "nobody")["row"] is None
