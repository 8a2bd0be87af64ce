"""How much media one core looks at: by stage, on pictures and a clip that it draws itself."""

from __future__ import annotations

import io
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

from operators.media_analyse import MediaAnalyser
from schemas.evidence import MediaEvidence
from schemas.media_job import FetchPart, MediaDocument, load_media
from schemas.settings import CONF
from schemas.upload import Upload, decode_upload
from udfs.pixels import PixelScorer, square

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

STAGES: Final = ("fetch", "decode", "hash", "qr", "ocr", "pixels", "score")
CLIP_STAGES: Final = ("fetch", "probe", "frames", "hash", "qr", "ocr", "pixels", "score", "audio",
                      "transcript")  # fmt: skip
_WORDS: Final = "the quick brown fox jumps over the lazy dog"


def scene(seed: int, width: int, height: int, *, lines: int = 0) -> Image.Image:
    """A picture with structure, and lines of text where wanted."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (18, 24, 3), np.uint8)
    picture = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for line in range(lines):
        y = int(height * (0.1 + 0.8 * line / max(1, lines)))
        draw.text((width // 20, y), _WORDS, fill="white", font_size=height // 20,
                  stroke_width=2, stroke_fill="black")  # fmt: skip
    return picture


def clip(seconds: int, width: int = 640, height: int = 360) -> bytes:
    """An MP4 of 25 frames a second with a new scene every four seconds, and a tone."""
    frames = [scene(n // 100, width, height).rotate(n % 100 / 20) for n in range(25 * seconds)]
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}",
         "-r", "25", "-i", "pipe:0", "-f", "lavfi", "-i", f"sine=duration={seconds}",
         "-c:v", "mpeg4", "-q:v", "4", "-shortest",
         "-movflags", "frag_keyframe+empty_moov+default_base_moof", "-f", "mp4", "pipe:1"],
        input=b"".join(frame.tobytes() for frame in frames), capture_output=True, check=True,
    )  # fmt: skip
    return done.stdout


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def _upload(path: Path, kind: str) -> Upload:
    return decode_upload(
        json.dumps(
            {
                "content_id": path.name,
                "content_type": kind,
                "user_id": "bench",
                "created_at": "2026-01-01T00:00:00Z",
                "media_uri": path.as_uri(),
            }
        ).encode()
    )


def _best(run: Callable[[], object], times: int) -> float:
    """Shortest of several runs, seconds."""
    best = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - began)
    return best


def _medians(found: Iterable[MediaEvidence], stages: Iterable[str]) -> dict[str, float]:
    """Median ms of each stage that was there."""
    rows = [evidence.stage_ms for evidence in found]
    return {
        stage: statistics.median(times)
        for stage in stages
        if (times := [row[stage] for row in rows if stage in row])
    }


def pixel_rates(scorer: PixelScorer, batch: int, times: int) -> dict[str, float]:
    """Pictures a second: the scorer's batches, and a bare loop over the same session."""
    squares = np.stack([square(scene(seed, 300, 300), scorer.geometry) for seed in range(batch)])
    session = scorer._session  # what the scorer adds to it is what is measured
    name = session.get_inputs()[0].name
    shape = (0, 3, 1, 2) if scorer.manifest.layout == "NCHW" else (0, 1, 2, 3)
    ready = np.ascontiguousarray(squares.transpose(shape), np.float32)

    def loop() -> None:
        for first in range(batch):
            session.run(None, {name: ready[first : first + 1]})

    return {
        "batched": batch / _best(lambda: scorer.score(squares, batch), times),
        "one by one": batch / _best(lambda: [scorer.score(one[None]) for one in squares], times),
        "bare loop": batch / _best(loop, times),
        "bare batch": batch / _best(lambda: session.run(None, {name: ready}), times),
    }


@app.command()
def main(
    config: Annotated[Path, typer.Option(help="Settings of the media job.")] = CONF / "media.yaml",
    pictures: Annotated[int, typer.Option(help="How many, half of them with text.", min=2)] = 16,
    seconds: Annotated[int, typer.Option(help="Length of the clip.", min=1)] = 10,
    repeats: Annotated[int, typer.Option(help="Runs of which the best counts.", min=1)] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Measure one process: median time of each stage, and what one core does in a second."""
    document = load_media(config)
    with tempfile.TemporaryDirectory(prefix="sluice-bench-media-") as name:
        result = measure(document, Path(name), pictures, seconds, repeats)
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        _show(result)


def measure(
    document: MediaDocument, folder: Path, pictures: int, seconds: int, repeats: int
) -> dict[str, Any]:
    """Measure with these settings, one process at a time.

    Returns:
        Median ms a stage of `plain` pictures, pictures with `text` and of the `clip`; `rates`
        (pictures a second, seconds of video a second) and `pixels` (pictures a second).
    """
    sandbox = document.sandbox.model_copy(update={"processes": 1})
    fetch = FetchPart(folders=(folder,))
    document = document.model_copy(update={"sandbox": sandbox, "fetch": fetch})
    groups: dict[str, list[Upload]] = {"plain": [], "text": []}
    for number in range(pictures):
        kind = "text" if number % 2 else "plain"
        path = folder / f"{kind}-{number}.jpg"
        path.write_bytes(_jpeg(scene(number, 1280, 960, lines=4 * (number % 2))))
        groups[kind].append(_upload(path, "image"))
    film = folder / "clip.mp4"
    film.write_bytes(clip(seconds))
    result: dict[str, Any] = {"rates": {}}
    with MediaAnalyser(document) as analyser:
        for kind, uploads in groups.items():
            analyser.analyse(uploads[:1])
            best = _best(lambda uploads=uploads: analyser.analyse(uploads), repeats)  # type: ignore[misc] # the default is the type
            result[kind] = _medians(analyser.analyse(uploads), STAGES)
            result["rates"][f"{kind}, pictures/s"] = round(len(uploads) / best, 2)
        moving = [_upload(film, "video")]
        best = _best(lambda: analyser.analyse(moving), repeats)
        result["clip"] = _medians(analyser.analyse(moving), CLIP_STAGES)
        result["rates"]["clip, seconds of video/s"] = round(seconds / best, 2)
        result["pixels"] = {
            scorer.name: {
                how: round(rate, 1)
                for how, rate in pixel_rates(scorer, document.pixels.batch, repeats).items()
            }
            for scorer in analyser.scorers
        }
    return result


def _show(result: dict[str, Any]) -> None:
    console = Console()
    table = Table("stage", "plain, ms", "with text, ms", "clip, ms", title="median of each stage")
    for stage in dict.fromkeys((*STAGES, *CLIP_STAGES)):
        cells = [result[kind].get(stage) for kind in ("plain", "text", "clip")]
        table.add_row(stage, *("" if cell is None else f"{cell:.1f}" for cell in cells))
    console.print(table)
    for what, rate in result["rates"].items():
        console.print(f"{what}: {rate}")
    for model, rates in result["pixels"].items():
        shown = ", ".join(f"{how} {rate}" for how, rate in rates.items())
        console.print(f"{model}, pictures/s: {shown}")


if __name__ == "__main__":
    app(prog_name="scripts/bench_media")
