"""Speech to text: the sound track as 16 kHz mono, cut at pauses, through a speech engine.

Pocketsphinx has US English models in its wheel. sherpa-onnx has none: the user's own is named in
`speech.model`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from schemas.evidence import FoundText, TextPart
from schemas.media_job import SpeechModel, SpeechPart
from schemas.settings import ROOT
from udfs.media_ffmpeg import Source, check_end, decoded
from udfs.media_image import MediaError

RATE: Final = 16_000
"""Samples a second, 16 bits each."""
_FRAMES: Final = 100
"""Of the recogniser, a second."""
_LEAST: Final = RATE // 5
"""Bytes of sound that may hold a word: a tenth of a second."""
_NO_WORDS: Final = ("<", "[", "+")
_LONGEST_S: Final = 25
"""Of one stretch for sherpa-onnx: whisper hears thirty seconds and no more."""
_WORD: Final = ("▁", " ")
"""What a token begins with that begins a word."""


class _Kind(NamedTuple):
    """How sherpa-onnx loads one kind of model."""

    loader: str
    """Of its `OfflineRecognizer`."""
    files: dict[str, str]
    """Argument to the part of the file's name that tells it."""
    model_type: str = ""
    speaks: bool = False
    """Whether it is told the language."""


_THREE: Final = {"encoder": "encoder", "decoder": "decoder", "joiner": "joiner"}
_KINDS: Final = {
    "transducer": _Kind("from_transducer", _THREE),
    "nemo_transducer": _Kind("from_transducer", _THREE, "nemo_transducer"),
    "paraformer": _Kind("from_paraformer", {"paraformer": "model"}),
    "sense_voice": _Kind("from_sense_voice", {"model": "model"}, speaks=True),
    "nemo_ctc": _Kind("from_nemo_ctc", {"model": "model"}),
    "zipformer_ctc": _Kind("from_zipformer_ctc", {"model": "model"}),
    "whisper": _Kind("from_whisper", {"encoder": "encoder", "decoder": "decoder"}, speaks=True),
}


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
        for start, speech in stretches(sound):
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


class SherpaTranscriber:
    """sherpa-onnx with a model of the user's. It says nothing about how sure it is.

    Args:
        model: which.

    Raises:
        FileNotFoundError: the model's folder does not hold what its kind consists of.
        ImportError: sherpa-onnx is not installed.
    """

    name = "sherpa-onnx"

    def __init__(self, model: SpeechModel) -> None:
        folder = model.folder if model.folder.is_absolute() else ROOT / model.folder
        kind = _KINDS[model.kind]
        # Looked for first: where a file is missing the library ends its process.
        files = {name: str(model_file(folder, part)) for name, part in kind.files.items()}
        files["tokens"] = str(tokens_file(folder))
        sherpa = importlib.import_module("sherpa_onnx")
        self.version = importlib.metadata.version("sherpa-onnx")
        make = getattr(sherpa.OfflineRecognizer, kind.loader)
        more = {"model_type": kind.model_type} if kind.model_type else {}
        if kind.speaks:
            more["language"] = model.language
        self._recogniser: Any = make(**files, **more, num_threads=1)

    def transcribe(self, sound: bytes) -> list[Word]:
        words: list[Word] = []
        for start, speech in stretches(sound, _LONGEST_S):
            stream = self._recogniser.create_stream()
            samples = np.frombuffer(speech, "<i2").astype(np.float32) / 32768
            stream.accept_waveform(RATE, samples)
            self._recogniser.decode_stream(stream)
            words += spoken(stream.result, start)
        return words


def spoken(result: Any, start: float) -> list[Word]:
    """Words of one stretch, each with the time of its first token where the model gives times.

    Args:
        result: of sherpa-onnx: `text`, `tokens`, `timestamps` (seconds, one a token, or none).
        start: of the stretch, seconds.
    """
    texts = result.text.split()
    times = list(result.timestamps)
    begins = [
        time
        for token, time in zip(result.tokens, times, strict=False)
        if token.startswith(_WORD) and token.strip("▁ ")
    ]
    if len(begins) != len(texts):
        # Tokens of some models begin no words, those of others have no times.
        begins = [0.0] * len(texts)
    return [
        Word(text, round(start + begin, 2), 1.0) for text, begin in zip(texts, begins, strict=True)
    ]


def model_file(folder: Path, part: str) -> Path:
    """The ONNX file of one part of a model: of a pair that INT8 was made of, the smaller.

    Raises:
        FileNotFoundError: there is none, or there are several.
    """
    found = sorted(path for path in folder.glob("*.onnx") if part in path.name)
    small = [path for path in found if ".int8." in path.name]
    chosen = small or found
    if len(chosen) != 1:
        there = ", ".join(path.name for path in found) or "none"
        raise FileNotFoundError(f"{folder} must hold one *{part}*.onnx; there are: {there}")
    return chosen[0]


def tokens_file(folder: Path) -> Path:
    """`tokens.txt`, or the one file of that name with the model's before it.

    Raises:
        FileNotFoundError: there is none, or there are several.
    """
    found = sorted(folder.glob("*tokens.txt"))
    if len(found) != 1:
        raise FileNotFoundError(f"{folder} must hold one tokens.txt, and holds {len(found)}")
    return found[0]


def stretches(sound: bytes, most_s: float = float("inf")) -> list[tuple[float, bytes]]:
    """Stretches in which somebody speaks, and when each begins, seconds.

    Args:
        sound: signed 16 bits, little-endian, mono, `RATE` samples a second.
        most_s: a longer stretch is cut.
    """
    detector = importlib.import_module("pocketsphinx").Endpointer(sample_rate=RATE)
    size = detector.frame_bytes
    found: list[tuple[float, bytes]] = []
    speech = b""
    start = 0.0
    for at in range(0, len(sound), size):
        block = sound[at : at + size]
        last = at + size >= len(sound)
        heard = detector.end_stream(block) if last else detector.process(block)
        if heard and not speech:
            start = max(0.0, detector.speech_start)
        speech += heard or b""
        full = len(speech) >= most_s * RATE * 2
        if speech and (last or full or not detector.in_speech):
            if len(speech) >= _LEAST:
                found.append((start, speech))
            start += len(speech) / RATE / 2
            speech = b""
    return found


def make_transcriber(part: SpeechPart) -> Transcriber | None:
    """The engine that the settings name; None where they name none.

    Raises:
        Exception: of whatever kind, where it is not installed or does not load.
    """
    if part.engine == "sherpa-onnx" and part.model is not None:
        return SherpaTranscriber(part.model)
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
