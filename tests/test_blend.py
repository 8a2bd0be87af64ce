"""Two tiers' answers as one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.categories import TEXT_CATEGORIES
from scripts.cli.deep import blend
from scripts.cli.deep.data import Rows
from udfs.text_tiers import blended, merged

probability = st.floats(0, 1)
weight = st.floats(0, 3)


@given(probability, probability, probability, st.tuples(weight, weight, st.floats(-3, 3)))
def test_joining_is_monotone_and_stays_a_probability(
    first: float, second: float, more: float, weights: tuple[float, float, float]
) -> None:
    joined = float(blended(first, second, weights))
    assert 0 <= joined <= 1
    assert float(blended(max(first, more), second, weights)) >= joined - 1e-12
    assert float(blended(first, max(second, more), weights)) >= joined - 1e-12


def test_one_weight_is_one_tier() -> None:
    values = np.array([0.01, 0.3, 0.99])
    assert blended(values, 1 - values, (1, 0, 0)) == pytest.approx(values)
    assert blended(1 - values, values, (0, 1, 0)) == pytest.approx(values)
    assert blended(0.2, 0.8, (0.5, 0.5, 0)) == pytest.approx(0.5)
    assert np.isnan(blended(np.nan, 0.5, (1, 1, 0)))


def test_only_rows_and_categories_that_have_both_are_joined() -> None:
    fast = np.array([[0.2, 0.4], [0.6, 0.4]], np.float32)
    deep = np.array([[0.8, 0.9]], np.float32)
    out = merged(
        fast, ("toxicity", "threat"), deep, ("toxicity", "spam"), np.array([0]),
        {"toxicity": (0.5, 0.5, 0.0), "spam": (1.0, 0.0, 0.0)},
    )  # fmt: skip
    # toxicity, threat, spam
    assert out[0] == pytest.approx([0.5, 0.4, 0.9])
    assert out[1, :2] == pytest.approx([0.6, 0.4])
    assert np.isnan(out[1, 2])


def rows_of(labels: npt.NDArray[np.float64], sources: list[str]) -> Rows:
    every = np.full((len(labels), len(TEXT_CATEGORIES)), np.nan, np.float32)
    every[:, 0] = labels
    return Rows(
        [""] * len(labels),
        np.array(sources),
        every,
        np.ones_like(every),
        np.full(len(labels), -1, np.int64),
        np.array(["original"] * len(labels)),
        [""] * len(labels),
    )


def test_the_better_tier_weighs_more_and_both_beat_either() -> None:
    rng = np.random.default_rng(4)
    labels = (rng.random(4_000) < 0.3).astype(np.float64)
    # Log-odds of a label seen through noise: the second through less.
    seen = [(labels * 2 - 1) * gain + rng.normal(0, 1.5, 4_000) for gain in (0.5, 1.5)]
    fast, deep = ({"toxicity": 1 / (1 + np.exp(-own))} for own in seen)
    fitted, facts = blend.fit(fast, deep, rows_of(labels, ["edos"] * 4_000))
    first, second, _ = fitted["toxicity"]
    assert second > first > 0
    assert first + second <= 2 * blend.STEEPNESS[1]
    loss = facts["toxicity"]["log_loss"]
    assert loss["joined"] < min(loss["fast"], loss["heavy"])


def test_few_rows_stay_near_the_mean_of_both() -> None:
    labels = np.array([1.0] * 8 + [0.0] * 12)
    same = {"toxicity": np.where(labels == 1, 0.7, 0.3)}
    fitted, _ = blend.fit(same, same, rows_of(labels, ["edos"] * 20))
    first, second, _ = fitted["toxicity"]
    assert first == pytest.approx(second, rel=0.01)
    fitted, _ = blend.fit(same, same, rows_of(labels[:12], ["edos"] * 12))
    assert fitted == {}
