"""The fast text tier: a linear model over hashed words and pieces of words.

A text is cut into overlapping windows of two sizes, each window scored by itself, and the
highest score of each category counts. Nothing is ever cut off, and abuse that is buried in a
long harmless text is found by a close window that it fills. A close window sees less, so it
has to be more convincing than a wide one by a margin.

The score of a window is the sum of its features' weights over the square root of their
number, per category. Every text is scored by itself, compiled (`udfs.text_score`), so its
result is the same to the last bit in every batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import numpy as np
import numpy.typing as npt

from schemas.errors import ConfigError
from udfs.calibration import Calibrator, FloatArray, Isotonic, Platt, sigmoid
from udfs.text_features import BUCKETS, SCHEME, Found, code_points, new_stamps
from udfs.text_kernels import explain_words, score_windows

MANIFEST: Final = "manifest.json"
WEIGHTS: Final = "weights.npy"

WINDOW: Final = 512
"""Characters in a wide window. Neighbouring windows share half of it."""
CLOSE_WINDOW: Final = 128
"""Characters in a close window. Texts that fit into one are scored as they are."""


class FileEntry(msgspec.Struct, frozen=True):
    """A file of the model and what it must contain."""

    sha256: str
    bytes: int


class FastTextManifest(msgspec.Struct, frozen=True, kw_only=True):
    """`manifest.json` beside the weights: what is needed to score, and how it came about."""

    format: int
    name: str
    version: str
    """First 12 hex digits of the SHA-256 over what decides the scores."""
    scheme: str
    """`udfs.text_features.SCHEME` that the weights were trained under."""
    window: int
    close_window: int
    categories: tuple[str, ...]
    scales: tuple[float, ...]
    """What one unit of a stored weight is worth, a category."""
    biases: tuple[float, ...]
    margins: tuple[float, ...]
    """What is taken off the score of a close window of a longer text, a category; 0 or more."""
    calibrators: tuple[Calibrator, ...]
    priors: tuple[float, ...]
    """Share of positives in traffic that the probabilities are calibrated for, a category."""
    files: dict[str, FileEntry]
    languages: tuple[str, ...] = ()
    """ISO 639-1 codes of what it was trained on; empty: not known."""
    training: dict[str, Any] = {}
    """Data sets with licences and row counts, seed, versions."""
    metrics: dict[str, Any] = {}

    def content_hash(self) -> str:
        """What `version` must be."""
        decides = (
            self.scheme,
            self.window,
            self.close_window,
            self.categories,
            self.scales,
            self.biases,
            self.margins,
            self.calibrators,
            {name: entry.sha256 for name, entry in sorted(self.files.items())},
        )
        return hashlib.sha256(msgspec.json.encode(decides)).hexdigest()[:12]


class FastTextScorer:
    """A `udfs.contracts.Scorer`. Make one by `load`.

    Args:
        manifest: of the model.
        weights: int8, shape (BUCKETS, categories).
    """

    def __init__(self, manifest: FastTextManifest, weights: npt.NDArray[np.int8]) -> None:
        self.manifest = manifest
        self.weights = weights
        # Read in place by compiled code, which takes contiguous arrays.
        self._columns = np.ascontiguousarray(weights)
        self._stamps = new_stamps(manifest.window)
        self._scales = np.array(manifest.scales)
        self._biases = np.array(manifest.biases)
        self._margins = np.array(manifest.margins)
        # Platt columns are one vectorised expression; the others are put over it.
        flat = Platt(1.0, 0.0)
        platts = [c if isinstance(c, Platt) else flat for c in manifest.calibrators]
        self._slopes = np.array([p.slope for p in platts])
        self._offsets = np.array([p.offset for p in platts])
        self._isotonic = [
            (i, c) for i, c in enumerate(manifest.calibrators) if isinstance(c, Isotonic)
        ]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a model and check that its files are what the manifest says.

        Raises:
            ConfigError: a file is missing, changed or of another format.
        """
        path = folder / MANIFEST
        try:
            manifest = msgspec.json.decode(path.read_bytes(), type=FastTextManifest)
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None
        except msgspec.DecodeError as error:
            raise ConfigError(f"is no model manifest: {error}", file=str(path)) from None
        _check_manifest(manifest, path)
        for name, entry in manifest.files.items():
            _check_file(folder, name, entry)
        return cls(manifest, _read_weights(folder / WEIGHTS, len(manifest.categories)))

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def version(self) -> str:
        return self.manifest.version

    @property
    def categories(self) -> tuple[str, ...]:
        return self.manifest.categories

    def score(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Calibrated probabilities, shape (len(texts), len(categories)), in [0, 1].

        A text without any feature (empty, or spaces alone) scores as the bias says.
        """
        probabilities = self._calibrate(self.raw(texts))
        return probabilities.astype(np.float32)

    def raw(self, texts: Sequence[str]) -> FloatArray:
        """Uncalibrated scores, each the maximum over the text's windows."""
        if not texts:
            return np.empty((0, len(self.categories)))
        codes = code_points("".join(texts))
        ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
        if max(map(len, texts)) <= self.manifest.close_window:
            starts = np.zeros(len(texts), np.int64)
            starts[1:] = ends[:-1]
            return self._pieces(codes, starts, ends)
        places: list[tuple[int, int, bool]] = []
        firsts = []
        for text, end in zip(texts, ends.tolist(), strict=True):
            firsts.append(len(places))
            first = end - len(text)
            places += [(first + b, min(first + e, end), c) for b, e, c in self._windows(len(text))]
        windows = np.array(places, np.int64)
        scores = self._pieces(codes, windows[:, 0].copy(), windows[:, 1].copy())
        scores[windows[:, 2] != 0] -= self._margins
        return np.maximum.reduceat(scores, firsts, axis=0)

    def explain(self, text: str, category: str, limit: int = 5) -> list[tuple[int, int, float]]:
        """Words of the text's strongest window that raised `category` most, strongest first.

        The weight of a word is what it adds to the raw score: the weights of the features
        within it, and half of each pair of words that it belongs to. Only words that raise
        the score are named. A word is whatever stands between spaces.

        Args:
            text: normalised.
            category: one of `categories`.
            limit: most ranges returned.

        Raises:
            ValueError: the category is not one of the model's.
        """
        column = self.categories.index(category)
        codes = code_points(text)
        windows = [(b, min(e, len(text)), c) for b, e, c in self._windows(len(text))]
        begin, stop, _ = windows[0]
        if len(windows) > 1:
            places = np.array(windows, np.int64)
            scores = self._pieces(codes, places[:, 0].copy(), places[:, 1].copy())[:, column]
            scores -= places[:, 2] * self._margins[column]
            begin, stop, _ = windows[int(scores.argmax())]
        words = np.empty((stop - begin + 1, 2), np.int64)
        totals = np.empty(stop - begin + 1)
        count = explain_words(
            codes, begin, stop, self._columns, column, float(self._scales[column]),
            self._stamps, *Found.room_for(stop - begin), words, totals,
        )  # fmt: skip
        raised = [(-total, i) for i, total in enumerate(totals[:count].tolist()) if total > 0]
        return [(*words[i].tolist(), -negated) for negated, i in sorted(raised)[:limit]]

    def __getstate__(self) -> dict[str, Any]:
        return {"manifest": self.manifest, "weights": self.weights}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["manifest"], state["weights"])  # type: ignore[misc]  # rebuilds what is derived

    def _calibrate(self, raw: FloatArray) -> FloatArray:
        probabilities = sigmoid(raw * self._slopes + self._offsets)
        for i, calibrate in self._isotonic:
            probabilities[:, i] = calibrate(np.ascontiguousarray(raw[:, i]))
        return probabilities

    def _windows(self, length: int) -> list[tuple[int, int, bool]]:
        """Start, end and closeness of every window of a text; the first is never close."""
        wide, close = self.manifest.window, self.manifest.close_window
        out = [(start, start + wide, False) for start in window_starts(length, wide)]
        if length > close:
            out += [(start, start + close, True) for start in window_starts(length, close)]
        return out

    def _pieces(
        self,
        codes: npt.NDArray[np.uint32],
        starts: npt.NDArray[np.int64],
        ends: npt.NDArray[np.int64],
    ) -> FloatArray:
        """Raw scores of windows `codes[start:end]`, shape (windows, categories)."""
        out = np.empty((len(starts), len(self.categories)))
        room = Found.room_for(self.manifest.window)
        score_windows(
            codes, starts, ends, self._columns, self._scales, self._biases, self._stamps, *room, out
        )
        return out


def window_starts(length: int, window: int) -> list[int]:
    """Where the windows of a text of `length` begin; the last one ends where the text ends."""
    if length <= window:
        return [0]
    last = length - window
    return [*range(0, last, window // 2), last]


def _check_manifest(manifest: FastTextManifest, path: Path) -> None:
    columns = len(manifest.categories)
    lists = (
        manifest.scales,
        manifest.biases,
        manifest.margins,
        manifest.calibrators,
        manifest.priors,
    )
    problem = ""
    if manifest.format != 1:
        problem = f"format {manifest.format} is not known; this version reads format 1"
    elif manifest.scheme != SCHEME:
        problem = f"was trained under feature scheme {manifest.scheme}, this version has {SCHEME}"
    elif not 2 <= manifest.close_window <= manifest.window <= WINDOW:
        problem = f"windows must have 2 to {WINDOW} characters, the close one not more"
    elif any(len(entries) != columns for entries in lists):
        problem = "scales, biases, margins, calibrators and priors need one entry a category"
    elif WEIGHTS not in manifest.files:
        problem = f"names no {WEIGHTS}"
    elif manifest.version != manifest.content_hash():
        problem = "version does not fit the content: the manifest was edited; train again"
    if problem:
        raise ConfigError(problem, file=str(path))


def _check_file(folder: Path, name: str, entry: FileEntry) -> None:
    path = folder / name
    if Path(name).name != name:
        raise ConfigError("files of a model lie beside its manifest", file=str(path))
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None
    if digest != entry.sha256:
        raise ConfigError(
            f"sha256 is {digest}, not {entry.sha256} as in the manifest; restore it or train again",
            file=str(path),
        )


def _read_weights(path: Path, columns: int) -> npt.NDArray[np.int8]:
    try:
        weights = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"is no array file: {error}", file=str(path)) from None
    if weights.shape != (BUCKETS, columns) or weights.dtype != np.int8:
        raise ConfigError(f"must be int8 of shape ({BUCKETS}, {columns})", file=str(path))
    return np.asarray(weights, np.int8)
