"""Which outputs of a foreign model stand for which of our categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from schemas.yaml_source import YamlSource


def label_columns(
    labels: Mapping[str, str],
    categories: Sequence[str],
    names: Sequence[str],
    source: YamlSource,
    *,
    exclusive: bool,
) -> list[tuple[int, ...]]:
    """For each category the model's outputs that stand for it.

    Args:
        labels: the model's label to a category.
        categories: those that some label stands for.
        names: the model's own labels, by output.
        source: the map's file, for errors.
        exclusive: one label holds for an input, so one must be left that means harmless.

    Raises:
        ConfigError: the map names a label that the model has not, or leaves none that is harmless.
    """
    place = {name: i for i, name in enumerate(names)}
    for label in labels:
        if label not in place:
            there = ", ".join(place)
            raise source.error(f"the model has no such label; it has: {there}", ("labels", label))
    out = [
        tuple(place[label] for label, own in labels.items() if own == category)
        for category in categories
    ]
    if exclusive and any(len(own) == len(place) for own in out):
        raise source.error("one label must stand for none of this", ("labels",))
    return out
