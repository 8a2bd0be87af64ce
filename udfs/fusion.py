"""The default fusion: calibrated scores plus weighted evidence, in log-odds.

    fused(c) = sigmoid(logit(score(c)) + rules(c) + evasion(c) + velocity(c)
                       + history(c) + parent(c) + community(c))

Every term is zero without evidence and never negative, so without evidence the scores come out
as they went in, and a higher score, rule weight or rate never lowers a probability. A category
without a score starts from the prior, and is there only if a rule or a flood speaks of it.
Each upload is fused by itself: the batch does not matter.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from schemas.features import SINGLE, WINDOW_NAMES, UserFeatures, Velocity
from schemas.fusion import FusionDocument
from schemas.yaml_source import YamlSource
from udfs.contracts import RuleMatch, Signals

_TINY: Final = 1e-12
"""Scores of exactly 0 or 1 have no log-odds; they are taken as this far from it."""


class _Window(NamedTuple):
    position: int
    """In `Velocity.windows`."""
    free_count: int
    per_count: float
    free_repeats: int
    per_repeat: float


class LinearFusion:
    """Fusion by fixed coefficients; implements `udfs.contracts.Fusion`.

    Args:
        document: the checked coefficients.
    """

    def __init__(self, document: FusionDocument) -> None:
        self.document = document
        content = json.dumps(document.model_dump(mode="json"), sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()[:8]
        self.version = f"linear-{document.version}-{digest}"
        self._prior = _logit(document.prior)
        self._low, self._high = document.clip.low, document.clip.high
        self._rules = document.rules
        self._evasion_above = document.evasion.above
        self._evasion = tuple(document.evasion.log_odds.items())
        self._windows = tuple(
            _Window(WINDOW_NAMES.index(name), w.free_count, w.count, w.free_repeats, w.repeats)
            for name, w in document.velocity.windows.items()
        )
        self._flood = document.velocity.category
        self._flood_most = document.velocity.most
        self._history = document.history
        self._parent = document.parent_toxicity
        self._community = document.community_baseline

    @classmethod
    def load(cls, path: Path) -> LinearFusion:
        """Read and check a file of coefficients.

        Raises:
            ConfigError: naming file, line and field of the first mistake.
        """
        return cls(YamlSource.read(path).validate(FusionDocument))

    @classmethod
    def parse(cls, text: str, file: str) -> LinearFusion:
        """As `load`, from YAML in memory; `file` names it in errors."""
        return cls(YamlSource(text, file).validate(FusionDocument))

    def fuse(self, batch: Sequence[Signals]) -> list[dict[str, float]]:
        """Probability by category for each of the batch; NaN scores stay NaN."""
        return [self._fuse(signals) for signals in batch]

    def _fuse(self, signals: Signals) -> dict[str, float]:
        fused = dict(signals.scores)
        flood = self._velocity(signals.velocity)
        user, context = signals.user, signals.context
        if not (
            flood
            or signals.rules
            or signals.evasion > self._evasion_above
            or user.violations
            or user.toxicity_rate
            or user.report_rate
            or context.parent_toxicity
            or context.community_baseline
        ):
            return fused
        evidence = self._circumstances(signals)
        # These two may speak of categories that no model scored; circumstances may not.
        certain: dict[str, float] = {self._flood: flood} if flood else {}
        if signals.rules:
            self._add_rules(signals.rules, certain)
        for category, score in fused.items():
            added = evidence.get(category, 0.0) + certain.pop(category, 0.0)
            if added > 0.0:
                fused[category] = self._raised(score, _logit(score) + added)
        for category, added in certain.items():
            fused[category] = self._raised(0.0, self._prior + added)
        return fused

    def _circumstances(self, signals: Signals) -> dict[str, float]:
        """Log-odds by category of disguise, the author's history and the surroundings."""
        evidence: dict[str, float] = {}
        history = self._of_history(signals.user)
        if history:
            evidence = dict.fromkeys(self._history.categories, history)
        context = signals.context
        for level, value in (
            (self._parent, context.parent_toxicity),
            (self._community, context.community_baseline),
        ):
            if value is not None and value > level.above:
                share = level.log_odds * min((value - level.above) / (1.0 - level.above), 1.0)
                for category in level.categories:
                    evidence[category] = evidence.get(category, 0.0) + share
        if signals.evasion > self._evasion_above:
            share = (signals.evasion - self._evasion_above) / (1.0 - self._evasion_above)
            for category, log_odds in self._evasion:
                evidence[category] = evidence.get(category, 0.0) + log_odds * share
        return evidence

    def _raised(self, score: float, log_odds: float) -> float:
        """Clip what evidence made of a score, but never below the score itself."""
        value = min(max(1.0 / (1.0 + math.exp(-log_odds)), self._low), self._high)
        # In this order NaN stays NaN.
        return max(score, value)

    def _velocity(self, velocity: Velocity) -> float:
        """Log-odds of a flood; 0 for ordinary traffic. New accounts are no exception."""
        if velocity is SINGLE:
            return 0.0
        total = 0.0
        windows = velocity.windows
        for position, free_count, per_count, free_repeats, per_repeat in self._windows:
            window = windows[position]
            count = window.count
            if count > free_count:
                total += per_count * math.log1p(count - free_count)
            repeats = count - window.distinct_texts
            if repeats > free_repeats:
                total += per_repeat * math.log1p(repeats - free_repeats)
        return min(total, self._flood_most)

    def _of_history(self, user: UserFeatures) -> float:
        """Log-odds of what the author did before; 0 for a new account."""
        history = self._history
        if not user.known or user.uploads < history.min_uploads:
            return 0.0
        total = (
            history.violations * math.log1p(max(user.violations, 0))
            + history.toxicity_rate * max(user.toxicity_rate, 0.0)
            + history.report_rate * max(user.report_rate, 0.0)
        )
        return min(total, history.most)

    def _add_rules(self, rules: Sequence[RuleMatch], evidence: dict[str, float]) -> None:
        """Add each category's rules, the heaviest fully and each further one less."""
        weights: dict[str, list[float]] = {}
        for rule in rules:
            weights.setdefault(rule.category, []).append(rule.weight)
        coefficients = self._rules
        for category, found in weights.items():
            found.sort(reverse=True)
            total = 0.0
            factor = coefficients.log_odds
            for weight in found:
                total += factor * weight
                factor *= coefficients.next
            evidence[category] = evidence.get(category, 0.0) + min(total, coefficients.most)


def _logit(probability: float) -> float:
    """Log-odds; NaN for NaN."""
    if probability <= _TINY:
        probability = _TINY
    elif probability >= 1.0 - _TINY:
        probability = 1.0 - _TINY
    return math.log(probability / (1.0 - probability))
