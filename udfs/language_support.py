"""Texts that the models cannot read are never silently allowed on their word alone.

Three steps. `LanguageSupport` says of a guess whether the models read it; `LanguageStage` guesses
and notes `language` in the `degraded` of what they do not; `restrain` turns what scores alone
would have decided about it into what the policy's `unread_language` asks for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, Protocol

import msgspec

from schemas.language import UNREAD, UnreadLanguage
from udfs.contracts import Scorer, Verdict
from udfs.language import Guess, scripts_of
from udfs.language_tables import SCRIPT_CODES, UNDETERMINED
from udfs.review import Sampler
from udfs.stages import Work

Reading = Literal["read", "unread", "unsure"]
ANY: Final = frozenset({"*"})
"""Languages of a model that does not say: all of them."""


_ENGLISH: Final = frozenset(
    str.split(
        "the and you that this with have are your what they would there about from which who how"
        " it's i'm don't my be but just when because been their them then these those were will"
        " could should than into being doing does did very not can if any some our out get she"
        " after again still every other people never always"
    )
)
"""Function words that are rare in other languages ("is", "in", "of", "to" and "was" are not)."""


def plainly_english(text: str) -> bool:
    """Whether a text of ASCII letters holds enough different English function words.

    Two, and one for every ten words: two of them are no disguise for a page of something else.
    Most traffic is told by this in a fifth of the time of a guess. It says nothing about texts
    where it is false.
    """
    if not text.isascii():
        return False
    words = text.split()
    found = len(_ENGLISH.intersection(words))
    return found > 1 and 10 * found >= len(words)


class Guesser(Protocol):
    """What `udfs.language.LanguageGuesser` does."""

    def guess(self, texts: Sequence[str], declared: Sequence[str | None]) -> list[Guess]: ...


class Remembering:
    """A guesser that is asked twice about the same texts, and guesses once.

    The heavy tier asks about what it may be shown, the language stage about all that was scored.

    Args:
        guesser: asked about what is new.
        most: texts that are remembered; then all are forgotten.
    """

    def __init__(self, guesser: Guesser, most: int = 256) -> None:
        self._guesser = guesser
        self._most = most
        self._known: dict[tuple[str, str | None], Guess] = {}

    def guess(self, texts: Sequence[str], declared: Sequence[str | None]) -> list[Guess]:
        """As the guesser's."""
        asked = list(zip(texts, declared, strict=True))
        found = {key: self._known[key] for key in asked if key in self._known}
        new = [key for key in dict.fromkeys(asked) if key not in found]
        if new:
            guesses = self._guesser.guess([text for text, _ in new], [tag for _, tag in new])
            fresh = dict(zip(new, guesses, strict=True))
            found |= fresh
            if len(self._known) + len(fresh) > self._most:
                self._known = {}
            if len(fresh) <= self._most:
                self._known |= fresh
        return [found[key] for key in asked]


def languages_of(scorer: Scorer) -> frozenset[str]:
    """ISO 639-1 codes that the manifest of a scorer's package names; `ANY` where it names none."""
    manifest: Any = getattr(scorer, "manifest", None)
    return frozenset(getattr(manifest, "languages", ())) or ANY


class LanguageSupport:
    """Which languages the models read.

    Args:
        languages: ISO 639-1 codes that one model reads; with `*` among them it reads all.
        known_from: a guess of the language counts from this confidence on.
        unsure_from: letters from which a text without a certain language is unread; 0: never.
    """

    def __init__(
        self, languages: Iterable[str], *, known_from: float = 0.8, unsure_from: int = 0
    ) -> None:
        self.languages = frozenset(languages)
        self._known_from = known_from
        self._unsure_from = unsure_from or sys.maxsize
        self.english = not self.languages.isdisjoint(("en", *ANY))
        """Whether the model reads English."""
        scripts = {script for code in self.languages for script in scripts_of(code)}
        self._scripts = frozenset(SCRIPT_CODES if self.languages >= ANY else scripts)

    def reading(self, guess: Guess) -> Reading:
        """Whether the model reads a text of this language.

        `unread` is also a text that is written, in whole or in a good part, in a script of which
        the model knows no language. `unsure` is a readable script and no certain language: a
        short text, or a guess that is not sure enough. Where it is long, it is unread too.
        """
        if self.languages >= ANY or not guess.scripts:
            return "read"
        if not self._scripts.issuperset(guess.scripts):
            return "unread"
        if guess.code in self.languages:
            return "read"
        known = guess.code != UNDETERMINED and guess.confidence >= self._known_from
        return "unread" if known or guess.letters >= self._unsure_from else "unsure"

    def reader(
        self, guesser: Guesser
    ) -> Callable[[Sequence[str], Sequence[str | None]], list[bool]]:
        """Says of texts, with what their uploads declare, whether a model may be shown them."""

        def reads(texts: Sequence[str], declared: Sequence[str | None]) -> list[bool]:
            return [self.reading(guess) != "unread" for guess in guesser.guess(texts, declared)]

        return reads


class LanguageStage:
    """Guesses languages and marks what the model that scored it does not read.

    It comes after a scoring stage, and looks at what has scores, from a cache too. What banks or
    rules settle is not looked at.

    Args:
        guesser: of languages.
        supports: by name of the tier (`Work.tier`, or "" for any) what its model reads.
    """

    name = "language"

    def __init__(self, guesser: Guesser, supports: Mapping[str, LanguageSupport]) -> None:
        self._guesser = guesser
        self._supports = supports

    def run(self, batch: Sequence[Work], now_ms: int) -> None:  # noqa: ARG002 - the protocol's
        """Note `language` in `degraded`."""
        works = []
        texts = []
        for work in batch:
            if work.scores and not work.settled and work.item.normalised is not None:
                text = work.item.normalised.text
                support = self._supports.get(work.tier) or self._supports.get("")
                if support is not None and not (support.english and plainly_english(text)):
                    works.append(work)
                    texts.append(text)
        if not works:
            return
        guesses = self._guesser.guess(texts, [w.item.upload.language for w in works])
        for work, guess in zip(works, guesses, strict=True):
            support = self._supports.get(work.tier) or self._supports.get("")
            if support is not None and support.reading(guess) == "unread":
                work.degraded = (*work.degraded, UNREAD)


def picker(rule: UnreadLanguage, salt: str) -> Sampler:
    """Picks the share of allowed texts in unread languages that people look at.

    Args:
        rule: the policy's.
        salt: of the policy's sampling; this one picks independently of it.
    """
    return Sampler(rule.review_rate, f"{salt}:{UNREAD}")


def restrain(verdict: Verdict, rule: UnreadLanguage, sampler: Sampler, content_id: str) -> Verdict:
    """Take back what scores alone decided about a text that the model cannot read.

    What banks, rules, conditions and fail-closed categories decided stands, and so does what
    people will see anyway. An allowed text keeps its status below `approve_below`, says in its
    reason that no model read it, has the confidence of a coin, and is flagged where the sampler
    picks it; above, and where a score would have rejected, a person decides.

    Args:
        verdict: of an upload that has `language` among its `degraded`.
        rule: the policy's.
        sampler: of `picker`.
        content_id: of the upload.
    """
    if verdict.decided_by != "scores" or verdict.status == "pending_review":
        return verdict
    if verdict.status == "rejected":
        if rule.may_reject:
            return verdict
        return _held(verdict, rule, verdict.reason.rstrip("."))
    if verdict.action != "allow":
        return verdict
    if verdict.probability >= rule.approve_below:
        limit = f"probability {verdict.probability:.3f} is not below {rule.approve_below:.4g}"
        return _held(verdict, rule, limit)
    flagged = sampler.picks(content_id)
    return msgspec.structs.replace(
        verdict,
        confidence=0.5,
        reason="Allowed, but no model reads its language"
        + ("; flagged for review." if flagged else "."),
        review_why="policy" if flagged else verdict.review_why,
        tier=rule.tier if flagged else verdict.tier,
    )


def _held(verdict: Verdict, rule: UnreadLanguage, because: str) -> Verdict:
    return msgspec.structs.replace(
        verdict,
        status="pending_review",
        action="review",
        confidence=0.5,
        reason=f"Held for a person: no model reads its language ({because}).",
        review_why="policy",
        tier=min(verdict.tier, rule.tier),
        notify_user=False,
    )
