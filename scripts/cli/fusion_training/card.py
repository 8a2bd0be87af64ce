"""The model card of a fusion."""

from __future__ import annotations

from typing import Any, Final

from scripts.cli.evaluate.markdown import number, table

_POPULATIONS: Final = {
    "usual": "authors as they were simulated for training",
    "uninformative": "authors that have nothing to do with their texts",
}


def render(manifest: dict[str, Any]) -> str:
    """The card as Markdown, from the manifest as plain data."""
    training, metrics = manifest["training"], manifest["metrics"]
    parts = [
        f"# Fusion by boosted trees, {manifest['version']}",
        f"{manifest['trees']} trees grown by LightGBM {training['versions']['lightgbm']} on top of "
        "the log-odds of the text tier's scores, on "
        f"{training['date']} with seed {training['seed']}. They see the scores, the rules that "
        "matched, disguise, velocity, the author's history and account, and the surroundings; "
        "what is not known is missing. A higher score, more rule weight, disguise, speed, "
        "repeats, violations, reports or heat never lowers a probability; a better reputation, "
        "an older or a verified account never raises it.",
        "**The authors are simulated.** No public set says how its authors behaved, so each "
        f"real text ({training['texts']['fitted']} fitted, {training['texts']['measured']} "
        "measured) was given authors from a population that is written down in "
        "`scripts/cli/fusion_training/simulate.py`. Texts, labels, scores, rules and disguise are "
        "real; behaviour, and how much it says about a text, are assumptions. So the figures "
        "say what the trees make of behaviour that is as telling as was assumed, and what they "
        "cost where it is not. **It is not the default**: switch it on after training it on, or "
        "at least measuring it against, labelled uploads of your own platform.",
        "Reputation moves the policy's thresholds too: with this fusion it counts in both places.",
    ]
    for population, about in _POPULATIONS.items():
        found = metrics[population]
        rows = [
            (category, name, *(entry[category][key] for key in ("roc_auc", "pr_auc", "ece")),
             number(entry[category]["log_loss"], 4))
            for category in found["linear"]
            for name, entry in found.items()
        ]  # fmt: skip
        gains = "; ".join(
            f"{name} {number(entry['log_loss_gain']['value'], 4)} "
            f"({number(entry['log_loss_gain']['low'], 4)} to "
            f"{number(entry['log_loss_gain']['high'], 4)})"
            for name, entry in found.items()
            if "log_loss_gain" in entry
        )
        parts += [
            f"## On {about}",
            f"Texts that were not fitted, weighted to traffic. `scores` is no fusion at all. Log "
            f"loss below that of the linear fusion, with 95% intervals: {gains}.",
            table(("category", "fusion", "ROC-AUC", "PR-AUC", "ECE", "log loss"), rows),
        ]
    speed = metrics["speed"]
    parts += [
        "## What it looks at",
        table(
            ("column", "share of the gain"),
            [(name, f"{share:.1%}") for name, share in metrics["importance"].items()],
        ),
        "## Cost",
        "Microseconds an upload on the training machine, the linear fusion in brackets: "
        + ", ".join(
            f"{own['lightgbm']} ({own['linear']}) in batches of {size}"
            for size, own in speed.items()
        )
        + ".",
    ]
    return "\n\n".join(parts) + "\n"
