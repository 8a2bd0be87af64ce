"""The data card: what a data set holds, in words and tables, written from its manifest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scripts.cli.training_data import SOURCES, TEMPLATES


def render(manifest: dict[str, Any]) -> str:
    """The card as Markdown.

    Args:
        manifest: of `build.write`.
    """
    about = {source.name: source.about for source in (*SOURCES, TEMPLATES)}
    config, counts = manifest["config"], manifest["counts"]
    sets = [
        (
            name,
            about.get(name, "Rows that the platform's own reviewers labelled"),
            manifest["licences"][name],
            *(str(own[split]) for split in ("train", "dev", "test")),
            str(manifest["near_duplicates_dropped"].get(name, 0)),
        )
        for name, own in counts["by_source"].items()
    ]
    labels = [
        (split, category, str(own["yes"]), str(own["no"]), str(own["unknown"]))
        for split, by_category in counts["by_split"].items()
        for category, own in by_category.items()
    ]
    raters = [
        (name, category, "not defined" if alpha is None else f"{alpha:.3f}")
        for name, own in manifest["agreement"].items()
        for category, alpha in own.items()
    ]
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts["by_kind"].items())
    tricks = ", ".join(config["augment"]["tricks"])
    held = ", ".join(config["holdout"]["subsets"]) or "none"
    newest = ", ".join(
        f"the newest {share:.0%} of {name}"
        for name, share in config["holdout"]["newest_share"].items()
    )
    return f"""# Data card

Written {manifest["date"]} by `scripts/build_dataset`, seed {manifest["seed"]}: change the command
or `conf/training/dataset.yaml`, not this page. {manifest["rows"]} rows: {kinds}.

**For** training and calibrating text models of abuse. **Not for** measuring how common abuse is
(most sets were enriched), nor for judging persons. The texts are abusive in parts.

## Sets

{_table(("set", "what", "licence", "train", "dev", "test", "near-duplicates dropped"), sets)}

`train` is fitted, `dev` stops training and calibrates, `test` measures. Near-duplicates (MinHash,
estimated Jaccard 0.6 or more), sentences of one pattern, sentences of one comment and contrasting
pairs stand in one split. Held out besides: {held}; {newest or "nothing by time"}. Looked for leaks
anew with other signatures: none.

## Labels

A label is unknown where a set says nothing; unknown takes no part in the loss. Majority votes of
several raters; below a set's least agreement a label is unknown.

{_table(("split", "category", "yes", "no", "unknown"), labels)}

## Raters

Krippendorff's nominal alpha (1 perfect, 0 chance):

{_table(("set", "category", "alpha"), raters)}

## What was made

Only in `train`: disguised copies of {config["augment"]["share"]:.0%} of the rows, benign and
abusive alike ({tricks}; those that normalisation undoes are left out), copies of rare
categories, and counterfactuals (`conf/training/identities.yaml`): the same sentence about another
identity with the same label. That a label holds for every identity is an assumption; it is
wrong where a sentence says what is true of one group only.

## Limits

Self-harm and sexual solicitation rest on sentences of this project's own. Wikipedia, US news
comments, US tweets of 2017, Reddit and Gab: other places and times are written differently.
English only, unless the feedback says otherwise. Raters disagree (see above), and their
majority is not the truth.
"""


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)
