"""How much media one core looks at: by stage, on pictures and a clip that it draws itself."""

from __future__ import annotations

import io
import itertools
import json
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import numpy as np
import typer
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

from operators.media_analyse import MediaAnalyser
from operators.media_fetch import Fetcher
from schemas.media_job import FetchPart, MediaDocument, load_media
from schemas.settings import CONF
from schemas.upload import Upload, decode_upload
from udfs.media_inspect import MediaWork
from udfs.media_reports import Gathered
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


def _best(run: Callable[[], object], times: int, clock: Callable[[], float]) -> float:
    """Least processor time of several runs, seconds: what else the machine does is not in it."""
    best = float("inf")
    for _ in range(times):
        began = clock()
        run()
        best = min(best, clock() - began)
    return best


def _clock(analyser: MediaAnalyser) -> Callable[[], float]:
    """Processor time of this process and of all that looked at files for it, seconds."""
    stat = Path(f"/proc/{analyser.sandbox.nursery_pid}/stat")

    def now() -> float:
        # utime, stime, and the same of the children that it has waited for.
        fields = stat.read_text().rpartition(")")[2].split()[11:15]
        return time.process_time() + sum(map(int, fields)) / os.sysconf("SC_CLK_TCK")

    return now


def stages(
    document: MediaDocument, scorers: Sequence[PixelScorer], uploads: Sequence[Upload]
) -> dict[str, float]:
    """Median processor time of each step for one upload, ms, commands that it starts included.

    The steps run in this process, which nothing limits: for media that can be trusted.
    """
    work = MediaWork(document, tuple(dict.fromkeys(scorer.geometry for scorer in scorers)))
    work.clock = _spent
    fetcher = Fetcher(document.fetch)
    rows: dict[str, list[float]] = {}
    for upload in (uploads[0], *uploads):  # the first one warms up
        began = _spent()
        video = upload.content_type == "video"
        with closing(fetcher.fetch(upload.media_uri or "", video=video)) as got:
            took = {"fetch": (_spent() - began) * 1000}
            with tempfile.TemporaryFile() as output:
                found = msgspec.msgpack.encode(got.format)
                work.run(got.file.fileno(), output.fileno(), found)
                output.seek(0)
                gathered = Gathered(output.read())
        took |= gathered.stage_ms
        if scorers:
            took["score"] = _scored_ms(scorers, gathered, document.pixels.batch)
        for step, spent in took.items():
            rows.setdefault(step, []).append(spent)
    return {step: statistics.median(spent[1:] or spent) for step, spent in rows.items()}


def _scored_ms(scorers: Sequence[PixelScorer], gathered: Gathered, batch: int) -> float:
    began = _spent()
    for scorer, cut in itertools.product(scorers, gathered.squares):
        if cut.geometry == scorer.geometry:
            side = cut.geometry.crop
            squares = np.frombuffer(cut.pixels, np.uint8)
            scorer.score(squares.reshape(len(cut.seconds), side, side, 3), batch)
    return (_spent() - began) * 1000


def _spent() -> float:
    """Processor time of this process and of commands that it has waited for, seconds."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


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

    def best(run: Callable[[], object]) -> float:
        return _best(run, times, time.process_time)

    return {
        "batched": batch / best(lambda: scorer.score(squares, batch)),
        "one by one": batch / best(lambda: [scorer.score(one[None]) for one in squares]),
        "bare loop": batch / best(loop),
        "bare batch": batch / best(lambda: session.run(None, {name: ready})),
    }


@app.command()
def main(
    config: Annotated[Path, typer.Option(help="Settings of the media job.")] = CONF / "media.yaml",
    pictures: Annotated[int, typer.Option(help="How many, half of them with text.", min=2)] = 16,
    seconds: Annotated[int, typer.Option(help="Length of the clip.", min=1)] = 10,
    repeats: Annotated[int, typer.Option(help="Runs of which the best counts.", min=1)] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Measure, by processor time, each stage and what one core does in a second."""
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
        By processor time, so of one core: median ms a stage of `plain` pictures, pictures with
        `text` and of the `clip`; `rates` (pictures a second, seconds of video a second, all that
        the limited process costs included) and `pixels` (pictures a second).
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
        clock = _clock(analyser)
        for kind, uploads in groups.items():
            analyser.analyse(uploads[:1])
            best = _best(lambda uploads=uploads: analyser.analyse(uploads), repeats, clock)  # type: ignore[misc] # the default is the type
            result[kind] = stages(document, analyser.scorers, uploads)
            result["rates"][f"{kind}, pictures/s"] = round(len(uploads) / best, 2)
        moving = [_upload(film, "video")]
        best = _best(lambda: analyser.analyse(moving), repeats, clock)
        result["clip"] = stages(document, analyser.scorers, moving)
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
    table = Table(
        "stage",
        "plain, ms",
        "with text, ms",
        "clip, ms",
        title="processor time, median",
    )
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
