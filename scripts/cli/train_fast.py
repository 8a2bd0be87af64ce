"""`scripts/train_fast`: train the fast text tier and write its folder with a model card."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import scipy
import scipy.sparse as sp
import typer
from rich.console import Console

from schemas.categories import TEXT_CATEGORIES
from schemas.errors import SluiceError
from schemas.settings import CONF
from scripts.cli import (
    model_card,
    training_corpus,
    training_data,
    training_model,
    training_report,
    training_split,
    training_templates,
)
from scripts.cli.code_version import code_version
from scripts.cli.dataset import config
from scripts.cli.dataset.identity import Swapper
from scripts.cli.dataset.rows import SPLITS, Row, table
from scripts.cli.quality import gate
from scripts.cli.quality.frames import table_of
from scripts.cli.training_corpus import Corpus
from scripts.cli.training_data import Example
from scripts.cli.training_fit import Column
from scripts.cli.training_model import Calibration
from scripts.cli.training_templates import Templates
from udfs.calibration import Platt
from udfs.text_fast import MANIFEST, FastTextScorer

IDENTITY_FAMILIES = ("identity_benign", "identity_hateful")
FULL_STEPS, QUICK_STEPS = 80, 20
FULL_RESAMPLES, QUICK_RESAMPLES = 300, 40

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def train_fast(
    data: Annotated[Path, typer.Option(help="Folder with one folder per data set.")],
    out: Annotated[Path, typer.Option(help="Folder to write the model to.")] = (
        CONF / "models/fast_text"
    ),
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 7,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer steps and resamples: to try, not to ship.")
    ] = False,
    unchecked: Annotated[str | None, typer.Option(help=gate.UNCHECKED_HELP)] = None,
) -> None:
    """Train the fast text tier on one core, in a few minutes.

    Writes weights.npy, manifest.json (with data, licences and figures) and MODEL_CARD.md.
    Exit status 2 where the data is not there.
    """
    absent = training_data.missing(data)
    if absent:
        print(
            f"train_fast: not under {data}: {', '.join(absent)}. Give the folder that holds the "
            "data sets by --data.",
            file=sys.stderr,
        )
        raise typer.Exit(2)
    console = Console(stderr=True)
    console.print(f"reading {data}")
    templates = training_templates.load()
    functional = training_templates.load(training_templates.FUNCTIONAL)
    examples = [
        *training_data.read_all(data),
        *training_templates.fill(
            functional, seed=seed, weight=training_templates.FUNCTIONAL_WEIGHT
        ),
    ]
    scorer = train(
        examples,
        templates,
        out,
        seed=seed,
        quick=quick,
        console=console,
        evaluation=data,
        check=lambda corpus: checked(corpus, unchecked),
    )
    natural = scorer.manifest.metrics["natural"]
    console.print(
        f"{out}: {scorer.name} {scorer.version}, toxicity at natural prevalence: ROC-AUC "
        f"{natural['roc_auc']['value']:.4f}, average precision "
        f"{natural['average_precision']['value']:.4f}, ECE "
        f"{natural['expected_calibration_error']['value']:.4f}"
    )


def train(
    examples: Iterable[Example],
    templates: Templates,
    out: Path,
    *,
    seed: int,
    quick: bool,
    console: Console,
    evaluation: Path | None = None,
    check: Callable[[Corpus], dict[str, Any]] | None = None,
) -> FastTextScorer:
    """Train on the examples and the templates, measure, write, and load what was written.

    Args:
        examples: labelled texts of other sources; may be none.
        templates: the project's own patterns.
        out: folder to write.
        seed: of every draw.
        quick: fewer steps and resamples, and no comparison run.
        console: for progress.
        evaluation: folder that may hold sets that are only evaluated on.
        check: of the rows before anything is fitted; gives what the manifest says about it.

    Raises:
        SluiceError: a category has too few examples, or the rows fail the check.
    """
    started = time.monotonic()
    steps = QUICK_STEPS if quick else FULL_STEPS
    resamples = QUICK_RESAMPLES if quick else FULL_RESAMPLES
    rows = [*examples, *training_templates.fill(templates, seed=seed)]
    corpus, ones = training_corpus.build(
        rows, templates.presumed_clean_unless, config.load().holdout
    )
    console.print(f"{len(corpus.texts)} texts, {ones.nnz / 1e6:.1f}M features")
    quality = {} if check is None else {"quality": check(corpus)}
    grown, grown_ones = training_corpus.grown(
        corpus, ones, seed=seed, swapper=Swapper(config.load_identities())
    )
    columns = _fit(grown, grown_ones, steps, console)
    scorer, calibrations = training_model.calibrate(columns, TEXT_CATEGORIES, corpus, seed=seed)
    console.print("measuring")
    metrics = training_report.report(scorer, corpus, seed=seed, resamples=resamples)
    if evaluation is not None:
        metrics["external"] = training_report.external(
            scorer, evaluation, seed=seed, resamples=resamples
        )
    if not quick:
        console.print("comparing with a model without identity sentences")
        metrics["identity_without_families"] = _without_identity(
            grown, grown_ones, corpus, seed=seed
        )
    metrics["speed"] = training_report.speed(scorer, corpus.texts)
    training = {**_provenance(corpus, calibrations, seed=seed, quick=quick), **quality}
    training_model.save(
        scorer, out, training=msgspec.to_builtins(training), metrics=msgspec.to_builtins(metrics)
    )
    written = FastTextScorer.load(out)
    manifest = msgspec.json.decode((out / MANIFEST).read_bytes())
    (out / "MODEL_CARD.md").write_text(model_card.render(manifest), "utf-8")
    console.print(f"took {time.monotonic() - started:.0f} s")
    return written


def checked(corpus: Corpus, unchecked: str | None) -> dict[str, Any]:
    """Check the rows of a corpus by the suite `corpus`; gives what the manifest says about it.

    Args:
        corpus: before any copies are made.
        unchecked: why the rows are taken in any case; None: they are not.

    Raises:
        UncheckedRowsError: they fail.
    """
    if unchecked is not None:
        return gate.excused("corpus", unchecked)
    rows = table(
        [
            Row(
                id=number,
                text=text,
                source=source,
                language="und",
                split=SPLITS[part],
                labels=tuple(None if np.isnan(label) else int(label) for label in labels),
                weights=tuple(weights),
                pattern=pattern,
            )
            for number, (text, source, part, labels, weights, pattern) in enumerate(
                zip(
                    corpus.texts,
                    corpus.sources.tolist(),
                    corpus.part.tolist(),
                    corpus.labels.tolist(),
                    corpus.weights.tolist(),
                    corpus.patterns,
                    strict=True,
                )
            )
        ]
    ).to_pylist()
    places = [f"row {row['id']}" for row in rows]
    return gate.require_sound(table_of(rows, places, "training"), "corpus")


def _fit(corpus: Corpus, ones: sp.csr_matrix, steps: int, console: Console) -> list[Column]:
    with console.status("fitting") as status:
        return training_model.fit(
            corpus,
            ones,
            steps=steps,
            progress=lambda category, step: status.update(
                f"fitting {category}: step {step} of at most {steps}"
            ),
        )


def _without_identity(
    grown: Corpus, grown_ones: sp.csr_matrix, corpus: Corpus, *, seed: int
) -> dict[str, Any]:
    """The figures on identity sentences of a model that was fitted without any."""
    categories = ("toxicity", "hate_speech")
    columns = training_model.fit(
        grown,
        grown_ones,
        steps=FULL_STEPS,
        categories=categories,
        without_families=IDENTITY_FAMILIES,
    )
    scorer, _ = training_model.calibrate(columns, categories, corpus, seed=seed)
    return training_report.identity(scorer, corpus, seed=seed, resamples=FULL_RESAMPLES)


def _provenance(
    corpus: Corpus, calibrations: list[Calibration], *, seed: int, quick: bool
) -> dict[str, Any]:
    licences = {s.name: s.licence for s in (*training_data.SOURCES, training_data.TEMPLATES)}
    rows = {}
    for source in sorted(set(corpus.sources.tolist())):
        counts = np.bincount(corpus.part[corpus.sources == source], minlength=3)
        rows[source] = {
            "licence": licences.get(source, "unknown"),
            "fit": int(counts[training_split.FIT]),
            "calibrate": int(counts[training_split.DEV]),
            "test": int(counts[training_split.TEST]),
        }
    return {
        "date": training_model.today(),
        "code": code_version(),
        "seed": seed,
        "quick": quick,
        "rows": rows,
        "calibration": {
            category: {
                "method": "Platt" if isinstance(c.choice.calibrator, Platt) else "isotonic",
                "prior": round(c.prior, 4),
                "natural": c.natural,
                "rows": c.rows,
                "positives": c.positives,
                "platt_ece": round(c.choice.platt_ece, 5),
                "isotonic_ece": round(c.choice.isotonic_ece, 5),
            }
            for category, c in zip(TEXT_CATEGORIES, calibrations, strict=True)
        },
        "versions": {"numpy": np.__version__, "scipy": scipy.__version__},
    }


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app()
    except SluiceError as error:
        sys.exit(f"train_fast: {error}")


if __name__ == "__main__":
    main()
