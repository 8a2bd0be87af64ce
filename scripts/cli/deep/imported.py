"""A Hugging Face sequence classifier as a network whose logits are our categories'."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

from schemas.yaml_source import YamlSource
from scripts.cli.deep import base
from scripts.cli.deep.export import Exported, export
from scripts.cli.deep.label_map import LabelMap
from udfs.deep_manifest import Precision


class Relabelled(nn.Module):  # type: ignore[misc]  # the checks do not look PyTorch up
    """A classifier under our categories.

    Args:
        model: gives `logits`, shape (batch, labels).
        columns: for each category the labels that stand for it.
        activation: of the model's logits.
    """

    def __init__(
        self,
        model: Any,
        columns: Sequence[tuple[int, ...]],
        activation: Literal["sigmoid", "softmax"],
    ) -> None:
        super().__init__()
        self.model = model
        self.columns = [list(own) for own in columns]
        self.others = [
            [i for i in range(model.config.num_labels) if i not in own] for own in columns
        ]
        self.activation = activation

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        """Logits whose sigmoid is the category's probability, shape (batch, categories)."""
        logits = self.model(input_ids=input_ids, attention_mask=attention_mask).logits.float()
        out = []
        for own, others in zip(self.columns, self.others, strict=True):
            if self.activation == "sigmoid":
                out.append(logits[:, own].amax(dim=1))
            else:
                # log(p / (1 - p)) for p the sum of the chosen labels' probabilities.
                out.append(logits[:, own].logsumexp(dim=1) - logits[:, others].logsumexp(dim=1))
        return torch.stack(out, dim=1)


def export_folder(
    folder: Path,
    labels: LabelMap,
    labels_file: Path,
    out: Path,
    *,
    precisions: tuple[Precision, ...],
    name: str,
) -> tuple[Exported, dict[str, Any]]:
    """Export a Hugging Face folder; gives the package so far and where it came from.

    Raises:
        ConfigError: the label map does not fit the model.
        SluiceError: ONNX Runtime computes something else than the model.
    """
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, local_files_only=True, attn_implementation="eager"
    ).eval()
    config = model.config
    names = [str(config.id2label[i]) for i in range(config.num_labels)]
    columns = labels.columns(names, YamlSource.read(labels_file))
    tokenizer = base.plain_tokenizer(folder)
    pad = base.token_id(tokenizer, "[PAD]", "<pad>")
    # RoBERTa counts positions from behind its padding id.
    room = int(config.max_position_embeddings)
    if "roberta" in config.model_type:
        room -= pad + 1
    exported = export(
        Relabelled(model, columns, labels.activation),
        tokenizer,
        out,
        architecture=config.model_type,
        heads=config.num_attention_heads,
        hidden=config.hidden_size,
        categories=labels.categories,
        max_tokens=min(labels.max_tokens, room),
        pad_id=pad,
        hide_id=base.token_id(tokenizer, "[MASK]", "<mask>", "[UNK]", "<unk>"),
        precisions=precisions,
        languages=labels.languages,
        name=name,
    )
    return exported, {
        "base": base.origin(folder),
        "layers": config.num_hidden_layers,
        "vocabulary": config.vocab_size,
        "versions": {"torch": torch.__version__.partition("+")[0]},
    }
