"""Sentences filled from the project's own patterns (`conf/training/fast_text_templates.yaml`)."""

from __future__ import annotations

import itertools
import math
import random
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from schemas.categories import TEXT_CATEGORIES
from schemas.settings import CONF
from schemas.yaml_source import FaultError, YamlSource
from scripts.cli.training_data import TEMPLATES, Example

PATH: Final = CONF / "training/fast_text_templates.yaml"
FUNCTIONAL: Final = CONF / "training/functional_templates.yaml"
"""Sentences by what they do, after HateCheck."""
FUNCTIONAL_WEIGHT: Final = 0.15
"""Of such a sentence for a model that sees words and no order: full weight costs it more on real
texts than it gains on these."""
PATTERN_WEIGHT: Final = 12
"""Sentences that a pattern weighs at most, however many it fills."""

_Text = Annotated[str, StringConstraints(min_length=1)]


class Family(BaseModel):
    """Patterns that share their labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: _Text
    labels: dict[str, Literal[0, 1]]
    fills: Annotated[int, Field(ge=1)] = 24
    emphasis: dict[str, Annotated[float, Field(gt=0)]] = {}
    patterns: tuple[_Text, ...]


class Templates(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1]
    presumed_clean_unless: dict[str, tuple[_Text, ...]]
    slots: dict[str, tuple[_Text, ...]]
    families: tuple[Family, ...]

    @model_validator(mode="after")
    def _known_names(self) -> Self:
        for i, family in enumerate(self.families):
            for field, names in (("labels", family.labels), ("emphasis", family.emphasis)):
                for category in names:
                    if category not in TEXT_CATEGORIES:
                        known = ", ".join(TEXT_CATEGORIES)
                        raise FaultError(
                            f"unknown category; there are: {known}", "families", i, field, category
                        )
            for j, pattern in enumerate(family.patterns):
                for slot in slots_of(pattern):
                    if slot not in self.slots:
                        raise FaultError(f"unknown slot {slot}", "families", i, "patterns", j)
        return self


def slots_of(pattern: str) -> list[str]:
    """Names of the slots in a pattern, in order, repeats included."""
    return [name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None]


def load(path: Path = PATH) -> Templates:
    """Read and check the file.

    Raises:
        ConfigError: naming file, line and field.
    """
    return YamlSource.read(path).validate(Templates)


def fill(templates: Templates, *, seed: int, weight: float = TEMPLATES.weight) -> Iterator[Example]:
    """Sentences of every pattern, as many as its family says, drawn without repeats.

    Args:
        templates: the file.
        seed: of the draws.
        weight: of a sentence in the loss, of a pattern that fills few.
    """
    for family in templates.families:
        for pattern in family.patterns:
            sentences = fill_pattern(pattern, templates.slots, seed=seed, fills=family.fills)
            own = weight * min(1.0, PATTERN_WEIGHT / len(sentences))
            name = f"{family.name}/{pattern}"
            for sentence in sentences:
                yield Example(
                    sentence,
                    TEMPLATES.name,
                    dict(family.labels),
                    own,
                    pattern=name,
                    emphasis=family.emphasis,
                )


def fill_pattern(
    pattern: str, slots: dict[str, tuple[str, ...]], *, seed: int, fills: int
) -> list[str]:
    """Up to `fills` sentences, the same for the same pattern and seed."""
    names = slots_of(pattern)
    choices = [slots[name] for name in names]
    total = math.prod(len(choice) for choice in choices)
    rng = random.Random(f"{seed}:{pattern}")  # noqa: S311 - draws examples, guards nothing
    picked = sorted(rng.sample(range(total), min(fills, total)))
    parts = [literal for literal, *_ in string.Formatter().parse(pattern)]
    out = []
    for number in picked:
        values = []
        rest = number
        for choice in choices:
            rest, at = divmod(rest, len(choice))
            values.append(choice[at])
        out.append("".join(itertools.chain(*itertools.zip_longest(parts, values, fillvalue=""))))
    return out
