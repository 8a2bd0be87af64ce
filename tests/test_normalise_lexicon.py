"""Disguises that only a dictionary can tell, and the honest tokens that look like them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError
from udfs.normalise import normalise
from udfs.normalise_lexicon import Lexicon, may_hide

DISGUISED = {
    "id!ot": "idiot",
    "id1o7": "idiot",
    "5+upid": "stupid",
    "you $uch a": "you such a",
    "l0$er": "loser",
    "(l0$er)": "(loser)",
    "|oser": "loser",
    "idio.t": "idiot",
    "i_diot!": "idiot!",
    "lo.ser, you": "loser, you",
    "mor*on": "moron",
    "ret-ard": "retard",
    "scum.bags": "scum.bags",
    "id-!ot": "idiot",
    "idio👍t": "idiot",
    "f@ggot$": "faggots",
    "K1LL Y0UR$ELF": "kill yourself",
    "vag1n@": "vagina",
}
HONEST = (
    "node.js", "the.rapist", "pen.is mightier", "end.the next", "re-sign", "co-worker", "to.day",
    "and/or", "he/she", "we'll", "she'll", "he'll", "we're", "!enter", "11am", "raid5", "html5",
    "june5", "1-on-3", "re-add", "win10", "ps5", "mp3s", "covid-19", "c++", "24/7",
    "well-known", "state-of-the-art", "snake_case", "foo_bar", "google.com", "sex.com/x",
    "me@moron.net", "@id!ot", "#id!ot", "https://id!ot.example/5+upid", "w/o", "e.g.", "i7-8700k",
    "wi-fi", "yo-yo", "3.5mm", "x-ray", "hello,world", "wow!!", "stop!it", "café.ole",
)  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), DISGUISED.items())
def test_disguised_words_are_read(text: str, expected: str) -> None:
    assert normalise(text).text == expected


@pytest.mark.parametrize("text", HONEST)
def test_honest_tokens_are_left(text: str) -> None:
    assert normalise(text).text == text


def test_offsets_lead_back_to_the_disguise() -> None:
    text = "what an id-!ot you are"
    found = normalise(text)
    start = found.text.index("idiot")
    first, last = found.original_span(start, start + 5)
    assert text[first:last] == "id-!ot"
    assert found.signals.leet == 1
    assert found.evasion > 0.2


def test_separators_count_as_spelling() -> None:
    found = normalise("you lo.ser")
    assert (found.signals.spelled, found.signals.leet) == (1, 0)


@given(st.text(alphabet="abcdeiorst01357$!+|._-* '👍é", max_size=24))
def test_reading_is_final_and_the_cheap_check_is_right(text: str) -> None:
    once = normalise(text).text
    assert normalise(once).text == once
    lexicon = Lexicon(["idiot", "stupid", "loser", "tested", "rates"])
    if any(lexicon.edits(text)):
        assert may_hide(text)


def test_inflections_are_words_too() -> None:
    lexicon = Lexicon(["idiot", "hate", "kill"])
    for word in ("idiots", "hated", "hating", "killer", "killers", "hateing"):
        assert word in lexicon
    for word in ("killd", "hat", "idiotical"):
        assert word not in lexicon


def test_a_file_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("# words\nfine\nNot Fine\n")
    with pytest.raises(ConfigError, match=r"words\.txt:3: is no word"):
        Lexicon.load(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        Lexicon.load(tmp_path / "none.txt")
