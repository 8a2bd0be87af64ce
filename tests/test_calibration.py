from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs import calibration
from udfs.calibration import Calibrator, FloatArray, Isotonic, Platt

finite = st.floats(-30, 30, allow_subnormal=False)
score_lists = st.lists(finite, min_size=1, max_size=60).map(np.array)
probabilities = st.floats(0.001, 0.999)


@st.composite
def calibrators(draw: st.DrawFn) -> Calibrator:
    if draw(st.booleans()):
        return Platt(draw(st.floats(0.01, 10)), draw(finite))
    size = draw(st.integers(1, 8))
    x = sorted(draw(st.sets(finite, min_size=size, max_size=size)))
    y = sorted(draw(st.lists(probabilities, min_size=size, max_size=size)))
    return Isotonic(tuple(x), tuple(y))


def made_up(rows: int, *, slope: float, offset: float, seed: int) -> tuple[FloatArray, FloatArray]:
    """Scores, and labels whose true probability is sigmoid(slope * score + offset)."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 2, rows)
    labels = rng.random(rows) < calibration.sigmoid(slope * scores + offset)
    return scores, labels.astype(np.float64)


@given(calibrators(), score_lists)
def test_calibration_keeps_order_and_range(calibrate: Calibrator, scores: FloatArray) -> None:
    p = calibrate(np.sort(scores))
    assert (np.diff(p) >= 0).all()
    assert (p >= 0).all()
    assert (p <= 1).all()


@given(calibrators(), score_lists)
def test_an_element_does_not_depend_on_its_batch(calibrate: Calibrator, scores: FloatArray) -> None:
    alone = np.concatenate([calibrate(scores[i : i + 1]) for i in range(len(scores))])
    assert calibrate(scores).tobytes() == alone.tobytes()


@given(calibrators(), score_lists)
def test_calibrators_survive_json(calibrate: Calibrator, scores: FloatArray) -> None:
    copy = msgspec.json.decode(msgspec.json.encode(calibrate), type=Calibrator)
    assert copy == calibrate
    assert copy(scores).tobytes() == calibrate(scores).tobytes()


def test_isotonic_is_level_outside_its_knots_and_straight_between() -> None:
    calibrate = Isotonic((0.0, 2.0, 4.0), (0.1, 0.3, 0.9))
    p = calibrate(np.array([-9.0, 0.0, 1.0, 2.0, 3.0, 4.0, 9.0]))
    assert p == pytest.approx([0.1, 0.1, 0.2, 0.3, 0.6, 0.9, 0.9])


def test_sigmoid_neither_overflows_nor_loses_its_middle() -> None:
    with np.errstate(all="raise"):
        p = calibration.sigmoid(np.array([-1e9, -1.0, 0.0, 1.0, 1e9]))
    assert p[2] == 0.5
    assert p[1] + p[3] == pytest.approx(1.0)
    assert 0 <= p[0] < 1e-20
    assert 1 - 1e-20 <= p[4] <= 1


def test_platt_finds_the_curve_that_made_the_labels() -> None:
    scores, labels = made_up(40_000, slope=1.7, offset=-2.0, seed=1)
    found = calibration.fit_platt(scores, labels)
    assert found.slope == pytest.approx(1.7, abs=0.08)
    assert found.offset == pytest.approx(-2.0, abs=0.08)


def test_platt_on_separable_labels_stays_finite() -> None:
    found = calibration.fit_platt(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    assert math.isfinite(found.slope)
    assert found(np.array([2.0]))[0] < 1


def test_platt_refuses_scores_that_fall_with_the_label() -> None:
    scores, labels = made_up(2_000, slope=2.0, offset=0.0, seed=2)
    with pytest.raises(ValueError, match="do not rise"):
        calibration.fit_platt(-scores, labels)


@pytest.mark.parametrize("fit", [calibration.fit_platt, calibration.fit_isotonic])
def test_fitting_needs_both_classes(fit: object) -> None:
    assert callable(fit)
    with pytest.raises(ValueError, match="both classes"):
        fit(np.array([0.0, 1.0]), np.array([1.0, 1.0]))


def test_isotonic_pools_violators() -> None:
    # The textbook case: 0, 1, 0 pools to 0, one half, and the half is at the mean score.
    found = calibration.fit_isotonic(np.array([0.0, 1.0, 3.0]), np.array([0.0, 1.0, 0.0]))
    assert found.scores == (0.0, 2.0)
    assert found.probabilities == pytest.approx((1 / 6, 0.5))


@given(st.lists(st.tuples(finite, st.booleans()), min_size=2, max_size=40))
def test_isotonic_has_rising_knots(pairs: list[tuple[float, bool]]) -> None:
    scores = np.array([score for score, _ in pairs])
    labels = np.array([float(label) for _, label in pairs])
    if labels.min() == labels.max():
        return
    found = calibration.fit_isotonic(scores, labels)
    assert (np.diff(found.scores) > 0).all()
    assert (np.diff(found.probabilities) >= 0).all()


def test_weights_are_worth_repeated_rows() -> None:
    scores, labels = made_up(300, slope=1.0, offset=-1.0, seed=3)
    times = np.where(labels > 0.5, 3, 1)
    repeated = calibration.fit_isotonic(np.repeat(scores, times), np.repeat(labels, times))
    weighted = calibration.fit_isotonic(scores, labels, times.astype(np.float64))
    inner = slice(1, -1)
    assert weighted.probabilities[inner] == pytest.approx(repeated.probabilities[inner], abs=0.01)


def test_choice_falls_on_platt_where_the_curve_is_a_sigmoid() -> None:
    scores, labels = made_up(3_000, slope=1.3, offset=-1.0, seed=4)
    choice = calibration.choose(scores, labels, seed=1)
    assert isinstance(choice.calibrator, Platt)
    assert choice.platt_ece < 0.03


def test_choice_falls_on_isotonic_where_it_is_a_step() -> None:
    rng = np.random.default_rng(5)
    scores = rng.uniform(-5, 5, 6_000)
    truth = np.where(np.abs(scores) < 3, 0.3, np.where(scores > 0, 0.95, 0.02))
    labels = (rng.random(6_000) < truth).astype(np.float64)
    choice = calibration.choose(scores, labels, seed=1)
    assert isinstance(choice.calibrator, Isotonic)
    assert choice.isotonic_ece < choice.platt_ece


def test_choice_is_the_same_for_the_same_seed() -> None:
    scores, labels = made_up(400, slope=1.0, offset=0.0, seed=6)
    assert calibration.choose(scores, labels, seed=3) == calibration.choose(scores, labels, seed=3)


def test_calibration_error_of_true_probabilities_is_small_and_of_wrong_ones_is_the_gap() -> None:
    rng = np.random.default_rng(7)
    p = rng.random(50_000)
    labels = (rng.random(50_000) < p).astype(np.float64)
    assert calibration.expected_calibration_error(p, labels) < 0.01
    constant = np.full(1_000, 0.7)
    half = np.tile([0.0, 1.0], 500)
    assert calibration.expected_calibration_error(constant, half) == pytest.approx(0.2, abs=0.01)


def test_calibration_error_counts_weights() -> None:
    p = np.array([0.2, 0.2])
    labels = np.array([0.0, 1.0])
    weights = np.array([0.8, 0.2])
    assert calibration.expected_calibration_error(p, labels, weights, bins=1) == pytest.approx(0)


def test_prior_weights_set_the_share_of_positives() -> None:
    labels = np.array([1.0] * 30 + [0.0] * 70)
    weights = calibration.prior_weights(labels, 0.02)
    assert weights.mean() == pytest.approx(1.0)
    assert (weights * labels).sum() / weights.sum() == pytest.approx(0.02)


@pytest.mark.parametrize(("labels", "prior"), [([1.0, 1.0], 0.5), ([0.0, 1.0], 0.0)])
def test_prior_weights_refuse_what_cannot_be(labels: list[float], prior: float) -> None:
    with pytest.raises(ValueError, match="both classes"):
        calibration.prior_weights(np.array(labels), prior)


@given(probabilities, probabilities, probabilities)
def test_shifting_the_prior_there_and_back_changes_nothing(
    p: float, old: float, new: float
) -> None:
    there = calibration.shift_prior(np.array([p]), old, new)
    assert calibration.shift_prior(there, new, old)[0] == pytest.approx(p, abs=1e-9)


def test_shifting_the_prior_follows_bayes() -> None:
    # A likelihood ratio of 9 at even odds is 0.9; at one in ten it is even.
    assert calibration.shift_prior(np.array([0.9]), 0.5, 0.1)[0] == pytest.approx(0.5)


def test_columns_are_calibrated_each_by_its_own() -> None:
    scores = np.array([[0.0, 0.0], [1.0, 5.0]])
    p = calibration.apply_all([Platt(1.0, 0.0), Isotonic((0.0, 5.0), (0.1, 0.2))], scores)
    assert p[0] == pytest.approx([0.5, 0.1])
    assert p[1] == pytest.approx([1 / (1 + math.exp(-1)), 0.2])
