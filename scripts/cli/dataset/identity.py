"""Counterfactual texts: the same sentence about another identity (Garg et al. 2019)."""

from __future__ import annotations

import random
import re
from typing import Final

from scripts.cli.dataset.config import Identities

_ARTICLE: Final = re.compile(r"\b(a|an)(\s+)$", re.IGNORECASE)


class Swapper:
    """Finds identities in texts and puts others of their class in their place.

    Args:
        identities: the classes; longer names win over shorter ones that they contain.
    """

    def __init__(self, identities: Identities) -> None:
        self._class_of = {word: entry.words for entry in identities.classes for word in entry.words}
        longest = sorted(self._class_of, key=lambda word: (-len(word), word))
        names = "|".join(re.escape(word) for word in longest)
        self._pattern = re.compile(rf"(?<!\w)(?:{names})(?!\w)", re.IGNORECASE)

    def mentions(self, text: str) -> list[str]:
        """Identities in the text, lower case, in order."""
        return [match.group().lower() for match in self._pattern.finditer(text)]

    def swap(self, text: str, rng: random.Random) -> str | None:
        """The text about other identities; None where it mentions none.

        One identity becomes the same other one wherever it stands, and two never become one.
        Capitals and a preceding a or an are kept right.
        """
        found = sorted(set(self.mentions(text)))
        if not found:
            return None
        chosen: dict[str, str] = {}
        for name in found:
            taken = {*found, *chosen.values()}
            others = [word for word in self._class_of[name] if word not in taken]
            if not others:
                return None
            chosen[name] = rng.choice(others)
        return self.replaced(text, chosen)

    def replaced(self, text: str, chosen: dict[str, str]) -> str:
        """The text with each identity that `chosen` names replaced."""
        out: list[str] = []
        last = 0
        for match in self._pattern.finditer(text):
            new = chosen.get(match.group().lower())
            if new is None:
                continue
            before = _ARTICLE.sub(lambda m, new=new: _article(m, new), text[last : match.start()])  # type: ignore[misc]  # binds the loop's variable
            out += [before, _cased(new, match.group())]
            last = match.end()
        return "".join([*out, text[last:]])


def _article(match: re.Match[str], follows: str) -> str:
    word = "an" if follows[0] in "aeio" else "a"
    return (word.capitalize() if match.group(1)[0].isupper() else word) + match.group(2)


def _cased(new: str, old: str) -> str:
    if old.isupper() and len(old) > 1:
        return new.upper()
    return new[0].upper() + new[1:] if old[0].isupper() else new
