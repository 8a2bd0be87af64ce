"""Speech to text: the sound track as 16 kHz mono, cut at pauses, through pocketsphinx."""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import Any, Final, NamedTuple, Protocol

from schemas.evidence import FoundText, TextPart
from schemas.media_job import SpeechPart
from udfs.media_ffmpeg import Source, check_end, decoded
from udfs.media_image import MediaError

RATE: Final = 16_000
"""Samples a second, 16 bits each."""
_FRAMES: Final = 100
"""Of the recogniser, a second."""
_LEAST: Final = RATE // 5
"""Bytes of sound that may hold a word: a tenth of a second."""
_NO_WORDS: Final = ("<", "[", "+")


class Word(NamedTuple):
    """One word that was heard."""

    text: str
    seconds: float
    """When it begins."""
    confidence: float


class Transcriber(Protocol):
    """A speech engine."""

    name: str
    version: str

    def transcribe(self, sound: bytes) -> list[Word]:
        """Words of a sound: signed 16 bits, little-endian, mono, `RATE` samples a second."""
        ...


class SphinxTranscriber:
    """Pocketsphinx with the US English models of its wheel."""

    name = "pocketsphinx"

    def __init__(self) -> None:
        self._sphinx: Any = importlib.import_module("pocketsphinx")
        self.version = importlib.metadata.version("pocketsphinx")
        self._sphinx.set_loglevel("FATAL")
        self._decoder = self._sphinx.Decoder(samprate=float(RATE))

    def transcribe(self, sound: bytes) -> list[Word]:
        words: list[Word] = []
        for start, speech in self._stretches(sound):
            self._decoder.start_utt()
            self._decoder.process_raw(speech, full_utt=True)
            self._decoder.end_utt()
            for segment in self._decoder.seg() or ():
                if segment.word.startswith(_NO_WORDS):
                    continue
                # Other ways to say a word are numbered: "the(2)".
                text = segment.word.partition("(")[0]
                at = round(start + segment.start_frame / _FRAMES, 2)
                sure = min(1.0, max(0.0, self._decoder.get_logmath().exp(segment.prob)))
                words.append(Word(text, at, sure))
        return words

    def _stretches(self, sound: bytes) -> list[tuple[float, bytes]]:
        """Stretches in which somebody speaks, and when each begins, seconds."""
        detector = self._sphinx.Endpointer(sample_rate=RATE)
        size = detector.frame_bytes
        found: list[tuple[float, bytes]] = []
        speech = b""
        for at in range(0, len(sound), size):
            block = sound[at : at + size]
            last = at + size >= len(sound)
            heard = detector.end_stream(block) if last else detector.process(block)
            speech += heard or b""
            if speech and (last or not detector.in_speech):
                if len(speech) >= _LEAST:
                    found.append((max(0.0, detector.speech_start), speech))
                speech = b""
        return found


def make_transcriber(part: SpeechPart) -> Transcriber | None:
    """The engine that the settings name; None where they name none.

    Raises:
        Exception: of whatever kind, where it is not installed or does not load.
    """
    return SphinxTranscriber() if part.engine == "pocketsphinx" else None


def sound_of(source: Source, max_s: float) -> bytes:
    """The first sound track, up to `max_s`.

    Raises:
        MediaError: it cannot be decoded.
    """
    ended: list[int] = []
    most = int(max_s * RATE) * 2
    with decoded(
        source,
        ["-t", f"{max_s:g}"],
        ["-map", "0:a:0", "-vn", "-sn", "-dn", "-ac", "1", "-ar", str(RATE), "-f", "s16le",
         "pipe:1"],
        ended,
    ) as pipe:  # fmt: skip
        sound = pipe.read(most)
    if not sound:
        check_end(ended[0], "no sound can be decoded")
        raise MediaError("malformed", "the sound track is empty")
    return sound[: len(sound) // 2 * 2]


def transcript(engine: Transcriber, sound: bytes) -> FoundText | None:
    """What is said, as one text of words; None where nothing is."""
    parts: list[TextPart] = []
    texts: list[str] = []
    place = 0
    for word in engine.transcribe(sound):
        parts.append(
            TextPart(start=place, end=place + len(word.text), seconds=word.seconds,
                     confidence=round(word.confidence, 4))
        )  # fmt: skip
        texts.append(word.text)
        place += len(word.text) + 1
    if not texts:
        return None
    return FoundText(source="transcript", engine=engine.name, text=" ".join(texts), parts=parts)
