"""`scripts/context`, the documented condition, and what an erased user leaves."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from operators.context_store import ContextStore
from operators.user_erasure import erase_user_keys
from schemas.errors import DependencyUnavailableError
from schemas.settings import ROOT, ContextSettings, RedisSettings
from scripts.cli import context
from scripts.cli.local_stack import Stack
from tests.context_kit import Surroundings
from tests.policy_kit import changed_policy, document


@pytest.fixture
def around(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Surroundings:
    """Filled at the server's own time, for the command tells that."""
    monkeypatch.setenv("SLUICE_REDIS__URL", stack.redis_url)
    found = Surroundings(stack.redis_url)
    seconds, _ = found.client.time()  # type: ignore[misc]  # the client's types cover its asyncio twin
    now_ms = int(seconds) * 1000
    found.now_ms = now_ms - 3 * 3_600_000
    found.write(*(found.mark(n, 0.9 if n < 15 else 0.1, thread=False) for n in range(60)))
    found.now_ms = now_ms - 10_000
    found.write(found.mark("root", 0.7), found.mark("calm"))
    found.now_ms += 1000
    found.write(found.mark("root", 0.5, revision=1, thread=False))
    return found


def run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as caught:
        context.main(list(arguments))
    assert caught.value.code == 0


@pytest.mark.stack
def test_it_shows_what_an_upload_would_be_told(
    around: Surroundings, capsys: pytest.CaptureFixture[str]
) -> None:
    def shown(*arguments: str) -> dict[str, Any]:
        run("show", *arguments, "--json")
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    thread = shown("thread", around.thread)
    assert thread["context"]["thread_posts"] == 2
    assert 0.6 < thread["context"]["thread_heat"] < 0.7
    (kept,) = thread["kept"]
    assert (kept["key"], kept["entries"]) == (f"thread:{around.thread}", 2)
    assert kept["bytes"] > 0 < kept["expires_s"]
    community = shown("community", around.community)
    assert community["context"]["community_baseline"] == 0.25
    assert [(b["uploads"], b["hostile"]) for b in community["buckets"]] == [(60, 15)]
    content = shown("content", around.name("root"))
    assert content["context"]["parent_toxicity"] == 0.5
    assert [(s["toxicity"], s["revision"]) for s in content["said"]] == [(0.7, 0), (0.5, 1)]
    for kind, ident, words in (
        ("thread", around.thread, r"heat +0\.6\d+\nposts +2\nkept +thread:"),
        (
            "community",
            around.community,
            r"baseline +25\.0% hostile\nuploads +60\nbucket .* 15 host",
        ),
        ("content", around.name("root"), r"toxicity +0\.5\nsaid .*\nsaid .*UTC, edit 1\nkept"),
        ("thread", "nobody's [red]", r"nobody's \[red\] \(nothing is kept\)\nheat +0\nposts +0"),
        ("community", "nobody's", r"baseline +not known, too few uploads"),
        ("content", "nobody's", r"toxicity +low, or not known"),
    ):
        run("show", kind, ident)
        assert re.search(words, capsys.readouterr().out), (kind, ident)


def test_without_redis_the_command_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_REDIS__URL", "redis://127.0.0.1:1/0")
    with pytest.raises(SystemExit) as caught:
        context.main(["show", "thread", "t1"])
    assert str(caught.value.code).startswith("context: redis unavailable: no answer from redis://")
    store = ContextStore(RedisSettings(url="redis://127.0.0.1:1/0"), ContextSettings())
    with pytest.raises(DependencyUnavailableError):
        store.community("g")


@pytest.mark.stack
def test_answers_to_an_erased_users_contents_are_told_nothing(
    around: Surroundings, stack: Stack
) -> None:
    contents = [around.name("root"), around.name("calm")]
    gone = erase_user_keys(RedisSettings(url=stack.redis_url), "u1", contents)
    assert gone["context"] == 1
    around.now_ms += 10_000
    assert around.read(parent="root").parent_toxicity is None
    # What is left names neither the user nor a content.
    kept = repr(around.dump())
    assert f"thread:{around.thread}" in kept
    assert not any(content in kept for content in contents)


def test_the_documented_condition_is_one() -> None:
    text = (ROOT / "docs/CONTEXT.md").read_text("utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (condition,) = yaml.safe_load(block)["conditions"]
    policy = changed_policy(("conditions", [*document()["conditions"], condition]))
    assert policy.document.conditions[-1].id == "heated_thread"
