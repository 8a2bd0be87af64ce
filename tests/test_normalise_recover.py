"""Words read by how common they are, and the honest texts that look disguised."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.normalise import default_normaliser, normalise
from udfs.normalise_lexicon import Lexicon
from udfs.normalise_recover import Recovery, variants

DISGUISED = {
    "y o u a r e a n i d i o t": "you are an idiot",
    "I h a t e y o u": "i hate you",
    "k.i.l.l.y.o.u.r.s.e.l.f": "kill yourself",
    "s u c h o_l_d i.d.i.o.t": "such old idiot",
    "y.ou ar*e su_ch a mo ron a.nd I ha-te you": "you are such a moron and i hate you",
    "w_a_s t*h*e h ad to p ut a d.u.m.b": "was the had to put a dumb",
    "y0u 1diot 4nd st.upid": "you idiot and stupid",
    "(5he 15 @ l0$er) @nd 7he 1d!07": "(she 15 @ loser) and the idiot",
    "you st upid idoit": "you stupid idiot",
    "she is a c💀unt": "she is a cunt",
    "the qiuck bronw fxo jumps ovre the lzay dog": "the quick brown fox jumps over the lazy dog",
    "yuo are teh wrost perosn alvie": "you are the worst person alive",
    "siht is trrash": "shit is trash",
    "id 😀 you 😂 idiot 🔥 are 💯 so 🙄 bad 😡": "id you idiot are so bad",
    "Who 😀 asked 😂? Y😡ou don 🙄't know 💯, id🤡iot 🔥!": "who asked? you don't know, idiot!",
    "you 🎉 lie 🎉, y🎉ou b🎉rz 🎉, you 🎉 lie 🎉.": "you lie, you brz, you lie.",
    # A picture between two words parts them, even there.
    "good 😀 bye 😂, see 😡 you 💯, never😀again 🎉.": "good bye, see you, never😀again.",
}
HONEST = (
    "they elected a man who re-elected them", "he has a lot of bae and amd in the hood",
    "i'm a c sharp developer", "that's y i said so", "4th of 7 and 3rd of 11",
    "great day 🌞 with the kids 🎉 and the dog ❤", "we ate 🍕 then 🍔 then 🍟 all day long",
    "so good 🎉! love it 😍, all of it ❤!",
    "ich gehe heute nicht in die schule, weil ich krank bin",
    "voce nao sabe o que e a vida de verdade",
    "je ne sais pas pourquoi tu fais cela maintenant",
    "sudo apt-get install grub-pc && update-grub",
    "Jürgen Müller and Zlatan Ibrahimović met Kylian Mbappé",
    "kubectl rollout restart deployment nginx is what they run",
)  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), DISGUISED.items())
def test_disguised_texts_are_read(text: str, expected: str) -> None:
    assert normalise(text).text == expected


@pytest.mark.parametrize("text", HONEST)
def test_honest_texts_are_left(text: str) -> None:
    assert normalise(text).text == text.lower()


def test_one_oddity_proves_nothing_about_a_long_text() -> None:
    text = "my old printer, model 1d10t, has an er ror that nobody else in the office has ever had"
    assert "er ror" in normalise(text).text


def test_offsets_lead_back_to_what_was_run_together() -> None:
    text = "Well, y o u a r e an id-iot"
    found = normalise(text)
    assert found.text == "well, you are an idiot"
    for word, original in (("you", "y o u"), ("are", "a r e"), ("idiot", "id-iot")):
        start = found.text.index(word)
        first, last = found.original_span(start, start + len(word))
        assert text[first:last] == original


def test_where_words_end_is_no_longer_unknown() -> None:
    assert normalise("y o u a r e").spelled == ()
    assert normalise("i d i o t").spelled == ((0, 5),)


def test_the_commoner_words_are_read() -> None:
    words = ["a", "i", "the", "rapist", "he", "rap", "therapist", "is", "tis"]
    recovery = Recovery(Lexicon(words))
    assert recovery.cuts("therapist") == ()
    assert recovery.cuts("therapistis") == (9,)
    assert recovery.cuts("theqapist") == ()
    assert Recovery(Lexicon(words[:4])).cuts("therapist") == (3,)


GUARDED = list(variants(["idiot", "stupid", "moron"], default_normaliser()._lexicon))


def test_forms_of_a_word_are_no_words() -> None:
    lexicon = Lexicon(["who", "whore", "whose", "idiot", "hors", "wore"])
    forms = variants(["whore", "kill"], lexicon)
    assert forms["whhore"] == "whore"
    assert {"wh ore", "whor e", "wohre", "whoer", "ki ll"} <= forms.keys()
    assert not {"who re", "wore", "whore", "kil", "klil"} & forms.keys()


def test_a_form_of_two_words_is_neither() -> None:
    assert "abcd" not in variants(["abxcd", "abycd"], Lexicon(()))


@pytest.mark.parametrize("form", GUARDED[::7])
def test_guarded_words_are_read_anywhere(form: str) -> None:
    text = f"i think that the old man next door was a {form}, and so did my sister"
    read = normalise(text).text.split()
    assert {"idiot,", "stupid,", "moron,"} & set(read)


@given(
    st.lists(
        st.sampled_from(
            ["y.o.u", "s u c h", "id iot", "1d!ot", "teh", "wrnog", "qiuck", "a", "i", "you", "the",
             "this", "not", "💀", "c💀at", "b r", "@nd", "5y", "x_y", "who", "re", "perosn", "!"]
        ),
        max_size=14,
    ).map(" ".join)
)  # fmt: skip
def test_reading_twice_is_reading_once(text: str) -> None:
    once = normalise(text)
    assert normalise(once.text).text == once.text
    length = len(once.text)
    spans = [once.original_span(i, i + 1) for i in range(length)]
    assert spans == sorted(spans)
    assert all(0 <= a < b <= len(text) for a, b in spans)
