"""A report's plots: curves by category with a line for each tier, and the frontier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn import metrics as sk

from schemas.categories import TEXT_CATEGORIES
from scripts.cli.evaluate.curves import Curve
from scripts.cli.evaluate.metrics import LEAST_OF_EACH, reliability

FloatArray = npt.NDArray[np.float64]

_COLOURS: Final = {"fast": "#2a6f97", "deep": "#e07a2f", "both": "#5b8c5a"}
_MOST_POINTS: Final = 400
"""A line's points; more cannot be told apart and make large files."""

Paint = Callable[[Axes, str, FloatArray, FloatArray], None]


def draw(
    labels: FloatArray,
    scores: Mapping[str, FloatArray],
    frontier: list[dict[str, Any]] | None,
    folder: Path,
    kind: str,
) -> list[Path]:
    """Draw what the labels allow.

    Args:
        labels: 1, 0 or NaN, shape (texts, TEXT_CATEGORIES).
        scores: by tier, the shape of `labels`.
        frontier: of the report, if it has one.
        folder: gets `NAME.KIND`.
        kind: of the files, `png` or `svg`. The same figures give the same bytes.

    Returns:
        The files that were written.
    """
    known = {
        column: {tier: ~np.isnan(labels[:, column]) & ~np.isnan(values[:, column])
                 for tier, values in scores.items()}
        for column in range(len(TEXT_CATEGORIES))
    }  # fmt: skip
    columns = [
        column
        for column, rows in known.items()
        if rows and all(_enough(labels[own, column]) for own in rows.values())
    ]
    written = []
    for name, title, paint, x, y in (
        ("pr", "Precision and recall", _pr, "recall", "precision"),
        ("roc", "ROC", _roc, "false positive rate", "true positive rate"),
        ("reliability", "Reliability", _reliability, "predicted", "observed"),
        ("thresholds", "By threshold", _thresholds, "threshold", ""),
    ):
        if not columns:
            break
        figure, axes = _grid(len(columns), title)
        for place, column in zip(axes, columns, strict=False):
            for tier, values in scores.items():
                own = known[column][tier]
                paint(place, tier, labels[own, column], values[own, column])
            _finish(place, TEXT_CATEGORIES[column], x, y)
        written.append(_save(figure, folder / f"{name}.{kind}"))
    if frontier:
        figure, axes = _grid(1, "Cost against quality")
        _frontier(axes[0], frontier)
        _finish(axes[0], "", "share of texts sent to the heavy tier", "PR-AUC, mean of categories")
        written.append(_save(figure, folder / f"frontier.{kind}"))
    return written


def _pr(axes: Axes, tier: str, labels: FloatArray, scores: FloatArray) -> None:
    precision, recall, _ = sk.precision_recall_curve(labels, scores)
    # Steps: between two points of the curve no line can be walked (Davis and Goadrich 2006).
    axes.plot(*_thin(recall, precision), color=_COLOURS[tier], label=tier, drawstyle="steps-post")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))


def _roc(axes: Axes, tier: str, labels: FloatArray, scores: FloatArray) -> None:
    fall_out, recall, _ = sk.roc_curve(labels, scores)
    axes.plot(*_thin(fall_out, recall), color=_COLOURS[tier], label=tier)
    axes.set(xlim=(-0.02, 1), ylim=(0, 1.02))


def _reliability(axes: Axes, tier: str, labels: FloatArray, scores: FloatArray) -> None:
    bins = reliability(labels, scores)
    axes.plot((0, 1), (0, 1), color="#999999", linewidth=0.8, linestyle="--")
    axes.plot(
        [entry["predicted"] for entry in bins],
        [entry["observed"] for entry in bins],
        "o-", markersize=3, color=_COLOURS[tier], label=tier,
    )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1))


def _thresholds(axes: Axes, tier: str, labels: FloatArray, scores: FloatArray) -> None:
    curve = Curve(labels, scores)
    up, down = curve.hits()
    for values, style, name in (
        (up / (up + down), "-", "precision"),
        (up / up[-1], "--", "recall"),
        (down / down[-1], ":", "false positive rate"),
    ):
        axes.plot(
            *_thin(curve.cuts, values), style, color=_COLOURS[tier], label=f"{tier}: {name}",
            linewidth=1.2,
        )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1.02))


def _frontier(axes: Axes, points: list[dict[str, Any]]) -> None:
    ends = [point for point in points if point["kind"] in {"fast", "deep"}]
    for kind, colour in (("symmetric", "#2a6f97"), ("low", "#e07a2f")):
        own = [point for point in points if point["kind"] == kind]
        axes.plot(
            [point["share"] for point in own],
            [point["pr_auc"].get("macro", np.nan) for point in own],
            "o-", markersize=3, color=colour,
            label="bands [p, 1 - p]" if kind == "symmetric" else "bands [p, 0.95]",
        )  # fmt: skip
    for point in ends:
        quality = point["pr_auc"].get("macro", np.nan)
        axes.plot([point["share"]], [quality], "s", color="#444444")
        axes.annotate(f" {point['kind']} alone", (point["share"], quality), fontsize=8)


def _enough(labels: FloatArray) -> bool:
    positives = int(labels.sum())
    return min(positives, len(labels) - positives) >= LEAST_OF_EACH


def _thin(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    rows = np.unique(np.linspace(0, len(x) - 1, min(len(x), _MOST_POINTS)).round().astype(int))
    return x[rows], y[rows]


def _grid(number: int, title: str) -> tuple[Figure, list[Axes]]:
    across = min(number, 3)
    down = -(-number // across)
    figure = Figure(figsize=(3.8 * across + (2 if number == 1 else 0), 3.3 * down),
                    layout="constrained")  # fmt: skip
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    axes = [figure.add_subplot(down, across, i + 1) for i in range(number)]
    return figure, axes


def _finish(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    handles, names = axes.get_legend_handles_labels()
    if names:
        axes.legend(handles, names, fontsize=7, frameon=False)


def _save(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without dates, versions and random ids the same figures give the same file.
    metadata = {"Software": None} if path.suffix == ".png" else {"Date": None, "Creator": None}
    with mpl.rc_context({"svg.hashsalt": "sluice", "svg.fonttype": "none"}):
        figure.savefig(path, dpi=110, metadata=metadata)
    return path
