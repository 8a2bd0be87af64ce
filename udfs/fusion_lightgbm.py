"""Fusion by gradient-boosted trees: what the coefficients of `udfs.fusion` guess, learnt.

    fused(c) = sigmoid(logit(score(c)) + trees(score(c), rules(c), evasion, velocity, author,
                                               surroundings, c))

The trees were grown by LightGBM (Ke et al. 2017) on top of the log-odds of the scores, so they
hold what evidence adds. Constraints of their growth: a higher score (of any category), more rule
weight, disguise, speed, repeats, violations, reports or heat around an upload never lowers a
probability; a better reputation, an older or a verified account never raises it. What is not
known is missing, and each split has learnt where that goes. Their arrays are walked by compiled
code, not by LightGBM.

Each upload is fused by itself. A category that no model scored is left to the fallback.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import msgspec
import numpy as np
import numpy.typing as npt

from schemas.categories import TEXT_CATEGORIES
from schemas.errors import ConfigError
from schemas.features import SINGLE
from udfs.contracts import Fusion, Signals
from udfs.fusion_kernels import fuse_rows
from udfs.model_package import MANIFEST, PackagedFile, check_files, read_manifest

FloatTable = npt.NDArray[np.float64]
ForestArrays = Mapping[str, npt.NDArray[Any]]

FOREST: Final = "forest.npz"
ARRAYS: Final = ("feature", "threshold", "missing_right", "value")
"""What `udfs.fusion_kernels.fuse_rows` takes of the trees."""
MOST_DEPTH: Final = 6

UPLOAD_FEATURES: Final = (
    "evasion",
    "count_10s",
    "repeats_10s",
    "count_1m",
    "repeats_1m",
    "count_1h",
    "repeats_1h",
    "communities_1h",
    "count_1d",
    "reputation",
    "violations",
    "toxicity_rate",
    "report_rate",
    "account_age_days",
    "verified",
    "parent_toxicity",
    "community_baseline",
)
FEATURES: Final = (
    "score",
    "highest_other_score",
    "strongest_rule",
    "rule_weight",
    *UPLOAD_FEATURES,
    *(f"is_{category}" for category in TEXT_CATEGORIES),
)
"""Columns of a row of the forest."""
RISING: Final = frozenset(
    {"score", "highest_other_score", "strongest_rule", "rule_weight", "evasion", "violations",
     "toxicity_rate", "report_rate", "parent_toxicity", "community_baseline", "communities_1h",
     *(f"{kind}_{window}" for kind in ("count", "repeats") for window in ("10s", "1m", "1h")),
     "count_1d"}
)  # fmt: skip
"""More of it never lowers a probability."""
FALLING: Final = frozenset({"reputation", "account_age_days", "verified"})
"""More of it never raises one."""

HISTORY_FROM: Final = 5
"""Uploads below which an author is new: judged by content and speed, the rest is missing."""
MOST_RULES: Final = 3.0
"""Weight of all rules of a category together counts up to here."""

_PLACE: Final = {category: i for i, category in enumerate(TEXT_CATEGORIES)}
_COUNT: Final = len(TEXT_CATEGORIES)
_NAN: Final = math.nan
_ALONE: Final = (1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0)
"""The velocity columns of a user's only upload."""
_NO_HISTORY: Final = (_NAN, _NAN, _NAN, _NAN)


class Columns(NamedTuple):
    """What the forest looks at, for a batch."""

    uploads: FloatTable
    """Columns of the uploads, shape (n, UPLOAD_FEATURES)."""
    scores: FloatTable
    """Shape (n, TEXT_CATEGORIES), NaN where no model scored."""
    strongest: FloatTable
    """Weight of the category's strongest rule, shape (n, TEXT_CATEGORIES)."""
    total: FloatTable
    """Of all of its rules, up to `MOST_RULES`."""
    whole: list[bool]
    """Whether models scored all of the categories, and no rule speaks of another, an upload."""


class FusionManifest(msgspec.Struct, frozen=True, kw_only=True):
    """`manifest.json` of a fusion's package."""

    format: int
    name: str
    version: str
    """First 12 hex digits of the SHA-256 over what decides the probabilities."""
    features: tuple[str, ...]
    """Columns that the trees look at, in order."""
    rising: tuple[str, ...]
    falling: tuple[str, ...]
    """Columns with a monotone constraint."""
    trees: int
    files: dict[str, PackagedFile]
    training: dict[str, Any] = {}
    """Data, simulator, seed, versions."""
    metrics: dict[str, Any] = {}

    def content_hash(self) -> str:
        """What `version` must be."""
        decides = (
            self.features,
            {name: entry.sha256 for name, entry in sorted(self.files.items())},
        )
        return hashlib.sha256(msgspec.json.encode(decides)).hexdigest()[:12]


class LightGbmFusion:
    """A `udfs.contracts.Fusion`. Make one by `load`.

    Args:
        manifest: of the package.
        forest: `ARRAYS` by name, checked.
        fallback: fuses what no model scored.
    """

    def __init__(self, manifest: FusionManifest, forest: ForestArrays, fallback: Fusion) -> None:
        self.manifest = manifest
        self.forest = forest
        self.fallback = fallback
        self._arrays: tuple[Any, ...] = tuple(np.ascontiguousarray(forest[name]) for name in ARRAYS)
        for array in self._arrays:
            array.flags.writeable = False
        self._depth = (forest["feature"].shape[1] + 1).bit_length() - 1
        # The fallback decides too, so its version is part of this one's.
        self.version = f"lightgbm-{manifest.version}+{fallback.version}"

    @classmethod
    def load(cls, folder: Path, fallback: Fusion) -> Self:
        """Read a package and check that it is what its manifest says.

        Raises:
            ConfigError: a file is missing, changed, or of another format.
        """
        manifest = read_manifest(folder, FusionManifest)
        _check_manifest(manifest, folder)
        check_files(folder, manifest.files)
        return cls(manifest, _read_forest(folder / FOREST), fallback)

    def fuse(self, batch: Sequence[Signals]) -> list[dict[str, float]]:
        """Probability by category for each of the batch; NaN scores stay NaN."""
        if not batch:
            return []
        table = columns_of(batch)
        return [
            dict(zip(TEXT_CATEGORIES, row, strict=True)) if whole else self._partly(signals, row)
            for signals, row, whole in zip(
                batch, self._walked(table).tolist(), table.whole, strict=True
            )
        ]

    def probabilities(self, batch: Sequence[Signals]) -> FloatTable:
        """Fused probabilities, shape (len(batch), TEXT_CATEGORIES); NaN where there is no score."""
        return self._walked(columns_of(batch))

    def _walked(self, table: Columns) -> FloatTable:
        out = np.empty(table.scores.shape)
        feature, threshold, missing_right, value = self._arrays
        fuse_rows(
            table.uploads, table.scores, table.strongest, table.total,
            feature, threshold, missing_right, value, self._depth, out,
        )  # fmt: skip
        return out

    def _partly(self, signals: Signals, row: Sequence[float]) -> dict[str, float]:
        """The fallback's answer, with the forest's for the categories that it knows."""
        fused = self.fallback.fuse([signals])[0]
        for category in signals.scores:
            place = _PLACE.get(category)
            if place is not None:
                fused[category] = row[place]
        return fused


def columns_of(batch: Sequence[Signals]) -> Columns:
    """What the forest looks at."""
    uploads = np.array([_upload_columns(signals) for signals in batch], np.float64)
    scores: list[float] = []
    strongest = [0.0] * (len(batch) * _COUNT)
    total = strongest.copy()
    every: list[bool] = []
    for i, signals in enumerate(batch):
        own = signals.scores
        whole = tuple(own) == TEXT_CATEGORIES
        if whole:
            scores += own.values()
        else:
            scores += [own.get(name, _NAN) for name in TEXT_CATEGORIES]
        for rule in signals.rules:
            place = _PLACE.get(rule.category)
            if place is None:
                whole = False
                continue
            place += i * _COUNT
            strongest[place] = max(strongest[place], rule.weight)
            total[place] = min(total[place] + rule.weight, MOST_RULES)
        every.append(whole)
    shape = (len(batch), _COUNT)
    return Columns(
        uploads.reshape(len(batch), len(UPLOAD_FEATURES)),
        np.array(scores, np.float64).reshape(shape),
        np.array(strongest).reshape(shape),
        np.array(total).reshape(shape),
        every,
    )


def rows_of(table: Columns) -> FloatTable:
    """The rows that the compiled walk puts together, for training and for checks of it.

    Returns:
        Shape (n * categories, FEATURES), the categories of an upload together.
    """
    uploads, scores = table.uploads, table.scores
    n = len(uploads)
    kept = np.clip(scores, 1e-6, 1 - 1e-6)
    logits = np.log(kept / (1 - kept))
    out = np.zeros((n, _COUNT, len(FEATURES)))
    out[:, :, 0] = logits
    for c in range(_COUNT):
        others = np.delete(logits, c, axis=1)
        known = ~np.isnan(others).all(axis=1)
        out[:, c, 1] = np.nan
        out[known, c, 1] = np.nanmax(others[known], axis=1)
        out[:, c, 4 + len(UPLOAD_FEATURES) + c] = 1.0
    out[:, :, 2], out[:, :, 3] = table.strongest, table.total
    out[:, :, 4 : 4 + len(UPLOAD_FEATURES)] = uploads[:, None, :]
    return out.reshape(n * _COUNT, len(FEATURES))


def _upload_columns(signals: Signals) -> tuple[float, ...]:
    velocity, user, account = signals.velocity, signals.user, signals.upload.account
    if velocity is SINGLE:
        speed: tuple[float, ...] = _ALONE
    else:
        short, minute, hour, day = velocity.windows
        speed = (
            short.count, short.count - short.distinct_texts,
            minute.count, minute.count - minute.distinct_texts,
            hour.count, hour.count - hour.distinct_texts, hour.distinct_communities,
            day.count,
        )  # fmt: skip
    history: tuple[float, ...] = _NO_HISTORY
    if user.known and user.uploads >= HISTORY_FROM:
        history = (user.reputation, user.violations, user.toxicity_rate, user.report_rate)
    created = account.created_at
    age = _NAN if created is None else (signals.now_ms / 1000 - created.timestamp()) / 86_400
    context = signals.context
    parent, community = context.parent_toxicity, context.community_baseline
    return (
        signals.evasion,
        *speed,
        *history,
        age,
        account.verified,
        _NAN if parent is None else parent,
        _NAN if community is None else community,
    )


def _check_manifest(manifest: FusionManifest, folder: Path) -> None:
    problem = ""
    if manifest.format != 1:
        problem = f"format {manifest.format} is not known; this version reads format 1"
    elif manifest.features != FEATURES:
        problem = "was trained on other features than this version gives it: train again"
    elif FOREST not in manifest.files:
        problem = f"names no {FOREST}"
    elif manifest.version != manifest.content_hash():
        problem = "version does not fit the content: the manifest was edited; train again"
    if problem:
        raise ConfigError(problem, file=str(folder / MANIFEST))


def _read_forest(path: Path) -> ForestArrays:
    """The arrays, refused where a walk over them could leave them."""
    try:
        with np.load(path, allow_pickle=False) as file:
            forest = {name: file[name] for name in ARRAYS}
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"is no forest: {error}", file=str(path)) from None
    trees, nodes = forest["feature"].shape if forest["feature"].ndim == 2 else (0, 0)
    fits = (
        trees > 0
        and nodes + 1 in {1 << depth for depth in range(1, MOST_DEPTH + 1)}
        and forest["threshold"].shape == forest["missing_right"].shape == (trees, nodes)
        and forest["value"].shape == (trees, nodes + 1)
        and all(
            forest[name].dtype == kind
            for name, kind in zip(ARRAYS, ("uint8", "float64", "bool", "float64"), strict=True)
        )
        and bool((forest["feature"] < len(FEATURES)).all())
        and bool(np.isfinite(forest["value"]).all())
    )
    if not fits:
        raise ConfigError("is no forest: its arrays do not fit together", file=str(path))
    return forest
