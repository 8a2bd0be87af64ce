"""The last steps of a heavy model, trained or imported: calibrate, measure, write the card."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from scripts.cli.dataset import config
from scripts.cli.dataset.identity import Swapper
from scripts.cli.deep import assess, card, export
from scripts.cli.deep.data import Rows
from scripts.cli.deep.export import Exported
from udfs import text_deep
from udfs.calibration import apply_all
from udfs.deep_manifest import DeepTextManifest
from udfs.text_deep import DeepTextScorer

CARD = "MODEL_CARD.md"
_TIMED_TOKENS = (16, 32, 64, 128)


def finish(
    exported: Exported,
    splits: dict[str, Rows] | None,
    *,
    labels: dict[str, Any] | None = None,
    training: dict[str, Any],
    seed: int,
    say: Callable[[str], None],
) -> DeepTextManifest:
    """Calibrate on `dev` and measure on `test` what will be served, and write the package.

    Args:
        exported: the package so far.
        splits: `dev` and `test` of a data set; None leaves the model's own probabilities.
        labels: how an imported model's labels were read.
        training: provenance.
        seed: of folds and samples.
        say: shows progress.

    Raises:
        SluiceError: too few rows to calibrate, or the package does not load.
    """
    categories = exported.manifest.categories
    scorer = text_deep.load(exported.folder)
    metrics: dict[str, Any] = {
        "served": scorer.precision,
        "probe_logits_apart": {name: round(value, 4) for name, value in exported.distances.items()},
        "in_float": list(exported.in_float),
        "speed_ms": speed(scorer),
    }
    calibrators: list[Any] = list(exported.manifest.calibrators)
    priors = list(exported.manifest.priors)
    thresholds: dict[str, dict[str, float]] = {}
    if splits is not None:
        say(f"calibrating {scorer.precision} on {len(splits['dev'].texts)} texts")
        raw = assess.in_parts(scorer.raw, splits["dev"].texts, say)
        choices, priors, thresholds = assess.calibrators(raw, splits["dev"], categories, seed=seed)
        calibrators = [choice.calibrator for choice in choices]
        training = {
            **training,
            "calibration": {
                category: {
                    "method": assess.method_of(c.calibrator),
                    "prior": round(prior, 4),
                    "platt_ece": round(c.platt_ece, 5),
                    "isotonic_ece": round(c.isotonic_ece, 5),
                }
                for category, c, prior in zip(categories, choices, priors, strict=True)
            },
        }
    draft = export.finish(
        exported,
        calibrators=calibrators,
        priors=priors,
        thresholds=thresholds,
        labels=labels,
        training=training,
        metrics=metrics,
    )
    scorer = text_deep.load(exported.folder)
    if splits is not None:
        say(f"measuring on {len(splits['test'].texts)} texts")
        test = splits["test"]
        scores = apply_all(draft.calibrators, assess.in_parts(scorer.raw, test.texts, say))
        metrics["quality"] = assess.quality(scores, test, categories)
        if "toxicity" in categories:
            metrics["disguised"] = assess.robustness(scorer, test, seed=seed)
        swapper = Swapper(config.load_identities())
        metrics["identity_swaps"] = assess.swaps(scorer, test, swapper, seed=seed)
    manifest = export.finish(
        exported,
        calibrators=calibrators,
        priors=priors,
        thresholds=thresholds,
        labels=labels,
        training=training,
        metrics=metrics,
    )
    (exported.folder / CARD).write_text(card.render(manifest), "utf-8")
    return manifest


def speed(scorer: DeepTextScorer) -> dict[str, float]:
    """Milliseconds of one window by its tokens, one thread: the best of 15."""
    out = {}
    for tokens in _TIMED_TOKENS:
        if tokens > scorer.manifest.max_tokens:
            continue
        window = [scorer.manifest.hide_id] * tokens
        best = min(_seconds(scorer, window) for _ in range(15))
        out[str(tokens)] = round(best * 1e3, 2)
    return out


def _seconds(scorer: DeepTextScorer, window: list[int]) -> float:
    start = time.perf_counter()
    scorer.run([window])
    return time.perf_counter() - start
