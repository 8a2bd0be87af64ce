"""What the policy does about texts in languages that no model of the job reads."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from schemas.policy_parts import Part, Probability, Rate, Tier

UNREAD: Final = "language"
"""Name in `degraded` of an upload whose text is in a language that the models do not read."""


class UnreadLanguage(Part):
    """A model's word about such a text is worth little: it calls most of them harmless.

    Banks, rules and conditions decide as ever; this is about what scores alone would decide.
    """

    known_from: Probability = 0.8
    """A guess of the language counts from this confidence on."""
    unsure_from: Annotated[int, Field(ge=0)] = 40
    """A text of so many letters whose language cannot be told is taken for one that is not read:
    most of what is read is told by then. 0 never."""
    review_rate: Rate = 0.05
    """Share of the allowed that a person looks at, picked by hash of the content id; 1: all."""
    approve_below: Probability = 0.1
    """From this probability on a person decides, where other texts are allowed up to
    `thresholds`; 1 holds nothing back."""
    may_reject: bool = False
    """False: a person decides instead of a score that would reject."""
    tier: Tier = 2
    """Tier of the review queue."""
