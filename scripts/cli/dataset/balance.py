"""What the training split shows how often: fewer clean rows, more rare ones, disguised copies."""

from __future__ import annotations

import random
from collections.abc import Sequence

from schemas.categories import TEXT_CATEGORIES
from scripts.cli.dataset.augment import disguise
from scripts.cli.dataset.config import AugmentConfig, BalanceConfig, CounterfactualConfig
from scripts.cli.dataset.identity import Swapper
from scripts.cli.dataset.rows import Row, made_of
from udfs.normalise import normalise

_TRIES = 4
"""Draws of a disguise until one survives normalisation."""


def downsampled(rows: Sequence[Row], config: BalanceConfig, rng: random.Random) -> list[Row]:
    """At most `clean_per_positive` clean training rows for one with any category.

    Other splits keep the shares that they have; order is kept.
    """
    clean = [i for i, row in enumerate(rows) if row.split == "train" and not row.positive]
    positives = sum(row.split == "train" and row.positive for row in rows)
    most = int(positives * config.clean_per_positive)
    if len(clean) <= most or not positives:
        return list(rows)
    dropped = set(rng.sample(clean, len(clean) - most))
    return [row for i, row in enumerate(rows) if i not in dropped]


def upsampled(
    rows: Sequence[Row], config: BalanceConfig, augment: AugmentConfig, rng: random.Random
) -> list[Row]:
    """Copies of training rows of rare categories, as misspelt as people write.

    A category is rare below `rare_share` of the training rows; its rows get up to
    `most_copies` each, as many as bring it there.
    """
    train = [row for row in rows if row.split == "train"]
    wanted: dict[int, int] = {}
    for i in range(len(TEXT_CATEGORIES)):
        own = [row for row in train if row.labels[i] == 1]
        target = int(len(train) * config.rare_share)
        if own and len(own) < target:
            copies = min(config.most_copies, -(-(target - len(own)) // len(own)))
            for row in own:
                wanted[row.id] = max(wanted.get(row.id, 0), copies)
    return [
        made_of(
            row,
            disguise(row.text, "misspelling", rng, share=augment.word_share / 2),
            "copy",
            weight=1.0,
            trick="misspelling",
        )
        for row in train
        for _ in range(wanted.get(row.id, 0))
    ]


def disguised(rows: Sequence[Row], config: AugmentConfig, rng: random.Random) -> list[Row]:
    """Disguised copies of a share of the training rows, benign and abusive alike.

    What normalisation undoes wholly is drawn anew a few times, then left out: it would be the
    same text again.
    """
    tricks, weights = list(config.tricks), list(config.tricks.values())
    out = []
    for row in rows:
        if row.split != "train" or rng.random() >= config.share:
            continue
        plain = normalise(row.text).text
        for _ in range(_TRIES):
            trick = rng.choices(tricks, weights)[0]
            text = disguise(row.text, trick, rng, share=config.word_share)
            if normalise(text).text != plain:
                out.append(made_of(row, text, "disguised", weight=config.weight, trick=trick))
                break
    return out


def counterfactuals(
    rows: Sequence[Row], swapper: Swapper, config: CounterfactualConfig, rng: random.Random
) -> list[Row]:
    """Training rows that mention identities, about other ones."""
    mentions = [row for row in rows if row.split == "train" and swapper.mentions(row.text)]
    if len(mentions) > config.most:
        chosen = set(rng.sample(range(len(mentions)), config.most))
        mentions = [row for i, row in enumerate(mentions) if i in chosen]
    out = []
    for row in mentions:
        text = swapper.swap(row.text, rng)
        if text is not None:
            out.append(made_of(row, text, "counterfactual", weight=config.weight))
    return out
