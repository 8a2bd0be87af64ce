"""`scripts/evaluate`: measures the text models on labelled texts and writes a report."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from schemas.errors import ConfigError, SluiceError
from schemas.settings import ROOT, load_settings
from scripts.cli.dataset.config import load_identities
from scripts.cli.evaluate import markdown, plots, sets, spans
from scripts.cli.evaluate.curves import RESAMPLES
from scripts.cli.evaluate.report import Options, evaluate
from scripts.cli.score import Tier, load_tiers

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class PlotKind(StrEnum):
    """What plots are written as."""

    PNG = "png"
    SVG = "svg"
    NONE = "none"


@app.command()
def main(
    labelled: Annotated[
        str,
        typer.Argument(
            help="A .jsonl file of texts with labels, a data set of scripts/build_dataset, or the "
            "name of a public set."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report (.run/evaluate/NAME).")
    ] = None,
    tier: Annotated[
        list[Tier] | None, typer.Option(help="May be given more than once; all that are there.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(envvar="SLUICE_DATA", help="Folder with one folder per public set."),
    ] = None,
    split: Annotated[str, typer.Option(help="Of a data set.")] = "test",
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Of a public set, only what was not trained on.")
    ] = False,
    limit: Annotated[int, typer.Option(min=0, help="Most texts, spread evenly; 0: all.")] = 0,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Flagged from here.")] = 0.5,
    beta: Annotated[float, typer.Option(min=0.1, max=10, help="Of F-beta.")] = 2.0,
    low: Annotated[
        float | None, typer.Option(min=0, max=1, help="Heavy tier from here (deep.low).")
    ] = None,
    high: Annotated[
        float | None, typer.Option(min=0, max=1, help="Heavy tier up to here (deep.high).")
    ] = None,
    deep_text: Annotated[
        Path | None, typer.Option(help="Package of the heavy tier, instead of the settings'.")
    ] = None,
    word_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of words that a disguise changes.")
    ] = 1.0,
    resamples: Annotated[int, typer.Option(min=20, help="Of the bootstrap.")] = RESAMPLES,
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 7,
    plot: Annotated[PlotKind, typer.Option(help="What plots are written as.")] = PlotKind.SVG,
    profile: Annotated[str, typer.Option(help="Profile in conf/profiles, or a file.")] = "dev",
) -> None:
    """Measure the text models on labelled texts: report.json, REPORT.md and plots.

    Texts of a public set or data set may have been trained on: take `--held-out`, or a data set's
    test split, for figures that hold elsewhere.
    """
    console = Console(stderr=True)
    configured = load_settings(profile)
    options = Options(
        threshold=threshold, beta=beta, resamples=resamples, word_share=word_share, seed=seed,
        low=configured.deep.low if low is None else low,
        high=configured.deep.high if high is None else high,
    )  # fmt: skip
    asked = set(tier or Tier)
    tiers = load_tiers(
        configured,
        asked.pop() if len(asked) == 1 else Tier.BOTH,
        deep_text=deep_text,
        low=options.low,
        high=options.high,
    )
    there = [Tier.FAST] if tiers.deep is None else [Tier.FAST, Tier.DEEP, Tier.BOTH]
    wanted = [own.value for own in (tier or there)]
    if tiers.deep is None and set(wanted) != {"fast"}:
        raise ConfigError(
            "no heavy text tier is configured; name a package by --deep-text",
            field="cascade.deep_text",
        )
    found = sets.read(labelled, data, split=split, held_out=held_out).thinned(limit)
    marked = []
    if data is not None and (data / spans.FILE).is_file():
        marked = spans.read(data, options.span_posts)
    report = evaluate(
        found, tiers, wanted, load_identities(), options,
        span_posts=marked, say=lambda what: console.print(what, highlight=False),
    )  # fmt: skip
    scores = report.pop("scores")
    folder = out or ROOT / ".run/evaluate" / found.name
    folder.mkdir(parents=True, exist_ok=True)
    names: list[str] = []
    if plot is not PlotKind.NONE:
        drawn = plots.draw(found.labels, scores, report.get("frontier"), folder, plot.value)
        names = [path.name for path in drawn]
    document = msgspec.json.format(msgspec.json.encode(report), indent=1)
    (folder / "report.json").write_bytes(document + b"\n")
    (folder / "REPORT.md").write_text(markdown.render(report, names), "utf-8")
    print(folder / "REPORT.md")


def run() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app()
    except SluiceError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    run()
