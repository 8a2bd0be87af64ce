"""Surroundings through the whole cascade: a heated thread changes a decision, always the same."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from operators.compose import LiveCascade
from operators.metrics import Metrics
from operators.moderation_logic import ModerationLogic
from operators.redis_store import NoLookups, RedisLookups
from operators.user_state import Arrived
from operators.velocity import VelocityConfig
from schemas.decision import VOLATILE_FIELDS, Decision
from schemas.features import SINGLE, Velocity
from schemas.settings import ROOT, load_settings
from schemas.topics import topics
from scripts.cli.local_stack import Stack
from tests.context_kit import SETTINGS, Surroundings
from tests.fakes import Memory, payload
from tests.policy_kit import changed_policy, document, fusion, rule, signals
from udfs.banks import ExactBanks
from udfs.cascade import Cascade
from udfs.context import marks_of
from udfs.contracts import FloatMatrix, Item, Lookups, MediaCase, Signals, Verdict
from udfs.decision_cache import LocalCache
from udfs.policy import Policy
from udfs.rules import RuleSet
from udfs.stages import Work

FILES = load_settings("dev").cascade
HEATED = {
    "id": "heated_thread",
    "description": "it may be hostile, in a heated thread",
    "when": {
        "all": [
            {"field": "context.thread_heat", "op": "ge", "value": 2},
            {"field": "score.toxicity", "op": "ge", "value": 0.1},
        ]
    },
    "category": "toxicity",
    "severity": "mild",
    "action": "review",
    "probability": 0.5,
}


class Scorer:
    """Gives each text the toxicity that it names."""

    name, version, categories = "fast_text", "1", ("toxicity", "spam")

    def score(self, texts: Sequence[str]) -> FloatMatrix:
        return np.array([[float(text.split()[-1]), 0.01] for text in texts], np.float32)

    def explain(self, text: str, category: str, limit: int = 5) -> list[tuple[int, int, float]]:
        return []


def policy() -> Policy:
    return changed_policy(
        ("conditions", [*document()["conditions"], HEATED]), ("review.sampling.rate", 0.0)
    )


def cascade(store: Lookups) -> Cascade:
    return Cascade(
        policy=policy(),
        rules=RuleSet.load(ROOT / FILES.rules),
        banks=ExactBanks.load(ROOT / FILES.banks),
        fusion=fusion(),
        fast_text=Scorer(),
        store=store,
        cache=LocalCache(100),
    )


class Place(Surroundings):
    """A thread that people write to."""

    def items(self, brain: Cascade, *posts: tuple[str, float], thread: str = "") -> list[Item]:
        """Uploads that come now: name and toxicity of each."""
        return [
            brain.prepare(
                payload(
                    self.name(name),
                    f"user of {name}",
                    text=f"so it is {toxicity}",
                    thread_id=thread or self.thread,
                    community_id=self.community,
                    parent_content_id=self.name("root"),
                ),
                self.now_ms,
            )
            for name, toxicity in posts
        ]

    def decide(self, brain: Cascade, items: Sequence[Item]) -> list[Decision]:
        self.now_ms += 50
        outcomes = brain.moderate(items, self.now_ms)
        brain.flush()
        return [outcome.decision for outcome in outcomes]


def lasting(decision: Decision) -> dict[str, object]:
    return {k: v for k, v in msgspec.structs.asdict(decision).items() if k not in VOLATILE_FIELDS}


@pytest.mark.stack
def test_a_heated_thread_changes_a_decision_and_a_redelivery_gets_the_same(stack: Stack) -> None:
    place = Place(stack.redis_url)
    brain = cascade(place.process())
    before = place.decide(brain, place.items(brain, ("root", 0.7), ("early", 0.12)))
    assert [decision.action for decision in before][1] == "allow"
    place.now_ms += 10_000
    first = place.items(brain, *((f"angry {n}", 0.9) for n in range(4)))
    angry = place.decide(brain, first)
    assert angry[0].features["thread_heat"] > 0.6  # of the root
    # Who writes at the same time knows nothing of it yet.
    assert place.decide(brain, place.items(brain, ("meanwhile", 0.12)))[0].action == "allow"
    place.now_ms += SETTINGS.settle_ms + 1_000
    items = place.items(brain, ("borderline", 0.12), ("calm", 0.02))
    elsewhere = place.items(brain, ("outside", 0.12), thread=f"{place.thread} of others")
    borderline, calm, outside = place.decide(brain, [*items, *elsewhere])
    assert (borderline.action, calm.action, outside.action) == ("review", "allow", "allow")
    assert "it may be hostile, in a heated thread" in borderline.reason
    assert borderline.features["thread_posts"] == 6
    assert borderline.features["thread_heat"] > 3
    assert borderline.features["parent_toxicity"] == 0.7
    # Much is written before the job is killed, and all of that is delivered again.
    place.now_ms += 30_000
    place.decide(brain, place.items(brain, *((f"more {n}", 0.95) for n in range(8))))
    place.process().fetch([], ["flushed"], [])
    again = cascade(place.process())
    place.now_ms += 10_000
    kept = place.dump()
    redelivered = place.decide(again, [*first, *items, *elsewhere])
    assert [*map(lasting, redelivered)] == [
        *map(lasting, [*angry, borderline, calm, outside]),
    ]
    again._store.fetch([], ["flushed"], [])
    assert place.dump() == kept


@pytest.mark.stack
def test_a_content_that_was_counted_before_is_not_told_of_itself(stack: Stack) -> None:
    place = Place(stack.redis_url)
    brain = cascade(place.process())
    place.decide(brain, place.items(brain, ("root", 0.7), ("loud", 0.9)))
    place.now_ms += 10_000
    items = [
        item.with_velocity(Velocity(duplicate=True)) for item in place.items(brain, ("loud", 0.9))
    ]
    assert place.decide(brain, items)[0].features["thread_posts"] == 1


@pytest.mark.stack
def test_what_is_sent_twice_is_told_what_it_was_told_at_first(stack: Stack) -> None:
    place = Place(stack.redis_url)
    brain = cascade(place.process())
    place.decide(brain, place.items(brain, ("root", 0.7), ("angry", 0.9)))
    place.now_ms += 10_000
    logic = ModerationLogic(
        LiveCascade(brain),
        topics(),
        velocity=VelocityConfig(),
        max_batch=100,
        now_ms=lambda: float(place.now_ms),
        metrics=Metrics(),
    )
    state = Memory()
    (item,) = place.items(brain, ("again", 0.12))

    def sent(raw: bytes) -> Decision:
        key = item.upload.user_id
        logic.on_record(key, Arrived(raw, topics().content_text, 0, 0, place.now_ms, SINGLE), state)
        place.now_ms += 50
        ((first, *_),) = logic.on_tick(key, state)
        return msgspec.json.decode(first.value, type=Decision)

    first = sent(item.raw)
    assert first.features["thread_posts"] == 2
    place.now_ms += 20_000
    place.decide(brain, place.items(brain, *((f"more {n}", 0.95) for n in range(4))))
    place.now_ms += 20_000
    assert lasting(sent(item.raw)) == lasting(first)
    # An edit of it is another matter.
    place.now_ms += 5_000
    edit = sent(item.raw.replace(b'"text":', b'"revision": 1, "text":'))
    assert edit.features["thread_posts"] == 7
    assert edit.action == "review"


@pytest.mark.stack
def test_without_redis_surroundings_are_calm_and_decisions_say_so(stack: Stack) -> None:
    place = Place(stack.redis_url)
    brain = cascade(place.process())
    place.decide(brain, place.items(brain, *((f"angry {n}", 0.9) for n in range(4))))
    place.now_ms += 5_000
    redis_settings = load_settings("dev").redis
    away = cascade(RedisLookups(redis_settings.model_copy(update={"url": "redis://127.0.0.1:1/0"})))
    (found,) = place.decide(away, place.items(away, ("borderline", 0.12)))
    assert found.degraded == ["redis"]
    assert "thread_heat" not in found.features


def test_what_is_not_decided_for_good_says_nothing_about_its_surroundings() -> None:
    place = Surroundings("redis://127.0.0.1:1/0")
    brain = cascade(NoLookups())
    raw = payload("c", text="so it is 0.9", thread_id="t", community_id="g")
    item = brain.prepare(raw, place.now_ms)
    verdict = policy().decide(signals(scores={"toxicity": 0.9}), {"toxicity": 0.9})

    def said(item: Item, verdict: Verdict = verdict) -> list[tuple[str, str, str, int]]:
        judged: list[tuple[Signals, dict[str, float], Verdict]] = [
            (signals(scores={"toxicity": 0.9}), {}, verdict)
        ]
        return [
            (m.content_id, m.community_id, m.thread_id, m.toxicity)
            for m in marks_of([Work(item)], judged)
        ]

    assert said(item) == [("c", "g", "t", 900)]
    assert said(item, msgspec.structs.replace(verdict, interim=True)) == []
    overdue = msgspec.structs.replace(item, case=MediaCase(1, place.now_ms))
    assert said(overdue) == []


def test_what_a_rule_rejects_is_hostile_though_no_model_looked() -> None:
    found = signals(scores={}, rules=(rule("threat"),))
    verdict = policy().decide(found, {})
    assert verdict.decided_by == "rule"
    item = cascade(NoLookups()).prepare(payload("c", parent_content_id="p"), 0)
    (mark,) = marks_of([Work(item)], [(found, {}, verdict)])
    assert mark.toxicity == round(verdict.probability * 1000) > 500
    # Answers in no named thread are a thread under their parent.
    assert mark.thread_id == "p"
