"""What training and importing need before PyTorch comes in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from schemas.errors import ConfigError, SluiceError
from schemas.yaml_source import YamlSource
from scripts.cli.deep import assess, base, data, label_map, pictures
from scripts.cli.train_text import precisions_of
from tests import deep_kit
from udfs.calibration import Platt


def test_layers_are_kept_evenly() -> None:
    assert base.kept_layers(6, 6) == [0, 1, 2, 3, 4, 5]
    assert base.kept_layers(6, 3) == [0, 2, 5]
    assert base.kept_layers(12, 2) == [0, 11]
    assert base.kept_layers(6, 1) == [0]
    for wanted in (0, 7):
        with pytest.raises(SluiceError, match="--layers must be 1 to 6"):
            base.kept_layers(6, wanted)


def test_a_trimmed_tokenizer_reads_what_it_kept_alike() -> None:
    tokenizer = deep_kit.tokenizer()
    tokenizer["truncation"] = None
    before = Tokenizer.from_str(json.dumps(tokenizer))
    used = before.encode("you idiot, cheap pills").ids
    smaller, old = base.trimmed(tokenizer, used)
    after = Tokenizer.from_str(json.dumps(smaller))
    assert "vermin" in tokenizer["model"]["vocab"]
    assert "vermin" not in smaller["model"]["vocab"]
    for text in ("you idiot, cheap pills", "a!", ""):
        assert [old[i] for i in after.encode(text).ids] == before.encode(text).ids
    # What is gone is spelled out.
    assert len(after.encode("vermin").tokens) > len(before.encode("vermin").tokens)
    assert after.get_vocab_size() == len(old) < before.get_vocab_size()


def test_other_tokenizers_cannot_be_trimmed() -> None:
    with pytest.raises(SluiceError, match="reads WordPiece, not BPE"):
        base.trimmed({"model": {"type": "BPE"}}, [])


def test_a_base_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SluiceError, match=r"holds no config\.json"):
        base.resolve(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SluiceError, match=r"holds none of model\.safetensors"):
        base.resolve(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(SluiceError, match=r"holds no tokenizer\.json"):
        base.resolve(str(tmp_path))
    for wrong in ("--evil", "a b", "https://x"):
        with pytest.raises(SluiceError, match="must read package:NAME"):
            base.resolve(f"package:{wrong}")


def test_special_tokens_are_found_by_name() -> None:
    tokenizer = deep_kit.tokenizer()
    assert base.token_id(tokenizer, "[PAD]", "<pad>") == 0
    assert base.token_id(tokenizer, "<mask>", "[MASK]") == 4
    with pytest.raises(SluiceError, match="none of the special tokens <s>"):
        base.token_id(tokenizer, "<s>")


def test_precisions() -> None:
    assert precisions_of("fp32, int8") == ("int8", "fp32")
    for wrong in ("", "int4", "int8,x"):
        with pytest.raises(SluiceError, match="precisions must be"):
            precisions_of(wrong)


@given(
    st.lists(st.tuples(st.integers(1, 90), st.integers(-1, 30)), min_size=1, max_size=60),
    st.integers(2, 9),
    st.integers(0, 3),
)
def test_an_epoch_shows_every_row_once(rows: list[tuple[int, int]], size: int, epoch: int) -> None:
    lengths = [length for length, _ in rows]
    # Counterfactuals are made of rows that were not made themselves.
    partner = np.array(
        [p if 0 <= p < min(i, 20) and i >= 20 else -1 for i, (_, p) in enumerate(rows)]
    )
    found = data.batches(lengths, partner, size, seed=3, epoch=epoch)
    assert sorted(i for batch in found for i in batch.rows) == list(range(len(rows)))
    pairs = {(batch.rows[a], batch.rows[b]) for batch in found for a, b in batch.pairs}
    assert pairs == {(int(origin), i) for i, origin in enumerate(partner) if origin >= 0}
    again = data.batches(lengths, partner, size, seed=3, epoch=epoch)
    assert [batch.rows for batch in again] == [batch.rows for batch in found]


def test_padding() -> None:
    ids, mask = data.padded(
        [np.array([5, 6, 7], np.int32), np.array([8], np.int32)], [1], [2], 4, 0, [1, 0]
    )
    assert ids.tolist() == [[1, 6, 7, 2], [1, 8, 2, 0]]
    assert mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]


def test_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no data set"):
        data.read(tmp_path, ("train",))


def labels_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "labels.yaml"
    path.write_text(text)
    return path


def test_labels_are_mapped(tmp_path: Path) -> None:
    path = labels_file(
        tmp_path,
        "version: 1\nactivation: softmax\nlabels:\n  hate: hate_speech\n  rude: toxicity\n"
        "  vile: toxicity\n",
    )
    found = label_map.load(path)
    assert found.categories == ("toxicity", "hate_speech")
    names = ["ok", "rude", "hate", "vile"]
    assert found.columns(names, YamlSource.read(path)) == [(1, 3), (2,)]


@pytest.mark.parametrize(
    ("text", "names", "line", "message"),
    [
        ("labels:\n  x: rudeness\n", [], 4, "labels.x: unknown category; there are: toxicity"),
        ("labels: {}\n", [], 3, "must name a label"),
        ("labels:\n  x: threat\n", ["y"], 4, "the model has no such label; it has: y"),
        ("labels:\n  y: threat\n", ["y"], 3, "one label must stand for none"),
    ],
)
def test_wrong_label_maps(
    text: str, names: list[str], line: int, message: str, tmp_path: Path
) -> None:
    path = labels_file(tmp_path, f"version: 1\nactivation: softmax\n{text}")
    with pytest.raises(ConfigError, match=message) as caught:
        label_map.load(path).columns(names, YamlSource.read(path))
    assert caught.value.line == line


def test_thresholds_reach_what_they_say() -> None:
    rng = np.random.default_rng(1)
    labels = (rng.random(2_000) < 0.2).astype(np.float64)
    scores = np.clip(labels * 0.5 + rng.random(2_000) * 0.6, 0, 1)
    found = assess.thresholds_of(scores, labels, np.ones(2_000))
    chosen = scores >= found["precision_0.95"] - 1e-5
    assert labels[chosen].mean() >= 0.945
    assert chosen[labels == 1].mean() > 0.5
    assert (scores[labels == 1] >= found["recall_0.9"] - 1e-5).mean() == pytest.approx(
        0.9, abs=0.01
    )
    never = assess.thresholds_of(rng.random(200), labels[:200], np.ones(200))
    assert "precision_0.95" not in never


def test_a_category_that_was_not_learnt_says_its_prior() -> None:
    assert assess.method_of(Platt(assess.NOTHING, -4.0)) == "none: not learnt"
    assert assess.method_of(Platt(1.0, -4.0)) == "Platt"


def test_the_holdout_keeps_rare_categories() -> None:
    count = 9_000
    labels = np.zeros((count, 6), np.float32)
    labels[:40, 4] = 1
    rows = data.Rows(
        ["x"] * count,
        np.array(["edos"] * count),
        labels,
        np.ones_like(labels),
        np.full(count, -1, np.int64),
        np.array(["original"] * count),
        [""] * count,
    )
    kept = data.fewer(rows, 2_000, 7)
    assert len(kept.texts) == 2_000
    assert kept.labels[:, 4].sum() == 40


def test_pictures_are_read_as_words() -> None:
    plain = Tokenizer.from_str(json.dumps(deep_kit.tokenizer()))
    reader = Tokenizer.from_str(json.dumps(pictures.read(deep_kit.tokenizer())))
    text = "i 🔫 u"
    found = reader.encode(text, add_special_tokens=False)
    assert "[UNK]" in plain.encode(text).tokens
    assert found.tokens == ["i", "g", "##u", "##n", "u"]
    assert {text[a:b] for a, b in found.offsets[1:4]} == {"🔫"}
    once = pictures.read(deep_kit.tokenizer())
    assert pictures.read(once) == once
