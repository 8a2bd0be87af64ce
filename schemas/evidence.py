"""Evidence: what was found out about an upload elsewhere, published to `moderation.evidence`.

The media job fetches a picture or a video, decodes it where it can do no harm, and writes one
record: hashes, texts, scores, and what could not be had and why. Records are keyed by user id, so
that evidence reaches the state of its upload. A record says nothing about what should be done:
that is the policy's, in the moderation job.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from schemas.categories import ContentType
from schemas.errors import InvalidUploadError

Score = Annotated[float, Meta(ge=0, le=1)]
Hash64 = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}$")]
Hash128 = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
Hash256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
Quality = Annotated[int, Meta(ge=0, le=100)]
Seconds = Annotated[float, Meta(ge=0)]
Place = Annotated[int, Meta(ge=0)]

TextSource = Literal["ocr", "qr", "transcript"]
Step = Literal[
    "fetch",
    "identify",
    "decode",
    "hash",
    "qr",
    "ocr",
    "pixels",
    "probe",
    "frames",
    "audio",
    "transcript",
]
"""In the order in which media go through them."""

FailureKind = Literal[
    "refused",
    "not_found",
    "unreachable",
    "timeout",
    "too_large",
    "empty",
    "unsupported_type",
    "malformed",
    "pixel_limit",
    "memory",
    "cpu_time",
    "wall_time",
    "output_limit",
    "crashed",
    "missing",
    "internal",
]
"""Why a step gave nothing.

refused: the address, path, bucket or scheme is not allowed. unreachable, not_found, timeout: of
the place that holds the media. too_large, pixel_limit: more bytes or pixels than the settings
allow. memory, cpu_time, wall_time, output_limit: a limit of the process that decoded. crashed: a
native fault in a decoder. missing: no model or tool for the step is installed. internal: a fault
of Sluice itself.
"""

Note = Literal[
    "truncated",
    "animated",
    "frames_left_out",
    "turned",
    "transparent",
    "extension_differs",
    "trailing_data",
    "cut_short",
    "more_text",
]
"""What is remarkable about media that were read all the same.

truncated: the end was missing, the rest was read. frames_left_out: an animation had more frames
than are looked at. turned: EXIF orientation was applied. extension_differs: the name or the
declared type says another format than the bytes. trailing_data: bytes follow the picture's end (a
polyglot). cut_short: only the beginning of a long video was looked at. more_text: text was found
beyond the limit.
"""


class FrameHash(msgspec.Struct, frozen=True, kw_only=True):
    """PDQ of one frame of a video or an animation."""

    pdq: Hash256
    quality: Quality
    """Below 50 a frame has too little structure to tell it by."""
    seconds: Seconds
    why: Literal["even", "cut"] = "even"
    """`cut`: the first frame of a new scene."""


class Hashes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Hashes in lower-case hex; of a picture that cannot be decoded only those of the file.

    `pdq`, `phash64` and `phash256` hold all eight mirrored and rotated variants, as it came first.
    """

    sha256: Hash256 | None = None
    """Of the file's bytes, as `md5`."""
    md5: Hash128 | None = None
    pdq: Annotated[list[Hash256], Meta(max_length=8)] = []
    quality: Quality = 0
    """Of `pdq`."""
    phash64: Annotated[list[Hash64], Meta(max_length=8)] = []
    phash256: Annotated[list[Hash256], Meta(max_length=8)] = []
    frames: list[FrameHash] = []


class TextPart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where one line or word of a text was seen or heard."""

    start: Place
    """Half-open range of code points in the text."""
    end: Place
    box: Annotated[list[float], Meta(min_length=8, max_length=8)] | None = None
    """Four corners x, y in pixels of the upright picture, clockwise from the text's top left."""
    seconds: Seconds | None = None
    """Of a word that was heard: when it begins."""
    confidence: Score = 1.0


class FoundText(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A text in a picture, a frame or a sound track."""

    source: TextSource
    engine: str
    """What read it, as `rapidocr`."""
    text: str
    seconds: Seconds | None = None
    """Of a frame; None for a still picture and for a whole transcript."""
    parts: list[TextPart] = []


class PixelScore(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Highest probability of a category over all frames, and where it was."""

    score: Score
    model: str
    """Name of the model; its version is in `versions`."""
    seconds: Seconds | None = None
    """Of the frame; None for a still picture."""


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A step that gave nothing, or less than it should."""

    kind: FailureKind
    step: Step
    message: str
    """One sentence for people; quotes no content."""
    limit: str = ""
    """The setting that was hit and its value, as `limits.max_pixels = 50000000`."""
    seconds: Seconds | None = None
    """Of the frame, where only that one failed."""


class MediaFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the media are, as far as they could be read."""

    bytes: Place = 0
    format: str = ""
    """By its first bytes, as `jpeg` or `mp4`; empty where unknown."""
    width: Place = 0
    """Pixels, upright."""
    height: Place = 0
    frames: Place = 0
    """Frames that were looked at."""
    seconds: Seconds | None = None
    """Length of a video or sound."""
    notes: list[Note] = []


class MediaEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind",
                    tag="media"):  # fmt: skip
    """What was found in one upload's media.

    `evidence_id` is the same for every redelivery of an upload: a reader keeps the first of each.
    Categories that no model looked at are not in `scores`; nothing may be read into that.
    """

    evidence_id: str
    content_id: Annotated[str, Meta(min_length=1, max_length=256)]
    user_id: Annotated[str, Meta(min_length=1, max_length=256)]
    revision: Place = 0
    """Of the upload."""
    content_type: ContentType
    facts: MediaFacts = MediaFacts()
    hashes: Hashes = Hashes()
    texts: list[FoundText] = []
    scores: dict[str, PixelScore] = {}
    """By pixel category (`schemas.categories.PIXEL_CATEGORIES`)."""
    errors: list[Failure] = []
    """In the order of the steps. Empty: everything that was asked for is here."""
    stage_ms: dict[str, float] = {}
    """Wall time of each step, ms."""
    versions: dict[str, str] = {}
    """Of engines and models that were used, by name."""
    made_at: Annotated[dt.datetime, Meta(tz=True)]


VOLATILE_FIELDS: Final = frozenset({"stage_ms", "made_at"})
"""Fields that may differ between two records of one id, where nothing failed."""

_decoder: Final = msgspec.json.Decoder(MediaEvidence)
_encoder: Final = msgspec.json.Encoder()


def evidence_id(content_id: str, revision: int, kind: str = "media") -> str:
    """Deterministic id of a record: 128 bits of BLAKE2b, hex.

    Args:
        content_id: the upload's.
        revision: the upload's.
        kind: of evidence.
    """
    material = f"{content_id}\x00{revision}\x00{kind}"
    return hashlib.blake2b(material.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def encode_evidence(evidence: MediaEvidence) -> bytes:
    """JSON of one record, without the fields that say nothing."""
    return _encoder.encode(evidence)


def decode_evidence(raw: bytes, *, max_bytes: int = 4_194_304) -> MediaEvidence:
    """Decode and check one record.

    Args:
        raw: the record's value, as read from Kafka.
        max_bytes: longest record accepted, bytes.

    Raises:
        InvalidUploadError: it is no evidence, with one of the kinds of
            `schemas.dead_letter.ErrorKind`.
    """
    if len(raw) > max_bytes:
        raise InvalidUploadError("oversize", f"evidence has {len(raw)} bytes, at most {max_bytes}")
    try:
        evidence = _decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise InvalidUploadError("invalid_field", str(error)) from None
    except UnicodeDecodeError:
        raise InvalidUploadError("encoding", "evidence is not valid UTF-8") from None
    except (msgspec.DecodeError, RecursionError):
        raise InvalidUploadError("not_json", "evidence is not JSON") from None
    for place, found in enumerate(evidence.texts):
        if any(not part.start <= part.end <= len(found.text) for part in found.parts):
            raise InvalidUploadError(
                "invalid_field", "a part points outside its text", field=f"$.texts[{place}].parts"
            )
    return evidence
