"""Laws of normalisation, on texts made of everything that its steps look for."""

# ruff: noqa: RUF001 - look-alikes are what is tested

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from udfs import normalise_leet
from udfs.normalise import Normalised, default_normaliser, normalise
from udfs.normalise_work import OffsetMap, Work, moved

PIECES = [
    *"aeiouhtkslyc  ..--__**!!@@$$|013457'/#:\n\t,~",
    *"асеорхуікмтвнгёй",
    *"οαρνκτεςΣ",
    *"İıIéüñöøßđ",
    *"\u0301\u0308\u0307\u0323\u0335\u20e3\u0303\u034f\u030c",
    *"\u200b\u200c\u200d\u00ad\u2060\ufe0f\u202e\u3164\u115f\u1160\U000e0067\U000e007f",
    *"ｈａｔ𝐡𝐚Ⓐ①㎏ﬁ…½™²€",
    *"가각ㅋㅏ\u1100\u1161\u11a8ｶﾞが\u3099",
    *"ำก้ิनमस्तेक्षسلام\u0640\u064b\u0651ﷺ",
    *"😂👩❤🔥🏴🇫🇺🅱🅰ᴀʟᏚ",
    *"’“—\ud800\x00\x85\u2028\u00a0",
    "\U0001d165",
    "\U0001d16e",
    "https://",
    "www.",
    "kys",
    "f*ck",
    "@ss",
    "a$$",
    "iii",
    "xxx",
    "stfu",
    "U.S.A.",
    " k i l l ",
    "h4t3",
    "covid19",
]
TEXTS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=30).map("".join),
    # Few kinds of pieces a text make more of the meetings that matter.
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=4, unique=True).flatmap(
        lambda few: st.lists(st.sampled_from(few), max_size=16).map("".join)
    ),
    st.text(max_size=40),
    st.text(st.characters(max_codepoint=127), max_size=60),
)
NORMALISER = default_normaliser()


@settings(max_examples=400, deadline=None)
@given(TEXTS)
@example("a b  c")
@example("e\u0640\u200c\u0633e+")
@example("\u0640\u0640\u0651\u0651\u0947\u0640\u064b")
@example("U.S.A.\u029f!\U0001d421")
@example("\uff9e\u094d\u094d\u200d\u094d\uff9e\u094d")
def test_normalising_twice_is_normalising_once(text: str) -> None:
    once = normalise(text)
    again = normalise(once.text)
    assert again.text == once.text
    assert again.skeleton == once.skeleton


@settings(max_examples=400, deadline=None)
@given(TEXTS)
@example("$\u00f8")
@example("u|\u03b5$\u03b5")
def test_the_fast_path_is_the_slow_path(text: str) -> None:
    quick = NORMALISER._quick(text)
    slow = NORMALISER._settle(Work(text)).text
    assert quick is None or quick == slow
    normalised = normalise(text)
    assert normalised.text == slow
    assert normalised.skeleton == normalise_leet.skeleton(slow, NORMALISER._keep)
    if quick is not None:
        assert normalised.evasion == 0.0


@settings(max_examples=400, deadline=None)
@given(TEXTS)
@example("U.S.A.ʟ!𝐡\u0303™")
def test_offsets_lead_back_into_the_original(text: str) -> None:
    normalised = normalise(text)
    offsets = OffsetMap(len(text))
    assert NORMALISER._settle(Work(text, offsets)).text == normalised.text
    length = len(normalised.text)
    assert len(offsets.starts) == len(offsets.ends) == len(normalised.skeleton) == length
    assert all(0 <= a < b <= len(text) for a, b in zip(offsets.starts, offsets.ends, strict=True))
    assert offsets.starts == sorted(offsets.starts)
    assert offsets.ends == sorted(offsets.ends)
    for i in range(length):
        assert normalised.original_span(i, i + 1) == (offsets.starts[i], offsets.ends[i])
    if length:
        assert normalised.original_span(0, length) == (offsets.starts[0], offsets.ends[-1])


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_places_lie_in_the_text_and_scores_in_their_range(text: str) -> None:
    normalised = normalise(text)
    size = len(normalised.text)
    assert all(0 <= place < size for place in normalised.elongated)
    assert all(0 <= a < b <= size for a, b in normalised.spelled)
    assert list(normalised.spelled) == sorted(normalised.spelled)
    assert 0.0 <= normalised.evasion <= 1.0
    assert (normalised.evasion == 0.0) == (normalised.signals.score() == 0.0)
    normalised.text.encode()  # no lone surrogates


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(categories=["Ll", "Lo", "Zs"]), max_size=60))
def test_letters_and_spaces_alone_hide_nothing(text: str) -> None:
    signals = normalise(text).signals
    assert signals.leet == signals.zero_width == signals.marks == 0


@given(
    st.text("ab", max_size=30),
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(1, 4), st.text("x", max_size=3)), max_size=6
    ),
)
def test_places_move_with_the_text(text: str, wanted: list[tuple[int, int, str]]) -> None:
    """Against the map of every code point, which is made another way."""
    edits: list[tuple[int, int, str]] = []
    at = 0
    for start, width, new in sorted(wanted):
        if start >= at and start + width <= len(text):
            edits.append((start, start + width, new))
            at = start + width
    offsets = OffsetMap(len(text))
    offsets.edit(edits)
    touched = {i for start, end, _ in edits for i in range(start, end)}
    for place in range(len(text)):
        if place not in touched:
            assert offsets.starts[moved([place], edits)[0]] == place


def test_a_normalised_text_is_immutable() -> None:
    normalised: Normalised = normalise("text")
    try:
        normalised.text = "other"  # type: ignore[misc]  # that is the point
    except AttributeError:
        return
    raise AssertionError
