"""Frames of a video: evenly spaced ones, and the first of each scene.

One pass over the decoded frames, scaled down. A scene cut is where the mean change of hue,
saturation and value against the frame before reaches the threshold (PySceneDetect's content
detector, https://www.scenedetect.com/docs/latest/api/detectors.html).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from typing import IO, Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from schemas.evidence import Note
from schemas.media_job import VideoPart
from udfs.media_ffmpeg import Probe, Source, check_end, decoded
from udfs.media_image import MediaError

_COMPARED: Final = 256
"""Pixels of width that frames are compared at."""
_LONGEST_LINE: Final = 256
Pixels = npt.NDArray[np.uint8]


class VideoFrame(NamedTuple):
    """A frame that is looked at."""

    image: Image.Image
    seconds: float
    why: Literal["even", "cut"]


class Sampled(NamedTuple):
    """The frames of a video, in the order of their time."""

    frames: list[VideoFrame]
    cuts: list[int]
    """Numbers of all frames that begin a scene, kept or not."""
    decoded: int
    """Frames that were decoded."""
    notes: list[Note]


class CutDetector:
    """Tells where a new scene begins.

    Args:
        threshold: mean change, 0 to 255, that is a cut.
        least: shortest scene, frames.
    """

    def __init__(self, threshold: float, least: int) -> None:
        self._threshold = threshold
        self._least = least
        self._cv2: Any = importlib.import_module("cv2")
        self._cv2.setNumThreads(1)
        self._before: Pixels | None = None
        self._last_cut = 0

    def change(self, number: int, pixels: Pixels) -> float:
        """How much changed where a scene begins with this frame; 0 where none does.

        Args:
            number: of the frame, counted from 0, one after the other.
            pixels: RGB, shape (height, width, 3).
        """
        cv2 = self._cv2
        height, width = pixels.shape[:2]
        if width > _COMPARED:
            size = (_COMPARED, max(1, round(height * _COMPARED / width)))
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
        now: Pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)
        before, self._before = self._before, now
        if before is None or before.shape != now.shape:
            return 0.0
        change = float(cv2.absdiff(now, before).mean())
        if change < self._threshold or number - self._last_cut < self._least:
            return 0.0
        self._last_cut = number
        return change


def sample(source: Source, told: Probe, part: VideoPart) -> Sampled:
    """Decode a video and keep what is looked at.

    Args:
        source: the file.
        told: what ffprobe said of it.
        part: settings.

    Raises:
        MediaError: no frame can be decoded.
    """
    natural = 0 < told.rate <= part.rate
    rate = told.rate if natural else part.rate
    looked_at = min(told.seconds, part.max_s)
    notes: list[Note] = ["cut_short"] if told.seconds > part.max_s else []
    chosen = _Chosen(part, total=math.ceil(looked_at * rate))
    scale = f"scale=w='min({part.side},iw)':h='min({part.side},ih)':" + (
        "force_original_aspect_ratio=decrease:force_divisible_by=2:flags=bilinear"
    )
    ended: list[int] = []
    detector = CutDetector(part.cut_threshold, part.scene_frames)
    # A longest time in frames as well: a file may claim anything about its times.
    most = math.ceil(part.max_s * rate)
    number = -1
    with decoded(
        source,
        ["-t", f"{part.max_s:g}"],
        ["-map", "0:v:0", "-an", "-sn", "-dn", "-frames:v", str(most),
         "-fps_mode", "passthrough" if natural else "cfr",
         "-vf", scale if natural else f"fps={rate:g},{scale}",
         "-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe", "-strict", "-1", "pipe:1"],
        ended,
    ) as pipe:  # fmt: skip
        for number, pixels in enumerate(_frames(pipe)):
            chosen.offer(number, pixels, detector.change(number, pixels))
    if number < 0:
        check_end(ended[0], "no frame can be decoded")
        raise MediaError("malformed", "the video has no frame that can be decoded")
    if ended[0]:
        notes.append("truncated")
    frames = [
        VideoFrame(Image.fromarray(pixels), round(at / rate, 3), why)
        for at, pixels, why in chosen.all()
    ]
    return Sampled(frames, chosen.cuts, number + 1, notes)


class _Chosen:
    """Which frames are kept."""

    def __init__(self, part: VideoPart, total: int) -> None:
        even = min(part.even_frames, part.frames)
        self._most_even = even
        self._most_cuts = part.frames - even
        # In the middle of equal stretches: the very first frame is often black.
        self._due = sorted({int((i + 0.5) * total / even) for i in range(even)}) if total else []
        self._every = 1
        self._guess = not self._due
        self._even: list[tuple[int, Pixels]] = []
        self._cuts: list[tuple[float, int, Pixels]] = []
        self.cuts: list[int] = []
        self._last: tuple[int, Pixels] | None = None

    def offer(self, number: int, pixels: Pixels, change: float) -> None:
        """Take a frame or leave it."""
        self._last = (number, pixels)
        if change:
            self.cuts.append(number)
            self._cuts.append((change, number, pixels))
            if len(self._cuts) > self._most_cuts:
                # The cuts that change most stay.
                self._cuts.remove(min(self._cuts, key=lambda cut: cut[:2]))
        if self._guess:
            if number % self._every == 0:
                self._even.append((number, pixels))
            if len(self._even) > self._most_even:
                self._even, self._every = self._even[::2], self._every * 2
        elif self._due and number >= self._due[0]:
            self._due.pop(0)
            self._even.append((number, pixels))

    def all(self) -> Iterator[tuple[int, Pixels, Literal["even", "cut"]]]:
        """Frames by number; one that is both is a cut."""
        if self._due and self._last is not None and len(self._even) < self._most_even:
            # The file promised more than it had: its end is looked at nevertheless.
            self._even.append(self._last)
        found: dict[int, tuple[Pixels, Literal["even", "cut"]]] = {
            number: (pixels, "even") for number, pixels in self._even
        }
        found.update({number: (pixels, "cut") for _, number, pixels in self._cuts})
        for number in sorted(found):
            yield number, *found[number]


def _frames(pipe: IO[bytes]) -> Iterator[Pixels]:
    """Frames in RGB out of a YUV4MPEG2 stream (4:2:0, 8 bits).

    Half the bytes of RGB, and ffmpeg need not convert them.
    """
    cv2: Any = importlib.import_module("cv2")
    fields = pipe.readline(_LONGEST_LINE).split()
    if not fields or fields[0] != b"YUV4MPEG2":
        return
    sizes = {field[:1]: int(field[1:]) for field in fields[1:] if field[:1] in {b"W", b"H"}}
    width, height = sizes[b"W"], sizes[b"H"]
    size = width * height * 3 // 2
    while pipe.readline(_LONGEST_LINE).startswith(b"FRAME"):
        body = pipe.read(size)
        if len(body) < size:
            return
        planes = np.frombuffer(body, np.uint8).reshape(height * 3 // 2, width)
        yield cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420)
