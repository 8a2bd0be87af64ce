"""Training, export and import, end to end on models that the tests make."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra: scripts/setup --extra train")
pytest.importorskip("onnx", reason="export needs the extra: scripts/setup --extra train")

import torch  # after the checks that it is there
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from typer.testing import CliRunner

from schemas.categories import TEXT_CATEGORIES
from schemas.errors import ConfigError, SluiceError
from scripts.cli import import_model, train_text
from scripts.cli.dataset import build, config
from scripts.cli.deep import data, export, fit, network, restore
from scripts.cli.training_data import Example
from tests import conformance, deep_kit
from udfs.calibration import sigmoid
from udfs.deep_manifest import DeepTextManifest
from udfs.model_package import MANIFEST, read_manifest
from udfs.text_deep import DeepTextOptions, DeepTextScorer, load

FILLER = str.split("the cat sat near a warm window and we all had some tea with bread that day")


def silent(_: str) -> None:
    """Progress that nobody sees."""


def generated(count: int = 900) -> list[Example]:
    """Sentences of which a category's words alone tell the category."""
    rng = random.Random(11)  # noqa: S311 - makes test data
    out = []
    for i in range(count):
        category = [*TEXT_CATEGORIES, ""][i % 7]
        said = rng.sample(FILLER, 5)
        if category:
            said[rng.randrange(5)] = rng.choice(deep_kit.TELLING[category])
        labels = {name: int(name == category) for name in TEXT_CATEGORIES}
        if i % 3 == 0:
            said.append(rng.choice(["muslims", "women"]))
        # Twins would be dropped: these words differ and say nothing.
        said += ["".join(rng.sample("abcdefghij", 4)) for _ in range(3)]
        out.append(Example(" ".join(said), "edos", labels, 1.0))
    return out


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    wanted = config.DatasetConfig.model_validate(
        {"version": 1, "sources": {"edos": {}}, "augment": {"tricks": {"misspelling": 1}}}
    )
    found = build.build(generated(), {}, wanted, config.load_identities())
    build.write(found, folder, wanted)
    return folder


@pytest.fixture(scope="session")
def small_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(1)
    model = transformers.BertModel(
        transformers.BertConfig(
            vocab_size=len(deep_kit.vocabulary()),
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=64,
        )
    )
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(deep_kit.tokenizer()))
    return folder


def trained(small_bert: Path, data_folder: Path, out: Path, *options: str) -> DeepTextScorer:
    arguments = ["--base", str(small_bert), "--data", str(data_folder), "--out", str(out)]
    arguments += ["--batch", "16", "--rate", "3e-3", "--max-tokens", "48", "--threads", "1"]
    done = CliRunner().invoke(train_text.app, [*arguments, *deep_kit.TRIAL, *options])
    assert done.exit_code == 0, (done.output, done.exception)
    return load(out)


@pytest.fixture(scope="session")
def package(small_bert: Path, data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("package")
    trained(small_bert, data_folder, out, "--epochs", "3", "--layers", "2", "--vocabulary", "trim")
    return out


def test_a_model_is_trained_exported_and_served(package: Path) -> None:
    scorer = load(package)
    assert scorer.precision == "int8"
    assert scorer.manifest.training["layers"] == 2
    assert scorer.manifest.training["quality"]["unchecked"] == deep_kit.TRIAL[1]
    for i, category in enumerate(TEXT_CATEGORIES):
        said = [f"we had some {word} with tea that day" for word in deep_kit.TELLING[category]]
        clean = "we had some bread with tea that day"
        scores = scorer.raw([*said, clean])[:, i]
        assert scores[:-1].min() > scores[-1] + 1
    # The loaded model was kept from before it was measured: the file has it all.
    metrics = read_manifest(package, DeepTextManifest).metrics
    quality = metrics["quality"]
    assert quality["toxicity"]["roc_auc"] > 0.9
    assert set(metrics["disguised"]) == set(config.TRICKS)
    assert not (package / fit.CHECKPOINT).exists()
    card = (package / "MODEL_CARD.md").read_text("utf-8")
    assert "ROC-AUC" in card
    assert scorer.manifest.version in card


@pytest.mark.parametrize("check", conformance.CHECKS, ids=conformance.name_of)
def test_conformance(check: conformance.Check, package: Path) -> None:
    check(load(package, DeepTextOptions(explain_passes=6, max_windows=6)))


def test_precisions_agree(package: Path) -> None:
    texts = ["you are an idiot", "the cat sat near a warm window", "cheap pills"]
    whole = load(package, DeepTextOptions(precision="fp32")).score(texts)
    for precision in ("int8", "fp16"):
        other = load(package, DeepTextOptions(precision=precision))
        assert np.abs(other.score(texts) - whole).max() < 0.1


def test_what_is_not_shipped_is_dropped(package: Path, tmp_path: Path) -> None:
    for path in package.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    manifest = msgspec.json.decode((tmp_path / MANIFEST).read_bytes(), type=DeepTextManifest)
    export.without(manifest, tmp_path, ("fp16", "fp32"))
    assert load(tmp_path).manifest.precisions == ("int8",)
    assert not (tmp_path / "model.fp32.onnx").exists()


def test_a_student_learns_from_a_teacher(
    package: Path, small_bert: Path, data_folder: Path, tmp_path: Path
) -> None:
    options = ("--epochs", "0.5", "--layers", "1", "--teacher", str(package), "--ship", "int8")
    scorer = trained(small_bert, data_folder, tmp_path / "student", *options)
    assert scorer.manifest.training["parent"] == load(package).manifest.version


def texts_of(small_bert: Path, data_folder: Path) -> tuple[fit.Texts, fit.Texts]:
    splits = data.read(data_folder, ("train", "dev"))
    reader = Tokenizer.from_file(str(small_bert / "tokenizer.json"))
    reader.no_truncation()
    train_, dev = (
        fit.Texts(own, data.encode(own.texts, reader), ([2], [3]), 0) for own in splits.values()
    )
    return train_, dev


def fresh(small_bert: Path) -> Any:
    torch.manual_seed(5)
    encoder = network.encoder_of(small_bert, layers=None, rows=None)
    return network.TextClassifier(encoder, len(TEXT_CATEGORIES))


def test_going_on_after_an_interruption_changes_nothing(
    small_bert: Path, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    texts = texts_of(small_bert, data_folder)
    plan = fit.Plan(epochs=0.5, batch=16, tokens=32, save_minutes=0)
    whole, parted = fresh(small_bert), fresh(small_bert)
    (tmp_path / "whole").mkdir()
    fit.fit(whole, *texts, plan, tmp_path / "whole", resume=False, say=silent)
    learn = fit._Run._learn

    def stops(run: Any, batch: Any, epoch: int) -> float:
        if run.step == 7:
            raise KeyboardInterrupt
        return learn(run, batch, epoch)

    monkeypatch.setattr(fit._Run, "_learn", stops)
    with pytest.raises(KeyboardInterrupt):
        fit.fit(parted, *texts, plan, tmp_path, resume=False, say=silent)
    monkeypatch.undo()
    parted = fresh(small_bert)
    happened = fit.fit(parted, *texts, plan, tmp_path, resume=True, say=silent)
    assert happened["steps"] > 7
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parted.state_dict()[name]), name
    other = fit.Plan(epochs=1, batch=16, tokens=32)
    with pytest.raises(SluiceError, match="belongs to other data or options"):
        fit.fit(parted, *texts, other, tmp_path, resume=True, say=silent)
    with pytest.raises(SluiceError, match="nothing to resume"):
        fit.fit(parted, *texts, plan, tmp_path / "nowhere", resume=True, say=silent)


def test_unknown_labels_teach_nothing(small_bert: Path, data_folder: Path, tmp_path: Path) -> None:
    train_, dev = texts_of(small_bert, data_folder)
    run = fit._Run(
        fresh(small_bert), train_, dev, fit.Plan(batch=8), tmp_path, torch.device("cpu"), silent
    )
    batch = data.Batch([0, 1, 2], [])
    logits = torch.randn(3, len(TEXT_CATEGORIES), requires_grad=True)
    train_.rows.labels[1] = np.nan
    train_.rows.weights[1] = 0
    run._loss(logits, batch).backward()
    assert (logits.grad[1] == 0).all()
    assert (logits.grad[[0, 2]] != 0).all()


def test_counterfactuals_are_held_together(
    small_bert: Path, data_folder: Path, tmp_path: Path
) -> None:
    train_, dev = texts_of(small_bert, data_folder)
    run = fit._Run(
        fresh(small_bert), train_, dev, fit.Plan(batch=8), tmp_path, torch.device("cpu"), silent
    )
    train_.rows.weights[:2] = 0
    logits = torch.tensor([[1.0] * 6, [3.0] * 6], requires_grad=True)
    run._loss(logits, data.Batch([0, 1], [(0, 1)])).backward()
    assert (logits.grad[0] < 0).all()
    assert (logits.grad[1] > 0).all()


@pytest.mark.slow
def test_a_full_size_distilbert_is_imported(tmp_path: Path) -> None:
    folder = tmp_path / "hf"
    torch.manual_seed(2)
    # The configuration's defaults are those of distilbert-base-uncased: 66M parameters.
    model = transformers.DistilBertForSequenceClassification(
        transformers.DistilBertConfig(
            num_labels=3, id2label={0: "toxic", 1: "threat", 2: "other"}, vocab_size=30_522
        )
    )
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(deep_kit.tokenizer()))
    (tmp_path / "labels.yaml").write_text(
        "version: 1\nactivation: sigmoid\nmax_tokens: 128\n"
        "labels: {toxic: toxicity, other: toxicity, threat: threat}\n"
    )
    scorer = imported(folder, tmp_path)
    assert scorer.categories == ("toxicity", "threat")
    assert scorer.manifest.precisions == ("int8", "fp16", "fp32")
    sizes = {name: entry.bytes / 1e6 for name, entry in scorer.manifest.files.items()}
    assert sizes["model.int8.onnx"] < 70
    assert 130 < sizes["model.fp16.onnx"] < 140
    text = "you are an idiot"
    ids = torch.tensor([scorer._windows.window(scorer._windows.tokens(text).ids, 0)])
    with torch.no_grad():
        logits = model.eval()(ids).logits[0].numpy()
    exact = load(scorer.folder, DeepTextOptions(precision="fp32")).raw([text])[0]
    assert np.allclose(exact, [max(logits[0], logits[2]), logits[1]], atol=1e-4)
    # No data set: the probabilities are the model's own.
    assert np.allclose(
        load(scorer.folder, DeepTextOptions(precision="fp32")).score([text])[0],
        sigmoid(exact),
        atol=1e-6,
    )


@pytest.mark.slow
def test_a_small_xlm_roberta_is_imported(tmp_path: Path, data_folder: Path) -> None:
    folder = tmp_path / "hf"
    torch.manual_seed(3)
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    unknown: Any = {"unk_token": "<unk>"}
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=special, **unknown)
    tokenizer.train_from_iterator((e.text for e in generated()), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    model = transformers.XLMRobertaForSequenceClassification(
        transformers.XLMRobertaConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=96,
            max_position_embeddings=130,
            type_vocab_size=1,
            pad_token_id=1,
            id2label={0: "neutral", 1: "offensive", 2: "hate"},
            num_labels=3,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (tmp_path / "labels.yaml").write_text(
        "version: 1\nactivation: softmax\nlanguages: [en, pt]\nmax_tokens: 512\n"
        "labels: {offensive: toxicity, hate: toxicity}\n"
    )
    scorer = imported(folder, tmp_path, "--data", str(data_folder), *deep_kit.TRIAL)
    assert scorer.categories == ("toxicity",)
    # Room for positions behind the padding id: 130 - 2.
    assert scorer.manifest.max_tokens == 128
    exact = load(scorer.folder, DeepTextOptions(precision="fp32"))
    text = "the cat sat near a warm window " * 30
    tokens = exact._windows.tokens("the cat sat")
    ids = torch.tensor([exact._windows.window(tokens.ids, 0)])
    with torch.no_grad():
        shares = model.eval()(ids).logits.softmax(dim=1)[0].numpy()
    assert sigmoid(exact.raw(["the cat sat"]))[0, 0] == pytest.approx(shares[1:].sum(), abs=1e-4)
    assert np.isfinite(exact.score([text])).all()
    # Calibrated on rows that it knows nothing about.
    assert scorer.manifest.training["calibration"]["toxicity"]["prior"] == pytest.approx(0.1)
    together = load(scorer.folder, DeepTextOptions(precision="fp32", max_batch=4))
    texts = ["the cat sat", "tea", text]
    assert np.allclose(together.raw(texts), exact.raw(texts), atol=1e-4)


def imported(folder: Path, tmp_path: Path, *options: str) -> DeepTextScorer:
    arguments = [str(folder), "--labels", str(tmp_path / "labels.yaml")]
    done = CliRunner().invoke(
        import_model.app, [*arguments, "--out", str(tmp_path / "package"), *options]
    )
    assert done.exit_code == 0, (done.output, done.exception)
    return load(tmp_path / "package")


def test_a_label_that_the_model_has_not_is_named(small_bert: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.yaml").write_text(
        "version: 1\nactivation: sigmoid\nlabels: {rude: toxicity}\n"
    )
    arguments = [str(small_bert), "--labels", str(tmp_path / "labels.yaml")]
    done = CliRunner().invoke(import_model.app, [*arguments, "--out", str(tmp_path / "p")])
    assert isinstance(done.exception, ConfigError)
    assert "the model has no such label; it has: LABEL_0, LABEL_1" in str(done.exception)


def test_training_goes_on_from_a_package(
    small_bert: Path, data_folder: Path, package: Path, tmp_path: Path
) -> None:
    before = load(package)
    scorer = trained(
        small_bert, data_folder, tmp_path / "more", "--from", str(package), "--epochs", "0.05",
        "--most", "edos=200",
    )  # fmt: skip
    training = scorer.manifest.training
    assert training["parent"] == before.manifest.version
    assert training["code"]
    assert (training["layers"], training["fit"]["steps"]) == (2, 1)
    # One step from there, not from the base: what it had learnt is still known.
    texts = [
        f"we had some {word} with tea" for words in deep_kit.TELLING.values() for word in words
    ]
    apart = np.abs(sigmoid(scorer.raw(texts)) - sigmoid(before.raw(texts)))
    assert float(apart.mean()) < 0.1


def test_weights_come_back_from_every_kind_of_file(small_bert: Path, package: Path) -> None:
    model = restore.restored(small_bert, package, len(TEXT_CATEGORIES))
    tokenizer = restore.tokenizer_of(package)
    out = package.parent / "again"
    exported = export.export(
        model, tokenizer, out, architecture="bert", heads=4, hidden=32,
        categories=TEXT_CATEGORIES, max_tokens=48, pad_id=0, hide_id=4,
        precisions=("int8", "fp32"),
    )  # fmt: skip
    assert exported.manifest.precisions == ("int8", "fp32")
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    for file, most in (("model.fp32.onnx", 0.0), ("model.int8.onnx", 0.05)):
        found = restore.weights_of(out / file)
        for name, value in state.items():
            scale = float(np.abs(value).max()) or 1.0
            assert float(np.abs(found[name] - value).max()) <= most * scale, (file, name)


def test_what_cannot_be_gone_on_from_is_refused(
    small_bert: Path, data_folder: Path, package: Path, tmp_path: Path
) -> None:
    with pytest.raises(SluiceError, match=r"holds no tokenizer\.json"):
        restore.restored(small_bert, tmp_path, len(TEXT_CATEGORIES))
    with pytest.raises(SluiceError, match=r"no weights head\.weight of shape \(3, 32\)"):
        restore.restored(small_bert, package, 3)
    arguments = ["--base", str(small_bert), "--data", str(data_folder), "--out", str(tmp_path)]
    arguments += deep_kit.TRIAL
    for options, message in (
        (["--from", str(package), "--layers", "2"], "no --layers"),
        (["--most", "edos"], "--most reads SOURCE=ROWS"),
        (["--most", "elsewhere=3"], "no rows of elsewhere; there are: edos"),
    ):
        done = CliRunner().invoke(train_text.app, [*arguments, *options])
        assert message in str(done.exception)


def test_a_mixture_keeps_pairs_and_order(data_folder: Path) -> None:
    rows = data.read(data_folder, ("train",))["train"]
    some = data.thinned(rows, {"edos": 100})
    assert len(some.texts) == 100
    places = [rows.texts.index(text) for text in some.texts]
    assert places == sorted(places)
    assert data.thinned(rows, {}).texts == rows.texts
