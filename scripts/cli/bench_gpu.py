"""`scripts/bench_gpu`: the heavy text tier's batcher against a bare ONNX Runtime loop.

`prepare` makes a folder with a package of DistilBERT-base's size (random weights: speed does not
depend on them) and texts; it needs the extra `train`. `run` measures. On a machine with a GPU it
needs that folder, this code, Python with numpy, msgspec, tokenizers, typer and onnxruntime-gpu,
the driver and CUDA's libraries, and no network:

    python -m scripts.cli.bench_gpu run FOLDER --provider cuda --out result.json
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer

from schemas.errors import SluiceError

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=__doc__)

AIM: Final = 0.9
"""Least share of the bare loop's rate."""
_TEXTS: Final = "texts.json"
_PACKAGE: Final = "package"
_CHARS: Final = (40, 80, 120, 120, 240, 480)
"""Lengths of the texts, drawn evenly: chat, comments, posts."""
_BUCKET: Final = 16


class Provider(StrEnum):
    """ONNX Runtime's."""

    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"


@app.command()
def prepare(
    folder: Annotated[Path, typer.Argument(help="Made; about 150 MB.")],
    texts: Annotated[int, typer.Option(min=64)] = 20_000,
    layers: Annotated[int, typer.Option(min=1, max=24, help="6 is DistilBERT's.")] = 6,
    hidden: Annotated[int, typer.Option(min=64, help="768 is DistilBERT's.")] = 768,
) -> None:
    """Make the folder to carry. Needs scripts/setup --extra train."""
    from scripts.cli.deep import base  # noqa: PLC0415 - what `run` does without

    base.require_torch()
    from scripts.cli.bench.uploads import UploadMaker, read_load  # noqa: PLC0415
    from scripts.cli.deep.random_model import distilbert  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for i, chars in enumerate(_CHARS):
        load = read_load(text_chars=max(chars, 60), samples=0.0)
        maker = UploadMaker(load, seed=i + 1, prefix=f"gpu{i}")
        rows = maker.make(-(-texts // len(_CHARS)), begin=dt.datetime.now(dt.UTC), rate=1_000)
        made.append([json.loads(row.value)["text"][:chars] for row in rows])
    mixed = [text for together in zip(*made, strict=True) for text in together][:texts]
    (folder / _TEXTS).write_text(json.dumps(mixed), "utf-8")
    distilbert(folder / _PACKAGE, layers=layers, hidden=hidden, texts=mixed[:2_000])
    print(f"{folder}: {len(mixed)} texts and a package")


@app.command()
def run(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    provider: Annotated[Provider, typer.Option()] = Provider.CUDA,
    batch: Annotated[int, typer.Option(min=1, help="Windows that run together.")] = 64,
    rounds: Annotated[int, typer.Option(min=1, help="The middle one counts.")] = 5,
    most: Annotated[int, typer.Option(min=0, help="Texts at most; 0: all.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Also write the JSON here.")] = None,
) -> None:
    """Measure; prints one JSON object."""
    # Reading a batch's texts may use every core.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    texts = json.loads((folder / _TEXTS).read_text("utf-8"))
    result = measure(
        folder / _PACKAGE,
        texts[:most] if most else texts,
        provider=provider.value,
        batch=batch,
        rounds=rounds,
    )
    text = json.dumps(result, indent=1)
    if out is not None:
        out.write_text(text + "\n", "utf-8")
    print(text)


def measure(
    package: Path, texts: list[str], *, provider: Any, batch: int, rounds: int
) -> dict[str, Any]:
    """Rates of the batcher and of a bare loop over the very same windows.

    The bare loop is given everything ready: token ids, sorted by length, padded, in arrays. It
    does what nobody can do without; the batcher reads texts and gives calibrated probabilities.

    Args:
        package: of the heavy tier.
        texts: as they would come, in any order.
        provider: of ONNX Runtime.
        batch: windows that run together.
        rounds: of each, taking turns.

    Raises:
        ConfigError: the provider does not start here.
    """
    from udfs import text_deep  # noqa: PLC0415 - after the environment is set
    from udfs.text_deep import DeepTextOptions  # noqa: PLC0415

    options = DeepTextOptions(provider=provider, max_batch=batch)
    scorer = text_deep.load(package, options)
    session, feeds, windows = _bare(scorer, texts, batch)

    def bare() -> None:
        for feed in feeds:
            session.run(None, feed)

    def batched() -> None:
        scorer.score(texts)

    bare()
    batched()
    times: dict[str, list[float]] = {"bare": [], "batcher": []}
    for _ in range(rounds):
        times["bare"].append(_seconds(bare))
        times["batcher"].append(_seconds(batched))
    middle = {name: statistics.median(own) for name, own in times.items()}
    ratio = middle["bare"] / middle["batcher"]
    return {
        "machine": _machine(),
        "provider": provider,
        "precision": scorer.precision,
        "package": scorer.manifest.version,
        "texts": len(texts),
        "windows": windows,
        "batch": batch,
        "bare_texts_per_s": round(len(texts) / middle["bare"], 1),
        "batcher_texts_per_s": round(len(texts) / middle["batcher"], 1),
        "ratio": round(ratio, 4),
        "aim": AIM,
        "met": ratio >= AIM,
        "rounds_s": {name: [round(t, 4) for t in own] for name, own in times.items()},
    }


def _bare(scorer: Any, texts: list[str], batch: int) -> tuple[Any, list[dict[str, Any]], int]:
    """The session and its inputs, made here and not by the batcher."""
    windows_of = scorer._windows
    windows = []
    for text in texts:
        ids = windows_of.tokens(text).ids
        windows += [windows_of.window(ids, start) for start in windows_of.starts(len(ids))]
    windows.sort(key=len)
    names = {entry.name for entry in scorer._session.get_inputs()}
    feeds = []
    for first in range(0, len(windows), batch):
        own = windows[first : first + batch]
        longest = min(-(-len(own[-1]) // _BUCKET) * _BUCKET, scorer.manifest.max_tokens)
        ids = np.full((len(own), longest), scorer.manifest.pad_id, np.int64)
        for row, window in enumerate(own):
            ids[row, : len(window)] = window
        mask = np.zeros_like(ids)
        for row, window in enumerate(own):
            mask[row, : len(window)] = 1
        feed = {"input_ids": ids, "attention_mask": mask}
        feeds.append({name: value for name, value in feed.items() if name in names})
    return scorer._session, feeds, len(windows)


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _machine() -> dict[str, Any]:
    import onnxruntime  # noqa: PLC0415 - after the environment is set

    found: dict[str, Any] = {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
    }
    try:
        asked = [
            "nvidia-smi",
            "--query-gpu=name,driver_version,memory.total",
            "--format=csv,noheader",
        ]
        done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=20)
        found["gpu"] = done.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        found["gpu"] = None
    return found


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app(prog_name="scripts/bench_gpu")
    except SluiceError as error:
        sys.exit(f"bench_gpu: {error}")


if __name__ == "__main__":
    main()
