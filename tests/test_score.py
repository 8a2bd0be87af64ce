"""`scripts/score`, the tiers behind it, and the language that it names."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.categories import TEXT_CATEGORIES
from schemas.errors import ConfigError
from schemas.settings import ROOT, load_settings
from scripts.cli.score import (
    Asked,
    Bad,
    LineScorer,
    Spans,
    Tier,
    load_tiers,
    main,
    parse,
    score_lines,
)
from tests import deep_kit
from udfs.contracts import Scorer
from udfs.normalise import normalise
from udfs.text_deep import load as load_deep
from udfs.text_fast import FastTextScorer
from udfs.text_tiers import (
    HIGH,
    LOW,
    TextTiers,
    joined_names,
    merged,
    needs_deep,
    readable,
    telling,
)

FAST_MODEL = ROOT / "conf/models/fast_text"
TEXTS = (
    "Good morning, how was the train ride?",
    "you are an idiot and nobody likes you",
    "y0u 4re such an 1d10t, just go away",
    "",
    "I will find you and kill you tonight, you stupid vermin",
    "nice goal yesterday 😀 who is coming to the match on Saturday?",
    "word " * 400,
    "cheap pills here http://example.com/win win win",
)
probability = st.floats(0, 1, width=32)
matrices = st.lists(st.lists(probability, min_size=3, max_size=3), min_size=1, max_size=8)


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return deep_kit.write_package(tmp_path_factory.mktemp("deep"))


@cache
def fast() -> FastTextScorer:
    return FastTextScorer.load(FAST_MODEL)


def lines_of(texts: tuple[str, ...] = TEXTS) -> bytes:
    return b"".join(json.dumps({"id": i, "text": t}).encode() + b"\n" for i, t in enumerate(texts))


def answers(source: bytes, scorer: LineScorer, batch: int = 512) -> list[dict[str, Any]]:
    sink = io.BytesIO()
    score_lines(io.BytesIO(source), sink, scorer, batch)
    return [json.loads(line) for line in sink.getvalue().splitlines()]


def line_scorer(deep: Scorer | None = None, **options: Any) -> LineScorer:
    options.setdefault("max_chars", 50_000)
    return LineScorer(TextTiers(fast(), deep), **options)


# The band


def test_what_is_between_low_and_high_is_undecided() -> None:
    scores = np.array([[0.01, 0.02], [0.01, 0.5], [0.99, 0.01], [0.05, 0.0], [0.95, 1.0]])
    found = needs_deep(scores.astype(np.float32), 0.05, 0.95)
    assert found.tolist() == [False, True, False, True, True]


def test_a_category_may_have_a_band_of_its_own() -> None:
    scores = np.array([[0.3, 0.3], [0.6, 0.3]], np.float32)
    assert needs_deep(scores, [0.5, 0.4], [0.7, 0.9]).tolist() == [False, True]


def test_a_score_that_is_no_number_is_undecided() -> None:
    assert needs_deep(np.array([[np.nan, 0.0]], np.float32)).tolist() == [True]


@given(matrices, probability, probability, probability, probability)
def test_a_wider_band_asks_for_no_less(
    rows: list[list[float]], a: float, b: float, c: float, d: float
) -> None:
    outer_low, inner_low, inner_high, outer_high = sorted((a, b, c, d))
    scores = np.array(rows, np.float32)
    inner, outer = (
        needs_deep(scores, inner_low, inner_high),
        needs_deep(scores, outer_low, outer_high),
    )
    assert (outer | ~inner).all()
    naive = [any(inner_low <= p <= inner_high for p in row) for row in scores.astype(float)]
    assert inner.tolist() == naive


def test_an_empty_batch_asks_for_nothing() -> None:
    assert needs_deep(np.empty((0, 6), np.float32)).tolist() == []


# Both tiers


def test_deep_scores_replace_fast_ones_where_they_are() -> None:
    fast_, deep = np.array([[0.1, 0.2], [0.3, 0.4]]), np.array([[0.9, 0.8]])
    out = merged(
        fast_.astype(np.float32), ("toxicity", "spam"),
        deep.astype(np.float32), ("toxicity", "threat"), np.array([1]),
    )  # fmt: skip
    assert joined_names(("toxicity", "spam"), ("toxicity", "threat")) == (
        "toxicity", "threat", "spam",
    )  # fmt: skip
    expected = np.array([[0.1, np.nan, 0.2], [0.9, 0.8, 0.4]], np.float32)
    np.testing.assert_array_equal(out, expected)


def test_the_heavy_tier_sees_the_undecided_alone(package: Path) -> None:
    deep = load_deep(package)
    texts = [normalise(text).text for text in TEXTS]
    alone, heavy = fast().score(texts), deep.score(texts)
    found = TextTiers(fast(), deep).score(texts)
    expected = needs_deep(alone, LOW, HIGH) & readable(deep, texts)
    assert not readable(deep, texts).all()
    assert found.deep.tolist() == expected.tolist()
    assert 0 < expected.sum() < len(texts)
    np.testing.assert_array_equal(found.scores, np.where(expected[:, None], heavy, alone))


def test_a_batch_is_its_texts_one_by_one(package: Path) -> None:
    tiers = TextTiers(fast(), load_deep(package), low=0.01, high=0.9)
    texts = [normalise(text).text for text in TEXTS]
    together = tiers.score(texts)
    for i, text in enumerate(texts):
        one = tiers.score([text])
        assert one.scores.tobytes() == together.scores[i : i + 1].tobytes()
        assert one.stage(0) == together.stage(i)


def test_the_heavy_tier_is_not_shown_what_it_does_not_read(package: Path) -> None:
    deep = load_deep(package)
    texts = [normalise(text).text for text in TEXTS]
    undecided = TextTiers(fast(), deep, high=1.0).score(texts).deep
    asked: list[str] = []

    def reads(own: Sequence[str]) -> list[bool]:
        asked.extend(own)
        return ["idiot" in text for text in own]

    found = TextTiers(fast(), deep, high=1.0, reads=reads).score(texts)
    assert asked == [text for text, chosen in zip(texts, undecided, strict=True) if chosen]
    expected = [c and "idiot" in t for t, c in zip(texts, undecided, strict=True)]
    assert found.deep.tolist() == expected
    assert 0 < sum(expected) < undecided.sum()


def test_one_tier_alone(package: Path) -> None:
    deep = load_deep(package)
    texts = [normalise(text).text for text in TEXTS]
    only_fast, only_deep = TextTiers(fast(), None).score(texts), TextTiers(None, deep).score(texts)
    assert (only_fast.scores == fast().score(texts)).all()
    assert not only_fast.deep.any()
    assert (only_deep.scores == deep.score(texts)).all()
    assert only_deep.deep.all()
    with pytest.raises(ValueError, match="no tier"):
        TextTiers(None, None)


def test_who_explains(package: Path) -> None:
    deep = load_deep(package)
    tiers = TextTiers(fast(), deep)
    text = "you are an idiot"
    assert tiers.explain(text, "toxicity", deep=True) == deep.explain(text, "toxicity")
    assert tiers.explain(text, "toxicity", deep=False) == fast().explain(text, "toxicity")
    with pytest.raises(ValueError, match="no tier has"):
        tiers.explain(text, "gore", deep=False)


def test_words_that_weigh_little_tell_nothing() -> None:
    assert telling([(5, 8, 2.0), (0, 4, 0.7), (9, 12, 0.1)], 0.3) == [(0, 4, 0.7), (5, 8, 2.0)]
    assert telling([], 0.3) == []


# Lines


@pytest.mark.parametrize(
    ("line", "key", "field"),
    [
        (b"{", None, "$"),
        (b"[1]", None, "$"),
        (b"\xff\xfe", None, "$"),
        (b"[" * 100_000, None, "$"),
        (b'{"text": "a"}', None, "$.id"),
        (b'{"id": true, "text": "a"}', None, "$.id"),
        (b'{"id": 1.5, "text": "a"}', None, "$.id"),
        (b'{"id": 7}', 7, "$.text"),
        (b'{"id": "x", "text": null}', "x", "$.text"),
        (b'{"id": "x", "text": "12345678901"}', "x", "$.text"),
    ],
)
def test_a_bad_line_names_its_field(line: bytes, key: str | int | None, field: str) -> None:
    found = parse(line, 10)
    assert isinstance(found, Bad)
    assert (found.id, found.field) == (key, field)
    assert found.message


def test_ids_come_back_as_they_were() -> None:
    assert parse(b'{"id": 7, "text": "a", "more": [1]}', 10) == Asked(7, "a")
    assert parse(b'{"id": "7", "text": ""}', 10) == Asked("7", "")


def test_every_line_is_answered_in_order() -> None:
    lines = lines_of().splitlines()
    lines.insert(2, b"{broken")
    lines.insert(5, b'{"id": "late"}')
    scorer = line_scorer()
    found = answers(b"\n".join(lines) + b"\n\n  \n", scorer, batch=3)
    assert [answer["id"] for answer in found] == [0, 1, None, 2, 3, "late", 4, 5, 6, 7]
    assert found[2]["error"]["line"] == 3
    assert found[5]["error"] == {
        "line": 6, "field": "$.text", "message": "must be there, a string",
    }  # fmt: skip
    assert scorer.bad == 2
    for answer in found:
        if "error" not in answer:
            assert tuple(answer["scores"]) == TEXT_CATEGORIES
            assert all(0 <= p <= 1 for p in answer["scores"].values())
            assert answer["stage"] == "fast_text"


def test_scores_are_those_of_the_model() -> None:
    found = answers(lines_of(), line_scorer())
    expected = fast().score([normalise(text).text for text in TEXTS])
    got = np.array([list(answer["scores"].values()) for answer in found])
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_batches_do_not_matter(package: Path) -> None:
    deep = load_deep(package)
    source = lines_of((*TEXTS, *TEXTS[::-1], *TEXTS[::2], *TEXTS[1::3]))
    whole = answers(source, line_scorer(deep))
    assert whole == answers(source, line_scorer(deep), batch=1)
    assert {answer["stage"] for answer in whole} == {"fast_text", "deep_text"}


def test_spans_point_into_the_text_as_it_came() -> None:
    text = "  Well... you are such an 1\u200bd\u200b10t, \u0456d\u0456ot!"
    (answer,) = answers(lines_of((text,)), line_scorer())
    assert answer["scores"]["toxicity"] >= 0.5
    spans = [(start, end) for start, end, name in answer["spans"] if name == "toxicity"]
    assert spans
    pointed = {text[start:end].strip(",.!") for start, end in spans}
    assert pointed & {"1\u200bd\u200b10t", "\u0456d\u0456ot"}
    assert all(0 <= start < end <= len(text) for start, end in spans)


def test_harmless_texts_have_no_spans_and_none_are_made_where_none_are_wanted() -> None:
    harmless, abusive = answers(lines_of(TEXTS[:2]), line_scorer())
    assert harmless["spans"] == []
    assert abusive["spans"]
    _, without = answers(lines_of(TEXTS[:2]), line_scorer(spans=Spans.NONE))
    assert without["spans"] == []


def test_models_that_are_not_there_are_said_so(tmp_path: Path) -> None:
    dev = load_settings("dev")
    without = dev.model_copy(
        update={"cascade": dev.cascade.model_copy(update={"fast_text": None, "deep_text": None})}
    )
    with pytest.raises(ConfigError, match="no fast text tier"):
        load_tiers(without, Tier.FAST)
    with pytest.raises(ConfigError, match="no heavy text tier"):
        load_tiers(without, Tier.DEEP)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_tiers(dev, Tier.BOTH, deep_text=tmp_path / "none")


def test_the_command_answers_and_says_by_its_status_what_was_wrong(package: Path) -> None:
    done = subprocess.run(
        [ROOT / "scripts/score", "--deep-text", str(package), "--batch", "4"],
        input=lines_of() + b'{"id": "last"}\n',
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr.decode()
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["id"] for answer in found] == [*range(len(TEXTS)), "last"]
    assert {answer.get("stage") for answer in found} == {"fast_text", "deep_text", None}
    assert found[-1]["error"]["field"] == "$.text"


@pytest.mark.parametrize(
    ("arguments", "source", "status"),
    [
        (["--tier", "fast"], b'{"id": 1, "text": "hello"}\n', 0),
        (["--tier", "fast"], b"{\n", 1),
        (["--tier", "deep", "--deep-text", "/nowhere"], b"", 2),
    ],
)
def test_the_exit_status(
    arguments: list[str], source: bytes, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["score", *arguments])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(source)))
    with pytest.raises(SystemExit) as raised:
        main()
    assert raised.value.code == status


def test_languages_are_named() -> None:
    texts = (
        "good morning, how was the train ride to the city yesterday?",
        "guten morgen, wie war gestern die fahrt mit dem zug in die stadt?",
        "доброе утро, как прошла поездка в город?",
        "12345 !!!",
    )
    found = answers(lines_of(texts), line_scorer())
    assert [answer["language"] for answer in found] == ["en", "de", "ru", "und"]
    assert found[0]["language_confidence"] > 0.5
    assert found[3]["language_confidence"] == 0


def test_what_a_model_does_not_read_is_said_and_not_shown_to_it(package: Path) -> None:
    english = "you are an idiot, said the man on the train to the other man"
    german = "du bist ein idiot, sagte der mann im zug zu dem anderen mann"
    dev = load_settings("dev")
    alone = load_tiers(dev, Tier.DEEP, deep_text=package)
    for tiers in (alone, load_tiers(dev, Tier.BOTH, deep_text=package, low=0.0, high=1.0)):
        scorer = LineScorer(tiers, max_chars=1_000)
        one, other = answers(lines_of((english, german)), scorer)
        assert (one["stage"], one["degraded"]) == ("deep_text", [])
        if tiers is alone:
            assert (other["stage"], other["degraded"]) == ("deep_text", ["language"])
        else:
            assert other["stage"] == "fast_text"
