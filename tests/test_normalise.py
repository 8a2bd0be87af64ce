"""Normalisation by example: what is undone, what is left alone, where evidence points."""

# ruff: noqa: RUF001 - look-alikes are what is tested

from __future__ import annotations

import hashlib
import unicodedata
from pathlib import Path

import pytest

from schemas.errors import ConfigError
from tests.normalise_kit import COMPATIBLE, HATE, LANGUAGES
from udfs.normalise import VERSION, Normalised, load_normaliser, normalise
from udfs.normalise_unicode import _CLUSTER  # the one table that Unicode may outgrow


@pytest.mark.parametrize("disguise", HATE)
def test_a_disguised_word_is_the_word(disguise: str) -> None:
    assert normalise(f"i {disguise} you").text.replace("hate.", "hate") == "i hate you"


@pytest.mark.parametrize("disguise", ["ha\u0301te", "hâte", "hatë"])
def test_accents_that_some_language_writes_stay_in_the_text(disguise: str) -> None:
    normalised = normalise(disguise)
    assert normalised.text == unicodedata.normalize("NFC", disguise)
    assert normalised.skeleton == "hate"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$h1t", "shit"),
        ("5h1t happens", "shit happens"),
        ("i d i o t", "idiot"),
        ("I k n o w", "i know"),
        ("a s s h o l e", "asshole"),
        ("sh!t!", "shit!"),
        ("b1tch", "bitch"),
        ("a$$hole", "asshole"),
        ("@sshole", "asshole"),
        ("@ss", "ass"),
        ("pu$$y", "pussy"),
        ("n1gg3r", "nigger"),
        ("m0therf4cker", "motherfacker"),
        ("h€ll", "hell"),
        ("s1ut", "slut"),
        ("f*ck", "fuck"),
        ("sh*t", "shit"),
        ("kys", "kill yourself"),
        ("KYS!!!", "kill yourself!!!"),
        ("stfu now", "shut the fuck up now"),
        ("k.y.s", "kill yourself"),
        ("haaaaate", "haate"),
        ("sooooo goooood", "soo good"),
        ("whaaat", "whaat"),
        ("wow!!!!!!!!", "wow!!!"),
        ("😂😂😂😂😂😂", "😂😂😂"),
        ("аss", "ass"),
        ("аѕѕ is what you are", "ass is what you are"),
        ("сука", "сука"),
        ("cукa", "сука"),
        ("сyкa", "сука"),
        ("🅱itch", "bitch"),
        ("  two\n\n lines\t", "two lines"),
        ("“quoted” – it’s", '"quoted" - it\'s'),
        ("a\ud800b", "ab"),
        ("", ""),
        ("\u200b\u200b", ""),
    ],
)
def test_canonical_text(text: str, expected: str) -> None:
    assert normalise(text).text == expected


@pytest.mark.parametrize(
    "text",
    [
        "covid19",
        "covid-19",
        "mp3",
        "mp4",
        "b2b",
        "p2p",
        "4x4",
        "3pm",
        "10am",
        "2nd",
        "1st",
        "21st",
        "h5n1",
        "h2o",
        "co2",
        "ps5",
        "gpt4",
        "win10",
        "r2d2",
        "c3po",
        "i18n",
        "k8s",
        "m4a",
        "a4",
        "1080p",
        "5g",
        "x86",
        "sha256",
        "utf8",
        "s01e05",
        "galaxy a55",
        "f-150",
        "i7-4770k",
        "10.0.0.1",
        "192.168.100.1:8080",
        "2024-01-05",
        "01/05/2024",
        "12:30",
        "$5.00",
        "us$ 40",
        "$100k",
        "https://example.com/h4t3/sh1t?x=a5s",
        "www.sh1t.example",
        "@h4t3r",
        "@ryan_5",
        "#h4t3",
        "#b1tch",
        "me.h4t3@example.com",
        "h4t3.example.com",
        "one, two",
        "i am a",
        "a i o",
        "e.g. this",
        "i.e. that",
        "p.m.",
        "yes/no",
        "a+b=c",
        "world war iii",
        "www.",
        "xxx",
        "good god",
        "bookkeeper",
        "committee",
        "...",
        "wait...",
        "3.14159",
        "1000000",
        "aa-batteries",
        "non-e-mail",
        "plan b",
        "x y",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    normalised = normalise(text)
    assert normalised.text == text
    assert normalised.evasion == 0.0
    assert normalised.signals == normalise("plain").signals


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_no_language_is_damaged(language: str, form: str) -> None:
    text = LANGUAGES[language]
    expected = text.translate(COMPATIBLE).lower()
    normalised = normalise(unicodedata.normalize(form, text))  # type: ignore[arg-type]  # literals
    assert normalised.text == unicodedata.normalize("NFC", expected)
    assert normalised.evasion == 0.0


def test_compatibility_jamo_and_long_ligatures_stay() -> None:
    assert normalise("ㅋㅏ ㅎㅎ").text == "ㅋㅏ ㅎㅎ"
    assert normalise("ﷺ").text == "ﷺ"
    assert normalise("brand™").text == "brand™"


def test_half_width_kana_are_kana() -> None:
    assert normalise("ｶﾞｷﾞｸﾞ").text == "ガギグ"


def test_stress_marks_and_arabic_stretching_go() -> None:
    assert normalise("за\u0301мок").text == "замок"
    assert normalise("مرحـــبا").text == "مرحبا"
    assert normalise("مرحـــبا").evasion == 0.0


def test_a_russian_word_in_english_text_is_not_read_as_english() -> None:
    assert normalise("the word привет means hello").text == "the word привет means hello"
    assert normalise("рот и нос in russian").text == "рот и нос in russian"


def test_evasion_grows_with_every_trick_and_stays_below_one() -> None:
    one = normalise("you h4t3 me").evasion
    two = normalise("you h4t3 me, d1rty one").evasion
    many = normalise("y\u200bou h4t3 mе, d1rty оnе " * 50).evasion
    assert 0.0 < one < two < many <= 1.0


@pytest.mark.parametrize(
    ("text", "signal"),
    [
        ("ki\u200bll", "zero_width"),
        ("𝐡𝐚𝐭𝐞", "styled"),
        ("h\u0336a\u0336te", "marks"),
        ("hаte", "confusables"),
        ("h a t e", "spelled"),
        ("h4t3", "leet"),
        ("f*ck", "leet"),
        ("haaaate", "repeats"),
    ],
)
def test_signals(text: str, signal: str) -> None:
    normalised = normalise(text)
    assert getattr(normalised.signals, signal) > 0
    assert normalised.evasion > 0.0


def test_acronyms_are_no_evasion() -> None:
    assert normalise("The U.S.A. and the F.B.I.").text == "the usa. and the fbi."
    assert normalise("The U.S.A. and the F.B.I.").evasion == 0.0
    assert normalise("the h.a.t.e").evasion > 0.0


def found(normalised: Normalised, word: str) -> str:
    start = normalised.text.index(word)
    first, last = normalised.original_span(start, start + len(word))
    return normalised.original[first:last]


@pytest.mark.parametrize(
    ("text", "word", "original"),
    [
        ("You  H.A.T.E  me", "hate", "H.A.T.E"),
        ("you h\u200ba\u200bte me", "hate", "h\u200ba\u200bte"),
        ("you haaaaate me", "haate", "haaaaate"),
        ("\n\n𝐡𝐚𝐭𝐞", "hate", "𝐡𝐚𝐭𝐞"),
        ("just KYS ok", "yourself", "KYS"),
        ("just KYS ok", "ok", "ok"),
        ("İstanbul h4t3", "hate", "h4t3"),
        ("ﬁne ½ h a t e", "hate", "h a t e"),
        ("z̷a̷l̴g̸o̷ hate", "zalgo", "z̷a̷l̴g̸o̷"),
        ("z̷a̷l̴g̸o̷ hate", "hate", "hate"),
        ("가\u1100\u1161 나", "나", "나"),
        ("c’est nul", "est", "est"),
    ],
)
def test_spans_point_into_the_original(text: str, word: str, original: str) -> None:
    assert found(normalise(text), word) == original


def test_spans_must_lie_within_the_text() -> None:
    normalised = normalise("some text")
    for start, end in ((-1, 2), (3, 2), (0, 10)):
        with pytest.raises(ValueError, match="within 0 and 9"):
            normalised.original_span(start, end)
    assert normalised.original_span(9, 9) == (9, 9)
    assert normalise("  \n").original_span(0, 0) == (3, 3)


def test_drawn_out_and_spelled_places_survive_later_steps() -> None:
    normalised = normalise("  f*ck  haaaate and h a t e  kys")
    assert normalised.text == "fuck haate and hate kill yourself"
    assert [normalised.text[i] for i in normalised.elongated] == ["a"]
    assert [normalised.text[a:b] for a, b in normalised.spelled] == ["hate"]


# --- tables ----------------------------------------------------------------------------------


def test_every_character_that_joins_its_neighbour_is_known() -> None:
    """The map back is made cluster by cluster; this finds what a new Unicode would add."""
    wrong = []
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000:
            continue
        character = chr(code)
        if unicodedata.decomposition(character) or unicodedata.combining(character):
            whole = unicodedata.normalize("NFKC", f"a{character}b")
            parts = [m[0] for m in _CLUSTER.finditer(f"a{character}b")]
            if "".join(unicodedata.normalize("NFKC", part) for part in parts) != whole:
                wrong.append(f"{code:04x}")
    assert not wrong


def test_the_canonical_form_has_not_changed_unnoticed() -> None:
    """Content hashes live in banks and caches. If this fails, count `VERSION` up."""
    texts = [*HATE, *LANGUAGES.values(), "Free MONEY!!!! at https://x.example  kys", "ﬁ ½ ㎏ Ⅳ"]
    joined = "\n".join(normalise(text).text for text in texts)
    assert (VERSION, hashlib.sha256(joined.encode()).hexdigest()[:16]) == (1, "f3c7bb55c5d2c614")


def test_wrong_tables_are_refused_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "normalise.yaml"
    path.write_text("version: 1\nabbreviations:\n  abc: go kys now\n  kys: kill yourself\n")
    with pytest.raises(ConfigError) as error:
        load_normaliser(path)
    assert str(error.value) == (
        f"{path}:3: abbreviations.abc: the expansion must be final,"
        " and this one becomes 'go kill yourself now'"
    )
    path.write_text("version: 1\nkeep: [MP3]\n")
    with pytest.raises(ConfigError, match=r"normalise\.yaml:2: keep\.0: "):
        load_normaliser(path)
