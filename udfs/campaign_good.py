"""What is known to be good: it is no campaign, however many share it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from schemas.campaign import Campaign
from schemas.control import decode_control
from schemas.errors import ConfigError
from udfs.banks import ExactBanks, hash_text
from udfs.campaign_sketch import SketchIndex, sketch_of
from udfs.contracts import BankMatch
from udfs.image_hashes import PictureHashes
from udfs.media_banks import MediaBanks
from udfs.media_query import MediaQuery
from udfs.normalise import normalise

_ANY_QUALITY: Final = 100


class KnownGood:
    """Known-good banks with what was published, and the phrases of a file.

    Args:
        texts: banks as files have them.
        media: likewise.
        phrases: texts that are good together with their nearly equal copies.
        similarity: what is nearly equal to a phrase.
    """

    def __init__(
        self, texts: ExactBanks, media: MediaBanks, phrases: Sequence[str], similarity: float
    ) -> None:
        self._started = texts
        self._texts = texts
        self._media = media
        self._hashes = frozenset(map(hash_text, phrases))
        sketches = [sketch_of(normalise(phrase).text) for phrase in phrases]
        self._phrases = SketchIndex([sketch for sketch in sketches if sketch is not None])
        self._similarity = similarity
        self._messages: dict[str, str] = {}

    def put(self, key: str, value: bytes | None) -> None:
        """Lay a control message about a bank over the files, or take it back.

        A message that is wrong changes nothing: the moderation job refuses it as well, and says so.
        """
        before = self._messages.get(key)
        if value:
            try:
                self._messages[key] = decode_control(key, value).text
            except ConfigError:
                return
        else:
            self._messages.pop(key, None)
        try:
            self._lay(key.partition("/")[0])
        except ConfigError:
            if before is None:
                self._messages.pop(key, None)
            else:
                self._messages[key] = before

    def _lay(self, kind: str) -> None:
        mine = {key: text for key, text in self._messages.items() if key.startswith(f"{kind}/")}
        if kind == "media_bank":
            self._media.put(mine)
            return
        texts = self._started
        for key in sorted(mine):
            texts = texts.with_delta(mine[key], key)
        self._texts = texts

    def knows(self, campaign: Campaign) -> bool:
        """Whether the content that a campaign copies is known to be good."""
        if campaign.kind == "picture":
            return _good(self._media.match(_query(campaign.pdq), 0.0))
        first = campaign.hashes[0]
        if first in self._hashes or _good(self._texts.match(first)):
            return True
        sketch = bytes.fromhex(campaign.sketch)
        if not sketch:
            return False
        near = len(self._phrases) and self._phrases.near(sketch, self._similarity)
        return bool(near or self._texts.good_near(sketch))


def _good(matches: Sequence[BankMatch]) -> bool:
    return any(match.polarity == "good" for match in matches)


def _query(pdq: str) -> MediaQuery:
    raw = bytes.fromhex(pdq)
    picture = PictureHashes(pdq=(raw,), quality=_ANY_QUALITY, phash64=(), phash256=())
    return MediaQuery(cohort=pdq, picture=picture)
