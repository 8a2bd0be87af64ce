"""The heavy tier in the cascade: what it is shown, what it changes, and what is shed."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import ClassVar

import msgspec
import numpy as np
import pytest

from schemas.features import UserFeatures
from schemas.settings import ROOT, load_settings
from schemas.trust import UserRow
from tests.fakes import NOW_MS, payload
from udfs.banks import ExactBanks
from udfs.cascade import Cascade, Remember
from udfs.contracts import Around, CachedAssessment, FloatMatrix, LookupResult, Mark, Outcome
from udfs.decision_cache import LocalCache
from udfs.fusion import LinearFusion
from udfs.language import Guess
from udfs.language_support import Guesser
from udfs.policy import Policy
from udfs.rules import RuleSet
from udfs.stage_deep import DeepLimits, ShedMemory
from udfs.stages import Work
from udfs.text_tiers import TextTiers

FILES = load_settings("dev").cascade


class Tier:
    """Gives each text the toxicity that it names (`p0.3`), and keeps what it was shown."""

    categories = ("toxicity", "spam")
    version = "1"

    def __init__(self, name: str, shift: float = 0.0, takes_ms: float = 0.0) -> None:
        self.name = name
        self.shift = shift
        self.takes_ms = takes_ms
        self.seen: list[str] = []
        self.spent_ms = 0.0

    def score(self, texts: Sequence[str]) -> FloatMatrix:
        self.seen += texts
        self.spent_ms += self.takes_ms * len(texts)
        if self.name == "deep_text" and any("boom" in text for text in texts):
            raise ZeroDivisionError
        rows = [[min(float(text.split()[1]) + self.shift, 1.0), 0.01] for text in texts]
        return np.array(rows, np.float32)

    def explain(self, text: str, category: str, limit: int = 5) -> list[tuple[int, int, float]]:
        return [(0, len(text.split(maxsplit=1)[0]), 1.0)]


class German(Tier):
    """Reads German alone, as its manifest says."""

    manifest = SimpleNamespace(languages=("de",))


class Wordy(Tier):
    """Has no token for a picture."""

    def reads(self, texts: Sequence[str]) -> list[bool]:
        return ["🐷" not in text for text in texts]


class Declared:
    """Takes for the language what is declared."""

    def guess(self, texts: Sequence[str], declared: Sequence[str | None]) -> list[Guess]:
        return [Guess(tag or "und", 0.99, ("Latn",)) for tag in declared]


class Store:
    """Remembers for the next cascade."""

    def __init__(self) -> None:
        self.rows: dict[str, CachedAssessment] = {}
        self.asked = 0

    def fetch(
        self, hashes: Sequence[str], users: Sequence[str], around: Sequence[Around]
    ) -> LookupResult:
        self.asked += len(hashes)
        known = {name: self.rows[name] for name in hashes if name in self.rows}
        nobody: dict[str, UserFeatures] = {}
        return LookupResult(known, nobody, ())

    def remember(self, content_hash: str, assessment: CachedAssessment) -> None:
        self.rows[content_hash] = assessment

    def flush(self) -> None:
        """Nothing waits."""

    def remember_user(self, user_id: str, row: UserRow) -> None:
        """Keeps no users."""

    def note(self, marks: Sequence[Mark]) -> None:
        """Keeps no surroundings."""


def cascade(
    fast: Tier,
    deep: Tier | None,
    limits: DeepLimits = DeepLimits(),  # noqa: B008 - frozen
    *,
    store: Store | None = None,
    remember: Remember = "costly",
    languages: Guesser | None = None,
) -> Cascade:
    return Cascade(
        policy=Policy.load(ROOT / FILES.policy),
        rules=RuleSet.load(ROOT / FILES.rules),
        banks=ExactBanks.load(ROOT / FILES.banks),
        fusion=LinearFusion.load(ROOT / FILES.fusion),
        fast_text=fast,
        deep_text=deep,
        deep_limits=limits,
        remember=remember,
        languages=languages,
        store=store or Store(),
        cache=LocalCache(100),
    )


def decide(found: Cascade, *texts: str, late_ms: int = 0, **fields: object) -> list[Outcome]:
    items = [
        found.prepare(payload(f"c{i}", "u", text=text, **fields), int(NOW_MS) - late_ms)
        for i, text in enumerate(texts)
    ]
    return found.moderate(items, NOW_MS)


def test_only_what_is_undecided_is_shown_the_most_undecided_first() -> None:
    fast, deep = Tier("fast_text"), Tier("deep_text", shift=0.3)
    texts = ("a 0.01", "b 0.1", "c 0.99", "d 0.55", "e 0.92", "d 0.55")
    out = decide(cascade(fast, deep), *texts)
    assert deep.seen == ["d 0.55", "b 0.1", "e 0.92"]
    assert [o.decision.stage for o in out[:2]] == ["fast_text", "deep_text"]
    assert [o.decision.scores["toxicity"] for o in out] == [0.01, 0.4, 0.99, 0.85, 1.0, 0.85]
    assert out[0].decision.model_versions == {
        "deep_text": "1",
        "fast_text": "1",
        "fusion": out[0].decision.model_versions["fusion"],
    }
    assert not any(o.decision.degraded for o in out)


class Joining(Tier):
    """Wants to be joined with the fast tier, as its package says."""

    blend: ClassVar = {"toxicity": (0.5, 0.5, 0.0)}


def test_a_package_says_how_its_word_is_joined_with_the_fast_tiers() -> None:
    (out,) = decide(cascade(Tier("fast_text"), Joining("deep_text", shift=0.6)), "a 0.2")
    assert out.decision.scores["toxicity"] == pytest.approx(0.5)
    assert out.decision.stage == "deep_text"


def test_the_band_is_a_setting() -> None:
    deep = Tier("deep_text")
    decide(cascade(Tier("fast_text"), deep, DeepLimits(low=0.4, high=0.6)), "a 0.3", "b 0.5")
    assert deep.seen == ["b 0.5"]


def test_what_does_not_fit_the_budget_is_shed_and_said_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deep = Tier("deep_text", shift=0.2, takes_ms=10)
    monkeypatch.setattr("udfs.stage_deep.time.perf_counter", lambda: deep.spent_ms / 1e3)
    found = cascade(Tier("fast_text"), deep, DeepLimits(budget_ms=15))
    out = decide(found, "a 0.5", "b 0.3", "c 0.4")
    # After 10 ms there is time, after 20 there is none: the least undecided goes without.
    assert deep.seen == ["a 0.5", "c 0.4"]
    assert [o.decision.degraded for o in out] == [[], ["deep_text"], []]
    assert [o.decision.stage for o in out] == ["deep_text", "fast_text", "deep_text"]
    assert out[1].decision.scores["toxicity"] == pytest.approx(0.3)


def test_what_comes_out_of_a_queue_is_shed() -> None:
    deep = Tier("deep_text")
    found = cascade(Tier("fast_text"), deep, DeepLimits(late_after_ms=100))
    (late,) = decide(found, "a 0.5", late_ms=101)
    assert late.decision.degraded == ["deep_text"]
    found = cascade(Tier("fast_text"), deep, DeepLimits(late_after_ms=100))
    (prompt,) = decide(found, "a 0.5", late_ms=99)
    assert prompt.decision.degraded == []
    assert deep.seen == ["a 0.5"]


def again(found: Cascade, text: str, **fields: object) -> Outcome:
    """The upload of `decide`, delivered once more."""
    item = found.prepare(payload("c0", "u", text=text, **fields), int(NOW_MS))
    velocity = msgspec.structs.replace(item.velocity, duplicate=True)
    (outcome,) = found.moderate([item.with_velocity(velocity)], NOW_MS)
    return outcome


def test_a_redelivery_is_shed_where_the_upload_was() -> None:
    deep = Tier("deep_text", shift=0.3)
    found = cascade(Tier("fast_text"), deep, DeepLimits(late_after_ms=100))
    (first,) = decide(found, "a 0.5", late_ms=101)
    # Another upload with the same text comes in time; the cache knows the text from now on.
    item = found.prepare(payload("other", "u", text="a 0.5"), int(NOW_MS))
    assert found.moderate([item], NOW_MS)[0].decision.stage == "deep_text"
    # Live configuration came meanwhile.
    second = again(found.with_parts(rules=found.rules), "a 0.5")
    assert second.decision.moderation_id == first.decision.moderation_id
    assert second.decision.degraded == first.decision.degraded == ["deep_text"]
    assert (second.decision.scores, second.decision.action, second.decision.cache) == (
        first.decision.scores,
        first.decision.action,
        "",
    )


def test_a_redelivery_is_not_shed_where_the_upload_was_not() -> None:
    deep = Tier("deep_text", shift=0.3)
    limits = DeepLimits(late_after_ms=100)
    (first,) = decide(cascade(Tier("fast_text"), deep, limits), "a 0.5", late_ms=99)
    # Nothing is cached where it comes again, and it is late.
    found = cascade(Tier("fast_text"), deep, limits)
    item = found.prepare(payload("c0", "u", text="a 0.5"), int(NOW_MS) - 5_000)
    velocity = msgspec.structs.replace(item.velocity, duplicate=True)
    (second,) = found.moderate([item.with_velocity(velocity)], NOW_MS)
    assert second.decision.scores == first.decision.scores
    assert second.decision.degraded == []


def test_what_was_shed_is_forgotten_in_the_end() -> None:
    memory = ShedMemory(most=2)
    found = cascade(Tier("fast_text"), None)
    works = [Work(found.prepare(payload(f"c{i}", "u"), 0)) for i in range(3)]
    assert works[0] not in memory
    for work in works:
        memory.add(work)
    assert [work in memory for work in works] == [False, True, True]


def test_a_model_that_raises_costs_its_text_the_tier_alone() -> None:
    deep = Tier("deep_text")
    out = decide(cascade(Tier("fast_text"), deep), "boom 0.5", "b 0.4")
    assert [o.decision.degraded for o in out] == [["deep_text"], []]
    assert out[0].decision.stage == "fast_text"


def test_a_language_that_the_model_does_not_read() -> None:
    deep = German("deep_text")
    found = cascade(Tier("fast_text"), deep, languages=Declared())
    (other,) = decide(found, "a 0.5", language="en")
    assert deep.seen == []
    # The fast tier reads everything: its word counts.
    assert (other.decision.stage, other.decision.degraded) == ("fast_text", [])
    decide(found, "a 0.5", language="de")
    decide(found, "b 0.5")
    assert deep.seen == ["a 0.5", "b 0.5"]


def test_what_its_vocabulary_lacks_is_left_to_the_fast_tier() -> None:
    deep = Wordy("deep_text", shift=0.2)
    out = decide(cascade(Tier("fast_text"), deep), "a 0.5 🐷", "b 0.5")
    assert deep.seen == ["b 0.5"]
    assert [(o.decision.stage, o.decision.degraded) for o in out] == [
        ("fast_text", []), ("deep_text", []),
    ]  # fmt: skip
    tiers = TextTiers(Tier("fast_text"), Wordy("deep_text"))
    assert tiers.score(["a 0.5 🐷", "b 0.5"]).deep.tolist() == [False, True]


def test_what_no_model_reads_is_not_decided_by_a_score() -> None:
    found = cascade(German("fast_text"), None, languages=Declared())
    allowed, held, removed, read = (
        decide(found, f"text {p}", language=language)[0].decision
        for p, language in ((0.02, "en"), (0.15, "en"), (0.99, "en"), (0.99, "de"))
    )
    assert allowed.degraded == held.degraded == removed.degraded == ["language"]
    assert (allowed.action, allowed.confidence) == ("allow", 0.5)
    assert "no model reads its language" in allowed.reason
    assert (held.action, removed.action) == ("review", "review")
    assert (read.status, read.degraded) == ("rejected", [])


def test_what_was_costly_is_remembered_with_its_tier() -> None:
    store, deep = Store(), Tier("deep_text", shift=0.2)
    first = decide(cascade(Tier("fast_text"), deep, store=store), "a 0.5", "b 0.01")
    assert [row.tier for row in store.rows.values()] == ["deep_text"]
    again = Tier("deep_text", shift=0.2)
    fast = Tier("fast_text")
    second = decide(cascade(fast, again, store=store), "a 0.5", "b 0.01")
    assert again.seen == []
    assert fast.seen == ["b 0.01"]
    for before, after in zip(first, second, strict=True):
        assert (before.decision.stage, before.decision.scores) == (
            after.decision.stage,
            after.decision.scores,
        )
    assert [o.decision.cache for o in second] == ["redis", ""]
    # Another model does not take over what this one found.
    newer = Tier("deep_text")
    newer.version = "2"
    decide(cascade(Tier("fast_text"), newer, store=store), "a 0.5")
    assert newer.seen == ["a 0.5"]


def test_without_a_costly_tier_nothing_is_looked_up() -> None:
    store = Store()
    decide(cascade(Tier("fast_text"), None, store=store), "a 0.5")
    assert (store.asked, store.rows) == (0, {})
    decide(cascade(Tier("fast_text"), None, store=store, remember="all"), "a 0.5")
    assert store.asked == 1
    assert [row.tier for row in store.rows.values()] == ["fast_text"]


def test_what_was_shed_is_not_remembered() -> None:
    store = Store()
    found = cascade(
        Tier("fast_text"),
        Tier("deep_text"),
        DeepLimits(late_after_ms=1),
        store=store,
        remember="all",
    )
    decide(found, "a 0.5", late_ms=5)
    assert not store.rows


def test_tiers_that_disagree_ask_for_a_label() -> None:
    deep = Tier("deep_text", shift=0.45)
    texts = [f"text{i} 0.35" for i in range(40)]
    out = decide(cascade(Tier("fast_text"), deep), *texts)
    rows = [row for o in out for row in o.feedback]
    # Half of them, by the policy's rate; 0.8 is near the rejection threshold as well.
    assert len(rows) > 10


def test_the_heavy_tier_can_be_swapped_and_taken_out() -> None:
    found = cascade(Tier("fast_text"), Tier("deep_text"))
    other = Tier("deep_text")
    other.version = "2"
    swapped = found.with_parts(deep_text=other)
    assert swapped.applied.model_versions["deep_text"] == "2"
    assert swapped.with_parts(rules=found.rules).deep_text is other
    assert "deep_text" not in swapped.with_parts(deep_text=None).applied.model_versions
