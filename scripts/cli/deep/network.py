"""The network: a pretrained encoder under a multi-label head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from schemas.errors import SluiceError
from scripts.cli.deep.base import kept_layers


class TextClassifier(nn.Module):  # type: ignore[misc]  # the checks do not look PyTorch up
    """Token ids and their mask to one logit a category.

    Args:
        encoder: gives `last_hidden_state` of shape (batch, tokens, hidden).
        categories: how many logits.
        dropout: before the head.
    """

    def __init__(self, encoder: Any, categories: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.config.hidden_size, categories)

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        """Logits, shape (batch, categories), of the mean over the tokens that are there."""
        found = self.encoder(input_ids=input_ids, attention_mask=attention_mask)
        hidden = found.last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
        return self.head(self.dropout(mean)).float()


def encoder_of(folder: Path, *, layers: int | None, rows: list[int] | None) -> Any:
    """A pretrained encoder, some of its layers, some rows of its embedding table.

    Args:
        folder: Hugging Face model.
        layers: how many stay; None for all.
        rows: ids of the tokens that stay, in their new order; None for all.

    Raises:
        SluiceError: the architecture's layers cannot be found.
    """
    encoder = AutoModel.from_pretrained(folder, local_files_only=True, attn_implementation="eager")
    # A pooler of the base is not used, and would only weigh.
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None
    if layers is not None:
        keep_layers(encoder, layers)
    if rows is not None:
        keep_tokens(encoder, rows)
    return encoder


def fresh_encoder(folder: Path) -> Any:
    """An encoder of a folder's `config.json` with random weights, to train from scratch."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    encoder = AutoModel.from_config(config, attn_implementation="eager")
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None
    return encoder


def keep_layers(encoder: Any, wanted: int) -> None:
    """Drop layers, evenly spread.

    Raises:
        SluiceError: the architecture is not known.
    """
    owner, name = _layers_of(encoder)
    stack = getattr(owner, name)
    kept = kept_layers(len(stack), wanted)
    setattr(owner, name, nn.ModuleList([stack[i] for i in kept]))
    config = encoder.config
    config.num_hidden_layers = wanted  # DistilBERT maps this to n_layers


def keep_tokens(encoder: Any, rows: list[int]) -> None:
    """Keep these rows of the embedding table, in this order."""
    old = encoder.get_input_embeddings()
    table = nn.Embedding(len(rows), old.embedding_dim)
    table.weight.data = old.weight.data[rows].clone()
    encoder.set_input_embeddings(table)
    encoder.config.vocab_size = len(rows)


def _layers_of(encoder: Any) -> tuple[Any, str]:
    for holder in ("encoder", "transformer"):
        owner = getattr(encoder, holder, None)
        if owner is not None and hasattr(owner, "layer"):
            return owner, "layer"
    raise SluiceError(
        f"--layers knows BERT, RoBERTa and DistilBERT, not {encoder.config.model_type}"
    )


def device() -> Any:
    """A GPU where there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bf16(where: Any) -> bool:
    """True where bfloat16 is faster than float32."""
    if where.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    info = Path("/proc/cpuinfo")
    flags = info.read_text("utf-8") if info.is_file() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags
