"""The report for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

from scripts.cli.evaluate.curves import Estimate
from scripts.cli.evaluate.metrics import KS

_SHOWN: Final = (
    ("roc_auc", "ROC-AUC"),
    ("pr_auc", "PR-AUC"),
    ("precision_at_recall_0.9", "precision at recall 0.9"),
    ("ece", "ECE"),
    ("brier", "Brier"),
)
_AT: Final = (
    ("precision", "precision"),
    ("recall", "recall"),
    ("f1", "F1"),
    ("f_beta", "F-beta"),
    ("fpr", "FPR"),
    ("fnr", "FNR"),
    ("fdr", "FDR"),
)
_RATES: Final = (
    ("rows", "rows"),
    ("positives", "positive"),
    ("base_rate", "base rate"),
    ("selection_rate", "flagged"),
    ("tpr", "TPR"),
    ("fpr", "FPR"),
    ("precision", "precision"),
    ("ece", "ECE"),
    ("subgroup_auc", "subgroup AUC"),
    ("bpsn_auc", "BPSN AUC"),
    ("bnsp_auc", "BNSP AUC"),
)
_SOURCES: Final = """## Where the formulas are from

ROC-AUC, precision, recall, FPR, FNR, FDR: Fawcett 2006. PR-AUC is average precision, the
step-wise area (Davis and Goadrich 2006). F-beta: van Rijsbergen 1979. ECE: Guo et al. 2017, over
15 bins of equal mass. Brier 1950. Macro, micro, weighted: Sokolova and Lapalme 2009. NDCG:
Järvelin and Kekäläinen 2002. Intervals: 95% percentile bootstrap (Efron and Tibshirani 1993) that
keeps the number of positives. Equalised odds and equal opportunity: Hardt et al. 2016. Disparate
impact: Feldman et al. 2015. Subgroup AUCs: Borkan et al. 2019. Swapped identities: Garg et al.
2019. Character F1: Pavlopoulos et al. 2021."""


def render(report: dict[str, Any], plots: Sequence[str]) -> str:
    """The report as Markdown.

    Args:
        report: of `report.evaluate`.
        plots: names of the plots' files, beside the document.
    """
    about, options = report["set"], report["options"]
    models = ", ".join(f"{name}: {model}" for name, model in report["models"].items())
    parts = [
        f"# Text models on {about['name']}",
        f"{about['texts']} texts. Models: {models}. Flagged at {options['threshold']} or above; "
        f"F-beta with beta {options['beta']:g}; `both` asks the heavy tier between "
        f"{options['low']} and {options['high']}; seed {options['seed']}. Brackets are 95% "
        "intervals. Categories whose labels a set does not give are left out, and so are those "
        "with fewer than 8 texts of a kind.",
        _labels(about),
        _ranking(report),
        _flagging(report, options),
        _averages(report),
        _thresholds(report),
        _queues(report),
        _by_source(report),
        _robustness(report, options),
        _fairness(report),
        _terms(report),
        _frontier(report),
        _spans(report),
    ]
    if plots:
        parts.append("## Plots\n\n" + "\n\n".join(f"![{name}]({name})" for name in plots))
    parts.append(_SOURCES)
    return "\n\n".join(part for part in parts if part) + "\n"


def number(value: Any, digits: int = 3) -> str:
    """A figure as it is printed; empty where there is none."""
    if isinstance(value, Estimate):
        if math.isnan(value.value):
            return ""
        return f"{value.value:.{digits}f} ({value.low:.{digits}f} to {value.high:.{digits}f})"
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A Markdown table; empty where it would have no rows."""
    head = list(head)
    lines = [f"| {' | '.join(number(cell) for cell in row)} |" for row in rows]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *lines])


def _section(title: str, note: str, body: str) -> str:
    return "\n\n".join(part for part in (f"## {title}", note, body) if part) if body else ""


def _labels(about: dict[str, Any]) -> str:
    rows = [
        (name, own["yes"], own["no"]) for name, own in about["labels"].items() if any(own.values())
    ]
    return table(("category", "labelled yes", "labelled no"), rows)


def _entries(report: dict[str, Any]) -> Iterable[tuple[str, str, dict[str, Any]]]:
    """Category, tier and entry, the tiers of a category together."""
    for name in report["set"]["labels"]:
        for tier, own in report["tiers"].items():
            if name in own["categories"]:
                yield name, tier, own["categories"][name]


def _ranking(report: dict[str, Any]) -> str:
    rows = [
        (name, tier, *(entry["figures"][key] for key, _ in _SHOWN))
        for name, tier, entry in _entries(report)
        if "figures" in entry
    ]
    return _section(
        "Ranking and calibration",
        "",
        table(("category", "tier", *(title for _, title in _SHOWN)), rows),
    )


def _flagging(report: dict[str, Any], options: dict[str, Any]) -> str:
    rows = [
        (name, tier, *(entry["figures"][key] for key, _ in _AT))
        for name, tier, entry in _entries(report)
        if "figures" in entry
    ]
    return _section(
        f"Flagged at {options['threshold']}",
        "",
        table(("category", "tier", *(title for _, title in _AT)), rows),
    )


def _averages(report: dict[str, Any]) -> str:
    rows = [
        (kind, tier, own["precision"], own["recall"], own["f1"], own["f_beta"])
        for tier, entry in report["tiers"].items()
        for kind, own in entry["averages"].items()
    ]
    costs = [
        (tier, f"{entry['cpu_us']:.0f}", f"{entry['share_deep']:.1%}")
        for tier, entry in report["tiers"].items()
    ]
    return _section(
        "All categories",
        table(("tier", "CPU us a text", "share seen by the heavy tier"), costs),
        table(("average", "tier", "precision", "recall", "F1", "F-beta"), rows),
    )


def _thresholds(report: dict[str, Any]) -> str:
    rows = []
    for name, tier, entry in _entries(report):
        for wanted, own in entry.get("thresholds", {}).items():
            values = ("none reaches it", "", "", "") if own is None else (
                own["threshold"], own["precision"], own["recall"], own["fpr"]
            )  # fmt: skip
            rows.append((name, tier, wanted.replace("_", " "), *values))
    return _section(
        "Best thresholds",
        "`precision X`: most recall at that precision or more. `recall X`: most precision at that "
        "recall or more. `fpr X`: most recall at no more false positives than that.",
        table(("category", "tier", "wanted", "threshold", "precision", "recall", "FPR"), rows),
    )


def _queues(report: dict[str, Any]) -> str:
    rows = [
        (name, tier, k, own[f"p@{k}"], own[f"r@{k}"], own[f"ndcg@{k}"], own["ap"])
        for name, tier, entry in _entries(report)
        for k in KS
        if f"p@{k}" in (own := entry.get("ranking", {}))
    ]
    return _section(
        "A queue sorted by score",
        "",
        table(("category", "tier", "k", "P@k", "R@k", "NDCG@k", "AP"), rows),
    )


def _by_source(report: dict[str, Any]) -> str:
    rows = [
        (name, source, tier, own["rows"], own["positives"],
         *(own.get(key) for key in ("roc_auc", "pr_auc", "recall", "fpr", "ece")))
        for name, tier, entry in _entries(report)
        for source, own in entry.get("by_source", {}).items()
    ]  # fmt: skip
    rows.sort(key=lambda row: (row[0], row[1]))
    head = (
        "category",
        "source",
        "tier",
        "rows",
        "positive",
        "ROC-AUC",
        "PR-AUC",
        "recall",
        "FPR",
        "ECE",
    )
    return _section(
        "By source",
        "Mixing sources flatters figures where positives and negatives come from different ones.",
        table(head, rows),
    )


def _robustness(report: dict[str, Any], options: dict[str, Any]) -> str:
    rows = [
        (name, trick.replace("_", " "), tier, own["recall_kept"], own["recall"], own["fpr"],
         own["roc_auc"], own["pr_auc"])
        for tier, entry in report["tiers"].items()
        for name, tricks in entry["robustness"].items()
        for trick, own in tricks.items()
    ]  # fmt: skip
    return _section(
        "Disguises",
        f"On {options['word_share']:.0%} of the words of at most 400 harmful and 400 harmless "
        "texts. Recall kept: of the harmful texts that are flagged as they are, those that still "
        "are.",
        table(
            ("category", "trick", "tier", "recall kept", "recall", "FPR", "ROC-AUC", "PR-AUC"), rows
        ),
    )


def _fairness(report: dict[str, Any]) -> str:
    parts = []
    for tier, entry in report["tiers"].items():
        for name, own in entry["fairness"].items():
            rows = [
                (group, *(rates[key] for key, _ in _RATES))
                for group, rates in own["groups"].items()
            ]
            if rows:
                head = ("group", *(title for _, title in _RATES))
                gaps = ", ".join(
                    f"{key.replace('_', ' ')} {number(own[key]) or 'not known'}"
                    for key in (
                        "demographic_parity_difference", "disparate_impact",
                        "equal_opportunity_difference", "equalised_odds_difference",
                        "worst_fpr_ratio",
                    )
                )  # fmt: skip
                parts.append(f"**{name}, {tier}**: {gaps}.\n\n{table(head, rows)}")
    return _section(
        "Groups",
        "Rates need 20 rows of their kind. Groups whose texts differ in what they say differ in "
        "what is flagged: read the flagged share beside the base rate.",
        "\n\n".join(parts),
    )


def _terms(report: dict[str, Any]) -> str:
    rows = []
    for tier, entry in report["tiers"].items():
        for name, own in entry["identity_terms"].items():
            if own:
                worst = sorted(own["terms"].items(), key=lambda item: -(item[1]["ratio"] or 0.0))[
                    :3
                ]
                named = "; ".join(f"{term} {number(t['fpr'])}" for term, t in worst)
                rows.append((name, tier, own["sentences"], own["fpr"], own["worst_ratio"],
                             own["mean_spread"], named))  # fmt: skip
    return _section(
        "Identity terms",
        "Harmless sentences that mention an identity, put to every other of its class. The ratio "
        "is that of a term's false positives to its class's, on the same sentences, where 20 or "
        "more of them are flagged.",
        table(
            ("category", "tier", "sentences", "false positives", "worst ratio", "mean spread",
             "highest terms"),
            rows,
        ),
    )  # fmt: skip


def _frontier(report: dict[str, Any]) -> str:
    rows = [
        (f"{point['kind']} {point['low']:g} to {point['high']:g}"
         if point["kind"] in {"symmetric", "low"} else f"{point['kind']} alone",
         f"{point['share']:.1%}", f"{point['us']:.0f}",
         point["pr_auc"].get("toxicity"), point["pr_auc"].get("macro"),
         point["roc_auc"].get("toxicity"), point["roc_auc"].get("macro"))
        for point in report.get("frontier", ())
    ]  # fmt: skip
    return _section(
        "Cost against quality",
        "Which band sends how many texts to the heavy tier, and what the merged scores are worth.",
        table(("band", "sent on", "us a text", "PR-AUC toxicity", "PR-AUC mean",
               "ROC-AUC toxicity", "ROC-AUC mean"), rows),
    )  # fmt: skip


def _spans(report: dict[str, Any]) -> str:
    rows = [
        (tier, own["posts"], own["share"], own["f1"], own["everything"])
        for tier, own in report.get("spans", {}).items()
        if own
    ]
    return _section(
        "Spans",
        "Mean character F1 on posts with marked characters; the least share of the strongest "
        "word's weight is chosen on other posts. Sentences of these posts were trained on.",
        table(("tier", "posts", "least share", "F1", "F1 of marking everything"), rows),
    )
