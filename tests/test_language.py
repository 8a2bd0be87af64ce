# ruff: noqa: RUF001 - sentences in many scripts, whose letters look like others
"""Languages of texts: told by their letters and by py3langid's model, a batch or one by one."""

from __future__ import annotations

import math
import pickle
import timeit
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from schemas.errors import ConfigError
from tests import conformance
from udfs import language
from udfs.language import Guess, LanguageGuesser, known_languages, scripts_of
from udfs.language_tables import SCRIPT_CODES, primary, script_numbers
from udfs.normalise import normalise

SENTENCES: dict[str, tuple[str, ...]] = {
    "en": (
        "The ferry was an hour late, so we missed the beginning of the concert.",
        "Does anybody know a good recipe for lentil soup without onions?",
        "My neighbour keeps bees on the roof and gives us honey every autumn.",
    ),
    "es": (
        "El tren salió con mucho retraso y llegamos cuando ya habían cerrado.",
        "¿Alguien sabe dónde se puede comprar pan recién hecho por aquí?",
        "Mi abuela plantó estos árboles hace más de cuarenta años.",
    ),
    "pt": (
        "O jogo foi adiado por causa da chuva e ninguém nos avisou.",
        "Alguém conhece uma boa padaria perto da estação de comboios?",
        "Gosto muito deste livro, mas ainda não cheguei ao fim.",
    ),
    "fr": (
        "Nous avons attendu le bus pendant une heure sous la pluie.",
        "Est-ce que quelqu'un connaît un bon restaurant près de la gare ?",
        "Ma sœur a repeint toute la cuisine en jaune pendant les vacances.",
    ),
    "de": (
        "Der Zug hatte eine Stunde Verspätung, und wir haben den Anschluss verpasst.",
        "Weiß jemand, wo man hier in der Nähe frisches Brot kaufen kann?",
        "Meine Großmutter hat diesen Garten vor vierzig Jahren angelegt.",
    ),
    "it": (
        "Il treno è partito in ritardo e siamo arrivati quando era già chiuso.",
        "Qualcuno conosce una buona pizzeria vicino alla stazione?",
        "Mia sorella ha dipinto tutta la cucina di giallo durante le vacanze.",
    ),
    "nl": (
        "De trein had een uur vertraging en we hebben het begin gemist.",
        "Weet iemand waar je hier in de buurt vers brood kunt kopen?",
        "Mijn buurman houdt bijen op het dak en geeft ons elk jaar honing.",
    ),
    "sv": (
        "Tåget var en timme försenat och vi missade början av konserten.",
        "Vet någon var man kan köpa färskt bröd här i närheten?",
        "Min granne har bin på taket och ger oss honung varje höst.",
    ),
    "pl": (
        "Pociąg spóźnił się o godzinę i nie zdążyliśmy na początek koncertu.",
        "Czy ktoś wie, gdzie w okolicy można kupić świeży chleb?",
        "Moja babcia posadziła te drzewa ponad czterdzieści lat temu.",
    ),
    "tr": (
        "Tren bir saat gecikti ve konserin başını kaçırdık.",
        "Buralarda taze ekmek nereden alınır, bilen var mı?",
        "Komşumuz çatıda arı besliyor ve her sonbahar bize bal veriyor.",
    ),
    "vi": (
        "Chuyến tàu đến muộn một tiếng nên chúng tôi lỡ phần đầu buổi hòa nhạc.",
        "Có ai biết chỗ nào gần đây bán bánh mì mới ra lò không?",
        "Bà tôi trồng những cây này hơn bốn mươi năm trước.",
    ),
    "fi": (
        "Juna oli tunnin myöhässä, joten emme ehtineet konsertin alkuun.",
        "Tietääkö kukaan, mistä täältä päin saa tuoretta leipää?",
        "Naapurillani on mehiläisiä katolla ja hän antaa meille hunajaa.",
    ),
    "ru": (
        "Поезд опоздал на час, и мы пропустили начало концерта.",
        "Кто-нибудь знает, где здесь можно купить свежий хлеб?",
        "Моя бабушка посадила эти деревья больше сорока лет назад.",
    ),
    "uk": (
        "Потяг запізнився на годину, і ми пропустили початок концерту.",
        "Хтось знає, де тут поблизу можна купити свіжий хліб?",
        "Моя бабуся посадила ці дерева понад сорок років тому.",
    ),
    "ar": (
        "تأخر القطار ساعة كاملة ولم نلحق ببداية الحفلة.",
        "هل يعرف أحد أين يمكن شراء خبز طازج قريبا من هنا؟",
        "زرعت جدتي هذه الأشجار قبل أكثر من أربعين عاما.",
    ),
    "fa": (
        "قطار یک ساعت دیر رسید و ما به شروع کنسرت نرسیدیم.",
        "کسی می‌داند این اطراف از کجا می‌شود نان تازه خرید؟",
        "مادربزرگم این درخت‌ها را بیش از چهل سال پیش کاشت.",
    ),
    "hi": (
        "ट्रेन एक घंटा देर से आई और हम कार्यक्रम की शुरुआत नहीं देख पाए।",
        "क्या किसी को पता है कि यहाँ ताज़ी रोटी कहाँ मिलती है?",
        "मेरी दादी ने ये पेड़ चालीस साल से भी पहले लगाए थे।",
    ),
    "zh": (
        "火车晚点了一个小时，我们错过了音乐会的开头。",
        "有人知道这附近哪里可以买到新鲜的面包吗？",
        "这些树是我奶奶四十多年前种的。",
    ),
    "ja": (
        "電車が一時間遅れて、コンサートの始まりに間に合いませんでした。",
        "この近くで焼きたてのパンを買える店を知りませんか。",
        "祖母は四十年以上前にこの木を植えました。",
    ),
    "ko": (
        "기차가 한 시간 늦어서 공연의 시작을 놓쳤어요.",
        "이 근처에서 갓 구운 빵을 살 수 있는 곳을 아시는 분 있나요?",
        "할머니께서 사십 년도 더 전에 이 나무들을 심으셨어요.",
    ),
    "el": (
        "Το τρένο είχε μία ώρα καθυστέρηση και χάσαμε την αρχή.",
        "Ξέρει κανείς πού μπορώ να αγοράσω φρέσκο ψωμί εδώ κοντά;",
        "Η γιαγιά μου φύτεψε αυτά τα δέντρα πριν από σαράντα χρόνια.",
    ),
    "he": (
        "הרכבת איחרה בשעה ופספסנו את תחילת ההופעה.",
        "מישהו יודע איפה אפשר לקנות כאן לחם טרי?",
        "סבתא שלי שתלה את העצים האלה לפני יותר מארבעים שנה.",
    ),
    "th": (
        "รถไฟมาช้าหนึ่งชั่วโมง เราเลยพลาดตอนต้นของคอนเสิร์ต",
        "มีใครรู้บ้างว่าแถวนี้ซื้อขนมปังสดใหม่ได้ที่ไหน",
        "คุณยายของฉันปลูกต้นไม้เหล่านี้เมื่อกว่าสี่สิบปีก่อน",
    ),
}
"""Written for this test."""
ALL = [(code, text) for code, texts in SENTENCES.items() for text in texts]


@pytest.fixture(scope="module")
def guesser() -> LanguageGuesser:
    return LanguageGuesser()


def one(guesser: LanguageGuesser, text: str, declared: str | None = None) -> Guess:
    return guesser.guess([text], [declared])[0]


@pytest.mark.parametrize("code", SENTENCES)
def test_a_sentence_is_told(guesser: LanguageGuesser, code: str) -> None:
    for text in SENTENCES[code]:
        for form in (text, normalise(text).text, text.upper()):
            guess = one(guesser, form)
            assert guess.code == code, form
            assert guess.confidence >= language.MIN_CONFIDENCE
            assert set(guess.scripts) <= scripts_of(code)


def test_halves_of_sentences_are_told_or_left_open(guesser: LanguageGuesser) -> None:
    halves = [(code, text[: len(text) // 2]) for code, text in ALL]
    guesses = guesser.guess([text for _, text in halves], [None] * len(halves))
    wrong = [g.code for g, (c, _) in zip(guesses, halves, strict=True) if g.code not in {c, "und"}]
    told = sum(g.code == c for g, (c, _) in zip(guesses, halves, strict=True))
    assert len(wrong) <= 0.05 * len(halves), wrong
    assert told >= 0.85 * len(halves)


@pytest.mark.parametrize(
    "text", ["", " ", "a", "12:30", "😀😀😀", "???", "https://example.com/a/b", "@ada #1", "\ud800"]
)
def test_what_says_nothing_is_undetermined(guesser: LanguageGuesser, text: str) -> None:
    guess = one(guesser, text)
    assert (guess.code, guess.confidence) == ("und", 0.0)
    assert one(guesser, text, "de").code == "de"


@pytest.mark.parametrize("text", ["ok", "lol", "hmm no", "xd xd"])
def test_short_texts_are_left_open_or_doubted(guesser: LanguageGuesser, text: str) -> None:
    assert one(guesser, text).confidence < 0.9
    assert one(guesser, text, "sv").code in {"sv", "und"}
    assert one(guesser, "ok", "sv").code == "sv"


def test_two_scripts_are_no_one_language(guesser: LanguageGuesser) -> None:
    mixed = f"{SENTENCES['en'][0]} {SENTENCES['th'][0]}"
    guess = one(guesser, mixed, "en")
    assert guess.code == "und"
    assert guess.confidence == 0.0
    assert set(guess.scripts) == {"Latn", "Thai"}
    name = SENTENCES["ru"][1] + " Ada"
    assert one(guesser, name).code == "ru"


def test_letters_are_counted(guesser: LanguageGuesser) -> None:
    assert one(guesser, "ab 12 cd. @ada https://example.com/x ef").letters == 6
    assert one(guesser, "火车").letters == 4
    assert one(guesser, "12").letters == 0


def test_japanese_may_have_few_kana_and_chinese_has_none(guesser: LanguageGuesser) -> None:
    assert one(guesser, "東京都知事選挙の結果").code == "ja"
    assert one(guesser, "东京都知事选举结果公布").code == "zh"


def test_unlisted_writing_is_undetermined_but_named(guesser: LanguageGuesser) -> None:
    assert one(guesser, "ܫܠܡܐ ܥܠܝܟܘܢ ܟܠܟܘܢ") == Guess("und", 0.0, ("Zzzz",), 15)


def test_a_declaration_wins_where_the_text_says_little(guesser: LanguageGuesser) -> None:
    assert one(guesser, "no", "it").code == "it"
    assert one(guesser, SENTENCES["de"][0], "fr").code == "de"
    assert one(guesser, SENTENCES["ru"][0], "en").code == "ru"
    assert one(guesser, SENTENCES["pt"][0], "pt-BR").confidence >= (
        one(guesser, SENTENCES["pt"][0]).confidence
    )
    # Nothing is known of that language: the text decides, and where it says nothing, the word.
    assert one(guesser, SENTENCES["en"][1], "ceb").code == "en"
    assert one(guesser, "oo", "ceb").code == "ceb"


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("pt-BR", "pt"), ("zh_Hant_TW", "zh"), ("nb", "no"), ("iw", "he"), ("EN", "en"),
        ("", "und"), (None, "und"), ("*", "und"), ("e1", "und"), ("english", "und"), ("é", "und"),
    ],
)  # fmt: skip
def test_declared_tags_are_reduced_to_their_language(tag: str | None, code: str) -> None:
    assert primary(tag) == code


def test_a_restricted_guesser_names_no_other(guesser: LanguageGuesser) -> None:
    two = LanguageGuesser({"en", "de"})
    assert one(two, SENTENCES["de"][1]).code == "de"
    for _, text in ALL:
        assert one(two, text).code in {"en", "de", "und"}
    assert one(two, SENTENCES["th"][0])[:3] == ("und", 0.0, ("Thai",))
    with pytest.raises(ConfigError, match=r"no such language: klingon; there are: af, am"):
        LanguageGuesser({"klingon"})


def test_probabilities_are_those_of_py3langid() -> None:
    latin = ("en", "de", "fr", "es", "it", "nl", "sv", "fi", "tr", "vi")
    reference = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    reference.set_languages(latin)
    ours = LanguageGuesser(latin, min_confidence=0.0)
    for code in latin:
        for text in SENTENCES[code]:
            name, share = reference.classify(text)
            # Theirs at our temperature.
            scores = {k: math.log(max(v, 1e-300)) / language.HEAT for k, v in reference.rank(text)}
            heated = 1.0 / sum(math.exp(s - scores[name]) for s in scores.values())
            guess = one(ours, text)
            assert guess.code == name
            assert guess.confidence == pytest.approx(heated, abs=5e-3), share


TEXTS = [*(text for _, text in ALL), *conformance.TEXTS, *conformance.ODD_TEXTS]


def test_a_batch_is_as_one_by_one(guesser: LanguageGuesser) -> None:
    declared: Sequence[str | None] = [(None, "en", "ru-RU")[i % 3] for i in range(len(TEXTS))]
    alone = [one(guesser, text, tag) for text, tag in zip(TEXTS, declared, strict=True)]
    assert guesser.guess(TEXTS, declared) == alone
    assert guesser.guess(TEXTS[::-1], declared[::-1]) == alone[::-1]
    assert guesser.guess([], []) == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=4), st.sampled_from([None, "en", "xx", "zh-CN"]))
def test_any_text_gets_a_guess(texts: list[str], tag: str | None) -> None:
    both = SHARED.guess(texts, [tag] * len(texts))
    assert both == [one(SHARED, text, tag) for text in texts]
    for guess in both:
        assert 0.0 <= guess.confidence <= 1.0
        assert guess.code == "und" or guess.confidence >= language.MIN_CONFIDENCE
        assert guess.code in {*known_languages(), "und", "xx"}


SHARED = LanguageGuesser()


def test_guessers_of_the_same_languages_share_a_model_and_pickle(
    guesser: LanguageGuesser,
) -> None:
    seconds = min(timeit.repeat(LanguageGuesser, number=1, repeat=3))
    assert seconds < 0.1
    again = pickle.loads(pickle.dumps(guesser))  # noqa: S301 - made here
    declared: list[str | None] = [None] * len(TEXTS)
    assert again.guess(TEXTS, declared) == guesser.guess(TEXTS, declared)


def test_letters_have_scripts() -> None:
    table = script_numbers()
    named = {SCRIPT_CODES[table[ord(c)]] for c in "aЖξアあ漢한ก"}
    assert named == {"Latn", "Cyrl", "Grek", "Jpan", "Hani", "Hang", "Thai"}
    assert not table[[ord(c) for c in "0 .,!😀\u0301"]].any()


def test_it_costs_microseconds(guesser: LanguageGuesser) -> None:
    batch = [(text * 4)[:120] for _, text in ALL][:64]
    none = [None] * len(batch)
    best = min(timeit.repeat(lambda: guesser.guess(batch, none), number=5, repeat=9)) / 5
    # Measured at 10 and below; py3langid's own takes 62. The machine may be busy and slow.
    assert best / len(batch) < 50e-6
