"""The model card of the fast text tier, written from the figures of its training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scripts.cli.training_data import SOURCES, TEMPLATES


def render(manifest: dict[str, Any]) -> str:
    """The card as Markdown.

    Args:
        manifest: `manifest.json` as plain values, with `training` and `metrics` filled in.
    """
    training, metrics = manifest["training"], manifest["metrics"]
    parts = [
        _head(manifest),
        _data(training),
        _quality(metrics),
        _calibration(manifest),
        _bias(metrics),
        _robustness(metrics),
        _limits(manifest),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(manifest: dict[str, Any]) -> str:
    training = manifest["training"]
    size = sum(entry["bytes"] for entry in manifest["files"].values())
    return f"""# Fast text tier: model card

Version `{manifest["version"]}`, trained {training["date"]} by `scripts/train_fast --seed \
{training["seed"]}`. Written by that command: change the command, not this page.

**What it is.** One linear model per category over hashed features: words, pairs of neighbouring
words, and three and four character pieces inside words, as a set; 2^18 buckets, int8 weights,
{size / 1e6:.1f} MB. A text is scored in windows of {manifest["window"]} and of \
{manifest["close_window"]} characters that overlap by half, and its highest window counts; the
small ones, which find what is buried, have to be ahead by a margin. Input is the normalised
text (`udfs/normalise.py`). Output is a calibrated probability for \
{", ".join(manifest["categories"])}.

**What it is for.** The first model of a cascade: to clear what is plainly harmless and to flag
what is plainly not, at a few microseconds a text. What lies between belongs to heavier models
and to people. **Not for** deciding alone about accounts, for judging people, or for languages
other than English (and, for toxicity, Brazilian Portuguese)."""


def _data(training: dict[str, Any]) -> str:
    about = {source.name: source for source in (*SOURCES, TEMPLATES)}
    rows = [
        (
            name,
            about[name].about if name in about else "",
            about[name].licence if name in about else "",
            str(counts["fit"]),
            str(counts["calibrate"]),
            str(counts["test"]),
        )
        for name, counts in training["rows"].items()
    ]
    table = _table(("set", "what", "licence", "fitted", "calibration", "test"), rows)
    return f"""## Data

{table}

No row of these sets is in this repository. Near-duplicates (MinHash, estimated Jaccard 0.6 or
more), all sentences of one pattern or one comment, and contrasting pairs fall into the same part; a
hash of the text says which, so a fifth is tested on and a tenth calibrates. Held out whole, with
all that is related to it, is what `conf/training/dataset.yaml` holds out for the heavy tier (the
validation file of hatemoji, the newest fifth of youtube_spam), so that both tiers are measured on
the same unseen texts. Every text that is fitted and not long has copies at half weight: misspelt,
now and then disguised as people do to pass filters, and about another identity where it mentions
one; what normalisation undoes is left out. Short parts of long texts are fitted as free of what the
whole text is free of.

How labels were read: Jigsaw *toxic*, *identity_hate*, *threat* as they are, *obscene* (profanity)
not at all; a comment that is not toxic is neither hateful nor a threat. Davidson *hate* as hate
and toxicity, *offensive* as toxicity. EDOS sexism as hate (not the mildest kinds), its threat
category as threat; its other texts are presumed to be neither. Civil Comments by sentence: toxic
where two raters marked something, harmless where none did. ToLD-Br from two of three raters. Chat
is presumed harmless. Where a set says nothing the label is unknown and takes no part, but for
presumed absence of sexual content, self-harm and spam in Wikipedia, chat and clean tweets, at half
weight, and only where no word of a list (`conf/training/fast_text_templates.yaml`) occurs.

**Self-harm and sexual solicitation rest on sentences that this project wrote from patterns, and
on nothing else**: no public set with a fitting licence labels them. Their figures below say how
well patterns carry over to unseen patterns by the same authors, not how well the model does on
what people write. The same holds for part of threat and spam."""


def _quality(metrics: dict[str, Any]) -> str:
    natural = metrics["natural"]
    lines = ["## Quality on held-out texts", "", "Figures in brackets are 95% bootstrap intervals."]
    if "roc_auc" in natural:
        lines += [
            "",
            f"**Toxicity at natural prevalence** (Jigsaw, {natural['rows']} Wikipedia comments, "
            f"{natural['positives']} toxic): ROC-AUC {_estimate(natural['roc_auc'])}, average "
            f"precision {_estimate(natural['average_precision'])}, expected calibration error "
            f"{_estimate(natural['expected_calibration_error'])}.",
            "",
            _table(
                ("at or above", "precision", "recall"),
                [
                    (
                        at,
                        _estimate(natural[f"precision_at_{at}"]),
                        _estimate(natural[f"recall_at_{at}"]),
                    )
                    for at in ("0.2", "0.5", "0.8")
                ],
            ),
        ]
    rows = []
    for category, entry in metrics["by_category"].items():
        rows.append((f"**{category}**", "all", *_ranking(entry), "", ""))
        for source, own in entry["by_source"].items():
            recall, wrong = own.get("recall_at_0.5"), own.get("false_positives_at_0.5")
            rows.append(
                (
                    "",
                    source,
                    *_ranking(own),
                    "" if recall is None else f"{recall:.2f}",
                    "" if wrong is None else f"{wrong:.3f}",
                )
            )
    head = (
        "category",
        "set",
        "rows",
        "positive",
        "ROC-AUC",
        "average precision",
        "recall at 0.5",
        "false positives at 0.5",
    )
    lines += [
        "",
        "By category and set (presumed negatives included). Mixing sets flatters a figure where "
        "positives and negatives come from different ones: read the rows of single sets.",
        "",
        _table(head, rows),
    ]
    return "\n".join(lines)


def _calibration(manifest: dict[str, Any]) -> str:
    rows = [
        (
            category,
            entry["method"],
            f"{entry['prior']:.3f}",
            "natural sample" if entry["natural"] else "weighted to it",
            str(entry["rows"]),
            str(entry["positives"]),
            f"{entry['platt_ece']:.4f}",
            f"{entry['isotonic_ece']:.4f}",
        )
        for category, entry in manifest["training"]["calibration"].items()
    ]
    head = (
        "category",
        "method",
        "prior",
        "rows are",
        "rows",
        "positive",
        "ECE of Platt",
        "ECE of isotonic",
    )
    return f"""## Calibration

{_table(head, rows)}

Errors are cross-validated on the calibration rows. A probability holds where the share of
positives is the prior. Toxicity is calibrated on a natural sample of Wikipedia comments; the
other priors are assumptions, with 90% of the harmless weight on Wikipedia and chat. Where your
traffic has another share, shift the odds (`udfs.calibration.shift_prior`) or calibrate on your
own labels."""


def _bias(metrics: dict[str, Any]) -> str:
    identity = metrics["identity"]
    lines = ["## Identity words", ""]
    if "toxicity" in identity:
        groups = []
        for name, figures in (
            ("this model", identity),
            ("fitted without such sentences", metrics.get("identity_without_families", {})),
        ):
            groups += [
                (
                    name,
                    category,
                    f"{figures[category]['benign_mean']:.3f}",
                    f"{figures[category]['benign_share_at_0.2']:.3f}",
                    f"{figures[category]['benign_share_at_0.5']:.3f}",
                    f"{figures[category]['hateful_mean']:.3f}",
                    _estimate(figures[category].get("roc_auc")),
                )
                for category in ("toxicity", "hate_speech")
                if category in figures
            ]
        head = (
            "",
            "category",
            "harmless: mean",
            "at 0.2 or more",
            "at 0.5 or more",
            "hateful: mean",
            "ROC-AUC",
        )
        lines += [
            f"On {identity['benign_rows']} harmless sentences of {identity['benign_patterns']} "
            f"patterns and {identity['hateful_rows']} hateful ones of "
            f"{identity['hateful_patterns']}, none of them fitted. So few patterns carry no "
            "interval; counter-speech (*saying that ... are inferior is wrong*) is among the "
            "harmless ones, and is what a sum of words cannot tell from hate.",
            "",
            _table(head, groups),
        ]
    rows = [
        (name.replace("_", " "), str(own["rows"]), _estimate(own.get("roc_auc")))
        for name, own in metrics["subgroup"].items()
    ]
    lines += [
        "",
        "Toxicity on held-out Wikipedia comments that mention an identity (Borkan et al. 2019):",
        "",
        _table(("rows", "number", "ROC-AUC"), rows),
    ]
    if metrics.get("external"):
        abroad = [
            (
                name,
                str(own["rows"]),
                _estimate(own.get("roc_auc")),
                f"{own['negatives_mean']:.3f}",
                f"{own['false_positives_at_0.5']:.3f}",
            )
            for name, own in metrics["external"].items()
        ]
        lines += [
            "",
            "Languages that the model was not trained on. HateCheck measures hate_speech, the "
            "templates toxicity of sentences about identities; 0.5 is chance:",
            "",
            _table(
                ("set", "rows", "ROC-AUC", "mean of negatives", "false positives at 0.5"), abroad
            ),
        ]
    return "\n".join(lines)


def _robustness(metrics: dict[str, Any]) -> str:
    lines = ["## Evasion"]
    if metrics["misspelt"]:
        rows = [
            (name, f"{own['roc_auc_as_is']:.3f}", f"{own['roc_auc_misspelt']:.3f}")
            for name, own in metrics["misspelt"].items()
        ]
        lines += [
            "",
            "ROC-AUC for toxicity when 40% of the words of four letters or more lose, double or "
            "swap a letter (what the normaliser undoes is not in this):",
            "",
            _table(("set", "as is", "misspelt"), rows),
        ]
    buried = metrics["buried"]
    if buried:
        lines += [
            "",
            f"Of {buried['texts']} toxic texts of at most 200 characters that score 0.8 or more, "
            f"put into the middle of 4,000 harmless characters (which score "
            f"{buried['harmless_alone']:.2f} alone), {buried['still_at_0.2']:.0%} still reach 0.2, "
            f"{buried['still_at_0.5']:.0%} reach 0.5 and {buried['still_at_0.8']:.0%} reach 0.8.",
        ]
    return "\n".join(lines)


def _limits(manifest: dict[str, Any]) -> str:
    speed = manifest["metrics"].get("speed")
    took = ""
    if speed:
        took = (
            f"\n\n## Cost\n\nCPU time on the training machine, per text of 120 characters: "
            f"{speed['batch_1']} microseconds alone, {speed['batch_16']} in batches of 16, "
            f"{speed['batch_64']} in batches of 64."
        )
    return f"""## Limits

- It counts words and pieces, and understands nothing: negation, quotation, irony, reclaimed words
  and who speaks to whom are lost on it. Adversarial hate (HatemojiBuild) is near chance.
- Profanity counts as toxic, as it does for the raters of the training data, whoever it is aimed at.
- Tweets of Davidson et al. were found by a lexicon and over-represent African-American English;
  they weigh little here, but dialect may still raise scores. This was not measured.
- Identity words that are thrown about as insults in the training data (*gay* foremost) still raise
  toxicity in very short sentences such as *she is gay*.
- Hate speech and threats that use no tell-tale words are missed; see the EDOS rows.
- Probabilities hold for the priors above, on texts like those calibrated on.
- Disguises that neither the normaliser nor the pieces of words see through are missed.{took}"""


def _ranking(entry: dict[str, Any]) -> tuple[str, str, str, str]:
    return (
        str(entry["rows"]),
        str(entry["positives"]),
        _estimate(entry.get("roc_auc")),
        _estimate(entry.get("average_precision")),
    )


def _estimate(entry: dict[str, float] | None) -> str:
    if entry is None:
        return ""
    return f"{entry['value']:.3f} ({entry['low']:.3f} to {entry['high']:.3f})"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)
