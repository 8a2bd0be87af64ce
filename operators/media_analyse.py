"""From uploads to evidence, a batch at a time: fetch, have it looked at, score the pixels.

The one way from media to evidence: the job, tests and measurements all call it. Bytes are fetched
here and decoded elsewhere (`operators.media_sandbox`); what comes back from there is text, hashes
and squares of pixels, which are scored here, all of a batch together.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, NamedTuple, Self

import msgspec
import numpy as np

from operators.media_fetch import Fetched, Fetcher
from operators.media_http import Resolve, resolve
from operators.media_sandbox import Outcome, Sandbox, TaskLimits
from schemas.categories import PIXEL_CATEGORIES
from schemas.errors import DependencyUnavailableError
from schemas.evidence import (
    Failure,
    Hashes,
    MediaEvidence,
    MediaFacts,
    Note,
    PixelScore,
    Step,
    evidence_id,
)
from schemas.media_job import MediaDocument
from schemas.settings import ROOT
from schemas.upload import Upload
from udfs.media_formats import Format
from udfs.media_image import MediaError
from udfs.media_inspect import InspectSetup
from udfs.media_ocr import shortened
from udfs.media_reports import CutSquares, Gathered
from udfs.pixels import PixelScorer, Squares, highest, load

INSPECT: Final = "udfs.media_inspect:make_work"


class _Looked(NamedTuple):
    """One upload after fetching and decoding."""

    hashes: Hashes
    facts: MediaFacts
    gathered: Gathered
    errors: list[Failure]
    stage_ms: dict[str, float]
    began: float
    """Monotonic time when it was taken up."""


class MediaAnalyser:
    """Makes evidence. Close it.

    Args:
        settings: of the media job.
        work: what looks at files; another one in tests of what decoders can do.
        resolver: of host names; another one in tests.

    Raises:
        ConfigError: a pixel model is there, and wrong.
        DependencyUnavailableError: the processes that decode do not start.
    """

    def __init__(
        self, settings: MediaDocument, *, work: str = INSPECT, resolver: Resolve = resolve
    ) -> None:
        self._settings = settings
        self._fetcher = Fetcher(settings.fetch, resolver)
        self.scorers: list[PixelScorer] = []
        self._missing: list[Failure] = []
        self._load_models()
        geometries = tuple(dict.fromkeys(scorer.geometry for scorer in self.scorers))
        setup = InspectSetup(settings.model_dump_json().encode(), geometries)
        self._sandbox = Sandbox(work, msgspec.msgpack.encode(setup))
        self.ready = self._sandbox.start()
        if not self.ready.network and not settings.sandbox.open_network:
            self._sandbox.close()
            raise DependencyUnavailableError(
                "media_sandbox",
                "the network cannot be cut off from decoders here, neither by a namespace nor by"
                " a filter; sandbox.open_network: true goes on without",
            )
        self._fetches = ThreadPoolExecutor(settings.fetch.parallel, "media-fetch")
        self._looks = ThreadPoolExecutor(settings.sandbox.processes, "media-look")

    def _load_models(self) -> None:
        part = self._settings.pixels
        for path in part.models:
            folder = path if path.is_absolute() else ROOT / path
            if not folder.is_dir():
                message = f"there is no pixel model {folder.name}"
                self._missing.append(
                    Failure(kind="missing", step="pixels", message=message,
                            limit="pixels.models")
                )  # fmt: skip
                continue
            self.scorers.append(load(folder, threads=part.threads, provider=part.provider))

    @property
    def covered(self) -> tuple[str, ...]:
        """Pixel categories that a model looks at."""
        there = {category for scorer in self.scorers for category in scorer.categories}
        return tuple(category for category in PIXEL_CATEGORIES if category in there)

    @property
    def sandbox(self) -> Sandbox:
        """Where files are decoded."""
        return self._sandbox

    def analyse(self, uploads: Sequence[Upload]) -> list[MediaEvidence]:
        """Evidence of a batch, one record an upload, in order. Never raises for an upload.

        Args:
            uploads: of pictures and videos.
        """
        # While one file is decoded the next ones are fetched.
        fetches = [self._fetches.submit(self._fetch, upload) for upload in uploads]
        looks = [
            self._looks.submit(self._look, upload, fetch)
            for upload, fetch in zip(uploads, fetches, strict=True)
        ]
        looked = [look.result() for look in looks]
        scores = self._score(looked)
        return [
            self._evidence(upload, one, found)
            for upload, one, found in zip(uploads, looked, scores, strict=True)
        ]

    def _fetch(self, upload: Upload) -> tuple[Fetched | Failure, float]:
        """What was fetched or why not, and how long that took, ms."""
        began = time.perf_counter()
        got: Fetched | Failure
        try:
            got = self._fetcher.fetch(upload.media_uri or "", video=upload.content_type == "video")
        except MediaError as error:
            got = Failure(kind=error.kind, step="fetch", message=error.message, limit=error.limit)
        except Exception as error:  # noqa: BLE001 - an upload never stops the job
            got = _internal("fetch", error)
        return got, (time.perf_counter() - began) * 1000

    def _look(self, upload: Upload, fetch: Future[tuple[Fetched | Failure, float]]) -> _Looked:
        began = time.monotonic()
        got, fetch_ms = fetch.result()
        stage_ms = {"fetch": round(fetch_ms, 3)}
        if isinstance(got, Failure):
            return _Looked(Hashes(), MediaFacts(), Gathered(b""), [got], stage_ms, began)
        try:
            return self._looked(upload, got, stage_ms, began)
        except Exception as error:  # noqa: BLE001 - an upload never stops the job
            facts = MediaFacts(bytes=got.size)
            failed = [_internal("decode", error)]
            return _Looked(got.hashes, facts, Gathered(b""), failed, stage_ms, began)
        finally:
            got.close()

    def _looked(
        self, upload: Upload, got: Fetched, stage_ms: dict[str, float], began: float
    ) -> _Looked:
        notes: list[Note] = ["extension_differs"] if got.extension_differs else []
        facts = MediaFacts(bytes=got.size, notes=notes)
        found = got.format
        if found is None:
            failure = Failure(
                kind="unsupported_type", step="identify",
                message="the first bytes are of no format that is decoded",
            )  # fmt: skip
            return _Looked(got.hashes, facts, Gathered(b""), [failure], stage_ms, began)
        if (found.kind == "image") != (upload.content_type == "image"):
            notes.append("extension_differs")
        outcome = self._sandbox.run(
            got.file.fileno(), msgspec.msgpack.encode(found), self._limits(found)
        )
        gathered = Gathered(outcome.output)
        errors = gathered.failures
        if outcome.failure is not None:
            errors = [*errors, _killed(outcome, gathered, found)]
        told = gathered.facts
        facts = msgspec.structs.replace(
            told,
            bytes=got.size,
            format=found.name,
            notes=list(dict.fromkeys([*notes, *told.notes, *gathered.notes])),
        )
        hashes = msgspec.structs.replace(
            gathered.hashes or Hashes(), sha256=got.hashes.sha256, md5=got.hashes.md5
        )
        return _Looked(hashes, facts, gathered, errors, {**stage_ms, **gathered.stage_ms}, began)

    def _limits(self, found: Format) -> TaskLimits:
        part = self._settings.sandbox
        still = found.kind == "image"
        return TaskLimits(
            part.image_wall_s if still else part.video_wall_s,
            part.image_cpu_s if still else part.video_cpu_s,
            part.memory_mb,
            part.output_mb,
        )

    def _score(self, looked: Sequence[_Looked]) -> list[dict[str, PixelScore]]:
        """Highest scores of each upload, all frames of the batch in one run of each model."""
        found: list[dict[str, PixelScore]] = [{} for _ in looked]
        for scorer in self.scorers:
            cuts = [_cut_for(scorer, one.gathered) for one in looked]
            there = [(place, cut) for place, cut in enumerate(cuts) if cut is not None]
            if not there:
                continue
            began = time.perf_counter()
            try:
                frames = [_squares(cut) for _, cut in there]
                rows = scorer.score(np.concatenate(frames), self._settings.pixels.batch)
            except Exception as error:  # noqa: BLE001 - a batch never stops the job
                for place, _ in there:
                    looked[place].errors.append(_internal("pixels", error))
                continue
            each = (time.perf_counter() - began) * 1000 / len(rows)
            first = 0
            for (place, cut), squares in zip(there, frames, strict=True):
                own = rows[first : first + len(squares)]
                first += len(squares)
                stage_ms = looked[place].stage_ms
                stage_ms["score"] = round(stage_ms.get("score", 0.0) + each * len(own), 3)
                for category, (score, at) in highest(own, scorer.categories).items():
                    before = found[place].get(category)
                    if before is None or score > before.score:
                        found[place][category] = PixelScore(
                            score=round(score, 6), model=scorer.name, seconds=cut.seconds[at]
                        )
        return found

    def _evidence(
        self, upload: Upload, one: _Looked, scores: dict[str, PixelScore]
    ) -> MediaEvidence:
        errors = list(one.errors)
        # Where there were no pixels, that no model would have looked at them goes without saying.
        if one.gathered.hashes is not None:
            errors += self._missing
        versions = dict(self.ready.versions)
        versions |= {scorer.name: scorer.version for scorer in self.scorers}
        versions["sandbox_network"] = self.ready.network or "open"
        versions["sandbox_files"] = self.ready.files or "open"
        return MediaEvidence(
            evidence_id=evidence_id(upload.content_id, upload.revision),
            content_id=upload.content_id,
            user_id=upload.user_id,
            revision=upload.revision,
            content_type=upload.content_type,
            facts=one.facts,
            hashes=one.hashes,
            texts=shortened(one.gathered.texts, self._settings.ocr.max_chars)[0],
            scores={name: scores[name] for name in PIXEL_CATEGORIES if name in scores},
            errors=errors,
            stage_ms=one.stage_ms,
            versions=versions,
            made_at=dt.datetime.now(dt.UTC),
        )

    def close(self) -> None:
        """End all processes and threads."""
        self._fetches.shutdown(cancel_futures=True)
        self._looks.shutdown(cancel_futures=True)
        self._sandbox.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _killed(outcome: Outcome, gathered: Gathered, found: Format) -> Failure:
    """What ended the process, at the step that it was at."""
    first: Step = "decode" if found.kind == "image" else "probe"
    assert outcome.failure is not None  # noqa: S101 - for the type checker; its caller asked
    return Failure(
        kind=outcome.failure,
        step=gathered.at or first,
        message=outcome.message,
        limit=outcome.limit,
    )


def _cut_for(scorer: PixelScorer, gathered: Gathered) -> CutSquares | None:
    for cut in gathered.squares:
        size = cut.geometry.crop**2 * 3 * len(cut.seconds)
        # What comes out of the sandbox is checked: one upload must not spoil a batch.
        if cut.geometry == scorer.geometry and size and len(cut.pixels) == size:
            return cut
    return None


def _squares(cut: CutSquares) -> Squares:
    side = cut.geometry.crop
    return np.frombuffer(cut.pixels, np.uint8).reshape(len(cut.seconds), side, side, 3)


def _internal(step: Step, error: Exception) -> Failure:
    return Failure(kind="internal", step=step, message=f"a fault of Sluice: {type(error).__name__}")
