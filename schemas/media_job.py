"""`conf/media.yaml`: what the media job may fetch, decode and look for, and within which limits."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from schemas.policy_parts import Part
from schemas.yaml_source import FaultError, YamlSource

Count = Annotated[int, Field(ge=1)]
Megabytes = Annotated[int, Field(ge=1, le=1_000_000)]
Duration = Annotated[float, Field(gt=0, le=86_400)]
Port = Annotated[int, Field(ge=1, le=65_535)]


def _network(text: str) -> str:
    return str(ipaddress.ip_network(text))


class FetchPart(Part):
    """Where media may come from."""

    image_mb: Megabytes = 32
    """Largest picture that is fetched."""
    video_mb: Megabytes = 256
    """Largest video that is fetched."""
    timeout_s: Duration = 20.0
    """For one upload's media, redirects included."""
    connect_timeout_s: Duration = 3.0
    redirects: Annotated[int, Field(ge=0, le=20)] = 3
    parallel: Annotated[int, Field(ge=1, le=256)] = 8
    """Fetches at once."""
    ports: tuple[Port, ...] = (80, 443)
    """Of http and https addresses."""
    networks: tuple[Annotated[str, AfterValidator(_network)], ...] = ()
    """Private networks (CIDR) that may be fetched from, such as 10.1.0.0/16. Every address that
    is not public is refused otherwise, after each redirect anew."""
    folders: tuple[Path, ...] = ()
    """Folders that file: addresses may point into; none: file: is refused."""
    buckets: tuple[Annotated[str, Field(min_length=1, max_length=255)], ...] = ()
    """Buckets that s3: addresses may name, "*" for any; none: s3: is refused."""
    s3_endpoint: str = ""
    """Of an S3 service other than Amazon's. Credentials come as boto takes them."""
    inline: bool = True
    """Whether data: addresses (small media inside the upload) are taken."""


class SandboxPart(Part):
    """Limits of the process that decodes one upload's media."""

    processes: Annotated[int, Field(ge=1, le=256)] = 2
    """Uploads that are decoded at once."""
    memory_mb: Megabytes = 1024
    """Beyond what the process has when it begins, in address space."""
    output_mb: Megabytes = 64
    """That it may hand back, and write to any file."""
    image_cpu_s: Annotated[int, Field(ge=1, le=86_400)] = 15
    image_wall_s: Duration = 20.0
    video_cpu_s: Annotated[int, Field(ge=1, le=86_400)] = 120
    video_wall_s: Duration = 150.0
    open_network: bool = False
    """Go on where the system lets neither namespaces nor filters cut the network off."""


class PicturePart(Part):
    """How pictures are decoded."""

    max_pixels: Annotated[int, Field(ge=1, le=1_000_000_000)] = 50_000_000
    """Of a picture as its header says it."""
    frames: Annotated[int, Field(ge=1, le=100)] = 10
    """Of an animation that are looked at, evenly spread over what is decoded."""
    decoded_frames: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Of an animation that are decoded at most."""


class VideoPart(Part):
    """How videos are decoded."""

    even_frames: Annotated[int, Field(ge=1, le=1000)] = 10
    """Frames evenly spread over the video."""
    frames: Annotated[int, Field(ge=1, le=1000)] = 20
    """Frames in all; scene cuts take what the even ones leave."""
    cut_threshold: Annotated[float, Field(gt=0, le=255)] = 30.0
    """Mean change of hue, saturation and value (0 to 255) that is a scene cut."""
    scene_frames: Annotated[int, Field(ge=1, le=10_000)] = 15
    """Shortest scene, frames: what changes more often is one."""
    side: Annotated[int, Field(ge=64, le=4096)] = 640
    """Longer side that frames are scaled down to, pixels."""
    max_s: Duration = 600.0
    """A longer video is looked at up to there."""
    rate: Annotated[float, Field(gt=0, le=240)] = 30.0
    """Frames a second that are compared for scene cuts, at most."""


class OcrPart(Part):
    """How text in pictures is read."""

    engine: Literal["rapidocr", "tesseract", "none"] = "rapidocr"
    languages: Annotated[str, Field(pattern=r"^[a-zA-Z_+]{2,100}$")] = "eng"
    """Of tesseract, as `eng+deu`; each must be installed."""
    side: Annotated[int, Field(ge=64, le=8192)] = 1280
    """Longer side that a picture is scaled down to, pixels."""
    detect_side: Annotated[int, Field(ge=64, le=8192)] = 512
    """The same where rapidocr looks for lines, which takes most of the time; lines are read from
    the larger one."""
    frames: Annotated[int, Field(ge=0, le=1000)] = 5
    """Of a video or animation that are read, evenly spread; codes are looked for in all."""
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Lines below are left out."""
    max_chars: Count = 20_000
    """Of one upload."""


class SpeechModel(Part):
    """A model for sherpa-onnx: a folder as its project publishes them."""

    kind: Literal[
        "transducer",
        "nemo_transducer",
        "paraformer",
        "sense_voice",
        "nemo_ctc",
        "zipformer_ctc",
        "whisper",
    ]
    folder: Path
    """From the project's root or absolute; holds tokens.txt and the ONNX files, those in INT8
    first where there are both."""
    language: Annotated[str, Field(pattern=r"^[a-z]{0,8}$")] = ""
    """Of whisper and sense_voice; empty: they tell it themselves."""


class SpeechPart(Part):
    """How speech is transcribed."""

    engine: Literal["pocketsphinx", "sherpa-onnx", "none"] = "pocketsphinx"
    model: SpeechModel | None = None
    """For sherpa-onnx, which has none of its own."""
    max_s: Duration = 60.0
    """A longer sound is transcribed up to there."""

    @model_validator(mode="after")
    def _with_a_model(self) -> Self:
        if (self.engine == "sherpa-onnx") != (self.model is not None):
            raise FaultError("sherpa-onnx needs a model, and no other engine takes one", "model")
        return self


class PixelsPart(Part):
    """Which models look at pixels."""

    models: tuple[Path, ...] = (Path(".build/models/open_nsfw"),)
    """Packages, from the project's root or absolute. Where two score a category the higher
    counts. One that is not there is named in the evidence, and its categories have no score."""
    batch: Annotated[int, Field(ge=1, le=1024)] = 8
    """Pictures that are scored together. On a processor more are slower (they leave its cache);
    on a GPU 32 and more pay."""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Of the processor, for one batch."""
    provider: Literal["cpu", "cuda", "tensorrt"] = "cpu"


class RescanPart(Part):
    """How often media that no store gave are asked for again (`jobs/rescan.py`)."""

    first_s: Duration = 30.0
    """Until a store that did not answer is asked again; then twice as long each time."""
    most_s: Duration = 3600.0
    """The longest of these pauses."""
    batch: Annotated[int, Field(ge=1, le=1024)] = 32
    """Uploads that are looked at together once the store is back."""
    tries: Annotated[int, Field(ge=1, le=1000)] = 8
    """Of one upload, while its store gives others what they ask for."""
    keep_hours: Annotated[float, Field(gt=0, le=8760)] = 44.0
    """After that an upload is given up, whatever its store does; less than `cases.keep_hours` of
    the moderation job, which must still know the upload that the evidence is about."""


class MediaDocument(Part):
    """The whole file."""

    version: Literal[1]
    fetch: FetchPart = FetchPart()
    sandbox: SandboxPart = SandboxPart()
    picture: PicturePart = PicturePart()
    video: VideoPart = VideoPart()
    ocr: OcrPart = OcrPart()
    speech: SpeechPart = SpeechPart()
    pixels: PixelsPart = PixelsPart()
    rescan: RescanPart = RescanPart()


def load_media(path: Path) -> MediaDocument:
    """Read `conf/media.yaml`.

    Raises:
        ConfigError: with the line of the mistake.
    """
    return YamlSource.read(path).validate(MediaDocument)


def media_json_schema() -> dict[str, Any]:
    """JSON schema of `conf/media.yaml`, as kept in `conf/schemas`."""
    return MediaDocument.model_json_schema()
