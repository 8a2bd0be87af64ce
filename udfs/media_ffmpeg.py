"""The ffmpeg command on a file that nobody vouches for. Started by a limited process only.

The demuxer is the one that the file's first bytes name and the only protocol is the file itself,
so that playlists and reference files reach nothing else. The command inherits all limits.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final, NamedTuple

from schemas.evidence import FailureKind
from udfs.media_image import MediaError

_PROBED: Final = (
    "format=duration:stream=codec_type,codec_name,width,height,avg_frame_rate,duration,nb_frames"
    ":stream_disposition=attached_pic"
)
_LONGEST_PROBE: Final = 1 << 20
_PIPE: Final = 1 << 20
"""Bytes between ffmpeg and its reader: a frame or two, or each waits for the other."""


class Probe(NamedTuple):
    """What a file says it holds. Not to be believed."""

    seconds: float
    """0 where it does not say."""
    video: bool
    audio: bool
    width: int
    height: int
    rate: float
    """Frames a second; 0 where it does not say."""


class Source(NamedTuple):
    """A file for ffmpeg."""

    descriptor: int
    demuxer: str
    max_pixels: int

    def arguments(self) -> list[str]:
        """What stands before and after `-i`."""
        return [
            "-threads", "1", "-protocol_whitelist", "file", "-max_pixels", str(self.max_pixels),
            "-f", self.demuxer, "-i", f"file:/proc/self/fd/{self.descriptor}",
        ]  # fmt: skip


def tools() -> dict[str, str]:
    """Version of ffmpeg, where it and ffprobe are installed.

    Raises:
        FileNotFoundError: one is missing.
    """
    for name in ("ffmpeg", "ffprobe"):
        if shutil.which(name) is None:
            raise FileNotFoundError(f"there is no command {name}")
    said = subprocess.run(
        ["ffmpeg", "-version"],  # noqa: S607 - whichever ffmpeg the system has
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return {"ffmpeg": said.split()[2]}


def probe(source: Source) -> Probe:
    """Ask ffprobe.

    Raises:
        MediaError: it cannot read the file.
    """
    command = [
        "ffprobe", "-v", "quiet", "-of", "json", "-show_entries", _PROBED, *source.arguments(),
    ]  # fmt: skip
    with _running(command, source) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        said = process.stdout.read(_LONGEST_PROBE)
    if process.returncode:
        raise MediaError(*_ended(process.returncode, "cannot be read"))
    try:
        return _probe(json.loads(said))
    except (ValueError, KeyError, TypeError):
        raise MediaError("malformed", "ffprobe's answer cannot be read") from None


def _probe(document: dict[str, Any]) -> Probe:
    streams = document.get("streams", [])
    moving = [
        stream
        for stream in streams
        if stream.get("codec_type") == "video"
        and not stream.get("disposition", {}).get("attached_pic")
    ]
    first = moving[0] if moving else {}
    seconds = _number(document.get("format", {}).get("duration")) or _number(first.get("duration"))
    over, _, under = str(first.get("avg_frame_rate", "0/1")).partition("/")
    return Probe(
        seconds=seconds,
        video=bool(moving),
        audio=any(stream.get("codec_type") == "audio" for stream in streams),
        width=int(first.get("width", 0)),
        height=int(first.get("height", 0)),
        rate=_number(over) / (_number(under) or 1.0),
    )


def _number(text: Any) -> float:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return 0.0
    return value if 0 <= value < 1e9 else 0.0


@contextmanager
def decoded(
    source: Source, arguments: list[str], output: list[str], ended: list[int]
) -> Iterator[IO[bytes]]:
    """Standard output of ffmpeg.

    Args:
        source: the file.
        arguments: that stand before the file, such as a limit in time.
        output: what to make of it.
        ended: gets the exit status.
    """
    command = [
        "ffmpeg", "-v", "quiet", "-nostdin", "-filter_threads", "1",
        *arguments, *source.arguments(), *output,
    ]  # fmt: skip
    with _running(command, source) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        yield process.stdout
    ended.append(process.returncode)


@contextmanager
def _running(command: list[str], source: Source) -> Iterator[subprocess.Popen[bytes]]:
    """A command that has the file; where nobody reads on it is ended."""
    process = subprocess.Popen(  # noqa: S603 - a fixed command; no part comes from an upload
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pipesize=_PIPE,
        pass_fds=[source.descriptor],
    )
    try:
        yield process
    finally:
        if process.stdout is not None:
            process.stdout.close()
        process.wait()


def check_end(status: int, what: str) -> None:
    """Say how ffmpeg failed, if it did.

    Raises:
        MediaError: it was killed, or gave up.
    """
    # Closing its output early ends it by SIGPIPE, and is our doing.
    if status not in {0, -signal.SIGPIPE}:
        raise MediaError(*_ended(status, what))


def _ended(status: int, what: str) -> tuple[FailureKind, str]:
    if status == -signal.SIGXCPU:
        return "cpu_time", "ffmpeg used more processor time than it may"
    if status == -signal.SIGXFSZ:
        return "output_limit", "ffmpeg wrote more than it may"
    if status < 0:
        return "crashed", f"a native fault ended ffmpeg ({signal.Signals(-status).name})"
    return "malformed", f"ffmpeg says that {what}"
