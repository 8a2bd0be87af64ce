"""The figures of `scripts/evaluate`: against naive versions, by hand, and laws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from scripts.cli.dataset.config import load_identities
from scripts.cli.evaluate import groups, metrics, spans
from scripts.cli.evaluate.curves import Curve, FloatArray, intervals
from scripts.cli.evaluate.frontier import frontier
from udfs.text_tiers import HIGH

NAMES = ("toxicity", "threat")


@st.composite
def rated(draw: st.DrawFn, most: int = 60) -> tuple[FloatArray, FloatArray]:
    """Labels of both kinds with coarse scores, so that ties are frequent."""
    size = draw(st.integers(2, most))
    labels = draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=size, max_size=size))
    labels[:2] = [0.0, 1.0]
    scores = draw(st.lists(st.integers(0, 20), min_size=size, max_size=size))
    return np.array(labels), np.array(scores) / 20


def naive_auc(labels: FloatArray, scores: FloatArray) -> float:
    wins = [
        1.0 if up > down else 0.5 if up == down else 0.0
        for up in scores[labels == 1]
        for down in scores[labels == 0]
    ]
    return float(np.mean(wins))


# Figures


@given(rated(), st.integers(0, 21))
@settings(deadline=None, max_examples=40)
def test_both_ways_to_a_figure_agree(rows: tuple[FloatArray, FloatArray], at: int) -> None:
    labels, scores = rows
    threshold = at / 20
    fast = Curve(labels, scores).figures(threshold, 2.0)
    slow = metrics.figures(labels, scores, threshold=threshold, beta=2.0)
    assert fast.keys() == slow.keys()
    for name, value in fast.items():
        assert value == pytest.approx(slow[name], nan_ok=True, abs=1e-12), name
    assert fast["roc_auc"] == pytest.approx(naive_auc(labels, scores))


@given(rated(), st.data())
@settings(deadline=None, max_examples=50)
def test_a_weight_is_so_many_copies_of_a_row(
    rows: tuple[FloatArray, FloatArray], data: st.DataObject
) -> None:
    labels, scores = rows
    copies = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(labels),
                                         max_size=len(labels))))  # fmt: skip
    copies[:2] = np.maximum(copies[:2], 1)
    curve = Curve(labels, scores)
    order = np.argsort(-scores, kind="stable")
    weighted = curve.figures(0.5, 2.0, copies[order].astype(np.float64))
    repeated = Curve(np.repeat(labels, copies), np.repeat(scores, copies)).figures(0.5, 2.0)
    for name, value in weighted.items():
        if name != "ece":  # a heavy row shares a bin, its copies may be parted
            assert value == pytest.approx(repeated[name], nan_ok=True, abs=1e-12), name


def test_figures_by_hand() -> None:
    labels = np.array([1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
    found = metrics.figures(labels, scores, threshold=0.65, beta=2.0)
    # Flagged: 0.9 (hit), 0.8 (false), 0.7 (hit); missed: 0.5.
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["f1"] == pytest.approx(2 / 3)
    assert found["fpr"] == pytest.approx(1 / 5)
    assert found["fnr"] == pytest.approx(1 / 3)
    assert found["fdr"] == pytest.approx(1 / 3)
    assert found["roc_auc"] == pytest.approx((5 + 4 + 3) / 15)
    assert found["pr_auc"] == pytest.approx((1 / 1 + 2 / 3 + 3 / 5) / 3)
    assert found["precision_at_recall_0.9"] == pytest.approx(3 / 5)


def test_f_beta_leans_as_it_should() -> None:
    labels, scores = np.array([1.0, 1, 1, 1, 0, 0]), np.array([0.9, 0.2, 0.2, 0.2, 0.1, 0.1])
    leaning = [
        metrics.figures(labels, scores, threshold=0.5, beta=b)["f_beta"] for b in (0.5, 1, 2)
    ]
    # Precision is 1 and recall a quarter: the more recall counts, the lower.
    assert leaning == sorted(leaning, reverse=True)
    assert leaning == pytest.approx([1.25 * 0.25 / 0.5, 2 * 0.25 / 1.25, 5 * 0.25 / 4.25])


@given(rated())
@settings(deadline=None, max_examples=50)
def test_ranking_ignores_the_scale_and_turns_with_the_sign(
    rows: tuple[FloatArray, FloatArray],
) -> None:
    labels, scores = rows
    curve, bent = Curve(labels, scores), Curve(labels, scores**3 / 2)
    for name in ("roc_auc", "pr_auc", "precision_at_recall_0.9"):
        assert curve.figures(0.5, 1.0)[name] == pytest.approx(bent.figures(0.5, 1.0)[name])
    turned = Curve(labels, 1 - scores).figures(0.5, 1.0)["roc_auc"]
    assert turned == pytest.approx(1 - curve.figures(0.5, 1.0)["roc_auc"])


@given(rated())
@settings(deadline=None, max_examples=50)
def test_a_higher_threshold_flags_no_more(rows: tuple[FloatArray, FloatArray]) -> None:
    curve = Curve(*rows)
    found = [curve.figures(threshold, 1.0) for threshold in np.linspace(0, 1.05, 22)]
    for name, falls in (("recall", True), ("fpr", True), ("fnr", False)):
        values = [entry[name] for entry in found]
        assert values == sorted(values, reverse=falls), name
    assert found[0]["recall"] == 1
    assert found[-1]["recall"] == 0


def test_intervals_hold_the_value_and_narrow_with_more_rows() -> None:
    rng = np.random.default_rng(1)
    widths = []
    for size in (200, 5_000):
        labels = (rng.random(size) < 0.3).astype(float)
        scores = np.clip(labels * 0.2 + rng.random(size) * 0.8, 0, 1)
        curve = Curve(labels, scores)
        value = curve.figures(0.5, 1.0)
        found = intervals(curve, threshold=0.5, beta=1.0, seed=3, resamples=100)
        assert found.keys() == value.keys()
        for name in ("roc_auc", "pr_auc", "f1", "recall", "fpr", "brier"):
            low, high = found[name]
            assert low < value[name] < high, name
        widths.append(found["roc_auc"][1] - found["roc_auc"][0])
        again = intervals(curve, threshold=0.5, beta=1.0, seed=3, resamples=100)
        assert again == found
    assert widths[1] < widths[0] / 2


# Thresholds


@given(rated())
@settings(deadline=None, max_examples=40)
def test_no_threshold_beats_the_best(rows: tuple[FloatArray, FloatArray]) -> None:
    labels, scores = rows
    found = metrics.constrained(labels, scores)
    every = []
    for t in sorted(set(scores.tolist())):
        flagged = scores >= t
        precision, recall = labels[flagged].mean(), flagged[labels == 1].mean()
        f1 = 2 * precision * recall / (precision + recall or 1)
        every.append((t, precision, recall, flagged[labels == 0].mean(), f1))
    allowed = {
        "precision_0.95": ([r for _, p, r, _, _ in every if p >= 0.95], "recall"),
        "recall_0.99": ([p for _, p, r, _, _ in every if r >= 0.99], "precision"),
        "fpr_0.01": ([r for _, _, r, f, _ in every if f <= 0.01], "recall"),
        "best_f1": ([f1 for *_, f1 in every], "f1"),
    }
    for name, (values, goal) in allowed.items():
        if not values:
            assert found[name] is None
        else:
            assert found[name][goal] == pytest.approx(max(values))
            at = Curve(labels, scores).figures(found[name]["threshold"], 1.0)
            assert at[goal] == pytest.approx(found[name][goal])


# Queues


@given(rated(), st.integers(1, 60))
@settings(deadline=None, max_examples=50)
def test_ties_share_their_places(rows: tuple[FloatArray, FloatArray], k: int) -> None:
    labels, scores = rows
    k = min(k, len(labels))
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(200):
        order = np.lexsort((rng.random(len(labels)), -scores))
        drawn.append(labels[order[:k]].sum())
    assert metrics.expected_hits(labels, scores, k) == pytest.approx(np.mean(drawn), abs=0.6)
    assert metrics.expected_hits(labels, scores, len(labels)) == pytest.approx(labels.sum())


def test_a_queue_by_hand() -> None:
    labels, scores = np.zeros(20), np.linspace(1, 0.05, 20)
    labels[[0, 2, 11]] = 1
    found = metrics.ranking(labels, scores, ks=(10, 100))
    assert found["p@10"] == pytest.approx(0.2)
    assert found["r@10"] == pytest.approx(2 / 3)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert found["ndcg@10"] == pytest.approx((1 + 1 / math.log2(4)) / ideal)
    assert found["ap"] == pytest.approx((1 + 2 / 3 + 3 / 12) / 3)
    assert "p@100" not in found


# All categories


@given(st.integers(4, 40), st.integers(0, 10_000))
@settings(deadline=None, max_examples=15)
def test_averages_are_scikit_learns_where_all_is_known(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = (rng.random((size, 3)) < 0.4).astype(float)
    labels[0] = 1
    scores = rng.random((size, 3))
    found = metrics.averages(labels, scores, threshold=0.5, beta=2.0)
    for kind, own in found.items():
        p, r, f1, _ = sk.precision_recall_fscore_support(
            labels, scores >= 0.5, average=kind, zero_division=0.0
        )
        f_beta = sk.fbeta_score(labels, scores >= 0.5, beta=2.0, average=kind, zero_division=0.0)
        assert list(own.values()) == pytest.approx([p, r, f1, f_beta])


def test_what_nobody_knows_takes_no_part() -> None:
    rng = np.random.default_rng(5)
    labels = (rng.random((50, 2)) < 0.4).astype(float)
    scores = rng.random((50, 2))
    masked = np.concatenate((labels, np.full((30, 2), np.nan)))
    more = np.concatenate((scores, rng.random((30, 2))))
    how: dict[str, Any] = {"threshold": 0.5, "beta": 2.0}
    assert metrics.averages(masked, more, **how) == metrics.averages(labels, scores, **how)
    draws: dict[str, Any] = {**how, "seed": 1, "resamples": 20}
    assert metrics.category(masked[:, 0], more[:, 0], **draws) == metrics.category(
        labels[:, 0], scores[:, 0], **draws
    )
    assert metrics.averages(masked[50:], more[50:], **how) == {}


def test_too_few_rows_get_counts_alone() -> None:
    labels = np.array([1.0] * 7 + [0.0] * 50)
    found = metrics.category(labels, labels, threshold=0.5, beta=1.0, seed=1, resamples=20)
    assert found == {"rows": 57, "positives": 7}


def test_reliability_of_a_calibrated_score_lies_on_the_diagonal() -> None:
    rng = np.random.default_rng(2)
    scores = rng.random(40_000)
    labels = (rng.random(40_000) < scores).astype(float)
    bins = metrics.reliability(labels, scores)
    assert sum(entry["rows"] for entry in bins) == 40_000
    assert all(abs(entry["predicted"] - entry["observed"]) < 0.03 for entry in bins)


# Groups


def test_rates_of_groups_by_hand() -> None:
    labels = np.array([0.0] * 60 + [1.0] * 60)
    scores = np.full(120, 0.1)
    scores[:12] = 0.9  # harmless, flagged: all of group a
    scores[60:105] = 0.9
    a = np.zeros(120, bool)
    a[:30] = a[60:90] = True
    found = groups.fairness(labels, scores, {"a": a, "b": ~a}, 0.5)
    one, other = found["groups"]["a"], found["groups"]["b"]
    assert (one["fpr"], other["fpr"]) == (0.4, 0.0)
    assert (one["tpr"], other["tpr"]) == (1.0, 0.5)
    assert (one["selection_rate"], other["selection_rate"]) == (0.7, 0.25)
    assert found["demographic_parity_difference"] == pytest.approx(0.45)
    assert found["disparate_impact"] == pytest.approx(0.25 / 0.7)
    assert found["equal_opportunity_difference"] == pytest.approx(0.5)
    assert found["equalised_odds_difference"] == pytest.approx(0.5)
    assert found["worst_fpr_ratio"] == pytest.approx(0.4 / 0.2)
    # Harmful of b against harmless of a: half of b's tie with 18 of 30, none is above the 12.
    wins = np.mean([0.5 * (s == t) + (s > t) for s in scores[90:] for t in scores[:30]])
    assert one["bpsn_auc"] == pytest.approx(wins)


def test_groups_treated_alike_are_no_distance_apart() -> None:
    labels = np.tile([0.0, 1.0], 100)
    scores = np.tile([0.2, 0.8, 0.7, 0.9], 50)
    halves = np.arange(200) < 100
    found = groups.fairness(labels, scores, {"a": halves, "b": ~halves}, 0.5)
    for name in ("demographic_parity", "equal_opportunity", "equalised_odds"):
        assert found[f"{name}_difference"] == 0
    assert found["disparate_impact"] == 1


def test_small_groups_get_no_rates() -> None:
    labels, scores = np.tile([0.0, 1.0], 100), np.tile([0.1, 0.9], 100)
    few = np.arange(200) < 10
    found = groups.fairness(labels, scores, {"few": few}, 0.5)
    assert found["groups"]["few"]["fpr"] is None
    assert found["disparate_impact"] is None
    assert found["worst_fpr_ratio"] is None


def test_terms_differ_by_the_term_alone() -> None:
    texts = [f"the {word} choir sang {i} songs" for i, word in enumerate(["polish"] * 40)]
    identities = load_identities()
    words = next(e.words for e in identities.classes if "polish" in e.words)

    def score(own: Any) -> FloatArray:
        return np.array([0.9 if "turkish" in text else 0.1 for text in own])

    found = groups.terms([*texts, "no one is named here"], identities, score, 0.5, seed=1)
    assert found["sentences"] == 40
    assert found["cases"] == 40 * len(words)
    assert found["terms"]["turkish"]["fpr"] == 1
    assert found["terms"]["polish"]["fpr"] == 0
    assert found["worst_ratio"] == pytest.approx(len(words))
    assert found["mean_spread"] == pytest.approx(0.8)
    assert groups.terms(["no one is named"], identities, score, 0.5, seed=1) == {}


def test_who_is_mentioned() -> None:
    found = groups.mentioned(["my deaf sister", "nothing", "Muslims and Jews"], load_identities())
    assert {name: rows.tolist() for name, rows in found.items()} == {
        "disability_adjective": [True, False, False],
        "religion_people": [False, False, True],
    }


# Spans


def test_character_f1_by_hand() -> None:
    gold = frozenset(range(4, 8))
    assert spans.character_f1(gold, gold) == 1
    assert spans.character_f1(frozenset(range(6, 10)), gold) == pytest.approx(0.5)
    assert spans.character_f1(frozenset(), gold) == 0
    assert spans.character_f1(frozenset(), frozenset()) == 1
    assert spans.character_f1(gold, frozenset()) == 0


def test_spans_are_measured_in_the_text_as_it_came() -> None:
    text = "You \u0456d\u0456ot, sir"
    assert spans.pointed(text, lambda _: [(4, 9, 1.0)], 0.5) == frozenset(range(4, 9))
    posts = [spans.Marked(text, frozenset(range(4, 9)))] * 4
    found = spans.measure(posts, lambda _: [(4, 9, 1.0), (0, 3, 0.15)])
    assert found["f1"] == 1
    assert found["posts"] == 2
    assert found["by_share"]["0.0"] < found["by_share"]["0.2"] == 1
    assert spans.measure(posts[:1], lambda _: []) == {}


# Cost against quality


def test_the_frontier_runs_from_one_tier_to_the_other() -> None:
    rng = np.random.default_rng(4)
    labels = (rng.random((400, 2)) < 0.3).astype(float)
    fast = np.clip(labels * 0.3 + rng.random((400, 2)) * 0.7, 0, 1).astype(np.float32)
    deep = np.clip(labels * 0.6 + rng.random((400, 2)) * 0.4, 0, 1).astype(np.float32)
    points = frontier(labels, fast, NAMES, deep, NAMES, fast_us=40.0, deep_us=5000.0)
    by_kind = {p["kind"]: p for p in points}
    expected = np.mean([sk.average_precision_score(labels[:, i], fast[:, i]) for i in range(2)])
    assert by_kind["fast"]["pr_auc"]["macro"] == pytest.approx(expected)
    assert (by_kind["fast"]["share"], by_kind["fast"]["us"]) == (0.0, 40.0)
    assert (by_kind["deep"]["share"], by_kind["deep"]["us"]) == (1.0, 5000.0)
    assert by_kind["deep"]["pr_auc"]["macro"] > by_kind["fast"]["pr_auc"]["macro"]
    for kind in ("symmetric", "low"):
        own = sorted((p for p in points if p["kind"] == kind), key=lambda p: -p["low"])
        shares = [p["share"] for p in own]
        assert shares == sorted(shares)
        for point in own:
            assert point["us"] == pytest.approx(40 + point["share"] * 5000)
    assert {p["high"] for p in points if p["kind"] == "low"} == {HIGH}
