"""The vocabulary of decisions: categories, statuses, actions, severities, stages.

Model categories are what scorers emit, one column each, in the order given here.
Policy categories are data (`conf/policy.yaml`) and may be more.
"""

from __future__ import annotations

from typing import Final, Literal

TEXT_CATEGORIES: Final[tuple[str, ...]] = (
    "toxicity",
    "hate_speech",
    "threat",
    "sexual",
    "self_harm",
    "spam",
)
"""Columns of every text scorer's output, in this order."""

PIXEL_CATEGORIES: Final[tuple[str, ...]] = (
    "nudity",
    "sexual",
    "violence",
    "gore",
    "self_harm",
    "spam",
)

Status = Literal["approved", "rejected", "pending_review"]
Action = Literal["allow", "remove", "warn", "shadowban", "restrict", "label", "age_gate", "review"]
Severity = Literal["none", "mild", "moderate", "severe"]
Stage = Literal["bank", "rules", "fast_text", "deep_text", "pixels", "fusion", "policy", "interim"]
"""Which stage's answer was final. `policy` means a fail-open or fail-closed default, `pixels` a
model that looked at a picture or a video's frames."""

ContentType = Literal["text", "image", "video"]
