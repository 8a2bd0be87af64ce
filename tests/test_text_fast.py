from __future__ import annotations

import csv
import io
import itertools
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from schemas.errors import ConfigError, SluiceError
from schemas.settings import CONF
from scripts.cli import training_data, training_metrics
from scripts.cli.train_fast import app, train
from scripts.cli.training_data import Example
from scripts.cli.training_templates import Templates
from tests import conformance
from tests.conformance import Check
from udfs.normalise import normalise
from udfs.text_fast import MANIFEST, WEIGHTS, FastTextManifest, FastTextScorer, window_starts

ROOT = CONF.parent
SHIPPED = CONF / "models/fast_text"
DATA = Path(os.environ.get("SLUICE_DATA") or ROOT.parent / "shared/data")

HARMLESS = (
    "the bakery on the corner had fresh bread this morning and we walked along the river. "
    "later the train was late, so we played cards on a suitcase and read the timetable. "
)

# (category, abusive, a harmless sentence that shares words with it)
PAIRS = [
    ("toxicity", "you are a stupid idiot", "you are a good friend"),
    ("toxicity", "shut up you pathetic moron", "please turn the volume up a little"),
    ("toxicity", "go to hell, asshole", "we go to the beach on sunday"),
    ("hate_speech", "i hate all muslims, they are vermin", "my muslim neighbours are lovely"),
    ("hate_speech", "women are inferior and stupid", "women and men vote today"),
    ("threat", "i will find you and kill you", "i will find you a good book"),
    ("threat", "i am going to shoot you", "i am going to shoot a wedding in leeds"),
    ("sexual", "send me nudes, i am so horny", "send me the slides, i am in a meeting"),
    ("self_harm", "i want to kill myself tonight", "this homework is killing me"),
    ("self_harm", "go kill yourself", "help is there if you think about suicide"),
    ("spam", "win free money now, click http://win.example", "did you win the match"),
    ("spam", "check out my channel and subscribe", "the channel tunnel is closed"),
]


@pytest.fixture(scope="session")
def shipped() -> FastTextScorer:
    return FastTextScorer.load(SHIPPED)


# Words that the generator below takes to mean a category; the rest mean nothing.
TELLING = {
    "toxicity": ["idiot", "stupid", "moron"],
    "hate_speech": ["vermin", "subhuman", "inferior"],
    "threat": ["kill", "stab", "shoot"],
    "sexual": ["nudes", "horny", "sex"],
    "self_harm": ["suicide", "overdose", "selfharm"],
    "spam": ["cheap", "pills", "http://example.com/win"],
}
FILLER = re.findall(
    r"\w+",
    "you we they hello there train ride nobody likes find game good morning everybody see later "
    "weather river bread house garden window music paper winter summer coffee bicycle street",
)


def generated(leave_out: str = "") -> Iterator[Example]:
    """Sentences of which a category's words alone tell the category."""
    rng = random.Random(11)  # noqa: S311 - makes test data
    for category, words in TELLING.items():
        for _ in range(60):
            said = [*rng.sample(FILLER, 6), rng.choice(words)]
            rng.shuffle(said)
            if category != leave_out:
                labels = {name: int(name == category) for name in TELLING}
                yield Example(" ".join(said), "generated", labels, 1.0)
    for _ in range(300):
        yield Example(" ".join(rng.sample(FILLER, 7)), "generated", dict.fromkeys(TELLING, 0), 1.0)


def train_tiny(folder: Path, leave_out: str = "") -> FastTextScorer:
    return train(
        generated(leave_out),
        Templates(version=1, presumed_clean_unless={}, slots={}, families=()),
        folder,
        seed=7,
        quick=True,
        console=Console(file=io.StringIO()),
    )


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    train_tiny(folder)
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> FastTextScorer:
    return FastTextScorer.load(tiny_folder)


@pytest.mark.parametrize("check", conformance.CHECKS, ids=conformance.name_of)
def test_a_freshly_trained_model_conforms(check: Check, tiny: FastTextScorer) -> None:
    check(tiny)


@pytest.mark.parametrize("check", conformance.CHECKS, ids=conformance.name_of)
def test_the_shipped_model_conforms(check: Check, shipped: FastTextScorer) -> None:
    check(shipped)


@pytest.mark.parametrize(("category", "abusive", "harmless"), PAIRS)
def test_abuse_scores_above_harmless_sentences(
    category: str, abusive: str, harmless: str, shipped: FastTextScorer
) -> None:
    column = shipped.categories.index(category)
    high, low = shipped.score([normalise(abusive).text, normalise(harmless).text])[:, column]
    assert high > 0.5
    assert low < 0.35


@pytest.mark.parametrize(
    "text", ["hello", "ok", "thanks for your help", "привет как дела", "où est la gare", HARMLESS]
)
def test_plain_texts_score_low_everywhere(text: str, shipped: FastTextScorer) -> None:
    assert shipped.score([normalise(text).text]).max() < 0.2


@pytest.mark.parametrize("word", ["gay", "muslim", "black", "jewish", "trans", "disabled"])
def test_an_identity_alone_does_not_score(word: str, shipped: FastTextScorer) -> None:
    texts = [f"i am a {word} person", f"my {word} friends are lovely", f"the {word} doctor"]
    assert shipped.score(texts)[:, :2].max() < 0.3


def test_misspelt_abuse_is_still_seen(shipped: FastTextScorer) -> None:
    toxicity = shipped.score(["you are a fukcing idoit", "you are a really good cook"])[:, 0]
    assert toxicity[0] > 0.5 > toxicity[1]


@pytest.mark.parametrize("before", [0, 300, 3_000, 20_000])
@pytest.mark.parametrize("after", [0, 3_000])
def test_abuse_in_a_long_text_still_counts(
    before: int, after: int, shipped: FastTextScorer
) -> None:
    abuse = (
        "you stupid fucking idiot, shut your mouth you pathetic piece of shit, i hate you so much"
    )
    pad = HARMLESS * 130
    long = f"{pad[:before]} {abuse} {pad[:after]}"
    assert shipped.score([pad])[0, 0] < 0.2
    assert shipped.score([long])[0, 0] > 0.5


def test_repeating_abuse_does_not_dilute_it(shipped: FastTextScorer) -> None:
    abuse = "you stupid idiot, "
    once, often = shipped.score([abuse, abuse * 50])[:, 0]
    assert often > once * 0.9


@given(st.lists(st.text(max_size=300), max_size=6), st.text(max_size=2_000))
def test_no_text_sees_its_neighbours(batch: list[str], last: str) -> None:
    scorer = FastTextScorer.load(SHIPPED) if not _LOADED else _LOADED[0]
    _LOADED[:] = [scorer]
    batch = [*batch, last]
    alone = np.concatenate([scorer.score([text]) for text in batch])
    assert scorer.score(batch).tobytes() == alone.tobytes()


_LOADED: list[FastTextScorer] = []


def test_a_large_batch_is_cut_into_calls(shipped: FastTextScorer) -> None:
    texts = [f"text number {i} about nothing" for i in range(20_000)] + ["you idiot"]
    scores = shipped.score(texts)
    assert scores[-1].tobytes() == shipped.score(["you idiot"])[0].tobytes()
    assert scores[17_000].tobytes() == shipped.score([texts[17_000]])[0].tobytes()


@given(st.integers(0, 5_000), st.integers(2, 600))
def test_windows_cover_the_text_and_overlap(length: int, window: int) -> None:
    starts = window_starts(length, window)
    assert starts[0] == 0
    assert starts[-1] + window >= length
    assert all(0 < b - a <= max(1, window // 2) for a, b in itertools.pairwise(starts))
    if length > window:
        assert starts[-1] + window == length


def test_explanations_point_at_the_abuse(shipped: FastTextScorer) -> None:
    text = "thanks for the photos, but you are a stupid idiot and the weather is nice"
    start, end, _ = shipped.explain(text, "toxicity", 1)[0]
    assert text[start:end] in {"stupid", "idiot"}


def test_explanations_of_long_texts_keep_their_places(shipped: FastTextScorer) -> None:
    text = HARMLESS * 8 + "i will kill you, i will find you and kill you " + HARMLESS * 4
    spans = shipped.explain(text, "threat", 3)
    assert "kill" in {text[start:end].strip(",") for start, end, _ in spans}


def test_a_word_adds_what_its_explanation_says(shipped: FastTextScorer) -> None:
    # With every word named, positive or not, the parts would add up to the raw score.
    text = "idiot"
    (_, _, weight), *rest = shipped.explain(text, "toxicity", 9)
    assert not rest
    assert shipped.raw([text])[0, 0] == pytest.approx(weight + shipped.manifest.biases[0])


def test_loading_is_quick_and_light() -> None:
    code = (
        "import sys, time; from pathlib import Path; from udfs.text_fast import FastTextScorer\n"
        "start = time.perf_counter(); FastTextScorer.load(Path(sys.argv[1]))\n"
        "heavy = {'sklearn', 'tokenizers', 'pandas', 'pyflink'} & set(sys.modules)\n"
        "print(time.perf_counter() - start); sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(SHIPPED)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.5


def test_the_shipped_folder_is_small_and_whole() -> None:
    manifest = msgspec.json.decode((SHIPPED / MANIFEST).read_bytes(), type=FastTextManifest)
    size = sum(path.stat().st_size for path in SHIPPED.iterdir())
    card = (SHIPPED / "MODEL_CARD.md").read_text("utf-8")
    assert size < 6_000_000
    assert manifest.version in card
    assert not manifest.training["quick"]
    assert manifest.metrics["natural"]["roc_auc"]["low"] > 0.94
    for source in (*training_data.SOURCES, training_data.TEMPLATES):
        assert manifest.training["rows"][source.name]["licence"] == source.licence
        assert source.about in card


@pytest.fixture
def copy(tiny_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_folder, tmp_path / "model")


def edit(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST
    manifest = msgspec.json.decode(path.read_bytes())
    path.write_bytes(msgspec.json.encode({**manifest, **changes}))


def test_changed_weights_are_refused(copy: Path) -> None:
    path = copy / WEIGHTS
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="sha256 is") as caught:
        FastTextScorer.load(copy)
    assert caught.value.file == str(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format 2 is not known"),
        ({"scheme": "other/1"}, "feature scheme other/1"),
        ({"biases": [9.0] * 6}, "version does not fit"),
        ({"biases": [9.0]}, "one entry a category"),
        ({"window": 10**6}, "windows must have"),
        ({"close_window": 1}, "windows must have"),
        ({"files": {}}, "names no weights.npy"),
        ({"categories": 3}, "is no model manifest"),
    ],
)
def test_a_wrong_manifest_is_refused(changes: dict[str, object], message: str, copy: Path) -> None:
    edit(copy, **changes)
    with pytest.raises(ConfigError, match=message) as caught:
        FastTextScorer.load(copy)
    assert caught.value.file == str(copy / MANIFEST)


@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST])
def test_a_missing_file_is_named(name: str, copy: Path) -> None:
    (copy / name).unlink()
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        FastTextScorer.load(copy)
    assert caught.value.file == str(copy / name)


def test_a_model_learns_what_it_is_shown(tiny: FastTextScorer) -> None:
    for i, (category, words) in enumerate(TELLING.items()):
        told, plain = tiny.score([f"hello {words[0]} the river street", "hello the river street"])
        assert told[i] > 0.5 > plain[i], category
        assert told.argmax() == i


def test_training_twice_gives_the_same_model(tiny: FastTextScorer, tmp_path: Path) -> None:
    assert train_tiny(tmp_path).version == tiny.version


def test_training_without_a_category_says_which(tmp_path: Path) -> None:
    with pytest.raises(SluiceError, match="sexual"):
        train_tiny(tmp_path, leave_out="sexual")


def test_the_command_without_data_says_so_and_exits_2(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["--data", str(tmp_path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "jigsaw_natural" in done.stderr
    assert "--data" in done.stderr
    assert not (tmp_path / "out").exists()


needs_data = pytest.mark.skipif(
    bool(training_data.missing(DATA)),
    reason=f"the data sets are not under {DATA} (set SLUICE_DATA to their folder)",
)


@needs_data
def test_the_manifest_counts_the_rows_that_are_there(shipped: FastTextScorer) -> None:
    found = Counter(example.source for example in training_data.read_all(DATA))
    for source, counts in shipped.manifest.training["rows"].items():
        if source != training_data.TEMPLATES.name:
            stated = counts["fit"] + counts["calibrate"] + counts["test"]
            # Rows that are blank count in the set and not in the manifest.
            assert stated <= found[source] <= stated + 5


@needs_data
def test_the_shipped_model_fits_today_s_normalisation(shipped: FastTextScorer) -> None:
    # Not a held-out figure (that is in the card): it falls when normalisation and model part.
    path = DATA / "jigsaw/binary_natural_prevalence.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[::5]
    scores = shipped.score([normalise(row["comment_text"]).text for row in rows])[:, 0]
    labels = np.array([float(row["labels"]) for row in rows])
    assert training_metrics.roc_auc(labels, scores.astype(np.float64)) > 0.955


def test_scoring_is_fast_enough_by_a_wide_margin(shipped: FastTextScorer) -> None:
    # 45 us a text is the aim, about 10 are measured; ten times the aim is a broken machine.
    texts = [(HARMLESS * 2)[i : i + 120] for i in range(16)]
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        shipped.score(texts)
        best = min(best, time.perf_counter() - start)
    assert best / len(texts) < 450e-6
