"""Packages of a given size with random weights: what a model costs does not depend on them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from scripts.cli.deep import imported, label_map
from scripts.cli.deep.export import finish

VOCABULARY: Final = 30_522
"""DistilBERT's; the embedding table takes memory, not time."""
_LABELS: Final = "version: 1\nactivation: sigmoid\nmax_tokens: 128\nlabels: {toxic: toxicity}\n"


def distilbert(out: Path, *, layers: int, hidden: int, texts: Sequence[str]) -> Path:
    """Write a package in fp16 and fp32.

    Args:
        out: folder of the package.
        layers: of the transformer.
        hidden: size of a token's vector, a multiple of 64.
        texts: that the tokenizer is made from.

    Raises:
        SluiceError: ONNX Runtime computes something else than the network.
    """
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "model"
        torch.manual_seed(1)
        model = transformers.DistilBertForSequenceClassification(
            transformers.DistilBertConfig(
                vocab_size=VOCABULARY,
                n_layers=layers,
                dim=hidden,
                n_heads=max(1, hidden // 64),
                hidden_dim=4 * hidden,
                num_labels=2,
                id2label={0: "clean", 1: "toxic"},
            )
        )
        model.save_pretrained(folder)
        _tokenizer(texts).save(str(folder / "tokenizer.json"))
        labels = Path(work) / "labels.yaml"
        labels.write_text(_LABELS, "utf-8")
        exported, facts = imported.export_folder(
            folder,
            label_map.load(labels),
            labels,
            out,
            precisions=("fp16", "fp32"),
            name="random_text",
        )
        manifest = exported.manifest
        finish(
            exported,
            calibrators=manifest.calibrators,
            priors=manifest.priors,
            thresholds={},
            training={**facts, "base": "random weights: for measuring speed, it knows nothing"},
            metrics={},
        )
    return out


def _tokenizer(texts: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - a word piece
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=special)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer
