"""Keyword and pattern rules: what they find, what they leave alone, where they apply."""

# ruff: noqa: RUF001 - look-alikes are what is tested

from __future__ import annotations

import datetime as dt
import pickle
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.categories import TEXT_CATEGORIES
from tests.normalise_kit import HATE, LANGUAGES
from tests.policy_kit import POLICY_FILE
from tests.rules_kit import NOW, NOW_MS, RULES_FILE, found, ids, item, keywords, matches, patterns
from udfs.policy import Policy
from udfs.rules import RuleSet
from udfs.rules_patterns import MAX_SPANS

HATE_RULE = keywords("hate")


@pytest.mark.parametrize(
    "disguise", [*HATE, "ha\u0301te", "hâte", "haaaate", "haate", "hhhaaattteee"]
)
def test_every_disguise_matches_and_its_place_is_known(disguise: str) -> None:
    text = f"well, i {disguise} you"
    [place] = found(HATE_RULE, text)
    assert place
    assert place in disguise
    assert found(keywords("well, i hate"), text)


BENIGN = {
    "cunt": "Scunthorpe",
    "coon": "a raccoon, a tycoon, a cocoon",
    "nigger": "snigger, Niger, Nigeria, niggardly",
    "sex": "Essex, Sussex, sextant, Middlesex",
    "cock": "cocktail, peacock, hancock, cockpit",
    "ass": "assassin, class, pass, bass, assume, grass, as, embassy, as_is",
    "dick": "Dickens, dickcissel, Riddick",
    "shit": "shiitake, Matsushita",
    "rapist": "therapist",
    "raping": "rapping, draping",
    "rape": "grape, drape, rapeseed, parapet",
    "tit": "title, stitute, competition",
    "cum": "document, cucumber, circumstance, cúm mùa",
    "hell": "hello, shell, he'll",
    "anal": "analysis, canal",
    "arse": "parse, arsenal, coarse",
    "pene": "penne, penetrate",
    "puto": "putto, computo",
    "god": "good, gods",
    "hoe": "shoe, phoenix",
    "fag": "fagus, sofage",
    "spic": "spice, suspicious, despicable",
    "slut": "slutsky",
    "piss": "mississippi",
    "damn": "damning, goddamnit",
    "hui": "huile",
    "хуй": "страхуй, плохую",
    "бля": "употреблять, рубля",
    "ебать": "потреблять, колебаться",
    "हर": "शहर हरि",
}


@pytest.mark.parametrize("term", BENIGN)
def test_benign_words_that_contain_a_term_do_not_match(term: str) -> None:
    rules = keywords(term)
    assert found(rules, BENIGN[term]) == []
    assert found(rules, BENIGN[term].upper()) == []
    assert found(rules, f"so {term}!") == [term]


@pytest.mark.parametrize(
    ("term", "text", "place"),
    [
        ("shit", "SHIIIIT happens", "SHIIIIT"),
        ("shit", "shiit happens", "shiit"),
        ("coon", "a cooooon", "cooooon"),
        ("nigger", "nnniiiggggerrr", "nnniiiggggerrr"),
        ("loser", "looooooser", "looooooser"),
        ("moron", "stuuupid mooooron", "mooooron"),
        ("kill yourself", "KYS now", "KYS"),
        ("kill yourself", "killyourself", "killyourself"),
        ("kill yourself", "kill-yourself", "kill-yourself"),
        ("kill yourself", "#killyourself", "killyourself"),
        ("kill yourself", "k i l l  y o u r s e l f", "k i l l  y o u r s e l f"),
        ("kill yourself", "k i l l y o u r s e l f", "k i l l y o u r s e l f"),
        ("kill you", "iwillkillyou", None),
        ("hate", "i h a t e y o u", "h a t e"),
        ("whore", "whor3", "whor3"),
        ("shit", "5hit", "5hit"),
        ("idiot", "#1d1ot", "1d1ot"),
        ("idiot", "1d10t", "1d10t"),
        ("bitch", "bîtch", "bîtch"),
        ("cabron", "cabrón", "cabrón"),
        ("coño", "un cono", None),
        ("coño", "¡COÑO!", "COÑO"),
        ("fuck", "🇫🇺🇨🇰", "🇫🇺🇨🇰"),
        ("убью тебя", "Я УБЬЮ ТЕБЯ", "УБЬЮ ТЕБЯ"),
        ("убью тебя", "я y6ью тебя", "y6ью тебя"),
        ("сука", "с у к а", "с у к а"),
        ("arschlöcher", "ARSCHLÖCHER", "ARSCHLÖCHER"),
        ("scheiße", "Scheiße", "Scheiße"),
        ("मादरचोद", "तू मादरचोद है", "मादरचोद"),
        ("شرموطة", "يا شرمـــوطة", "شرمـــوطة"),
        ("c++", "c++ is fun", "c++"),
    ],
)
def test_terms(term: str, text: str, place: str | None) -> None:
    assert found(keywords(term), text) == ([] if place is None else [place])


def test_whole_word_false_finds_inside_words() -> None:
    more = "    whole_word: false\n    allow: [scunthorpe]\n"
    rules = keywords("cunt", "傻逼", more=more)
    assert found(rules, "megacunts and Scunthorpe") == ["cunt"]
    assert found(rules, "你是傻逼吗") == ["傻逼"]


def test_what_is_allowed_vetoes_the_matches_it_touches_and_no_other() -> None:
    rules = keywords("kill yourself", more='    allow: ["don\'t kill", kill yourself laughing]\n')
    assert found(rules, "Don't kill yourself") == []
    assert found(rules, "DON’T kill yourself") == []
    assert found(rules, "don't kill yourself. No: kill yourself") == ["kill yourself"]
    assert found(rules, "you'll kill yourself laughing") == []
    free = patterns("free .{0,9}money", more="    allow: [free the money]\n")
    assert found(free, "free the money, Free Money") == ["Free Money"]


def test_an_allowed_phrase_of_one_rule_is_nothing_to_another() -> None:
    text = (
        'version: "1"\nrules:\n'
        "  - {id: a, kind: keywords, category: x, terms: [moby], allow: [moby dick]}\n"
        "  - {id: b, kind: keywords, category: x, terms: [dick]}\n"
    )
    assert ids(RuleSet.parse(text), "Moby Dick") == ["b"]


def test_patterns_read_the_normalised_text_and_the_skeleton() -> None:
    rules = patterns(r"free\s+money")
    assert found(rules, "get FREE \n MONEY") == ["FREE \n MONEY"]
    assert found(rules, "fr33 m0n3y, f r e e  money") == ["fr33 m0n3y", "f r e e  money"]
    assert found(rules, "freemoney") == []


def test_patterns_may_read_the_original() -> None:
    rules = patterns(r"\$[A-Z]{3}\b", "  two", more="    view: original\n    allow: [buy $abc]\n")
    assert found(rules, "Buy $ABC, sell $xyz  two") == ["$xyz", "  two"]


def test_a_pattern_reports_its_first_places_only() -> None:
    [match] = matches(patterns("ab"), "ab " * 1000)
    assert len(match.spans) == MAX_SPANS
    [match] = matches(keywords("word"), "word " * 1000)
    assert len(match.spans) == MAX_SPANS


def test_one_match_a_rule_in_the_order_of_the_file() -> None:
    text = (
        'version: "7"\nrules:\n'
        "  - {id: z, kind: regex, category: c, patterns: [b.d, a], severity: severe, weight: 0.9}\n"
        "  - {id: a, kind: keywords, category: d, terms: [bad], definitive: true, mode: observe}\n"
    )
    rules = RuleSet.parse(text)
    first, second = matches(rules, "A bad, bad")
    assert (first.rule_id, first.category, first.severity, first.weight) == (
        "z",
        "c",
        "severe",
        0.9,
    )
    assert (first.definitive, first.observe_only) == (False, False)
    assert first.spans == ((0, 1), (2, 5), (3, 4), (7, 10), (8, 9))
    assert (second.rule_id, second.severity, second.weight) == ("a", "moderate", 0.5)
    assert (second.definitive, second.observe_only) == (True, True)
    assert second.spans == ((2, 5), (7, 10))
    assert rules.version == "7"


@pytest.mark.parametrize(
    ("scope", "applies", "not_to"),
    [
        ("communities: [a, b]", {"community_id": "b"}, {"community_id": "c"}),
        ("communities: [a]", {"community_id": "a"}, {}),
        ("languages: [de]", {"language": "de-AT"}, {"language": "en"}),
        ("languages: [de]", {"language": "DE_at"}, {}),
        ("languages: [de, und]", {}, {"language": "fr"}),
        ("content_types: [image]", {"content_type": "image", "media_uri": "m"}, {}),
        ("is_public: false", {"is_public": False}, {"is_public": True}),
        ("new_accounts: true", {"created": NOW - dt.timedelta(days=6)},
         {"created": NOW - dt.timedelta(days=8)}),
        ("new_accounts: true", {"created": None}, {"created": NOW - dt.timedelta(days=7)}),
        ("new_accounts: false", {"created": NOW - dt.timedelta(days=8)}, {"created": None}),
        ("communities: [a], languages: [en]", {"community_id": "a", "language": "en"},
         {"community_id": "a"}),
    ],
)  # fmt: skip
def test_scope(scope: str, applies: dict[str, object], not_to: dict[str, object]) -> None:
    rules = keywords("bad", more=f"    scope: {{{scope}}}\n")
    assert ids(rules, "bad", **applies) == ["r"]
    assert ids(rules, "bad", **not_to) == []


def test_dates() -> None:
    rules = keywords(
        "bad", more="    valid_from: 2026-01-01\n    valid_until: 2026-01-02T00:00:00Z\n"
    )
    day = 86_400_000.0
    applies = [bool(matches(rules, "bad", NOW_MS + at)) for at in (-1, 0, day - 1, day)]
    assert applies == [False, True, True, False]


def test_a_batch_is_its_items_one_by_one() -> None:
    rules = RuleSet.load(RULES_FILE)
    texts = [*LANGUAGES.values(), *HATE, "kys", "you fucking idiot", "get free money now", ""]
    items = [item(text) for text in texts] + [item(None, content_type="image", media_uri="m")]
    batch = rules.match(items, NOW_MS)
    assert batch == [rules.match([one], NOW_MS)[0] for one in items]
    assert len(batch) == len(items)
    assert not batch[-1]


def test_the_hash_is_of_the_content() -> None:
    one = keywords("bad", "worse")
    assert one.hash == keywords("bad", "worse").hash
    assert len(one.hash) == 16
    assert (
        one.hash
        == RuleSet.parse(
            "# a comment\nrules:\n"
            "- {terms: [bad, worse], category: toxicity, kind: keywords, id: r}\n"
            'version: "1"\n'
        ).hash
    )
    assert one.hash != keywords("bad", "worst").hash
    assert one.hash != keywords("bad", "worse", more="    weight: 0.4\n").hash
    assert RuleSet.compile(one.document).hash == one.hash


def test_no_rules_match_nothing() -> None:
    rules = RuleSet.parse('version: "0"\n')
    assert rules.match([item("anything h4t3 haaaate")], NOW_MS) == [()]


def test_compiled_rules_are_not_pickled_but_their_document_is() -> None:
    document = pickle.loads(pickle.dumps(HATE_RULE.document))  # noqa: S301 - made here
    assert RuleSet.compile(document).hash == HATE_RULE.hash


# --- cost ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "unit"),
    [
        (r"(a+)+$", "a"),
        (r"(a|a)*b", "a"),
        (r"(x+x+)+y", "x"),
        (r"a[^z]*z|a", "a"),
        (r"(.*)(.*)(.*)!", "ab "),
        (r"(?:free|fr)+\s*(?:money)+", "freemoney "),
    ],
)
def test_no_pattern_is_slow_on_any_text(wanted: str, unit: str) -> None:
    rules = patterns(wanted)
    one = item((unit * 50_000)[:50_000])
    started = time.process_time()
    rules.match([one], NOW_MS)
    assert time.process_time() - started < 2.0


@pytest.mark.parametrize("unit", ["ass ", "a s s ", "asss", "kys ", "bad good ", "@ss", "h4te "])
def test_no_keyword_is_slow_on_any_text(unit: str) -> None:
    rules = keywords("ass", "bad", "hate", "kill yourself", more="    allow: [bad good, ass ass]\n")
    one = item((unit * 50_000)[:50_000])
    started = time.process_time()
    rules.match([one], NOW_MS)
    assert time.process_time() - started < 2.0


@settings(max_examples=150, deadline=None)
@given(st.text("abss4@ .-hite\u0301ѕ", max_size=60))
def test_every_place_lies_in_the_original(text: str) -> None:
    rules = keywords("ass", "hate", "shit", "bess i", more="    allow: [has]\n")
    for match in matches(rules, text):
        assert match.spans
        assert all(0 <= start < end <= len(text) for start, end in match.spans)
        assert list(match.spans) == sorted(set(match.spans))


WORDS = st.lists(st.sampled_from(["bad", "class", "ok", "the", "badly", "as"]), max_size=8)


@settings(max_examples=150, deadline=None)
@given(WORDS)
def test_whole_words_are_found_as_splitting_finds_them(words: list[str]) -> None:
    text = " ".join(words)
    assert found(keywords("bad"), text) == ["bad"] * min(words.count("bad"), MAX_SPANS)


# --- the rules that come with Sluice ---------------------------------------------------------

DEFAULT = RuleSet.load(RULES_FILE)
CLEAN = [
    "Scunthorpe raccoon snigger Essex cocktail assassin class",
    "Dickens shiitake Matsushita therapist",
    "Please don't kill yourself, you matter to us.",
    "If you ever want to kill yourself, call a crisis line.",
    'They told me "go kill yourself" and I reported them.',
    'He said "I will kill you" and now he is in court.',
    "I'll kill you with kindness",
    "I will kill you in the game tonight",
    "The Maine Coon is a large cat; spic and span; a chink in the armour.",
    "Moby Dick and Philip K. Dick are on the shelf.",
    "She works as a rapper and was rapping all night.",
    "Penne all'arrabbiata, per favore.",
    "Never share your seed phrase with anybody.",
    "Man arrested for selling child porn, police say.",
    "This is killing me, I'm dying of laughter.",
    "My package was delivered, thanks.",
    "I earned 50 dollars a day at the bakery.",
    "Call me on +49 30 1234567 when you arrive.",
    "El profesor Cabrera come piñas en la computadora.",
    "Не употреблять после рубля и хлеба.",
    "Ich bringe dich zum Bahnhof.",
    *LANGUAGES.values(),
]


@pytest.mark.parametrize("text", CLEAN)
def test_ordinary_texts_match_no_default_rule(text: str) -> None:
    assert [m for m in matches(DEFAULT, text) if not m.observe_only] == []


@pytest.mark.parametrize(
    ("text", "rule", "definitive"),
    [
        ("I will kill you", "threat.kill.en", True),
        ("i'm gonna k1ll you", "threat.kill.en", True),
        ("Te voy a matar", "threat.kill.languages", True),
        ("я тебя убью!", "threat.kill.languages", True),
        ("Ich bring dich um", "threat.kill.languages", True),
        ("we know where you live", "threat.you_will_die", False),
        ("kill yourself", "self_harm.encouragement", True),
        ("just KYS already", "self_harm.encouragement", True),
        ("g0 k1ll y0urs3lf", "self_harm.encouragement", True),
        ("you need to kill yourself", "self_harm.encouragement.need", True),
        ("убей себя", "self_harm.encouragement.languages", True),
        ("i want to die", "self_harm.ideation", False),
        ("Gas the Jews", "hate.extermination", True),
        ("you dirty kike", "hate.slur.directed", True),
        ("the word faggot is a slur", "hate.slur", False),
        ("you are such an idiot", "toxicity.insult.directed", False),
        ("what the fuuuuck", "toxicity.profanity.en", False),
        ("du Hurensohn", "toxicity.abuse.de", False),
        ("hijo de puta", "toxicity.abuse.es", False),
        ("vai se foder", "toxicity.abuse.pt", False),
        ("иди на хуй", "toxicity.abuse.slavic", False),
        ("send nudes", "sexual.solicitation", False),
        ("selling child porn, dm me", "csam.trade", True),
        ("Click here to claim your prize", "spam.lure", False),
        ("free crypto bit.ly/x1y2", "spam.short_link.lure", False),
        ("WhatsApp me +1 (555) 123-4567", "spam.messenger", False),
        ("Elon Musk bitcoin giveaway", "spam.advance_fee", False),
        ("Your account has been suspended, verify here", "spam.phishing", False),
        ("заработок без вложений", "spam.promotion.languages", False),
    ],
)
def test_default_rules_find(text: str, rule: str, definitive: bool) -> None:
    hits = {match.rule_id: match for match in matches(DEFAULT, text)}
    assert rule in hits
    assert hits[rule].definitive is definitive
    if not definitive:
        assert not any(match.definitive for match in hits.values())


def test_default_rules_name_categories_of_the_policy_and_cover_all_of_the_models() -> None:
    categories = {rule.category for rule in DEFAULT.document.rules}
    assert categories <= set(Policy.load(POLICY_FILE).categories)
    assert categories >= set(TEXT_CATEGORIES)


def test_definitive_default_rules_are_severe_and_sure() -> None:
    definitive = [rule for rule in DEFAULT.document.rules if rule.definitive]
    assert definitive
    assert all(rule.severity == "severe" and rule.weight >= 0.9 for rule in definitive)
