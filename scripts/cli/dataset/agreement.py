"""Several raters, one label: majority vote, and how far the raters agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import krippendorff
import numpy as np

from scripts.cli.training_data import Example


class Majority(NamedTuple):
    """What most raters say."""

    label: int | None
    """1, 0, or None on a tie."""
    agreement: float
    """Weighted share of the raters on the winning side, 0.5 to 1."""


def majority(votes: Sequence[tuple[bool, float]]) -> Majority:
    """The weighted majority.

    Args:
        votes: what each rater says and what their word weighs (above 0); at least one.

    Raises:
        ValueError: no votes.
    """
    if not votes:
        raise ValueError("a majority needs a vote")
    up = sum(weight for said, weight in votes if said)
    total = sum(weight for _, weight in votes)
    label = None if 2 * up == total else int(2 * up > total)
    return Majority(label, max(up, total - up) / total)


def agreed(example: Example, least: float) -> Example:
    """The example without the labels on which fewer than `least` of the raters agree."""
    doubtful = {
        category
        for category, (up, raters) in example.votes.items()
        if raters and max(up, raters - up) / raters < least
    }
    if not doubtful:
        return example
    labels = {name: label for name, label in example.labels.items() if name not in doubtful}
    return Example(
        **{
            field: getattr(example, field)
            for field in example.__struct_fields__
            if field != "labels"
        },
        labels=labels,
    )


def share_of(example: Example) -> float | None:
    """Least share of raters on the majority's side over the categories; None without raters."""
    shares = [max(up, n - up) / n for up, n in example.votes.values() if n > 1]
    return min(shares) if shares else None


def alpha(counts: Iterable[tuple[int, int]]) -> float | None:
    """Krippendorff's nominal alpha of a yes-or-no question (Krippendorff 2011).

    Args:
        counts: for each text, raters who said yes and raters in all; single raters say nothing.

    Returns:
        1 for perfect agreement, 0 for chance, below for less; None where nothing was rated twice
        or only one answer occurs (alpha is not defined then).
    """
    table = np.array([(n - up, up) for up, n in counts if n > 1])
    if not len(table) or (table.sum(axis=0) == 0).any():
        return None
    found = krippendorff.alpha(value_counts=table, level_of_measurement="nominal")
    return round(float(found), 4)


def by_source(examples: Iterable[Example]) -> dict[str, dict[str, float | None]]:
    """Alpha by source and category, where the sets have several raters a text."""
    counts: dict[str, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for example in examples:
        for category, vote in example.votes.items():
            counts[example.source][category].append(vote)
    return {
        source: {category: alpha(votes) for category, votes in own.items()}
        for source, own in counts.items()
    }
