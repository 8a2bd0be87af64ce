"""The model card of a heavy text tier, written from its manifest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from udfs.deep_manifest import DeepTextManifest


def render(manifest: DeepTextManifest) -> str:
    """The card as Markdown."""
    training, metrics = manifest.training, manifest.metrics
    size = sum(entry.bytes for name, entry in manifest.files.items() if name.endswith(".onnx"))
    parts = [
        f"""# {manifest.name}: model card

Version `{manifest.version}`, written {training.get("date", "")} by `{training.get("command", "")}`:
change the command, not this page.

**What it is.** A {manifest.architecture} encoder in ONNX
({", ".join(manifest.precisions)}; {size / 1e6:.1f} MB), for normalised text in
{", ".join(manifest.languages)}. Windows of {manifest.max_tokens} tokens that overlap by half; the
highest counts. Output is a calibrated probability for {", ".join(manifest.categories)}.

**What it is for.** What a cheaper model could not decide. **Not for** deciding alone about
accounts, for judging people, or for other languages.""",
        "## Where it comes from\n\n"
        + _facts(training, ("base", "licence", "layers", "parent", "data")),
        _speed(metrics),
        _calibration(training),
        _quality(metrics),
        _joined(manifest),
        _robustness(metrics),
        _swaps(metrics),
        """## Limits

- Self-harm and sexual solicitation rest on sentences that this project wrote; their figures say how
  well patterns carry over to unseen patterns by the same authors.
- A probability holds where the share of positives is the prior, on texts like those calibrated on.
- A label is a majority of raters who disagreed; see the data card.""",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(values: dict[str, Any], names: Iterable[str]) -> str:
    return "\n".join(f"- {name}: {values[name]}" for name in names if values.get(name))


def _speed(metrics: dict[str, Any]) -> str:
    rows = [(tokens, f"{ms:.1f}") for tokens, ms in metrics.get("speed_ms", {}).items()]
    kept = metrics.get("in_float")
    but = f"; in float, as 8 bits are too coarse: {', '.join(kept)}" if kept else ""
    return f"""## Cost

Milliseconds a window on one core of the machine that wrote this ({metrics.get("served")}{but}):

{_table(("tokens", "ms"), rows)}"""


def _calibration(training: dict[str, Any]) -> str:
    rows = [
        (
            category,
            own["method"],
            f"{own['prior']:.3f}",
            f"{own['platt_ece']:.4f}",
            f"{own['isotonic_ece']:.4f}",
        )
        for category, own in training.get("calibration", {}).items()
    ]
    if not rows:
        return "## Calibration\n\nNone: the probabilities are the model's own."
    head = ("category", "method", "prior", "ECE of Platt", "ECE of isotonic")
    return f"## Calibration\n\nErrors are cross-validated.\n\n{_table(head, rows)}"


def _quality(metrics: dict[str, Any]) -> str:
    rows = []
    for category, entry in metrics.get("quality", {}).items():
        rows.append((f"**{category}**", "all", *_ranking(entry)))
        rows += [("", name, *_ranking(own)) for name, own in entry["by_source"].items()]
    if not rows:
        return "## Quality\n\nNot measured: no data set was given."
    head = ("category", "set", "rows", "positive", "ROC-AUC", "average precision", "ECE")
    return f"""## Quality on held-out texts

Mixing sets flatters a figure where positives and negatives come from different ones: read the rows
of single sets.

{_table(head, rows)}"""


def _joined(manifest: DeepTextManifest) -> str:
    found = manifest.metrics.get("joined_quality")
    if not manifest.blend or not found:
        return ""
    rows = []
    for category, (first, second, offset) in manifest.blend.items():
        rows.append((f"**{category}**", f"{first:.2f}, {second:.2f}, {offset:+.2f}", *[""] * 6))
        for source, joined in found[category]["by_source"].items():
            if "roc_auc" not in joined:
                continue
            heavy = "heavy_quality" if "heavy_quality" in manifest.metrics else "quality"
            three = [
                manifest.metrics[name][category]["by_source"][source]
                for name in ("fast_quality", heavy, "joined_quality")
            ]
            rows.append(
                (
                    "",
                    source,
                    *(f"{own['roc_auc']:.3f}" for own in three),
                    *(f"{own['average_precision']:.3f}" for own in three),
                )
            )
    head = (
        "category", "weights and offset, set", "ROC-AUC: fast", "heavy", "joined",
        "average precision: fast", "heavy", "joined",
    )  # fmt: skip
    return f"""## Joined with the fast tier

Where both have looked, a weighted sum of their log-odds decides (`scripts/blend_tiers`), here on
{_sampled(manifest)}, whatever the fast tier says of it:

{_table(head, rows)}"""


def _sampled(manifest: DeepTextManifest) -> str:
    rows = manifest.training.get("blend", {}).get("measured")
    return f"{rows} held-out texts drawn by chance" if rows else "every held-out text"


def _ranking(entry: dict[str, Any]) -> tuple[str, ...]:
    figures = ("roc_auc", "average_precision", "expected_calibration_error")
    return (
        str(entry["rows"]),
        str(entry["positives"]),
        *(f"{entry[name]:.3f}" if name in entry else "" for name in figures),
    )


def _robustness(metrics: dict[str, Any]) -> str:
    joined = metrics.get("joined_disguised")
    found = joined or metrics.get("disguised")
    if not found:
        return ""
    whose = "of both tiers, joined" if joined else "of this model alone"
    rows = [
        (trick.replace("_", " "), *(_share(own[name]) for name in own))
        for trick, own in found.items()
    ]
    head = ("every word disguised by", "recall kept", "false positives", "disguised")
    return (
        f"## Evasion\n\nToxicity at 0.5 {whose}, texts of at most 200 characters.\n\n"
        f"{_table(head, rows)}"
    )


def _swaps(metrics: dict[str, Any]) -> str:
    found = metrics.get("identity_swaps")
    if not found:
        return ""
    rows = [
        (category, f"{own['moved']:.3f}", f"{own['mean']:.3f}")
        for category, own in found.items()
        if isinstance(own, dict)
    ]
    return f"""## Identity words

{found["pairs"]} held-out sentences about another identity:

{_table(("category", "moved by more than 0.1", "mean distance"), rows)}"""


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)
