"""From a corpus to a fast text model: fit, quantise, calibrate, write."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from schemas.categories import TEXT_CATEGORIES
from schemas.errors import SluiceError
from scripts.cli import training_split
from scripts.cli.training_corpus import Corpus
from scripts.cli.training_fit import Column, Options, fit_column, quantise
from udfs import calibration
from udfs.calibration import Choice, Platt
from udfs.text_fast import (
    CLOSE_WINDOW,
    MANIFEST,
    WEIGHTS,
    WINDOW,
    FastTextManifest,
    FastTextScorer,
    FileEntry,
)
from udfs.text_features import SCHEME

NATURAL: Final = "jigsaw_natural"
"""The source whose share of positives is nobody's choice; it calibrates toxicity."""

_WIKIPEDIA: Final = (NATURAL, "jigsaw_six_label")
OPTIONS: Final = {
    "toxicity": Options(ridge=3e-6, base=_WIKIPEDIA),
    "hate_speech": Options(ridge=1e-5, base=_WIKIPEDIA),
    "threat": Options(ridge=1e-5, base=_WIKIPEDIA),
    # Their positives all come from sources of their own, so sources must stay comparable.
    "sexual": Options(ridge=3e-6),
    "self_harm": Options(ridge=3e-6),
    "spam": Options(ridge=3e-6),
}
LANGUAGES: Final = ("en", "pt")
"""ISO 639-1 codes of the sets that are fitted."""
PRIORS: Final = {
    "toxicity": 0.1,
    "hate_speech": 0.02,
    "threat": 0.01,
    "sexual": 0.02,
    "self_harm": 0.01,
    "spam": 0.1,
}
"""Assumed share of positives in traffic, where no natural sample says it."""

NATURAL_SHARE: Final = 0.9
"""Share of harmless traffic that is taken to look like the natural sources."""
_LIKE_TRAFFIC: Final = (NATURAL, "irc_chat")

MARGIN: Final = 0.7
"""Log-odds that a close window has to be ahead of a wide one. Chosen on calibration rows: below,
long harmless texts score too high; above, buried abuse is lost."""

Progress = Callable[[str, int], None]
"""Called with the category and the number of optimiser steps done."""


class Calibration(msgspec.Struct, frozen=True):
    """How one category's scores were made probabilities."""

    choice: Choice
    prior: float
    rows: int
    positives: int
    natural: bool
    """True where the rows are a natural sample, False where they were weighted to `prior`."""


def fit(
    corpus: Corpus,
    ones: sp.csr_matrix,
    *,
    steps: int,
    categories: tuple[str, ...] = TEXT_CATEGORIES,
    without_families: tuple[str, ...] = (),
    progress: Progress = lambda _category, _step: None,
) -> list[Column]:
    """Fit one column a category on the corpus's FIT part.

    Args:
        corpus: with known labels of both kinds for each category.
        ones: its features.
        steps: most optimiser steps a category.
        categories: to fit.
        without_families: families of templates to leave out (to measure what they do).
        progress: as above.

    Raises:
        SluiceError: a category has no positive or no negative to learn from.
    """
    dropped = np.array([p.split("/")[0] in without_families for p in corpus.patterns])
    chosen = {}
    for category in categories:
        j = TEXT_CATEGORIES.index(category)
        rows = corpus.known(j, training_split.FIT)
        rows = rows[~dropped[rows] & (corpus.weights[rows, j] > 0)]
        if len(set(corpus.labels[rows, j].tolist())) < 2:
            raise SluiceError(f"{category}: needs examples both with and without it")
        chosen[category] = rows
    out = []
    for category, rows in chosen.items():
        j = TEXT_CATEGORIES.index(category)
        labels = corpus.labels[rows, j]
        options = OPTIONS[category]
        out.append(
            fit_column(
                ones[rows],
                labels,
                corpus.weights[rows, j],
                corpus.sources[rows],
                Options(options.ridge, options.base, min(steps, options.steps)),
                progress=lambda step, category=category: progress(category, step),  # type: ignore[misc]  # binds the loop's variable
            )
        )
    return out


def uncalibrated(
    columns: list[Column], categories: tuple[str, ...], margins: Sequence[float] = ()
) -> FastTextScorer:
    """A scorer of the columns, for raw scores; without margins close windows do not count."""
    return _scorer(
        columns, categories, margins or [np.inf] * len(columns), [Platt(1.0, 0.0)] * len(columns)
    )


def calibrate(
    columns: list[Column], categories: tuple[str, ...], corpus: Corpus, *, seed: int
) -> tuple[FastTextScorer, list[Calibration]]:
    """Set margins and choose a calibrator for each category, on the corpus's DEV part.

    The margin is the same in log-odds for all, so it needs the slope that wide windows have.
    """
    wide = uncalibrated(columns, categories)
    margins = []
    for category in categories:
        rows = _calibration_rows(wide, corpus, category)
        margins.append(MARGIN / calibration.fit_platt(rows.raw, rows.labels, rows.weights).slope)
    raw = uncalibrated(columns, categories, margins)
    out = []
    for category in categories:
        rows = _calibration_rows(raw, corpus, category)
        choice = calibration.choose(rows.raw, rows.labels, rows.weights, seed=seed)
        positives = int(rows.labels.sum())
        out.append(Calibration(choice, rows.prior, len(rows.labels), positives, rows.natural))
    scorer = _scorer(columns, categories, margins, [c.choice.calibrator for c in out])
    priors = tuple(round(c.prior, 4) for c in out)
    manifest = msgspec.structs.replace(scorer.manifest, priors=priors)
    return FastTextScorer(manifest, scorer.weights), out


class _Rows(NamedTuple):
    raw: npt.NDArray[np.float64]
    labels: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    prior: float
    natural: bool


def _calibration_rows(scorer: FastTextScorer, corpus: Corpus, category: str) -> _Rows:
    j = TEXT_CATEGORIES.index(category)
    rows = corpus.known(j, training_split.DEV)
    natural = rows[corpus.sources[rows] == NATURAL]
    is_natural = len(set(corpus.labels[natural, j].tolist())) == 2
    if is_natural:
        rows = natural
    labels = corpus.labels[rows, j].astype(np.float64)
    if not len(rows) or labels.min() == labels.max():
        raise SluiceError(f"{category}: too few examples to calibrate on")
    column = scorer.categories.index(category)
    raw = scorer.raw([corpus.texts[i] for i in rows])[:, column]
    if is_natural:
        return _Rows(raw, labels, np.ones(len(rows)), float(labels.mean()), True)
    prior = PRIORS[category]
    return _Rows(raw, labels, reference_weights(labels, corpus.sources[rows], prior), prior, False)


def reference_weights(
    labels: npt.NDArray[np.float64], sources: npt.NDArray[np.str_], prior: float
) -> npt.NDArray[np.float64]:
    """Row weights under which `prior` is positive and most negatives are ordinary traffic.

    The sets were enriched: without this, hard negatives would stand for all harmless texts.
    """
    weights = calibration.prior_weights(labels, prior)
    negative = labels <= 0.5
    ordinary = negative & np.isin(sources, _LIKE_TRAFFIC)
    hard = negative & ~ordinary
    if ordinary.any() and hard.any():
        total = weights[negative].sum()
        weights[ordinary] = total * NATURAL_SHARE / ordinary.sum()
        weights[hard] = total * (1 - NATURAL_SHARE) / hard.sum()
    return weights


def save(scorer: FastTextScorer, folder: Path, *, training: Any, metrics: Any) -> None:
    """Write weights and manifest so that `FastTextScorer.load` takes them."""
    folder.mkdir(parents=True, exist_ok=True)
    # A temporary name and a rename: a reader never sees half a file.
    for name, data in (
        (WEIGHTS, array_bytes(scorer.weights)),
        (
            MANIFEST,
            msgspec.json.format(
                msgspec.json.encode(
                    msgspec.structs.replace(scorer.manifest, training=training, metrics=metrics)
                )
            )
            + b"\n",
        ),
    ):
        part = folder / f".{name}.part"
        part.write_bytes(data)
        part.replace(folder / name)


def array_bytes(array: npt.NDArray[np.int8]) -> bytes:
    """The array as an .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def today() -> str:
    """The date in UTC, as ISO 8601."""
    return dt.datetime.now(dt.UTC).date().isoformat()


def _scorer(
    columns: list[Column],
    categories: tuple[str, ...],
    margins: Sequence[float],
    calibrators: Sequence[calibration.Calibrator],
) -> FastTextScorer:
    weights, scales = quantise(columns)
    data = array_bytes(weights)
    entry = FileEntry(hashlib.sha256(data).hexdigest(), len(data))
    manifest = FastTextManifest(
        format=1,
        name="fast_text",
        version="",
        scheme=SCHEME,
        window=WINDOW,
        close_window=CLOSE_WINDOW,
        categories=categories,
        scales=tuple(float(scale) for scale in scales),
        biases=tuple(column.bias for column in columns),
        margins=tuple(margins),
        calibrators=tuple(calibrators),
        priors=tuple(PRIORS[category] for category in categories),
        files={WEIGHTS: entry},
        languages=LANGUAGES,
    )
    manifest = msgspec.structs.replace(manifest, version=manifest.content_hash())
    return FastTextScorer(manifest, weights)
