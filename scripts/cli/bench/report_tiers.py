"""The report's sections about the text tiers, and about texts beside media and tables."""

from __future__ import annotations

from typing import Any

from scripts.cli.bench.tables import table

Result = dict[str, Any]


def tiers(cases: Result) -> list[str]:
    """What each tier costs without an engine."""
    case = cases["tiers"]
    rows = [
        (name, f"{case[key]:,.1f}", f"{1e6 / case[key]:,.0f}")
        for name, key in (
            ("Normalisation", "normalise_us"),
            ("Fast tier", "fast_us"),
            ("Heavy tier", "deep_us"),
            ("Cascade, fast tier alone", "cascade_fast_us"),
            ("Cascade, both tiers, without a budget", "cascade_us"),
        )
    ]
    toxic = case["toxic_share"]
    known = f" ({toxic:.1%} toxic)" if toxic is not None else ""
    windows = ", ".join(
        f"{tokens} tokens {ms:.1f} ms" for tokens, ms in case["deep_by_tokens_ms"].items()
    )
    return [
        "### Text tiers, one core, no engine",
        "",
        f"Texts: {case['source']}{known}, {case['mean_chars']:.0f} characters on average. The fast"
        f" tier leaves {case['deep_share']:.1%} of them to the heavy one, whose windows take:"
        f" {windows}.",
        "",
        *table(("", "us a text", "Texts a second and core"), rows),
    ]


def both_tiers(cases: Result) -> list[str]:
    """The job with the heavy tier on."""
    case = cases["both_tiers"]
    rows = [
        (
            f"{level['rate']:,.0f}/s",
            *(f"{level[name]:.0f}" for name in ("p50_ms", "p99_ms", "p999_ms")),
            f"{level['deep_share']:.1%}",
            f"{level['shed_share']:.1%}",
            f"{level['busy']['ours']:.2f} + {level['busy']['others']:.2f}",
        )
        for level in case["levels"]
    ]
    backlog = case["backlog"]
    head = (
        "Rate",
        "P50 ms",
        "P99 ms",
        "P99.9 ms",
        "Scored by the heavy tier",
        "Shed",
        "Processors busy: ours + others",
    )
    return [
        "### The job with both text tiers",
        "",
        *table(head, rows),
        "",
        f"Out of a backlog {backlog['uploads_per_s']:,.0f}/s: {backlog['shed_share']:.1%} of the"
        " uploads were shed (decided by the fast tier, and said so),"
        f" {backlog['deep_share']:.1%} were scored by the heavy tier.",
    ]


def media(cases: Result) -> list[str]:
    """Texts while the media job works, and while it is killed."""
    case = cases["media"]
    rows = [
        (
            row["name"],
            *(f"{row[name]:.0f}" for name in ("p50_ms", "p99_ms", "p999_ms")),
            row["evidence"],
            f"{row['busy']['ours']:.2f} + {row['busy']['others']:.2f}",
        )
        for row in case["rows"]
    ]
    head = (
        f"Texts at {case['rate']:,.0f}/s",
        "P50 ms",
        "P99 ms",
        "P99.9 ms",
        "Clips looked at",
        "Processors busy: text's + others (the media job among them)",
    )
    return [
        "### Texts beside the media job",
        "",
        "The media job runs on the same processors and stands back (`media.background`), on a"
        f" backlog of {case['clips']} clips of two seconds.",
        "",
        *table(head, rows),
    ]


def tables_job(cases: Result) -> list[str]:
    """The tables job's own speed, and texts beside it."""
    case = cases["tables"]
    backlog, lag = case["backlog"], case["lag"]
    rows = [
        (
            row["name"],
            *(f"{row[name]:.0f}" for name in ("p50_ms", "p99_ms", "p999_ms")),
            f"{row['busy']['ours']:.2f} + {row['busy']['others']:.2f}",
        )
        for row in case["rows"]
    ]
    head = (
        f"Texts at {case['rate']:,.0f}/s",
        "P50 ms",
        "P99 ms",
        "P99.9 ms",
        "Processors busy: text's + others (the tables job among them)",
    )
    return [
        "### The tables job",
        "",
        "On the same processors, where nobody else wants them (`tables.background`): out of a"
        f" backlog of {backlog['records']:,.0f} records {backlog['rows_per_s']:,.0f} rows/s, the"
        f" wait for the last checkpoint included. Beside texts at {case['rate']:,.0f}/s it was"
        f" {lag['decisions_mean'] / case['rate']:.1f} s behind on average and"
        f" {lag['decisions_most'] / case['rate']:.1f} s at most; rows appear with a checkpoint,"
        f" every {case['checkpoint_s']} s.",
        "",
        *table(head, rows),
    ]
