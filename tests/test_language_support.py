"""Texts that no model reads: marked, and never silently allowed on a model's word."""

from __future__ import annotations

import dataclasses as dc
import datetime as dt
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.compose import compose_cascade
from schemas.control import ControlMessage
from schemas.language import UNREAD, UnreadLanguage
from schemas.settings import load_settings
from tests import policy_kit
from tests.fakes import payload
from udfs.contracts import Item, Verdict
from udfs.language import Guess
from udfs.language_support import (
    ANY,
    LanguageStage,
    LanguageSupport,
    Reading,
    Remembering,
    languages_of,
    picker,
    plainly_english,
    restrain,
)
from udfs.normalise import normalise
from udfs.review import Sampler
from udfs.stages import Work

RULE = UnreadLanguage()
ALL, NONE = Sampler(1.0, "x"), Sampler(0.0, "x")
ENGLISH = LanguageSupport({"en"})


@pytest.mark.parametrize(
    ("guess", "reading"),
    [
        (Guess("en", 0.99, ("Latn",)), "read"),
        (Guess("en", 0.61, ("Latn",)), "read"),
        (Guess("de", 0.95, ("Latn",)), "unread"),
        (Guess("de", 0.7, ("Latn",)), "unsure"),
        (Guess("und", 0.0, ("Latn",)), "unsure"),
        (Guess("und", 0.0, ("Thai",)), "unread"),
        (Guess("th", 0.6, ("Thai",)), "unread"),
        (Guess("und", 0.0, ("Latn", "Thai")), "unread"),
        (Guess("und", 0.0, ("Zzzz",)), "unread"),
        (Guess("und", 0.0, ()), "read"),
        (Guess("ceb", 0.9, ("Latn",)), "unread"),
    ],
)
def test_what_an_english_model_reads(guess: Guess, reading: Reading) -> None:
    assert ENGLISH.reading(guess) == reading
    assert LanguageSupport(ANY).reading(guess) == "read"


def test_a_long_text_without_a_certain_language_is_unread() -> None:
    strict = LanguageSupport({"en"}, unsure_from=40)
    for code, confidence in (("und", 0.0), ("de", 0.7)):
        assert strict.reading(Guess(code, confidence, ("Latn",), 39)) == "unsure"
        assert strict.reading(Guess(code, confidence, ("Latn",), 40)) == "unread"
        assert ENGLISH.reading(Guess(code, confidence, ("Latn",), 4_000)) == "unsure"
    assert strict.reading(Guess("en", 0.61, ("Latn",), 400)) == "read"


def test_a_model_of_two_scripts_reads_texts_of_both() -> None:
    both = LanguageSupport({"en", "ru"})
    assert both.reading(Guess("und", 0.0, ("Latn", "Cyrl"))) == "unsure"
    assert both.reading(Guess("uk", 0.95, ("Cyrl",))) == "unread"
    assert LanguageSupport({"sr"}).reading(Guess("sr", 0.9, ("Cyrl",))) == "read"
    assert LanguageSupport({"sr"}).reading(Guess("sr", 0.9, ("Latn",))) == "read"


def test_languages_are_those_of_the_manifest() -> None:
    @dc.dataclass
    class Package:
        manifest: Any

    @dc.dataclass
    class Manifest:
        languages: tuple[str, ...] = ("en", "pt")

    scorer: Any = Package(Manifest())
    assert languages_of(scorer) == {"en", "pt"}
    scorer = object()
    assert languages_of(scorer) == ANY


class Told:
    """A guesser that says what the test wants, and remembers what it was asked."""

    def __init__(self, *guesses: Guess) -> None:
        self._guesses = list(guesses)
        self.asked: list[tuple[str, str | None]] = []

    def guess(self, texts: Sequence[str], declared: Sequence[str | None]) -> list[Guess]:
        self.asked += zip(texts, declared, strict=True)
        return [self._guesses.pop(0) for _ in texts]


def work(text: str | None, *, tier: Any = "fast_text", **on: Any) -> Work:
    upload = policy_kit.upload(text=text, **on)
    made = Work(Item(upload, b"", 0, normalised=None if text is None else normalise(text)))
    made.scores = {"toxicity": 0.01}
    made.tier = tier
    return made


def test_the_stage_marks_what_the_model_that_scored_does_not_read() -> None:
    german, english, mute = work("Guten Tag", language="de"), work("Good day"), work(None)
    settled, unscored = work("Guten Abend"), work("Guten Morgen")
    settled.settled = True
    unscored.scores = {}
    deep = work("Guten Tag zusammen", tier="deep_text")
    told = Told(Guess("de", 0.9, ("Latn",)), Guess("en", 0.9, ("Latn",)),
                Guess("de", 0.9, ("Latn",)))  # fmt: skip
    supports = {"": ENGLISH, "deep_text": LanguageSupport({"en", "de"})}
    LanguageStage(told, supports).run([german, english, mute, settled, unscored, deep], 0)
    assert told.asked == [("guten tag", "de"), ("good day", None), ("guten tag zusammen", None)]
    marked = [w.degraded for w in (german, english, mute, settled, unscored, deep)]
    assert marked == [(UNREAD,), (), (), (), (), ()]
    LanguageStage(Told(), {}).run([], 0)


def verdict(probability: float, **signals: Any) -> Verdict:
    given = policy_kit.signals(scores={"toxicity": probability}, **signals)
    return policy_kit.policy().decide(given, {"toxicity": probability})


def held(before: Verdict, sampler: Sampler = NONE, **rule: Any) -> Verdict:
    return restrain(before, UnreadLanguage(**rule), sampler, "c-1")


def test_a_harmless_score_is_not_taken_at_its_word() -> None:
    before = verdict(0.02)
    assert (before.status, before.review_why) == ("approved", "")
    after = held(before)
    assert (after.status, after.action, after.review_why) == ("approved", "allow", "")
    assert after.confidence == 0.5
    assert "no model reads its language" in after.reason
    flagged = held(before, ALL)
    assert (flagged.status, flagged.action) == ("approved", "allow")
    assert (flagged.review_why, flagged.tier) == ("policy", RULE.tier)
    assert flagged.reason.endswith("; flagged for review.")


def test_a_middling_score_goes_to_a_person() -> None:
    before = verdict(0.15)
    assert before.status == "approved"
    after = held(before)
    assert (after.status, after.action, after.review_why) == ("pending_review", "review", "policy")
    assert after.reason == (
        "Held for a person: no model reads its language (probability 0.150 is not below 0.1)."
    )
    assert held(before, approve_below=1.0).status == "approved"


def test_a_score_may_not_reject_unless_the_policy_says_so() -> None:
    before = verdict(0.97)
    assert before.status == "rejected"
    after = held(before)
    assert (after.status, after.action, after.review_why) == ("pending_review", "review", "policy")
    assert not after.notify_user
    assert after.category == before.category
    assert held(before, may_reject=True) == before


def test_what_rules_banks_and_people_decide_stands() -> None:
    uncertain = verdict(0.5)
    assert uncertain.status == "pending_review"
    assert held(uncertain) == uncertain
    for match in ({"rules": [policy_kit.rule()]}, {"banks": [policy_kit.bad()]}):
        certain = verdict(0.02, **match)
        assert certain.decided_by in {"rule", "bank"}
        assert held(certain, ALL) == certain


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_higher_score_is_never_treated_more_mildly(first: float, second: float) -> None:
    low, high = sorted((first, second))
    order = ["approved", "pending_review", "rejected"]
    a, b = held(verdict(low)), held(verdict(high))
    assert order.index(a.status) <= order.index(b.status)
    # Nor more mildly than in a language that is read, but for what a score may not reject.
    plain = verdict(high)
    if plain.status != "rejected":
        assert order.index(plain.status) <= order.index(b.status)


def test_the_sample_is_the_policys_share_and_repeats() -> None:
    ids = [f"c-{i}" for i in range(4_000)]
    sampler = picker(RULE, "review-1")
    picked = [sampler.picks(name) for name in ids]
    assert picked == [picker(RULE, "review-1").picks(name) for name in ids]
    assert 0.03 < sum(picked) / len(ids) < 0.07
    others = [Sampler(RULE.review_rate, "review-1").picks(name) for name in ids]
    assert picked != others


def test_plain_english_is_told_without_a_guess() -> None:
    assert plainly_english("you are what you eat")
    # One word may stand in any language, and so may a word twice.
    assert not plainly_english("der film the river, the river")
    assert not plainly_english("you and тест")
    assert not plainly_english("you and " + "der film beginnt um acht uhr " * 5)
    for other in (
        "wir haben das in der was war so gut wie immer nicht",
        "het is of was in de over wat er op een of ander",
        "o que eu te disse e que a vida era assim como ontem",
        "om du var en av dem som var her i dag",
        "ma perche non mi dici che cosa fai in questa casa",
        "il est dans la rue avec des amis et on a vu un film",
        "no se que pasa con la casa de mi amigo pero es mi vida",
        "to jest bardzo dobry dom i nie wiem co on tam ma",
    ):
        assert not plainly_english(other), other
    told = Told(Guess("de", 0.9, ("Latn",)))
    works = [work("you and the others"), work("der hund und ich")]
    LanguageStage(told, {"": ENGLISH}).run(works, 0)
    assert told.asked == [("der hund und ich", None)]
    assert [w.degraded for w in works] == [(), (UNREAD,)]
    # A model that does not read English is not shown it.
    told = Told(Guess("en", 0.9, ("Latn",)))
    LanguageStage(told, {"": LanguageSupport({"de"})}).run(works[:1], 0)
    assert works[0].degraded == (UNREAD,)


def test_observe_only_holds_nobody() -> None:
    made = load_settings("dev")
    redis = made.redis.model_copy(update={"enabled": False})
    live = compose_cascade(made.model_copy(update={"redis": redis}))
    raw = payload(text="Der Zug hatte eine Stunde Verspätung, you stupid fucking idiot, idiot")
    assert live.moderate([live.prepare(raw, 1)], 2)[0].decision.status == "pending_review"
    switches = ControlMessage(
        kind="switches", text="observe_only: true", published_at=dt.datetime.now(dt.UTC)
    )
    live.apply(switches)
    decision = live.moderate([live.prepare(raw, 1)], 2)[0].decision
    assert (decision.status, decision.action) == ("approved", "allow")
    assert decision.degraded == [UNREAD]


def test_a_long_text_of_no_certain_language_is_marked() -> None:
    made = load_settings("dev")
    redis = made.redis.model_copy(update={"enabled": False})
    live = compose_cascade(made.model_copy(update={"redis": redis}))
    text = "tum log yahan se chale jao warna bahut bura hoga samjhe kya"
    decision = live.moderate([live.prepare(payload(text=text), 1)], 2)[0].decision
    assert decision.degraded == [UNREAD]
    short = live.moderate([live.prepare(payload(text=text[:20]), 1)], 2)[0].decision
    assert short.degraded == []


class Counting:
    """Guesses that every text is English, and counts how many it was asked about."""

    def __init__(self) -> None:
        self.asked = 0

    def guess(self, texts: Sequence[str], declared: Sequence[str | None]) -> list[Guess]:
        self.asked += len(texts)
        pairs = zip(texts, declared, strict=True)
        return [Guess("en", 0.9, (tag or "-", text)) for text, tag in pairs]


def test_a_text_that_is_asked_about_twice_is_guessed_once() -> None:
    counting = Counting()
    guesser = Remembering(counting, most=4)
    texts, tags = ["a", "b", "a"], [None, "de", None]
    assert guesser.guess(texts, tags) == Counting().guess(texts, tags)
    assert counting.asked == 2
    assert guesser.guess(["b", "a"], ["de", None]) == Counting().guess(["b", "a"], ["de", None])
    assert counting.asked == 2
    guesser.guess(["b"], [None])  # declared otherwise: another question
    assert counting.asked == 3
    many = [str(i) for i in range(9)]
    assert guesser.guess(many, [None] * 9) == Counting().guess(many, [None] * 9)
    assert guesser.guess(["c", "d"], [None] * 2) == Counting().guess(["c", "d"], [None] * 2)
    assert counting.asked == 14
