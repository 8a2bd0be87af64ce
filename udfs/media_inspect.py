"""Everything that is found out about one file, step by step, inside the process that is limited.

`make_work` loads decoders and engines once; `MediaWork.run` looks at one file and reports each
step as it ends. A step that fails is reported, and the others go on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal, NamedTuple

import cv2
import msgspec
import numpy as np
import PIL
from PIL import Image

from schemas.evidence import Failure, FoundText, FrameHash, Hashes, MediaFacts, Step
from schemas.media_job import MediaDocument
from udfs.image_hashes import hash_picture, pdq_hashes
from udfs.media_ffmpeg import Probe, Source, probe, tools
from udfs.media_formats import Format
from udfs.media_image import MediaError, decode
from udfs.media_ocr import CodeReader, Reader, make_reader, read_text, shortened
from udfs.media_reports import CutSquares, Report, frame
from udfs.media_speech import Transcriber, make_transcriber, sound_of, transcript
from udfs.media_video import sample
from udfs.pixel_package import Geometry
from udfs.pixels import square

_BLOCK: Final = 1 << 20


class InspectSetup(msgspec.Struct, frozen=True):
    """What `make_work` is made from."""

    settings: bytes
    """A `MediaDocument` as JSON."""
    geometries: tuple[Geometry, ...] = ()
    """That models want pictures cut by."""


class Still(NamedTuple):
    """One frame that is looked at."""

    image: Image.Image
    seconds: float | None
    why: Literal["even", "cut"]


class MediaWork:
    """What children run.

    Args:
        settings: of the media job.
        geometries: that models want pictures cut by.
    """

    def __init__(self, settings: MediaDocument, geometries: tuple[Geometry, ...]) -> None:
        cv2.setNumThreads(1)
        self.settings = settings
        self.geometries = geometries
        self.clock: Callable[[], float] = time.perf_counter
        """That steps are timed by, seconds."""
        self.versions = {"pillow": PIL.__version__}
        self.missing: dict[str, str] = {}
        Image.init()  # every decoder, before there is a limit on files and memory
        with self._loading("hash"):
            # What imagehash and pdqhash load on first use.
            hash_picture(Image.fromarray(np.zeros((64, 64, 3), np.uint8)))
        self.codes: CodeReader | None = None
        with self._loading("qr"):
            self.codes = CodeReader()
            self.versions[self.codes.name] = self.codes.version
        self.reader: Reader | None = None
        with self._loading("ocr"):
            self.reader = make_reader(settings.ocr)
            if self.reader is not None:
                self.versions[self.reader.name] = self.reader.version
        with self._loading("frames"):
            self.versions |= tools()
        self.speech: Transcriber | None = None
        with self._loading("transcript"):
            self.speech = make_transcriber(settings.speech)
            if self.speech is not None:
                self.versions[self.speech.name] = self.speech.version

    @contextmanager
    def _loading(self, step: Step) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, the other steps go on
            self.missing[step] = f"{type(error).__name__}: {error}"

    def run(self, media: int, output: int, argument: bytes) -> None:
        """Look at one file.

        Args:
            media: descriptor of the file.
            output: descriptor that reports are written to.
            argument: the file's format, as msgpack.
        """
        found = msgspec.msgpack.decode(argument, type=Format)
        look = _Look(self, media, output, found)
        look.picture() if found.kind == "image" else look.moving()


class _Look:
    """One file being looked at."""

    def __init__(self, work: MediaWork, media: int, output: int, found: Format) -> None:
        self._work = work
        self._settings = work.settings
        self._media = media
        self._output = output
        self._found = found
        self._stills: list[Still] = []
        self._width = 0
        self._report = Report(step="identify", state="ended")
        self._failed = False

    @contextmanager
    def _step(self, step: Step) -> Iterator[None]:
        """Report when a step begins and what it found; a failure ends the step alone."""
        _write(self._output, Report(step=step, state="began"))
        began = self._work.clock()
        self._report = Report(step=step, state="ended")
        self._failed = False
        try:
            yield
        except MediaError as error:
            self._fail(Failure(kind=error.kind, step=step, message=error.message,
                               limit=error.limit))  # fmt: skip
        except MemoryError:
            limit = f"sandbox.memory_mb = {self._settings.sandbox.memory_mb}"
            self._fail(Failure(kind="memory", step=step, limit=limit,
                               message="the step used more memory than it may"))  # fmt: skip
        except Exception as error:  # noqa: BLE001 - decoders and engines may raise anything
            message = f"the step failed ({type(error).__name__})"
            self._fail(Failure(kind="internal", step=step, message=message))
        ms = (self._work.clock() - began) * 1000
        _write(self._output, msgspec.structs.replace(self._report, ms=ms))

    def _say(self, **fields: Any) -> None:
        self._report = msgspec.structs.replace(self._report, **fields)

    def _fail(self, failure: Failure) -> None:
        self._failed = True
        self._say(failures=(*self._report.failures, failure))

    def picture(self) -> None:
        """A picture or an animation."""
        with self._step("decode"):
            data = _all_of(self._media)
            pictures, facts = decode(data, self._found, self._settings.picture)
            self._stills = [Still(each.image, each.seconds, "even") for each in pictures]
            self._width = facts.width
            self._say(facts=facts)
        if self._failed:
            return
        self._look_at_stills()

    def moving(self) -> None:
        """A video or a sound."""
        limits = self._settings
        source = Source(self._media, self._found.decoder, limits.picture.max_pixels)
        if not self._there("frames"):
            return
        size = os.fstat(self._media).st_size
        facts = MediaFacts(bytes=size, format=self._found.name)
        told = Probe(0.0, video=False, audio=False, width=0, height=0, rate=0.0)
        with self._step("probe"):
            told = probe(source)
            facts = msgspec.structs.replace(
                facts, width=told.width, height=told.height, seconds=told.seconds
            )
            self._say(facts=facts)
            if not told.video and not told.audio:
                raise MediaError("malformed", "the file has neither pictures nor sound")
        if self._failed:
            return
        if told.video:
            with self._step("frames"):
                if told.width * told.height > limits.picture.max_pixels:
                    raise MediaError(
                        "pixel_limit",
                        f"the video has {told.width} x {told.height} pixels",
                        limit=f"picture.max_pixels = {limits.picture.max_pixels}",
                    )
                sampled = sample(source, told, limits.video)
                self._stills = [Still(*each) for each in sampled.frames]
                first = self._stills[0].image
                # A phone's video lies on its side, and ffmpeg turns it.
                turned = (told.width < told.height) != (first.width < first.height)
                self._width = (told.height if turned else told.width) or first.width
                height = (told.width if turned else told.height) or first.height
                self._say(
                    facts=msgspec.structs.replace(
                        facts, width=self._width, height=height, frames=len(self._stills),
                        notes=sampled.notes,
                    )
                )  # fmt: skip
            if self._stills:
                self._look_at_stills()
        if told.audio:
            self._listen(source)

    def _look_at_stills(self) -> None:
        with self._step("hash"):
            self._say(hashes=self._hashes())
        if self._there("qr"):
            with self._step("qr"):
                self._codes()
        if self._settings.ocr.engine != "none" and self._there("ocr"):
            with self._step("ocr"):
                self._read()
        if self._work.geometries:
            with self._step("pixels"):
                self._say(squares=tuple(map(self._cut, self._work.geometries)))

    def _there(self, step: Step) -> bool:
        """Whether what a step needs is installed; says so where it is not."""
        why = self._work.missing.get(step)
        if why is not None:
            failure = Failure(kind="missing", step=step, message=why)
            _write(self._output, Report(step=step, state="ended", failures=(failure,)))
        return why is None

    def _hashes(self) -> Hashes:
        first = self._stills[0]
        frames = []
        if self._found.kind != "image" or len(self._stills) > 1:
            for still in self._stills:
                (pdq,), quality = pdq_hashes(still.image, variants=False)
                frames.append(
                    FrameHash(pdq=pdq.hex(), quality=quality, seconds=still.seconds or 0.0,
                              why=still.why)
                )  # fmt: skip
        if self._found.kind != "image":
            return Hashes(frames=frames)
        found = hash_picture(first.image)
        return Hashes(
            pdq=[each.hex() for each in found.pdq],
            quality=found.quality,
            phash64=[each.hex() for each in found.phash64],
            phash256=[each.hex() for each in found.phash256],
            frames=frames,
        )

    def _codes(self) -> None:
        reader = self._work.codes
        if reader is None:
            return
        found = []
        for still in self._stills:
            scale = self._width / still.image.width
            text = reader.read(still.image, scale=scale, seconds=still.seconds)
            found += [text] if text else []
        self._say_texts(found)

    def _read(self) -> None:
        reader = self._work.reader
        if reader is None:
            return
        part = self._settings.ocr
        found = []
        stills = self._stills if len(self._stills) == 1 else _spread(self._stills, part.frames)
        for still in stills:
            text = read_text(reader, still.image, part, width=self._width, seconds=still.seconds)
            found += [text] if text else []
        self._say_texts(found)

    def _say_texts(self, found: list[FoundText]) -> None:
        texts, more = shortened(found, self._settings.ocr.max_chars)
        self._say(texts=tuple(texts), notes=("more_text",) if more else ())

    def _cut(self, geometry: Geometry) -> CutSquares:
        squares = [square(still.image, geometry) for still in self._stills]
        return CutSquares(
            geometry,
            tuple(still.seconds for still in self._stills),
            b"".join(each.tobytes() for each in squares),
        )

    def _listen(self, source: Source) -> None:
        part = self._settings.speech
        if part.engine == "none" or not self._there("transcript"):
            return
        sound = b""
        with self._step("audio"):
            sound = sound_of(source, part.max_s)
        engine = self._work.speech
        if sound and engine is not None:
            with self._step("transcript"):
                text = transcript(engine, sound)
                self._say_texts([text] if text else [])


def make_work(argument: bytes) -> MediaWork:
    """Load everything that children need.

    Args:
        argument: an `InspectSetup` as msgpack.
    """
    setup = msgspec.msgpack.decode(argument, type=InspectSetup)
    return MediaWork(MediaDocument.model_validate_json(setup.settings), setup.geometries)


def _spread(stills: list[Still], most: int) -> list[Still]:
    """At most so many, evenly spread."""
    if most <= 0 or not stills:
        return []
    if len(stills) <= most:
        return stills
    return [stills[int((i + 0.5) * len(stills) / most)] for i in range(most)]


def _all_of(media: int) -> bytes:
    parts = []
    place = 0
    while block := os.pread(media, _BLOCK, place):
        parts.append(block)
        place += len(block)
    return b"".join(parts)


def _write(output: int, report: Report) -> None:
    view = memoryview(frame(report))
    while view:
        view = view[os.write(output, view) :]
