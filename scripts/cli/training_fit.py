"""Fitting the fast text tier: weighted logistic regression per category, then int8 weights.

Plain numpy and scipy; the loss is convex and the start fixed, so a seed only decides which
examples there are.
"""

from __future__ import annotations

import dataclasses as dc
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.optimize import minimize

from udfs.text_features import BUCKETS

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

IDF_POWER: Final = 1.5
"""Rare features start ahead: columns are scaled by log(rows / rows with it) to this power."""
INTERCEPT_RIDGE: Final = 1e-5
LEAST_OF_EACH: Final = 20
"""Positives and negatives that a source needs to have an intercept of its own."""
MEMORY: Final = 6
"""Corrections that L-BFGS keeps."""


@dc.dataclass(frozen=True)
class Options:
    """How one category is fitted."""

    ridge: float
    """L2 penalty on scaled weights, relative to a total row weight of 1."""
    base: tuple[str, ...] = ()
    """Sources that share the model's own intercept. The others get one each, which is thrown
    away after training, so that a source's share of positives is not learnt from its
    vocabulary. Empty: all share one."""
    steps: int = 80


@dc.dataclass(frozen=True)
class Column:
    """Weights of one category: score = sum(weights[features]) / sqrt(count) + bias."""

    weights: Float64
    bias: float


def fit_column(
    ones: sp.csr_matrix,
    labels: Float32,
    weights: Float32,
    sources: npt.NDArray[np.str_],
    options: Options,
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> Column:
    """Minimise the weighted logistic loss with L-BFGS.

    Args:
        ones: features of the rows, shape (rows, BUCKETS), entries 1.
        labels: 0 or 1, shape (rows,).
        weights: row weights above 0, shape (rows,).
        sources: name of each row's source.
        options: as above.
        progress: called with the number of every step done.
    """
    # Buckets that no row has keep weight 0: leave them out of the problem.
    seen = np.flatnonzero(np.bincount(ones.indices, minlength=BUCKETS))
    place = np.zeros(BUCKETS, ones.indices.dtype)
    place[seen] = np.arange(len(seen))
    ones = sp.csr_matrix(
        (ones.data, place[ones.indices], ones.indptr), shape=(ones.shape[0], len(seen))
    )
    scale = _scales(ones)
    design = normalised(ones)
    design.data *= scale[design.indices]
    # Unit mean square length, so that one ridge fits any scaling.
    norm = np.float32(np.sqrt(np.bincount(_row_of(design), design.data**2).sum() / len(labels)))
    design.data /= norm
    transposed = design.T.tocsr()
    sign = (2 * labels - 1).astype(np.float32)
    share = (weights / weights.sum()).astype(np.float32)
    group = _groups(labels, sources, options.base)
    groups = int(group.max()) + 1
    size = len(seen)
    step = 0

    def loss(theta: Float64) -> tuple[float, Float64]:
        coefficients, offsets = theta[:size].astype(np.float32), theta[size:]
        # Group 0 has the bias alone, the others bias and intercept.
        shift = np.where(group > 0, offsets[group], 0.0) + offsets[0]
        margin = sign * (design @ coefficients + shift).astype(np.float32)
        pull = -sign * share * _sigmoid(-margin)
        by_group = np.bincount(group, pull, groups)
        by_group[0] = pull.sum()
        by_group = by_group + INTERCEPT_RIDGE * np.append(0.0, offsets[1:])
        value = float(share @ np.logaddexp(0, -margin))
        value += options.ridge / 2 * float(theta[:size] @ theta[:size])
        value += INTERCEPT_RIDGE / 2 * float(offsets[1:] @ offsets[1:])
        slope = transposed @ pull + options.ridge * theta[:size]
        return value, np.concatenate([slope, by_group]).astype(np.float64)

    def count(_: Any) -> None:
        nonlocal step
        step += 1
        progress(step)

    start = np.zeros(size + groups)
    rate = float(np.clip(share @ labels, 1e-4, 1 - 1e-4))
    start[size] = np.log(rate / (1 - rate))
    found = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        callback=count,
        options={"maxiter": options.steps, "maxcor": MEMORY},
    ).x
    fitted = np.zeros(BUCKETS)
    fitted[seen] = found[:size] * scale / norm
    return Column(fitted, float(found[size]))


def normalised(ones: sp.csr_matrix) -> sp.csr_matrix:
    """Rows divided by the square root of their number of features."""
    counts = np.diff(ones.indptr)
    values = (1 / np.sqrt(np.maximum(counts, 1))).astype(np.float32).repeat(counts)
    return sp.csr_matrix((values, ones.indices, ones.indptr), shape=ones.shape)


def quantise(columns: list[Column]) -> tuple[npt.NDArray[np.int8], Float64]:
    """Weights as int8 of shape (BUCKETS, categories), and what a unit is worth in each."""
    weights = np.stack([column.weights for column in columns], axis=1)
    scales = np.maximum(np.abs(weights).max(axis=0), 1e-9) / 127
    return np.rint(weights / scales).astype(np.int8), scales


def _scales(ones: sp.csr_matrix) -> Float32:
    found = np.bincount(ones.indices, minlength=ones.shape[1])
    idf = np.log((ones.shape[0] + 1) / (1 + found))
    return np.asarray(idf**IDF_POWER, np.float32)


def _row_of(matrix: sp.csr_matrix) -> npt.NDArray[np.int64]:
    return np.arange(matrix.shape[0]).repeat(np.diff(matrix.indptr))


def _groups(
    labels: Float32, sources: npt.NDArray[np.str_], base: tuple[str, ...]
) -> npt.NDArray[np.int64]:
    group = np.zeros(len(labels), np.int64)
    if not base:
        return group
    number = 0
    for source in sorted(set(sources.tolist()) - set(base)):
        rows = sources == source
        positive = int(labels[rows].sum())
        if min(positive, int(rows.sum()) - positive) >= LEAST_OF_EACH:
            number += 1
            group[rows] = number
    return group


def _sigmoid(x: Float32) -> Float32:
    return (1 / (1 + np.exp(-np.clip(x, -60, 60)))).astype(np.float32)
