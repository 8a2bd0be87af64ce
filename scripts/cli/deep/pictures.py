"""Words for the pictures that people write instead of them.

A pretrained English vocabulary has hardly any emoji: `🔪`, `🐷` and `🌹` would all be the one
unknown token, and a sentence that says by a picture what it wants done would say nothing. Steps of
the tokenizer put a word in the place of each, so that spans still point at the picture.
"""

from __future__ import annotations

import json
from typing import Any, Final

# By how often they stand for a word that matters; a step costs half a microsecond a text.
WORDS: Final = {
    "🔪": "knife", "🗡": "dagger", "🔫": "gun", "💣": "bomb", "🪓": "axe", "🔨": "hammer",
    "⚰": "coffin", "💀": "skull dead", "☠": "skull dead", "🩸": "blood", "🔥": "fire",
    "💉": "needle",
    "💊": "pills", "👊": "punch", "💪": "strong", "🖕": "fuck you", "👎": "bad", "👍": "good",
    "👏": "clap", "🙏": "please", "🚫": "no", "❌": "no", "✅": "yes", "🗑": "trash", "🚮": "trash",
    "💩": "shit", "🤮": "vomit", "🤢": "sick", "🤡": "clown", "🤬": "swearing", "😡": "angry",
    "😠": "angry", "😤": "angry", "🙄": "annoyed", "😂": "laughing", "🤣": "laughing",
    "😍": "in love", "🥰": "in love", "😊": "happy", "😀": "happy", "🙂": "happy", "😭": "crying",
    "😢": "sad", "😔": "sad", "😷": "ill", "🤥": "liar", "🤑": "greedy", "🤪": "crazy",
    "🧠": "brain",
    "❤": "love", "💓": "love", "💕": "love", "💔": "broken heart", "💋": "kiss", "💯": "very true",
    "🍆": "penis", "🍑": "ass", "💦": "sex", "🐷": "pig", "🐖": "pig", "🐽": "pig", "🐀": "rat",
    "🐁": "mouse", "🐍": "snake", "🐒": "monkey", "🐵": "monkey", "🙈": "monkey", "🙊": "monkey",
    "🦍": "gorilla", "🦧": "ape", "🐕": "dog", "🐶": "dog", "🐄": "cow", "🐮": "cow", "🐋": "whale",
    "🕷": "spider", "🪳": "cockroach", "🐐": "goat", "🐪": "camel", "🐫": "camel", "👽": "alien",
    "👺": "monster", "👹": "monster", "👿": "devil", "🌈": "rainbow gay", "🏳": "flag",
    "👬": "gay men", "👭": "lesbian women", "👨": "man", "👩": "woman", "👶": "baby", "👦": "boy",
    "👧": "girl", "👴": "old man", "👵": "old woman", "👮": "police", "👳": "muslim turban",
    "🧕": "muslim woman", "🕌": "mosque", "☪": "islam", "✡": "jewish", "🕍": "synagogue",
    "✝": "christian", "⛪": "church", "♿": "disabled wheelchair", "🦽": "disabled wheelchair",
    "♀": "female", "♂": "male", "⚧": "transgender", "🏿": "black skin", "🏾": "dark skin",
    "🏽": "brown skin", "🏼": "light skin", "🏻": "white skin", "⚫": "black", "⬛": "black",
    "💰": "money", "✈": "plane", "🚬": "cigarette", "🔞": "porn",
}  # fmt: skip


def read(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """A `tokenizer.json` that reads the pictures as words; not changed itself.

    Args:
        tokenizer: the file, parsed. One that replaces something already is left as it is, and so
            is one without a normaliser.
    """
    out: dict[str, Any] = json.loads(json.dumps(tokenizer))
    first = out.get("normalizer")
    if not first or first["type"] == "Sequence":
        return out
    steps = [
        {"type": "Replace", "pattern": {"String": picture}, "content": f" {word} "}
        for picture, word in WORDS.items()
    ]
    out["normalizer"] = {"type": "Sequence", "normalizers": [first, *steps]}
    return out
