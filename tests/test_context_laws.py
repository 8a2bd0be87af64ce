"""Laws of what is known about surroundings: duplicates, order, bounds, replays."""

from __future__ import annotations

import math
from collections import defaultdict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.context_script import CALM, HOT, SLOT_MS
from schemas.categories import TEXT_CATEGORIES
from schemas.features import ThreadContext
from schemas.settings import ContextSettings
from scripts.cli.local_stack import Stack
from tests.context_kit import Surroundings
from tests.policy_kit import changed_policy, scored, signals
from udfs.context import HOSTILE, toxicity_of
from udfs.contracts import Mark, Verdict
from udfs.policy_tables import strictness

SMALL = ContextSettings(
    window_s=60,
    half_life_s=20,
    replay_s=120,
    baseline_bucket_s=60,
    baseline_buckets=3,
    baseline_sample=8,
    baseline_min_uploads=2,
    late_s=30,
)
"""Everything happens within minutes."""
on_redis = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
posts = st.lists(
    st.tuples(st.integers(0, 25), st.integers(0, 1000), st.integers(0, 20_000)),
    min_size=1,
    max_size=40,
)
"""Content, toxicity in thousandths, and milliseconds since the one before."""


def marked(around: Surroundings, number: int, toxicity: int) -> Mark:
    return around.mark(number, toxicity / 1000)


@pytest.mark.stack
@on_redis
@given(posts, st.lists(st.integers(0, 400_000), min_size=1, max_size=5), st.data())
def test_a_replay_is_told_what_was_told_at_first(
    stack: Stack, written: list[tuple[int, int, int]], times: list[int], data: st.DataObject
) -> None:
    around = Surroundings(stack.redis_url, SMALL)
    start = around.now_ms
    process = around.process()
    told: dict[tuple[int, int], ThreadContext] = {}
    marks: list[Mark] = []
    readings = sorted(times)
    for number, toxicity, pause in written:
        until = around.now_ms + pause
        while readings and start + readings[0] < until:
            # An upload is read when it comes or, if the job is behind, somewhat later.
            around.now_ms = max(around.now_ms, start + readings.pop(0))
            told[around.now_ms, number] = around.read(parent=number, process=process)
        around.now_ms = until
        marks.append(marked(around, number, toxicity))
        around.write(marks[-1], process=process)
    # The job was killed: everything is delivered again, to a process that knows nothing.
    again = around.process()
    for mark in data.draw(st.permutations(marks)) if len(marks) < 6 else marks:
        around.write(mark, process=again)
    recent = around.now_ms - SMALL.replay_s * 1000
    for (at_ms, parent), before in told.items():
        if at_ms >= recent:
            assert around.read(at_ms, parent=parent, process=again) == before


@pytest.mark.stack
@on_redis
@given(posts)
def test_heat_and_posts_are_those_of_a_plain_recount(
    stack: Stack, written: list[tuple[int, int, int]]
) -> None:
    around = Surroundings(stack.redis_url, SMALL)
    slots: dict[int, int] = defaultdict(int)
    kept: dict[int, tuple[int, int]] = {}
    for number, toxicity, pause in written:
        around.now_ms += pause
        around.write(marked(around, number, toxicity))
        slot = around.now_ms // SLOT_MS
        if number not in kept and slots[slot] < (HOT if toxicity >= 500 else CALM):
            kept[number] = (around.now_ms, toxicity)
            slots[slot] += 1
    at_ms = around.now_ms + SMALL.settle_ms
    as_of = around.now_ms - around.now_ms % 1000
    inside = [(as_of - ms, t) for ms, t in kept.values() if as_of - 60_000 < ms <= as_of]
    found = around.read(at_ms)
    assert found.thread_posts == len(inside)
    heat = math.fsum(t / 1000 * 2 ** (-age / 20_000) for age, t in inside if t >= 500)
    assert found.thread_heat == pytest.approx(heat, abs=1e-3)


@pytest.mark.stack
@on_redis
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 1000)), max_size=60), st.data())
def test_a_communitys_sample_knows_no_order_and_no_duplicates(
    stack: Stack, written: list[tuple[int, int]], data: st.DataObject
) -> None:
    toxicity = dict(written)
    samples = []
    first = Surroundings(stack.redis_url, SMALL)
    for order in (list(toxicity), data.draw(st.permutations([*toxicity, *toxicity]))):
        around = Surroundings(stack.redis_url, SMALL)
        around._content = first._content
        around.write(*(around.mark(n, toxicity[n] / 1000, thread=False) for n in order))
        samples.append([kept for key, kept in around.dump().items() if key.startswith(b"sample:")])
        assert all(len(kept) <= SMALL.baseline_sample for kept in samples[-1] if kept)  # type: ignore[arg-type]  # a sorted set comes as a list
    assert samples[0] == samples[1]
    around.now_ms += 2 * 60_000 + SMALL.late_s * 1000 + SMALL.settle_ms
    found = around.read()
    if 2 <= len(toxicity) < SMALL.baseline_sample:
        hostile = sum(t >= 500 for t in toxicity.values())
        assert found.community_uploads == len(toxicity)
        assert found.community_baseline == pytest.approx(hostile / len(toxicity), abs=1e-4)


unit = st.floats(0, 1)
verdicts = st.builds(
    Verdict,
    status=st.sampled_from(["approved", "rejected", "pending_review"]),
    action=st.just("remove"),
    category=st.sampled_from([*TEXT_CATEGORIES, "harassment", ""]),
    severity=st.just("severe"),
    severity_score=unit,
    probability=unit,
    confidence=unit,
    reason=st.just("A reason."),
    approve_below=unit,
    reject_above=unit,
    decided_by=st.sampled_from(["scores", "bank", "rule", "condition", "default"]),
)


@given(st.dictionaries(st.sampled_from(TEXT_CATEGORIES), unit | st.just(math.nan)), verdicts)
def test_toxicity_is_what_the_models_say_or_a_rule_knows(
    scores: dict[str, float], verdict: Verdict
) -> None:
    found = toxicity_of(scores, verdict) / 1000
    known = [scores[c] for c in HOSTILE if c in scores and not math.isnan(scores[c])]
    at_least = max(known, default=0.0)
    certain = verdict.decided_by in {"rule", "bank"} and verdict.status == "rejected"
    if not certain or verdict.category not in {*HOSTILE, "harassment"}:
        # Neither conditions nor what the fusion made of surroundings: heat makes no heat.
        assert found == pytest.approx(at_least, abs=0.0006)
    else:
        assert found >= at_least - 0.0006


HEATED = changed_policy(
    (
        "conditions",
        [
            {
                "id": "heated_thread",
                "description": "it may be hostile, in a heated thread",
                "when": {
                    "all": [
                        {"field": "context.thread_heat", "op": "ge", "value": 2},
                        {"field": "score.toxicity", "op": "ge", "value": 0.1},
                        {"not": {"field": "context.parent_toxicity", "op": "lt", "value": 0.3}},
                    ]
                },
                "category": "toxicity",
                "severity": "mild",
                "action": "review",
                "probability": 0.5,
            }
        ],
    )
)
contexts = st.builds(
    ThreadContext,
    parent_toxicity=unit,
    thread_heat=st.floats(0, 50),
    community_baseline=unit,
)


@given(contexts, contexts, unit)
def test_hotter_surroundings_are_never_milder(
    first: ThreadContext, second: ThreadContext, toxicity: float
) -> None:
    hotter = ThreadContext(
        parent_toxicity=max(first.parent_toxicity or 0, second.parent_toxicity or 0),
        thread_heat=max(first.thread_heat, second.thread_heat),
        community_baseline=max(first.community_baseline or 0, second.community_baseline or 0),
    )
    fused = scored(toxicity=toxicity)
    before, after = (HEATED.decide(signals(context=c), fused) for c in (first, hotter))
    assert strictness(after.status, after.action) >= strictness(before.status, before.action)
