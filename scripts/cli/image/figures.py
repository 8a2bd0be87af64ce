"""What an image model is measured on, and its model card."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from schemas.errors import SluiceError
from scripts.cli import training_metrics as measure
from scripts.cli.image.gallery import LAYOUTS, Pictures
from udfs.pixel_package import Geometry, PixelManifest
from udfs.pixels import PixelScorer, Squares, square

THRESHOLDS: Final = (0.5, 0.8, 0.95)
_SUFFIXES: Final = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
Scores = npt.NDArray[np.float64]


def quality(pictures: Pictures, scores: Scores, *, seed: int) -> dict[str, Any]:
    """Figures on pictures that were not trained on.

    Args:
        pictures: of one split.
        scores: probability of spam of each.
        seed: of the bootstrap.
    """
    labels = pictures.labels
    found: dict[str, Any] = {"pictures": len(labels), "spam": int(labels.sum())}
    metrics: dict[str, measure.Metric] = {
        "roc_auc": measure.roc_auc,
        "average_precision": measure.average_precision,
    }
    for threshold in THRESHOLDS:
        metrics[f"recall_at_{threshold}"] = measure.recall_at(threshold)
        metrics[f"false_positives_at_{threshold}"] = _wrong_at(threshold)
    for name, metric in metrics.items():
        estimate = measure.estimate(metric, labels, scores, seed=seed)
        found[name] = {part: round(getattr(estimate, part), 4) for part in ("value", "low", "high")}
    spam = {layout.name for layout in LAYOUTS if layout.spam}
    names = np.array(pictures.layouts)
    found["layouts"] = {
        name: {
            "spam": name in spam,
            "pictures": int((names == name).sum()),
            "mean": round(float(scores[names == name].mean()), 4),
            "at_0.5": round(float((scores[names == name] >= 0.5).mean()), 4),
        }
        for name in dict.fromkeys(pictures.layouts)
    }
    return found


def _wrong_at(threshold: float) -> measure.Metric:
    def metric(labels: measure.FloatArray, scores: measure.FloatArray) -> float:
        return float((scores[labels <= 0.5] >= threshold).mean())

    return metric


def real_pictures(folder: Path, geometry: Geometry) -> Squares:
    """Pictures of a folder and those below it, in the order of their paths.

    Raises:
        SluiceError: there are none.
    """
    squares = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in _SUFFIXES:
            continue
        try:
            with Image.open(path) as opened:
                squares.append(square(opened.convert("RGB"), geometry))
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
    if not squares:
        raise SluiceError(f"{folder}: holds no pictures that can be read")
    return np.stack(squares)


def harmless(scorer: PixelScorer, squares: Squares) -> dict[str, Any]:
    """How often real pictures, none of them spam, score high; Wilson's 95% intervals."""
    scores = scorer.score(squares)[:, 0]
    count = len(scores)
    found: dict[str, Any] = {"pictures": count, "mean": round(float(scores.mean()), 4)}
    for threshold in THRESHOLDS:
        wrong = int((scores >= threshold).sum())
        low, high = wilson(wrong, count)
        found[f"false_positives_at_{threshold}"] = {
            "value": round(wrong / count, 4), "low": round(low, 4), "high": round(high, 4),
        }  # fmt: skip
    return found


def wilson(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson score interval of a share (Wilson 1927)."""
    share = hits / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * (
        share * (1 - share) / count + z * z / (4 * count * count)
    ) ** 0.5  # fmt: skip
    return max(0.0, centre - half), min(1.0, centre + half)


def card(manifest: PixelManifest) -> str:
    """The model card as Markdown."""
    source = manifest.source
    training, metrics = source["training"], source["metrics"]
    size = sum(entry.bytes for entry in manifest.files.values())
    side = manifest.geometry.crop
    splits = [(name, metrics[name]) for name in ("test", "unseen")]
    rows = [
        (words, *(_shown(own[field]) for _, own in splits))
        for field, words in (
            ("roc_auc", "ROC-AUC"),
            ("average_precision", "average precision"),
            *((f"recall_at_{at}", f"found, at {at}") for at in THRESHOLDS),
            *((f"false_positives_at_{at}", f"wrong, at {at}") for at in THRESHOLDS),
        )
    ]
    layouts = [
        (
            name.replace("_", " "),
            "spam" if own["spam"] else "",
            words,
            f"{own['mean']:.3f}",
            f"{own['at_0.5']:.3f}",
        )
        for words, (_, there) in zip(("new", "unseen"), splits, strict=True)
        for name, own in there["layouts"].items()
    ]
    return f"""# {manifest.name}: model card

Version `{manifest.version}`, written {training["date"]} by `{training["command"]}`: change the
command, not this page.

**What it is.** A convolutional network of {training["parameters"]} weights in ONNX
({size / 1e3:.0f} kB) that sees a picture squeezed to {side} x {side} pixels. Output is a calibrated
probability for {", ".join(manifest.categories)}: that the picture is laid out as an advertisement
(banner, flyer, price tiles, a badge and a button) or shows a QR code with a call to scan it.
A picture takes {metrics["ms_a_picture"]} ms on one core of the machine that wrote this.

**What it is for.** One opinion among others about pictures that carry text and codes, beside what
the text path makes of the words themselves. **Not for** deciding alone: at this size no word can
be read, and an honest shop's banner looks like any other.

## Data

{training["pictures"]} pictures, **all of them drawn by this project** (`scripts/cli/image/`,
words in `conf/training/image_words.yaml`); no real picture was trained on.

- Spam: {_names(spam=True, unseen=False)}.
- Harmless: {_names(spam=False, unseen=False)}.

Probabilities are calibrated on {training["calibration_rows"]} further pictures, weighted to a share
of spam of {training["prior"]:.0%}, which is an assumption.

## Quality on drawn pictures that were not trained on

*new*: other pictures of the layouts above. *unseen*: layouts and fonts that no training picture
had (spam: {_names(spam=True, unseen=True)};
harmless: {_names(spam=False, unseen=True)}). In brackets 95% bootstrap intervals;
{metrics["test"]["pictures"]} and {metrics["unseen"]["pictures"]} pictures, half of them spam.

{_table(("", "new", "unseen"), rows)}

{_table(("layout", "", "set", "mean", "share at 0.5 or more"), layouts)}
{_real(metrics)}
## Limits

- Drawn pictures are not the pictures that people send. Figures near 1 say that these drawings are
  easily told apart, not that real ones are: expect worse, and measure.
  `scripts/train_image --real FOLDER` says how often pictures of your own, none of them spam, score
  high; how much real spam it finds was not measured at all.
- It goes by layout and colour. Posters, packaging, signs, magazine covers and greeting cards may
  score high; spam that is laid out like a letter or a chat scores low.
- A QR code alone, without a call, was not trained on either way: what the code says is read by
  another step and judged as text.
"""


def _real(metrics: dict[str, Any]) -> str:
    if "real" not in metrics:
        return ""
    own = metrics["real"]
    rows = [(str(at), _shown(own[f"false_positives_at_{at}"])) for at in THRESHOLDS]
    return f"""
## Real pictures that are not spam

{own["pictures"]} pictures ({own["about"]}); mean score {own["mean"]:.3f}. Intervals by Wilson.

{_table(("at or above", "share"), rows)}
"""


def _names(*, spam: bool, unseen: bool) -> str:
    return ", ".join(
        layout.name.replace("_", " ")
        for layout in LAYOUTS
        if layout.spam == spam and layout.unseen == unseen
    )


def _shown(entry: dict[str, float]) -> str:
    return f"{entry['value']:.3f} ({entry['low']:.3f} to {entry['high']:.3f})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
