"""What is looked up in media banks, and how near an entry is to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from schemas.media_banks import HashKind, MediaBankSpec
from udfs.image_hashes import PictureHashes
from udfs.live_index import Hit, LiveIndex

FRAME_HITS: Final = 64
"""Rows that are found for one frame, or for one exact hash."""


class Frame(NamedTuple):
    """One frame of a video that is looked up."""

    pdq: bytes
    """32 bytes."""
    quality: int
    seconds: float = 0.0
    """Where it stands in the video."""


class MediaQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about one upload's media."""

    cohort: str
    """Decides on banks with an enabled ratio: the content id, so that it is always the same."""
    sha256: bytes = b""
    """Of the file's bytes; 32 bytes, or none."""
    md5: bytes = b""
    """16 bytes, or none."""
    picture: PictureHashes | None = None
    """All variants are asked for."""
    frames: tuple[Frame, ...] = ()
    """Of a video. Its frames are looked up in banks of pictures, too."""


class Near(NamedTuple):
    """An entry that is near, and how sure that is by its distance alone."""

    hit: Hit
    confidence: float


def near_pictures(spec: MediaBankSpec, live: LiveIndex, query: MediaQuery) -> list[Near]:
    """Entries of a bank of pictures or files that any of the hashes is near to."""
    hashes = _asked(spec.kind, spec.min_quality, query)
    if not hashes:
        return []
    best: dict[str, Hit] = {}
    for hits in live.search(b"".join(hashes), distance=spec.reach):
        for hit in hits:
            known = best.get(hit.name)
            if known is None or hit.distance < known.distance:
                best[hit.name] = hit
    return [Near(hit, 1.0 - hit.distance / spec.bits) for hit in best.values()]


def _asked(kind: HashKind, min_quality: int, query: MediaQuery) -> Sequence[bytes]:
    """What a bank of that kind is asked for, each hash once."""
    picture = query.picture
    hashes: list[bytes] = []
    if kind == "sha256":
        hashes = [query.sha256] if query.sha256 else []
    elif kind == "md5":
        hashes = [query.md5] if query.md5 else []
    elif kind == "pdq":
        if picture is not None and picture.quality >= min_quality:
            hashes.extend(picture.pdq)
        hashes.extend(frame.pdq for frame in query.frames if frame.quality >= min_quality)
    elif picture is not None:
        hashes = list(picture.phash64 if kind == "phash64" else picture.phash256)
    return list(dict.fromkeys(hashes))


def near_videos(spec: MediaBankSpec, live: LiveIndex, query: MediaQuery) -> list[Near]:
    """Entries of which enough frames are seen: the share of the query's frames and of theirs."""
    frames = [frame.pdq for frame in query.frames if frame.quality >= spec.min_quality]
    if not frames:
        return []
    distinct = list(dict.fromkeys(frames))
    found = live.search(b"".join(distinct), distance=spec.reach, limit=FRAME_HITS)
    by_frame = dict(zip(distinct, found, strict=True))
    best: dict[str, list[Hit]] = {}
    rows: dict[str, set[int]] = {}
    for frame in frames:
        here: dict[str, Hit] = {}
        for hit in by_frame[frame]:
            rows.setdefault(hit.name, set()).add(hit.row)
            here.setdefault(hit.name, hit)
        for name, hit in here.items():
            best.setdefault(name, []).append(hit)
    near = []
    for name, hits in best.items():
        if len(hits) < spec.query_share * len(frames):
            continue
        if spec.bank_share and len(rows[name]) < spec.bank_share * live.rows_of(name):
            continue
        mean = sum(hit.distance for hit in hits) / len(hits)
        near.append(Near(min(hits), 1.0 - mean / spec.bits))
    return near
