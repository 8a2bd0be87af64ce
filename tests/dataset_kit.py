"""Rows and settings for tests of the data set build."""

from __future__ import annotations

import random
from typing import Any

from scripts.cli.dataset import config
from scripts.cli.dataset.config import DatasetConfig
from scripts.cli.dataset.rows import Row
from scripts.cli.training_data import Example

WORDS = [
    "river",
    "bread",
    "house",
    "garden",
    "window",
    "music",
    "paper",
    "winter",
    "coffee",
    "bicycle",
    "street",
    "train",
    "morning",
    "letter",
    "mountain",
    "kitchen",
    "summer",
    "market",
    "bottle",
    "ticket",
    "engine",
    "candle",
    "forest",
    "island",
]
TRICKS: dict[Any, float] = dict.fromkeys(config.TRICKS, 1.0)


def texts(count: int, seed: int = 5) -> list[str]:
    rng = random.Random(seed)  # noqa: S311 - makes test data
    return [" ".join(rng.sample(WORDS, 9)) for _ in range(count)]


def examples(count: int = 240) -> list[Example]:
    """Texts of which those with `awful` are toxic and hateful, about identities now and then."""
    out = []
    for i, text in enumerate(texts(count)):
        toxic = i % 4 == 0
        said = f"{text} awful" if toxic else text
        if i % 5 == 0:
            said = f"the muslims {said}"
        labels = {"toxicity": int(toxic), "hate_speech": int(toxic)}
        out.append(Example(said, "edos", labels, 1.0, time=f"2026-01-{i % 28 + 1:02d}"))
    return out


def settings(**changes: Any) -> DatasetConfig:
    fields: dict[str, Any] = {
        "version": 1,
        "sources": {"edos": {}, "feedback": {}},
        "augment": {"tricks": TRICKS},
        **changes,
    }
    return DatasetConfig.model_validate(fields)


def row(text: str = "a text", labels: tuple[int | None, ...] = (0,) * 6, **more: Any) -> Row:
    fields: dict[str, Any] = {"source": "edos", "language": "en", "split": "train", "id": 0}
    return Row(text=text, labels=labels, weights=(1.0,) * 6, **{**fields, **more})
