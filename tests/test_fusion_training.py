"""Training of the fusion by boosted trees: simulated authors, growth, and the same again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from schemas.categories import TEXT_CATEGORIES
from schemas.errors import SluiceError
from schemas.settings import CONF
from scripts.cli import train_fusion
from scripts.cli.evaluate.sets import LabelledSet
from scripts.cli.fusion_training import grow, simulate
from tests.policy_kit import fusion as linear
from udfs.fusion_lightgbm import FOREST, LightGbmFusion
from udfs.rules import RuleSet
from udfs.text_fast import FastTextScorer


def texts(number: int, seed: int) -> LabelledSet:
    """Texts of three kinds, labelled for toxicity and spam."""
    rng = np.random.default_rng(seed)
    patterns = ("we met {} times", "you stupid idiot number {}", "cheap pills {} http://x.test/w")
    kinds = rng.choice(3, number, p=(0.6, 0.25, 0.15))
    labels = np.full((number, len(TEXT_CATEGORIES)), np.nan)
    labels[:, 0] = kinds == 1
    labels[:, TEXT_CATEGORIES.index("spam")] = kinds == 2
    said = [patterns[kind].format(i) for i, kind in enumerate(kinds.tolist())]
    return LabelledSet("made", said, labels, ["made"] * number, {})


def parts() -> dict[str, Any]:
    return {
        "scorer": FastTextScorer.load(CONF / "models/fast_text"),
        "rules": RuleSet.load(CONF / "rules.yaml"),
    }


def test_authors_fit_what_they_write() -> None:
    rng = np.random.default_rng(1)
    population = simulate.Population()
    pool = simulate.behaviours(1_500, population, rng)
    labels = np.full((3_000, len(TEXT_CATEGORIES)), np.nan)
    labels[:, 0] = np.arange(3_000) % 2
    labels[:, 5] = 0
    chosen = simulate.authors_of(labels, pool, rng, informative=True)
    abuse = np.array([pool[i].abuse for i in chosen])
    # E[q | harmful] = E[q^2] / E[q], by Bayes' rule.
    q = np.array([b.abuse for b in pool])
    honest = np.array([1 - b.spam for b in pool])
    expected = (q * q * honest).sum() / (q * honest).sum()
    assert abuse[1::2].mean() == pytest.approx(expected, rel=0.1)
    assert abuse[::2].mean() < expected / 2
    blind = simulate.authors_of(labels, pool, rng, informative=False)
    means = [np.array([pool[i].abuse for i in blind[k::2]]).mean() for k in (0, 1)]
    assert means[0] == pytest.approx(means[1], rel=0.2)
    for behaviour in pool:
        windows = behaviour.velocity.windows
        assert [w.count for w in windows] == sorted(w.count for w in windows)
        assert all(1 <= w.distinct_texts <= w.count for w in windows)
        assert 0 <= behaviour.user.reputation <= 100


def test_unknown_labels_draw_anybody() -> None:
    labels = np.array([[1.0, *[np.nan] * 5], [np.nan, 1.0, *[np.nan] * 4], [np.nan] * 6])
    rng = np.random.default_rng(1)
    pool = simulate.behaviours(50, simulate.Population(), rng)
    assert len(simulate.authors_of(labels, pool, rng, informative=True)) == 3


def test_training_is_deterministic_and_holds_its_constraints(tmp_path: Path) -> None:
    def train(name: str) -> LightGbmFusion:
        return train_fusion.train(
            texts(500, 1), texts(200, 2), tmp_path / name, **parts(), linear=linear(), copies=3,
            seed=3, console=Console(quiet=True),
        )  # fmt: skip

    one, again = train("one"), train("again")
    assert one.version == again.version
    assert (tmp_path / "one" / FOREST).read_bytes() == (tmp_path / "again" / FOREST).read_bytes()
    metrics = one.manifest.metrics
    assert metrics.keys() == {"usual", "uninformative", "speed", "importance"}
    assert metrics["usual"]["linear"].keys() == {"toxicity", "spam", "all"}
    assert "log_loss_gain" in metrics["usual"]["lightgbm"]
    for entry in metrics["usual"].values():
        assert all(0 <= value <= 1 for value in entry["toxicity"].values())


def test_trees_are_lightgbms(tmp_path: Path) -> None:
    made = texts(400, 5)
    found = simulate.joined(
        made.texts, made.labels, **parts(), population=simulate.Population(), copies=3, seed=1
    )
    rows = grow.known_rows(made.labels, made.sources, 3)
    assert rows.weights.sum() == pytest.approx(2)
    forest, booster = grow.grow(found, rows, len(made.texts), seed=1)
    fusion = LightGbmFusion(
        LightGbmFusion.load(CONF / "models/fusion", linear()).manifest, forest, linear()
    )
    assert train_fusion.parity(fusion, booster, found[:200]) < 1e-12
    assert len(forest["value"]) == booster.best_iteration


def test_there_must_be_labels_of_both_kinds() -> None:
    labels = np.full((20, len(TEXT_CATEGORIES)), np.nan)
    labels[:, 0] = 1
    with pytest.raises(SluiceError, match="both"):
        grow.known_rows(labels, ["x"] * 20, 1)
