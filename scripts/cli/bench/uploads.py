"""Uploads for the benchmark: as many as wanted, the same for the same seed, no text twice."""

from __future__ import annotations

import datetime as dt
import functools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import msgspec
import yaml
from pydantic import BaseModel, ConfigDict, Field

from schemas.errors import InvalidUploadError
from schemas.settings import CONF
from schemas.upload import decode_upload
from schemas.yaml_source import YamlSource
from scripts.cli.upload_lines import parse_line, read_lines

LOAD_FILE: Final = CONF / "bench" / "load.yaml"
_SAMPLES: Final = CONF / "samples" / "uploads.jsonl"
_SENTENCES: Final = CONF / "samples" / "sentences.yaml"
_SCATTER: Final = 6_364_137
"""Odd, so multiplying by it permutes the counters of any power of two."""
_COUNTERS: Final = 64**4
_SAMPLE_CHARS: Final = 500
_POOL: Final = 20_000
_ONSETS: Final = ("b", "br", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "st", "t", "v")
_VOWELS: Final = ("a", "e", "i", "o", "u", "ai", "ea", "ou")
_CODAS: Final = ("", "", "l", "m", "n", "r", "s", "t")

Share = Annotated[float, Field(ge=0, le=1)]


class Load(BaseModel):
    """The mix of uploads. See `conf/bench/load.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    users: Annotated[int, Field(gt=0)]
    text_chars: Annotated[int, Field(ge=60)]
    rare_words: Share
    samples: Share
    repeats: Share
    repeat_window: Annotated[int, Field(gt=0)]
    rule_hits: Share
    counting_words: Annotated[tuple[str, ...], Field(min_length=64, max_length=64)]


class Made(NamedTuple):
    """One upload, ready to be published."""

    key: bytes
    """The user's id."""
    value: bytes
    content_id: str


def read_load(path: Path = LOAD_FILE, **changes: Any) -> Load:
    """Read the mix, with some of it changed.

    Raises:
        ConfigError: naming file, line and field.
    """
    load = YamlSource.read(path).validate(Load)
    return Load(**{**load.model_dump(), **changes})


class UploadMaker:
    """Makes uploads out of sentences and samples.

    Args:
        load: the mix.
        seed: the same seed makes the same uploads (but for their times).
        prefix: of the content ids; what is published to one topic needs a prefix of its own.
        hits: terms and phrases of which `load.rule_hits` of the texts get one; empty for none.
    """

    def __init__(self, load: Load, *, seed: int, prefix: str, hits: Sequence[str] = ()) -> None:
        self._load = load
        self._random = random.Random(seed)  # noqa: S311 - repeatable load, no secret
        # Each seed counts from elsewhere: texts of two makers differ as well.
        self._offset = seed * 1_000_003
        self._prefix = prefix
        self._hits = hits
        self._sentences = _pool(load.rare_words)
        self._samples = _sample_documents() if load.samples else []
        self._recent: list[str] = []
        self._encode = msgspec.json.Encoder().encode

    def make(
        self, count: int, *, begin: dt.datetime, rate: float, first: int = 0
    ) -> Iterator[Made]:
        """Make uploads.

        Args:
            count: how many.
            begin: when the first was made.
            rate: uploads a second after that; 0 where all were made at `begin`.
            first: number of the first, where earlier ones of this maker exist.
        """
        load, draw = self._load, self._random
        start = begin.timestamp()
        stamp, second = "", -1
        for number in range(first, first + count):
            moment = start + (number - first) / rate if rate else start
            # The text of the whole second once; milliseconds are put behind it.
            if int(moment) != second:
                second = int(moment)
                stamp = dt.datetime.fromtimestamp(second, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
            created = f"{stamp}.{int(moment * 1000) % 1000:03d}Z"
            document = dict(self._document(draw, load, number))
            content_id = f"{self._prefix}-{number}"
            user = f"user-{draw.randrange(load.users)}"
            document["content_id"] = content_id
            document["user_id"] = user
            document["created_at"] = created
            yield Made(user.encode(), self._encode(document), content_id)

    def _document(self, draw: random.Random, load: Load, number: int) -> dict[str, Any]:
        if load.repeats and self._recent and draw.random() < load.repeats:
            return _BASE | {"text": draw.choice(self._recent)}
        tail = self._counter(number)
        if self._samples and draw.random() < load.samples:
            sample = draw.choice(self._samples)
            return sample | {"text": f"{sample['text']} {tail}"}
        text = self._sentence(draw, load.text_chars, tail)
        if load.repeats:
            if len(self._recent) >= load.repeat_window:
                self._recent[number % load.repeat_window] = text
            else:
                self._recent.append(text)
        return _BASE | {"text": text}

    def _sentence(self, draw: random.Random, chars: int, tail: str) -> str:
        room = chars - len(tail) - 1
        if self._hits and draw.random() < self._load.rule_hits:
            tail = f"{draw.choice(self._hits)} {tail}"
            room = chars - len(tail) - 1
        text = draw.choice(self._sentences)
        while len(text) < room:
            text = f"{text} {draw.choice(self._sentences)}"
        return f"{text[:room].rpartition(' ')[0]} {tail}"

    def _counter(self, number: int) -> str:
        """Four words that no other upload of this maker has."""
        left = (number + self._offset) * _SCATTER % _COUNTERS
        words = self._load.counting_words
        return (
            f"{words[left & 63]} {words[left >> 6 & 63]}"
            f" {words[left >> 12 & 63]} {words[left >> 18 & 63]}"
        )


_BASE: Final[dict[str, Any]] = {
    "content_id": "",
    "content_type": "text",
    "user_id": "",
    "created_at": "",
    "community_id": "bench",
    "account": {"created_at": "2021-03-18T10:00:00Z", "verified": False, "followers": 120},
}


@functools.cache
def _pool(rare: float) -> list[str]:
    """Clean sentences, many times, each time with other rare words in them."""
    draw = random.Random(0)  # noqa: S311 - repeatable load, no secret
    document = yaml.safe_load(_SENTENCES.read_text("utf-8"))
    clean = [text.split() for texts in document["clean"].values() for text in texts]
    return [
        " ".join(_rare_word(draw) if draw.random() < rare else word for word in draw.choice(clean))
        for _ in range(_POOL)
    ]


def _rare_word(draw: random.Random) -> str:
    return "".join(
        draw.choice(_ONSETS) + draw.choice(_VOWELS) + draw.choice(_CODAS)
        for _ in range(draw.choice((2, 2, 3)))
    )


@functools.cache
def _sample_documents() -> list[dict[str, Any]]:
    """Valid text uploads among the samples, without their floods and overlong ones."""
    base = dt.datetime.now(dt.UTC)
    documents = []
    for line in read_lines(_SAMPLES.read_bytes().splitlines()):
        parsed = parse_line(line, base=base)
        if parsed.kind in {"flood", "redelivered", "edit"} or parsed.content_type != "text":
            continue
        try:
            upload = decode_upload(parsed.value)
        except InvalidUploadError:
            continue
        if upload.text and len(upload.text) <= _SAMPLE_CHARS:
            documents.append(msgspec.json.decode(parsed.value, type=dict[str, Any]))
    return documents
