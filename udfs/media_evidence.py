"""What evidence says, in the terms of the stages that use it."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.categories import PIXEL_CATEGORIES
from schemas.evidence import Failure, MediaEvidence
from udfs.image_hashes import VARIANTS, PictureHashes
from udfs.media_query import Frame, MediaQuery


def bank_query(evidence: MediaEvidence) -> MediaQuery:
    """What media banks are asked for. What was not hashed is not asked for.

    Pictures are asked for in all their mirrored and rotated variants.
    """
    hashes = evidence.hashes
    picture = None
    if len(hashes.pdq) == len(hashes.phash64) == len(hashes.phash256) == VARIANTS:
        picture = PictureHashes(
            pdq=_all(hashes.pdq),
            quality=hashes.quality,
            phash64=_all(hashes.phash64),
            phash256=_all(hashes.phash256),
        )
    return MediaQuery(
        cohort=evidence.content_id,
        sha256=bytes.fromhex(hashes.sha256 or ""),
        md5=bytes.fromhex(hashes.md5 or ""),
        picture=picture,
        frames=tuple(
            Frame(bytes.fromhex(frame.pdq), frame.quality, frame.seconds) for frame in hashes.frames
        ),
    )


def not_looked_for(evidence: MediaEvidence) -> tuple[str, ...]:
    """Pixel categories that nobody looked for, for whatever reason: their absence says nothing."""
    return tuple(name for name in PIXEL_CATEGORIES if name not in evidence.scores)


def unseen(evidence: MediaEvidence) -> Sequence[Failure]:
    """Why nobody knows what the media show; empty where something of them was seen or heard.

    A failure of one view (text, codes, a model) is not among them: the others are there.
    """
    hashes = evidence.hashes
    heard = any(text.source == "transcript" for text in evidence.texts)
    return () if hashes.pdq or hashes.frames or heard else evidence.errors


def _all(hashes: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(map(bytes.fromhex, hashes))
