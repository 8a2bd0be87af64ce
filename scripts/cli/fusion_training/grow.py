"""Growing the forest, and comparing fusions on rows that it did not see."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final

import lightgbm as lgb
import msgspec
import numpy as np
import numpy.typing as npt

from schemas.categories import TEXT_CATEGORIES
from schemas.errors import SluiceError
from scripts.cli.evaluate.curves import Curve
from scripts.cli.training_model import NATURAL, PRIORS, reference_weights
from udfs.contracts import Fusion, Signals
from udfs.fusion_lightgbm import (
    ARRAYS,
    FALLING,
    FEATURES,
    RISING,
    ForestArrays,
    columns_of,
    rows_of,
)

FloatArray = npt.NDArray[np.float64]

MOST_TREES: Final = 18
RATE: Final = 0.3
PATIENCE: Final = 5
DEPTH: Final = 3
LEAST_OF_EACH: Final = 8
FOLDS: Final = 5
"""Every fifth text decides how many trees there are."""


class Rows(msgspec.Struct):
    """Known labels of (text, category) pairs."""

    at: npt.NDArray[np.int64]
    """Places in the flat (signals, categories) table."""
    labels: FloatArray
    weights: FloatArray
    """Those of a category sum to 1."""
    categories: npt.NDArray[np.int64]


def known_rows(labels: FloatArray, sources: Sequence[str], copies: int) -> Rows:
    """Which pairs are learnt from, weighted to traffic as the scores' calibration was.

    Toxicity is taken from the natural sample where there is one; of the others positives are
    weighted to their assumed share, and most negatives are ordinary traffic.

    Args:
        labels: 1, 0 or NaN, shape (texts, TEXT_CATEGORIES).
        sources: one a text.
        copies: times that the texts were joined with authors, one after another.

    Raises:
        SluiceError: no category has rows of both kinds.
    """
    named = np.array(sources)
    at, truth, weights, categories = [], [], [], []
    for column, category in enumerate(TEXT_CATEGORIES):
        every = labels[:, column]
        rows = np.flatnonzero(~np.isnan(every))
        natural = rows[named[rows] == NATURAL]
        if len(set(every[natural].tolist())) == 2:
            rows, own = natural, np.ones(len(natural))
        elif min((every[rows] == 1).sum(), (every[rows] == 0).sum()) >= LEAST_OF_EACH:
            own = reference_weights(every[rows], named[rows], PRIORS[category])
        else:
            continue
        for copy in range(copies):
            at.append(((rows + copy * len(labels)) * len(TEXT_CATEGORIES)) + column)
            truth.append(every[rows])
            weights.append(own / own.sum() / copies)
            categories.append(np.full(len(rows), column))
    if not at:
        raise SluiceError("no category has texts both with and without it")
    return Rows(*(np.concatenate(part) for part in (at, truth, weights, categories)))


def grow(
    signals: Sequence[Signals], rows: Rows, texts: int, *, seed: int
) -> tuple[ForestArrays, Any]:
    """Grow a forest on top of the scores' log-odds.

    Args:
        signals: of all texts, copy after copy.
        rows: what is known of them.
        texts: how many there are in a copy.
        seed: of LightGBM.

    Returns:
        The arrays, and LightGBM's own model (for checks).
    """
    table = rows_of(columns_of(signals))[rows.at]
    held_out = (rows.at // len(TEXT_CATEGORIES) % texts) % FOLDS == 0
    weights = rows.weights * len(rows.weights) / rows.weights.sum()

    def part(own: npt.NDArray[np.bool_], reference: Any = None) -> Any:
        return lgb.Dataset(
            table[own], rows.labels[own], weight=weights[own], init_score=table[own, 0],
            feature_name=list(FEATURES), reference=reference, free_raw_data=False,
        )  # fmt: skip

    fitted = part(~held_out)
    booster = lgb.train(
        {
            "objective": "binary", "learning_rate": RATE,
            "num_leaves": 1 << DEPTH, "max_depth": DEPTH, "max_bin": 63,
            "min_data_in_leaf": 200, "min_sum_hessian_in_leaf": 5.0, "lambda_l2": 5.0,
            "monotone_constraints": [
                1 if name in RISING else -1 if name in FALLING else 0 for name in FEATURES
            ],
            "monotone_constraints_method": "advanced", "boost_from_average": False,
            "deterministic": True, "force_row_wise": True, "num_threads": 1, "seed": seed,
            "verbosity": -1,
        },
        fitted,
        MOST_TREES,
        valid_sets=[part(held_out, fitted)],
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )  # fmt: skip
    return flattened(booster), booster


def flattened(booster: Any) -> ForestArrays:
    """The trees of a LightGBM model as whole trees, each leaf `DEPTH` deep.

    A leaf that is less deep is repeated below inner nodes that send every row left.
    """
    document = booster.dump_model(num_iteration=booster.best_iteration)
    trees = [tree["tree_structure"] for tree in document["tree_info"]]
    nodes = (1 << DEPTH) - 1
    feature = np.zeros((len(trees), nodes), np.uint8)
    threshold = np.full((len(trees), nodes), np.inf)
    missing_right = np.zeros((len(trees), nodes), np.bool_)
    value = np.zeros((len(trees), nodes + 1))

    def place(tree: int, at: int, node: dict[str, Any]) -> None:
        if at >= nodes:
            value[tree, at - nodes] = node["leaf_value"]
        elif "leaf_value" in node:
            place(tree, 2 * at + 1, node)
        else:
            feature[tree, at] = node["split_feature"]
            threshold[tree, at] = node["threshold"]
            # Where none was missing in training, LightGBM reads NaN as 0.
            missing_right[tree, at] = (
                not node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] < 0
            )
            place(tree, 2 * at + 1, node["left_child"])
            place(tree, 2 * at + 2, node["right_child"])

    for tree, root in enumerate(trees):
        place(tree, 0, root)
    return dict(zip(ARRAYS, (feature, threshold, missing_right, value), strict=True))


def forest_bytes(forest: ForestArrays) -> bytes:
    """The arrays as an .npz file, the same bytes for the same arrays."""
    buffer = io.BytesIO()
    np.savez(buffer, **{name: forest[name] for name in ARRAYS})
    return buffer.getvalue()


def probabilities(fusion: Fusion | None, signals: Sequence[Signals]) -> FloatArray:
    """What a fusion makes of signals, flat over (signals, categories); None: the bare scores."""
    fused = [s.scores for s in signals] if fusion is None else fusion.fuse(signals)
    table = [[row.get(name, np.nan) for name in TEXT_CATEGORIES] for row in fused]
    return np.array(table).ravel()


def compared(
    fusions: dict[str, Fusion | None], signals: Sequence[Signals], rows: Rows
) -> dict[str, Any]:
    """Figures of each fusion by category and over all, weighted to traffic.

    Returns:
        By fusion and category `roc_auc`, `pr_auc`, `ece`, `log_loss`, their mean as `all`; and for
        each fusion but the first how much lower its log loss is than the first's, with its 95%
        normal interval.
    """
    out: dict[str, Any] = {}
    losses = {}
    for name, fusion in fusions.items():
        scores = probabilities(fusion, signals)[rows.at]
        kept = np.clip(scores, 1e-6, 1 - 1e-6)
        loss = -np.log(np.where(rows.labels > 0.5, kept, 1 - kept))
        losses[name] = loss
        out[name] = {}
        for column in np.unique(rows.categories):
            own = rows.categories == column
            curve = Curve(rows.labels[own], scores[own])
            order = np.argsort(-scores[own], kind="stable")
            weights = rows.weights[own] * own.sum() / rows.weights[own].sum()
            figures = curve.figures(0.5, 1.0, weights[order])
            out[name][TEXT_CATEGORIES[column]] = {
                **{key: figures[key] for key in ("roc_auc", "pr_auc", "ece")},
                "log_loss": float(np.average(loss[own], weights=weights)),
            }
        out[name]["all"] = {
            key: float(np.mean([entry[key] for entry in out[name].values()]))
            for key in ("roc_auc", "pr_auc", "ece", "log_loss")
        }
    first = next(iter(fusions))
    share = rows.weights / rows.weights.sum()
    for name in list(fusions)[1:]:
        gain = losses[first] - losses[name]
        mean = float(share @ gain)
        spread = 1.96 * float(np.sqrt((share**2) @ (gain - mean) ** 2))
        out[name]["log_loss_gain"] = {"value": mean, "low": mean - spread, "high": mean + spread}
    return out
