"""From a data set and a base model to a trained network, ready for export."""

from __future__ import annotations

import dataclasses as dc
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from tokenizers import Tokenizer

from schemas.categories import TEXT_CATEGORIES
from schemas.errors import SluiceError
from scripts.cli.deep import base, data, fit, network, pictures, restore
from scripts.cli.deep.data import Rows
from scripts.cli.deep.export import Exported, export
from scripts.cli.deep.fit import Plan, Texts
from udfs import text_deep
from udfs.calibration import sigmoid
from udfs.deep_manifest import Precision
from udfs.deep_tokens import TokenWindows
from udfs.text_deep import DeepTextOptions

HOLDOUT: Final = 2_000
"""Rows of `dev` that stop training; rare categories keep all of theirs."""


@dc.dataclass(frozen=True)
class Start:
    """What training starts from."""

    folder: Path
    """Hugging Face model."""
    layers: int | None = None
    vocabulary: Literal["keep", "trim"] = "keep"
    fresh: bool = False
    """Random weights under the folder's configuration."""
    teacher: Path | None = None
    """A model package to learn from besides."""
    origin: Path | None = None
    """A package, or a training's folder with its checkpoint, to go on from; its vocabulary and
    layers are kept, and `folder` gives the configuration alone."""
    threads: int = 0
    """0: all cores."""


def train(
    start: Start,
    splits: dict[str, Rows],
    plan: Plan,
    out: Path,
    *,
    max_tokens: int,
    precisions: tuple[Precision, ...],
    resume: bool,
    say: Callable[[str], None],
) -> tuple[Exported, dict[str, Any]]:
    """Fine-tune and export; gives the package so far and what happened.

    Args:
        start: base model.
        splits: `train` and `dev` of a data set.
        plan: how to train.
        out: folder of the package, and of the checkpoint meanwhile.
        max_tokens: of a window when serving.
        precisions: files that the package gets.
        resume: go on from the checkpoint in `out`.
        say: shows progress.

    Raises:
        SluiceError: the base, the teacher or the checkpoint cannot be used.
    """
    out.mkdir(parents=True, exist_ok=True)
    if start.threads:
        torch.set_num_threads(start.threads)
    torch.manual_seed(plan.seed)
    if start.origin is not None:
        tokenizer = restore.tokenizer_of(start.origin)
        model = restore.restored(start.folder, start.origin, len(TEXT_CATEGORIES))
    else:
        tokenizer, model = _begun(start, splits["train"], say)
    tokenizer = pictures.read(tokenizer)
    encoder = model.encoder
    path = out / "tokenizer.json"
    path.write_text(json.dumps(tokenizer, ensure_ascii=False), "utf-8")
    windows = TokenWindows(path, max_tokens, 1)
    special = (windows.before, windows.after)
    pad = base.token_id(tokenizer, "[PAD]", "<pad>")
    reader = Tokenizer.from_str(json.dumps(tokenizer))
    stopping = data.fewer(splits["dev"], HOLDOUT, plan.seed)
    texts = {
        name: Texts(own, data.encode(own.texts, reader), special, pad)
        for name, own in (("train", splits["train"]), ("dev", stopping))
    }
    if start.teacher is not None:
        texts["train"].teacher = _taught(start.teacher, splits["train"].texts, say)
    say(
        f"{len(splits['train'].texts)} texts, "
        f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f}M parameters, "
        f"{torch.get_num_threads()} threads"
    )
    happened = fit.fit(model, texts["train"], texts["dev"], plan, out, resume=resume, say=say)
    say("exporting")
    config = encoder.config
    exported = export(
        model,
        tokenizer,
        out,
        architecture=config.model_type,
        heads=config.num_attention_heads,
        hidden=config.hidden_size,
        categories=TEXT_CATEGORIES,
        max_tokens=max_tokens,
        pad_id=pad,
        hide_id=base.token_id(tokenizer, "[MASK]", "<mask>", "[UNK]", "<unk>"),
        precisions=precisions,
    )
    facts = {
        "base": start.folder.name if start.fresh else base.origin(start.folder),
        "layers": config.num_hidden_layers,
        "vocabulary": config.vocab_size,
        "fresh": start.fresh,
        "plan": dc.asdict(plan),
        "fit": happened,
        "versions": {"torch": torch.__version__.partition("+")[0], "numpy": np.__version__},
    }
    return exported, facts


def _begun(
    start: Start, rows: Rows, say: Callable[[str], None]
) -> tuple[dict[str, Any], network.TextClassifier]:
    """Tokenizer and network of a base, cut to what is wanted of it."""
    tokenizer = pictures.read(base.plain_tokenizer(start.folder))
    kept: list[int] | None = None
    if start.vocabulary == "trim":
        ids = data.encode(rows.texts, Tokenizer.from_str(json.dumps(tokenizer)))
        counts = Counter(int(i) for text in ids for i in text)
        before = len(tokenizer["model"]["vocab"])
        tokenizer, kept = base.trimmed(tokenizer, [i for i, n in counts.items() if n > 1])
        say(f"vocabulary: {len(kept)} of {before} tokens stay")
    encoder = (
        network.fresh_encoder(start.folder)
        if start.fresh
        else network.encoder_of(start.folder, layers=start.layers, rows=None)
    )
    if start.fresh and start.layers is not None:
        network.keep_layers(encoder, start.layers)
    if kept is not None:
        network.keep_tokens(encoder, kept)
    return tokenizer, network.TextClassifier(encoder, len(TEXT_CATEGORIES))


def _taught(folder: Path, texts: list[str], say: Callable[[str], None]) -> Any:
    """Probabilities of the teacher before calibration, shape (texts, categories)."""
    teacher = text_deep.load(folder, DeepTextOptions(max_windows=1))
    columns = [TEXT_CATEGORIES.index(category) for category in teacher.categories]
    if columns != list(range(len(TEXT_CATEGORIES))):
        raise SluiceError(f"{folder}: a teacher must score every category")
    out = np.empty((len(texts), len(columns)), np.float32)
    for first in range(0, len(texts), 2_000):
        part = texts[first : first + 2_000]
        out[first : first + len(part)] = sigmoid(teacher.raw(part))
        say(f"teacher: {first + len(part)} of {len(texts)}")
    return out
