from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.categories import TEXT_CATEGORIES
from schemas.errors import ConfigError
from schemas.settings import ROOT
from tests import conformance, deep_kit
from tests.conformance import Check
from udfs import deep_explain
from udfs.calibration import sigmoid
from udfs.deep_manifest import TOKENIZER, DeepTextManifest, model_file
from udfs.deep_tokens import TokenWindows
from udfs.model_package import MANIFEST, entry_of
from udfs.text_deep import DeepTextOptions, DeepTextScorer, load

FILLER = "we had tea and it was so good "


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return deep_kit.write_package(tmp_path_factory.mktemp("deep"))


@pytest.fixture(scope="session")
def scorer(package: Path) -> DeepTextScorer:
    return load(package)


@pytest.mark.parametrize("check", conformance.CHECKS, ids=conformance.name_of)
def test_conformance(check: Check, scorer: DeepTextScorer) -> None:
    check(scorer)


def test_scores_are_the_calibrated_logits(scorer: DeepTextScorer) -> None:
    texts = ["you are an idiot", "hello there", "kill"]
    logits = np.array([deep_kit.expected(text) for text in texts])
    assert np.allclose(scorer.raw(texts), logits, atol=1e-5)
    assert np.allclose(scorer.score(texts), sigmoid(logits - 1.0), atol=1e-6)


def test_the_version_names_the_precision(scorer: DeepTextScorer) -> None:
    assert scorer.version == f"{scorer.manifest.version}-int8"


@pytest.mark.parametrize("place", ["{} " + FILLER * 20, FILLER * 10 + "{} " + FILLER * 10])
def test_the_strongest_window_counts_and_is_named(place: str, package: Path) -> None:
    scorer = load(package, DeepTextOptions(max_windows=99))
    text = place.format("kill")
    column = TEXT_CATEGORIES.index("threat")
    assert scorer.raw([text])[0, column] > scorer.raw([FILLER * 20])[0, column] + 1
    (found, *_) = scorer.explain(text, "threat")
    assert text[found[0] : found[1]] == "kill"


def test_an_explanation_names_what_the_score_rests_on(scorer: DeepTextScorer) -> None:
    text = "so idiot it is"
    (start, end, weight), *_ = scorer.explain(text, "toxicity")
    assert text[start:end] == "idiot"
    # Hidden, its vector is gone from the mean and nothing else is.
    without = deep_kit.expected(text)[0] - deep_kit.STRENGTH / (len(text.split()) * 2 + 2)
    assert weight > 0
    assert scorer.raw([text])[0, 0] - weight == pytest.approx(
        scorer.run([_hidden(scorer, text, "idiot")])[0, 0], abs=1e-5
    )
    assert without < scorer.raw([text])[0, 0]


def _hidden(scorer: DeepTextScorer, text: str, word: str) -> list[int]:
    places = {token: i for i, token in enumerate(deep_kit.vocabulary())}
    windows = TokenWindows(scorer.folder / TOKENIZER, deep_kit.MAX_TOKENS, 9)
    ids = windows.window(windows.tokens(text).ids, 0)
    return [scorer.manifest.hide_id if i == places[word] else i for i in ids]


def test_an_explanation_keeps_to_its_budget(package: Path) -> None:
    small = load(package, DeepTextOptions(explain_passes=4))
    ran: list[int] = []
    run = DeepTextScorer.run

    class Counting(DeepTextScorer):
        def run(self, windows: Any) -> Any:
            ran.append(len(windows))
            return run(self, windows)

    counting = Counting(small.folder, small.manifest, small.precision, small.options)
    assert counting.explain("a b c d e idiot f g h", "toxicity")
    assert ran
    # Every measurement runs the unchanged window too.
    assert sum(count - 1 for count in ran) <= 4


@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 6), st.integers(0, 59))
def test_the_strongest_word_is_found_within_the_passes(
    count: int, passes: int, limit: int, telling: int
) -> None:
    words = [deep_explain.Word(i * 2, i * 2 + 1, range(i, i + 1)) for i in range(count)]
    telling %= count
    measured = []

    def lost(ranges: Any) -> list[float]:
        measured.extend(ranges)
        return [1.0 if telling in places else 0.0 for places in ranges]

    found = deep_explain.strongest(words, lost, passes, limit)
    assert len(measured) <= passes
    assert len(found) <= limit
    assert all((start, end) == (telling * 2, telling * 2 + 1) for start, end, _ in found)
    if passes >= count:
        assert found == [(telling * 2, telling * 2 + 1, 1.0)]


@given(st.integers(0, 500), st.integers(1, 10))
@settings(max_examples=50)
def test_windows_cover_the_text(package: Path, length: int, most: int) -> None:
    windows = TokenWindows(package / TOKENIZER, deep_kit.MAX_TOKENS, most)
    starts = windows.starts(length)
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert len(starts) <= most or most == 1
    if length > windows.body and most > 1:
        assert starts[-1] == length - windows.body
    if len(starts) < most:
        gaps = np.diff(starts)
        assert (gaps <= windows.body // 2).all()


def test_a_long_text_is_looked_at_in_as_many_windows_as_allowed(package: Path) -> None:
    few = load(package, DeepTextOptions(max_windows=3))
    assert np.isfinite(few.raw([FILLER * 500])).all()
    # The end of it is one of them.
    text = FILLER * 500 + " kill"
    (start, end, _), *_ = few.explain(text, "threat")
    assert (text[start:end], end) == ("kill", len(text))


def test_batches_agree_with_single_runs(package: Path, scorer: DeepTextScorer) -> None:
    together = load(package, DeepTextOptions(max_batch=8))
    texts = [*conformance.TEXTS, "idiot", "you idiot, i kill you"]
    assert np.allclose(together.score(texts), scorer.score(texts), atol=1e-5)
    # More than are read at once, with some that have several windows.
    many = [f"{text} {i}" for i in range(12) for text in [*texts, FILLER * (1 + i)]]
    assert len(many) > 16 * 8
    assert np.allclose(together.score(many), scorer.score(many), atol=1e-5)


def test_a_package_is_loaded_once(package: Path, scorer: DeepTextScorer) -> None:
    assert load(package) is scorer
    assert load(package / ".." / package.name) is scorer
    assert pickle.loads(pickle.dumps(scorer)) is scorer  # noqa: S301 - our own bytes
    assert load(package, DeepTextOptions(precision="fp32")) is not scorer


def test_a_model_that_misses_its_probes_is_passed_over(tmp_path: Path) -> None:
    folder = deep_kit.write_package(tmp_path / "p", wrong=("int8",))
    assert load(folder).precision == "fp32"
    with pytest.raises(ConfigError, match=r"int8 misses its probes by 0\."):
        load(folder, DeepTextOptions(precision="int8"))


def test_no_model_that_passes_is_refused(tmp_path: Path) -> None:
    folder = deep_kit.write_package(tmp_path / "p", wrong=("int8", "fp32"))
    with pytest.raises(ConfigError, match=r"int8 misses.*; fp32 misses"):
        load(folder)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_not_there_is_refused(package: Path, provider: Any) -> None:
    options = DeepTextOptions(provider=provider, precision="fp16")
    with pytest.raises(ConfigError, match="has no model of precision fp16"):
        load(package, options)
    if not Path("/dev/nvidia0").exists():
        with pytest.raises(ConfigError, match=rf"provider {provider} does not start|cannot be"):
            load(package, DeepTextOptions(provider=provider, precision="fp32"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format 2 is not known"),
        ({"categories": ("threat", "toxicity")}, "categories must be some of"),
        ({"max_tokens": 3}, "max_tokens must be 8 or more"),
        ({"calibrators": ()}, "calibrators and priors need one entry"),
        ({"probes": ()}, "probes and probe_logits must be there"),
        ({"probe_logits": ((1.0,),) * 4}, "probe_logits need one entry"),
        ({"files": {}}, "files must name tokenizer.json and a model"),
        ({"version": "0" * 12}, "version does not fit the content"),
    ],
)
def test_a_manifest_that_contradicts_itself(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = deep_kit.write_package(tmp_path, **changes)
    with pytest.raises(ConfigError, match=message) as caught:
        load(folder)
    assert caught.value.file == str(folder / MANIFEST)


@pytest.mark.parametrize("name", [TOKENIZER, model_file("int8")])
@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_damaged_file_is_refused(name: str, damage: str, tmp_path: Path) -> None:
    folder = deep_kit.write_package(tmp_path)
    path = folder / name
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ConfigError, match=r"sha256 is|cannot be read") as caught:
        load(folder)
    assert caught.value.file == str(path)


def test_files_outside_the_package_are_refused(tmp_path: Path) -> None:
    folder = deep_kit.write_package(tmp_path / "p")
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=DeepTextManifest)
    files = {**manifest.files, "../outside": manifest.files[TOKENIZER]}
    manifest = msgspec.structs.replace(manifest, files=files)
    manifest = msgspec.structs.replace(manifest, version=manifest.content_hash())
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(ConfigError, match="lie beside its manifest"):
        load(folder)


@pytest.mark.parametrize("content", [b"", b"{", b'{"format": 1}'])
def test_no_manifest(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(ConfigError, match="is no model manifest"):
        load(tmp_path)


def test_broken_models_and_tokenizers_are_refused(tmp_path: Path) -> None:
    folder = deep_kit.write_package(tmp_path / "model", precisions=("int8",))
    _replace(folder, model_file("int8"), b"no model")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load(folder)
    folder = deep_kit.write_package(tmp_path / "tokenizer")
    _replace(folder, TOKENIZER, json.dumps({"version": "1.0"}).encode())
    with pytest.raises(ConfigError, match="is no tokenizer"):
        load(folder)


def _replace(folder: Path, name: str, data: bytes) -> None:
    """Another file under a manifest that agrees with it."""
    (folder / name).write_bytes(data)
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=DeepTextManifest)
    files = {**manifest.files, name: entry_of(folder / name)}
    manifest = msgspec.structs.replace(manifest, files=files)
    manifest = msgspec.structs.replace(manifest, version=manifest.content_hash())
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))


def test_serving_imports_neither_torch_nor_transformers() -> None:
    script = (
        "import sys, udfs.text_deep\nprint(*({'torch', 'transformers', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_what_the_vocabulary_lacks_is_not_read(tmp_path: Path) -> None:
    scorer = load(deep_kit.write_package(tmp_path / "package"))
    assert scorer.reads(["you are an idiot", "you are an 🐷", "über", ""]) == [
        True, False, True, True,
    ]  # fmt: skip
