"""Labels, duplicates and splits: from examples to rows that do not leak into each other."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import scipy.sparse as sp

from schemas.categories import TEXT_CATEGORIES
from scripts.cli import training_corpus, training_split
from scripts.cli.dataset.agreement import share_of
from scripts.cli.dataset.config import HoldoutConfig
from scripts.cli.dataset.rows import SPLITS, Row, content_key
from scripts.cli.training_corpus import MOST_CHARS, PRESUMED_WEIGHT
from scripts.cli.training_data import TEMPLATES, Example
from udfs.normalise import normalise

CHECK_SEED: Final = 2
"""Of the signatures that look for leaks: others than those that made the splits."""
LEAK: Final = 0.8
"""Jaccard similarity of feature sets from which two texts in two splits count as a leak."""


def rows_of(
    examples: Sequence[Example], unless: dict[str, tuple[str, ...]], holdout: HoldoutConfig
) -> tuple[list[Row], dict[str, int]]:
    """Label, split and rid of near-duplicates.

    Args:
        examples: of all sources, in an order that does not change.
        unless: by category, strings whose presence makes a presumed 0 unknown.
        holdout: what only tests.

    Returns:
        Rows with ids, and how many were dropped as near-duplicates, by source.
    """
    examples = [example for example in examples if example.text.strip()]
    texts = [normalise(example.text[:MOST_CHARS]).text for example in examples]
    matrix = training_corpus.hashed(texts)
    twins = training_split.related(matrix, [""] * len(texts))
    group, part = training_corpus.parts(examples, texts, matrix, holdout)
    rows: list[Row] = []
    dropped: dict[str, int] = defaultdict(int)
    seen: set[tuple[Any, ...]] = set()
    for i, (example, text) in enumerate(zip(examples, texts, strict=True)):
        labels, weights = labelled(example, text, unless)
        # Twins with other labels are contrasts, and the project's own sentences vary on purpose.
        key = (int(twins[i]), labels, text if example.source == TEMPLATES.name else "")
        if key in seen:
            dropped[example.source] += 1
            continue
        seen.add(key)
        rows.append(
            Row(
                id=len(rows),
                text=example.text,
                source=example.source,
                language=example.language,
                split=SPLITS[part[i]],
                labels=labels,
                weights=weights,
                group=int(group[i]),
                pattern=example.pattern,
                time=example.time,
                content=content_key(example.content_id) if example.content_id else "",
                agreement=share_of(example),
            )
        )
    return rows, dict(sorted(dropped.items()))


def labelled(
    example: Example, text: str, unless: dict[str, tuple[str, ...]]
) -> tuple[tuple[int | None, ...], tuple[float, ...]]:
    """Label (None for unknown) and weight of every category.

    A category that the set says nothing about is unknown, unless the kind of text makes its
    absence likely and none of the words in `unless` occurs: then it is a 0 of less weight.
    """
    labels: list[int | None] = []
    weights = []
    for category in TEXT_CATEGORIES:
        label, weight = example.labels.get(category), 0.0
        if label is not None:
            weight = example.weight * example.emphasis.get(category, 1.0)
        elif category in example.presumed and not any(
            word in text for word in unless.get(category, ())
        ):
            label, weight = 0, example.weight * PRESUMED_WEIGHT
        labels.append(label)
        weights.append(weight)
    return tuple(labels), tuple(weights)


def fewer(examples: Iterable[Example], most: dict[str, int | None]) -> list[Example]:
    """At most so many of a source: those whose text has the smallest hashes."""
    out = list(examples)
    by_source: dict[str, list[int]] = defaultdict(list)
    for i, example in enumerate(out):
        by_source[example.source].append(i)
    dropped: set[int] = set()
    for source, places in by_source.items():
        limit = most.get(source)
        if limit is not None:
            places.sort(key=lambda i: _digest(out[i].text))
            dropped.update(places[limit:])
    return [example for i, example in enumerate(out) if i not in dropped]


def apart(made: Sequence[Row], rows: Sequence[Row]) -> tuple[list[Row], int]:
    """Made rows without those that say what a held-out row says; gives how many those were.

    A sentence of one pattern about another identity can be a sentence of another pattern.

    Args:
        made: of training rows.
        rows: that they were made of, and those that are held out.
    """
    held_out = {normalise(row.text).text for row in rows if row.split != "train"}
    kept = [row for row in made if normalise(row.text).text not in held_out]
    return kept, len(made) - len(kept)


def leaks(rows: Sequence[Row]) -> dict[str, int]:
    """Pairs that stand in two splits and should not: all zero in a sound data set.

    Looked for anew, by other signatures than those that made the splits. `near` counts texts of
    one split that are nearly those of another (Jaccard 0.8 or more, not estimated), beyond the
    project's own sentences, whose kin are kept together by their patterns.
    """
    originals = [row for row in rows if row.kind == "original"]
    texts = [normalise(row.text[:MOST_CHARS]).text for row in originals]
    split_of: dict[int, str] = {row.id: row.split for row in originals}
    matrix = training_corpus.hashed(texts)
    twins = training_split.groups(
        training_split.minhashes(matrix, seed=CHECK_SEED), [""] * len(originals)
    )
    return {
        "same_text": _across(
            [(text, row.split) for text, row in zip(texts, originals, strict=True)]
        ),
        "same_group": _across([(row.group, row.split) for row in originals]),
        "same_pattern": _across([(row.pattern, row.split) for row in originals if row.pattern]),
        "near": _near_across(matrix, twins, originals),
        "made_of_another_split": sum(
            row.kind != "original" and split_of.get(row.parent) != row.split for row in rows
        ),
        "made_outside_train": sum(row.kind != "original" and row.split != "train" for row in rows),
    }


def _across(pairs: Iterable[tuple[Any, str]]) -> int:
    splits: dict[Any, set[str]] = defaultdict(set)
    for key, split in pairs:
        splits[key].add(split)
    return sum(len(found) > 1 for found in splits.values())


def _near_across(matrix: sp.csr_matrix, twins: training_split.IntArray, rows: Sequence[Row]) -> int:
    members: dict[int, list[int]] = defaultdict(list)
    for i, (twin, row) in enumerate(zip(twins, rows, strict=True)):
        if row.source != TEMPLATES.name:
            members[int(twin)].append(i)
    leaked: set[int] = set()
    for own in members.values():
        if len({rows[i].split for i in own}) > 1:
            sets = matrix[own]
            shared = (sets @ sets.T).toarray()
            size = shared.diagonal()
            alike = shared >= LEAK * (size[:, None] + size[None, :] - shared)
            for a, b in np.argwhere(alike & (shared > 0)):
                if rows[own[a]].split != rows[own[b]].split:
                    leaked.add(own[a])
    return len(leaked)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
