"""`scripts/blend_tiers`: fit how a heavy text model's answers are joined with the fast tier's."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console

from schemas.errors import SluiceError
from schemas.settings import load_settings
from scripts.cli.code_version import code_version
from scripts.cli.dataset.build import FILE
from scripts.cli.deep import assess, blend, card, data
from scripts.cli.deep.files import write_manifest
from scripts.cli.quality import gate
from scripts.cli.train_text import sayer
from udfs import text_deep
from udfs.contracts import Scorer
from udfs.deep_manifest import DeepTextManifest
from udfs.model_package import read_manifest
from udfs.text_fast import FastTextScorer
from udfs.text_tiers import Blend, blended, joined_names, merged, readable

SEED: Final = 7
PROBED: Final = 300
"""Texts of a kind that are disguised."""
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def blend_tiers(
    package: Annotated[Path, typer.Argument(help="Heavy model package; its manifest is written.")],
    data_folder: Annotated[
        Path, typer.Option("--data", help="Folder that scripts/build_dataset wrote.")
    ],
    fast: Annotated[
        Path | None, typer.Option(help="Fast model. [default: the dev profile's]")
    ] = None,
    rows: Annotated[
        int, typer.Option(min=0, help="Rows of each split at most, drawn by chance; 0: all.")
    ] = 0,
    measure: Annotated[
        bool, typer.Option(help="Also measure on the test split (minutes), for the model card.")
    ] = True,
    unchecked: Annotated[str | None, typer.Option(help=gate.UNCHECKED_HELP)] = None,
) -> None:
    """Fit weights of both tiers' log-odds on held-out rows, and write them into the package.

    Run it again when either model changes. The package gets a new version.
    """
    say = sayer(Console(stderr=True), time.monotonic())
    quality = gate.require(data_folder / FILE, "training", unchecked=unchecked)
    settings = load_settings("dev")
    folder = fast or settings.cascade.fast_text
    if folder is None:
        raise SluiceError("the dev profile has no fast tier; name one by --fast")
    first = FastTextScorer.load(folder)
    plain = msgspec.structs.replace(read_manifest(package, DeepTextManifest), blend={})
    second = text_deep.load(package)
    splits = data.read(data_folder, ("dev", "test"))
    if rows:
        splits = {name: data.fewer(own, rows, SEED) for name, own in splits.items()}

    def scored(rows: data.Rows) -> tuple[dict[str, Any], dict[str, Any]]:
        deep = assess.in_parts(second.score, rows.texts, say).astype(np.float64)
        fast_scores = first.score(rows.texts).astype(np.float64)
        return (
            {name: fast_scores[:, i] for i, name in enumerate(first.categories)},
            {name: deep[:, i] for i, name in enumerate(second.categories)},
        )

    say(f"fitting on {len(splits['dev'].texts)} texts")
    read = data.chosen(splits["dev"], np.flatnonzero(readable(second, splits["dev"].texts)))
    fitted, facts = blend.fit(*scored(read), read)
    metrics = {
        name: value
        for name, value in plain.metrics.items()
        if name not in {"joined_quality", "fast_quality", "heavy_quality", "joined_disguised"}
    }
    if measure:
        test = splits["test"]
        say(f"measuring on {len(test.texts)} texts")
        fast_scores, deep_scores = scored(test)
        knows = readable(second, test.texts)
        joined = np.stack(
            [
                np.where(
                    knows,
                    blended(fast_scores[name], deep_scores[name], fitted[name])
                    if name in fitted
                    else deep_scores[name],
                    fast_scores.get(name, deep_scores[name]),
                )
                for name in second.categories
            ],
            axis=1,
        )
        metrics["joined_quality"] = assess.quality(joined, test, second.categories)
        metrics["heavy_quality"] = assess.quality(
            np.stack([deep_scores[name] for name in second.categories], axis=1),
            test,
            second.categories,
        )
        say("disguising")
        metrics["joined_disguised"] = assess.robustness(
            _Joined(first, second, fitted), test, seed=SEED, most=PROBED
        )
        metrics.pop("disguised", None)
        metrics["fast_quality"] = assess.quality(
            np.stack([fast_scores[name] for name in second.categories], axis=1),
            test,
            second.categories,
        )
    manifest = msgspec.structs.replace(
        plain,
        blend=fitted,
        metrics=metrics,
        training={
            **plain.training,
            "blend": {
                "fast": first.version,
                "code": code_version(),
                "quality": quality,
                **({"measured": len(splits["test"].texts)} if measure and rows else {}),
                **facts,
            },
        },
    )
    manifest = write_manifest(manifest, package)
    (package / "MODEL_CARD.md").write_text(card.render(manifest), "utf-8")
    say(f"{package}: {manifest.name} {manifest.version}")


class _Joined:
    """Both tiers as one scorer, whatever the fast one says."""

    def __init__(self, fast: Scorer, deep: Scorer, weights: Blend) -> None:
        self.name, self.version = deep.name, deep.version
        self._fast, self._deep, self._weights = fast, deep, weights
        self.categories = joined_names(fast.categories, deep.categories)

    def score(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        fast = self._fast.score(texts)
        rows = np.flatnonzero(readable(self._deep, texts))
        deep = self._deep.score([texts[i] for i in rows])
        names = self._fast.categories, self._deep.categories
        return merged(fast, names[0], deep, names[1], rows, self._weights)

    def explain(self, text: str, category: str, limit: int = 5) -> list[tuple[int, int, float]]:
        return list(self._deep.explain(text, category, limit))


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app(prog_name="scripts/blend_tiers")
    except SluiceError as error:
        sys.exit(f"blend_tiers: {error}")


if __name__ == "__main__":
    main()
