"""What a file is by its first bytes: the name and the declared type are the uploader's word."""

from __future__ import annotations

import posixpath
import struct
import urllib.parse
from typing import Final, Literal, NamedTuple

from schemas.evidence import Note

HEAD: Final = 512
"""Bytes from a file's start that `identify` looks at."""
MediaKind = Literal["image", "video", "audio"]


class Format(NamedTuple):
    """A format that is decoded."""

    name: str
    kind: MediaKind
    decoder: str
    """Pillow's format, or ffmpeg's demuxer: no other may try."""
    extensions: tuple[str, ...]


def _format(name: str, kind: MediaKind, decoder: str, *extensions: str) -> Format:
    return Format(name, kind, decoder, (name, *extensions))


_JPEG: Final = _format("jpeg", "image", "JPEG", "jpg", "jpe", "jfif", "mpo")
_PNG: Final = _format("png", "image", "PNG", "apng")
_GIF: Final = _format("gif", "image", "GIF")
_WEBP: Final = _format("webp", "image", "WEBP")
_BMP: Final = _format("bmp", "image", "BMP", "dib")
_TIFF: Final = _format("tiff", "image", "TIFF", "tif")
_PPM: Final = _format("ppm", "image", "PPM", "pgm", "pbm", "pnm")
_AVIF: Final = _format("avif", "image", "AVIF")
_MP4: Final = _format("mp4", "video", "mov", "mov", "m4v", "3gp", "m4a", "qt")
_MATROSKA: Final = _format("matroska", "video", "matroska", "mkv", "webm", "mka")
_AVI: Final = _format("avi", "video", "avi")
_FLV: Final = _format("flv", "video", "flv")
_MPEG: Final = _format("mpeg", "video", "mpeg", "mpg", "vob")
_MPEGTS: Final = _format("mpegts", "video", "mpegts", "ts", "m2ts")
_WAV: Final = _format("wav", "audio", "wav", "wave")
_OGG: Final = _format("ogg", "video", "ogg", "ogv", "oga", "opus")
_MP3: Final = _format("mp3", "audio", "mp3")
_FLAC: Final = _format("flac", "audio", "flac")

_MAGIC: Final[tuple[tuple[bytes, Format], ...]] = (
    (b"\xff\xd8\xff", _JPEG),
    (b"\x89PNG\r\n\x1a\n", _PNG),
    (b"GIF87a", _GIF),
    (b"GIF89a", _GIF),
    (b"BM", _BMP),
    (b"II*\x00", _TIFF),
    (b"MM\x00*", _TIFF),
    (b"\x1aE\xdf\xa3", _MATROSKA),
    (b"FLV\x01", _FLV),
    (b"\x00\x00\x01\xba", _MPEG),
    (b"\x00\x00\x01\xb3", _MPEG),
    (b"OggS", _OGG),
    (b"ID3", _MP3),
    (b"\xff\xfb", _MP3),
    (b"\xff\xf3", _MP3),
    (b"fLaC", _FLAC),
)
_RIFF: Final = {b"WEBP": _WEBP, b"AVI ": _AVI, b"WAVE": _WAV}
_OTHER_IMAGES: Final = (b"heic", b"heix", b"mif1", b"msf1", b"heim", b"heis")
_NAMES: Final = frozenset(
    extension
    for each in (*(entry for _, entry in _MAGIC), *_RIFF.values(), _PPM, _AVIF, _MP4, _MPEGTS)
    for extension in each.extensions
)


def identify(head: bytes) -> Format | None:
    """Format by the first `HEAD` bytes; None where it is none that is decoded."""
    for magic, found in _MAGIC:
        if head.startswith(magic):
            return found
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in {b"avif", b"avis"}:
            return _AVIF
        return None if brand in _OTHER_IMAGES else _MP4
    if head[4:8] in {b"moov", b"mdat", b"wide", b"free"}:
        return _MP4
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return _PPM
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return _MPEGTS
    return None


def extension_differs(found: Format, address: str, declared: str = "") -> bool:
    """Whether the address or the declared type names another format that is known."""
    path = urllib.parse.urlsplit(address).path
    extension = posixpath.splitext(path)[1].removeprefix(".").lower()
    if extension in _NAMES and extension not in found.extensions:
        return True
    kind, _, subtype = declared.split(";", maxsplit=1)[0].strip().lower().partition("/")
    if kind not in {"image", "video", "audio"}:
        # A page or a program that is a picture as well; plain bytes say nothing.
        return kind in {"text", "application"} and subtype != "octet-stream"
    return subtype in _NAMES and subtype not in found.extensions


def remarks(found: Format, data: memoryview) -> list[Note]:
    """What the bytes of a picture say without being decoded."""
    end = _end(found, data)
    if end is None or end >= len(data):
        return []
    # Cameras pad with zeros; anything else is a second file behind the first.
    return ["trailing_data"] if any(data[end : end + 4096]) else []


def _end(found: Format, data: memoryview) -> int | None:
    """Where the picture's own data end; None where that is not known."""
    if found.name == "png":
        place = 8
        while place + 12 <= len(data):
            length, kind = struct.unpack_from(">I4s", data, place)
            place += 12 + int(length)
            if kind == b"IEND":
                return place
        return None
    if found.name == "webp" and len(data) >= 8:
        return 8 + int(struct.unpack_from("<I", data, 4)[0])
    if found.name == "bmp" and len(data) >= 6:
        size = int(struct.unpack_from("<I", data, 2)[0])
        return size or None
    if found.name in {"jpeg", "gif"}:
        # What follows the last end marker; a second file may hold one, so this can miss some.
        marker = b"\xff\xd9" if found.name == "jpeg" else b"\x00;"
        at = bytes(data).rfind(marker)
        return at + 2 if at >= 0 else None
    return None
