"""Character F1 of the words that a scorer points at (SemEval-2021 task 5)."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from schemas.errors import ConfigError
from udfs.normalise import normalise
from udfs.text_tiers import telling

FILE: Final = "toxic_spans/semeval_train_trial.csv"
SHARES: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
MOST_WORDS: Final = 20

Explain = Callable[[str], Sequence[tuple[int, int, float]]]
"""A normalised text to ranges and weights, strongest first."""


class Marked(msgspec.Struct, frozen=True):
    """A text with the characters that people marked."""

    text: str
    places: frozenset[int]


def read(data: Path, limit: int) -> list[Marked]:
    """The development part of Toxic Spans, evenly thinned to `limit` posts.

    Args:
        data: folder of the public sets.
        limit: most posts.

    Raises:
        ConfigError: the file is not there or not what it should be.
    """
    path = data / FILE
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [
                Marked(row["text"], frozenset(msgspec.json.decode(row["spans"], type=list[int])))
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError, msgspec.MsgspecError) as error:
        raise ConfigError(f"cannot be read: {error}", file=str(path)) from None
    step = max(1, -(-len(rows) // limit))
    return rows[::step]


def character_f1(predicted: frozenset[int], gold: frozenset[int]) -> float:
    """F1 over character places of one post; where nothing is marked, 1 for nothing and else 0.

    As the task scores it (Pavlopoulos et al. 2021, after Da San Martino et al. 2019).
    """
    if not gold:
        return float(not predicted)
    hit = len(predicted & gold)
    return 2 * hit / (len(predicted) + len(gold))


def pointed(text: str, explain: Explain, share: float) -> frozenset[int]:
    """Places in the text as it came of the words that tell, inner spaces of a range included."""
    normal = normalise(text)
    return _places(normal.original_spans, explain(normal.text), share)


def measure(posts: Iterable[Marked], explain: Explain) -> dict[str, Any]:
    """Mean character F1 by the share of the strongest word's weight that a word must have.

    Half of the posts (every other one) chooses the share, the other half is reported.

    Returns:
        `by_share` over all posts; `share` chosen; `f1` with it on the other posts; `everything`,
        the F1 of pointing at the whole text there; `posts` there.
    """
    table: list[list[float]] = []
    whole: list[float] = []
    for post in posts:
        normal = normalise(post.text)
        explained = explain(normal.text)
        table.append(
            [
                character_f1(_places(normal.original_spans, explained, share), post.places)
                for share in SHARES
            ]
        )
        whole.append(character_f1(frozenset(range(len(post.text))), post.places))
    if len(table) < 2:
        return {}
    found = np.array(table)
    best = int(found[::2].mean(axis=0).argmax())
    return {
        "posts": len(found[1::2]),
        "share": SHARES[best],
        "f1": float(found[1::2, best].mean()),
        "everything": float(np.mean(whole[1::2])),
        "by_share": dict(zip(map(str, SHARES), found.mean(axis=0).tolist(), strict=True)),
    }


def _places(
    to_original: Callable[[tuple[tuple[int, int], ...]], tuple[tuple[int, int], ...]],
    explained: Sequence[tuple[int, int, float]],
    share: float,
) -> frozenset[int]:
    ranges = tuple((start, end) for start, end, _ in telling(explained, share))
    return frozenset(place for start, end in to_original(ranges) for place in range(start, end))
