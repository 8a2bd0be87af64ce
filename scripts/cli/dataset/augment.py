"""Disguises that people use against filters, put on training texts.

What the normaliser undoes teaches the model nothing; what it leaves does. Benign texts get the
same treatment, or a disguise would become a sign of abuse.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from typing import Final

from scripts.cli.training_noise import misspell

_WORD: Final = re.compile(r"[^\W\d_]{3,}")
_LEET: Final = {
    "a": "4@",
    "b": "8",
    "e": "3",
    "g": "9",
    "i": "1!",
    "l": "1|",
    "o": "0",
    "s": "5$",
    "t": "7+",
}
_LOOK_ALIKE: Final = {
    "a": "\u0430\u03b1", "c": "\u0441", "e": "\u0435\u03b5", "h": "\u04bb", "i": "\u0456\u03b9",
    "j": "\u0458", "k": "\u043a\u03ba", "m": "\u043c", "n": "\u0578", "o": "\u043e\u03bf",
    "p": "\u0440\u03c1", "r": "\u0433", "s": "\u0455", "t": "\u0442\u03c4", "u": "\u057d\u03c5",
    "w": "\u0461", "x": "\u0445\u03c7", "y": "\u0443\u03b3",
}  # fmt: skip
_INVISIBLE: Final = "\u200b\u200c\u200d\u2060\u00ad"
_SEPARATORS: Final = (" ", ".", "-", "_", "*")
_EMOJI: Final = "😀😂🔥💯🙄👍😡🤡✨🎉💀🙏"

Trick = Callable[[str, random.Random], str]
"""Disguises one word."""


def _replaced(table: Mapping[str, str]) -> Trick:
    def trick(word: str, rng: random.Random) -> str:
        places = [i for i, letter in enumerate(word) if letter.lower() in table]
        if not places:
            return word
        letters = list(word)
        for i in rng.sample(places, rng.randint(1, min(3, len(places)))):
            letters[i] = rng.choice(table[letters[i].lower()])
        return "".join(letters)

    return trick


def _zero_width(word: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(word))
    return word[:at] + rng.choice(_INVISIBLE) + word[at:]


def _spacing(word: str, rng: random.Random) -> str:
    separator = rng.choice(_SEPARATORS)
    if rng.random() < 0.5:
        return separator.join(word)
    at = rng.randrange(1, len(word))
    return word[:at] + separator + word[at:]


def _emoji(word: str, rng: random.Random) -> str:
    sign = rng.choice(_EMOJI)
    if rng.random() < 0.3:
        at = rng.randrange(1, len(word))
        return word[:at] + sign + word[at:]
    return f"{word} {sign}"


_TRICKS: Final[dict[str, Trick]] = {
    "leet": _replaced(_LEET),
    "look_alike": _replaced(_LOOK_ALIKE),
    "zero_width": _zero_width,
    "spacing": _spacing,
    "emoji": _emoji,
}


def disguise(text: str, trick: str, rng: random.Random, *, share: float) -> str:
    """The text with about `share` of its words of three letters or more disguised.

    Args:
        text: as it came.
        trick: one of `config.TRICKS`.
        rng: decides which words and how.
        share: within [0, 1]; at least one word is disguised where there is one and it is above 0.

    Raises:
        KeyError: no such trick.
    """
    if trick == "misspelling":
        return misspell(text, rng, share=share)
    change = _TRICKS[trick]
    words = list(_WORD.finditer(text))
    chosen = [word for word in words if rng.random() < share]
    if not chosen and words and share > 0:
        chosen = [rng.choice(words)]
    out, last = [], 0
    for word in chosen:
        out += [text[last : word.start()], change(word.group(), rng)]
        last = word.end()
    return "".join([*out, text[last:]])
