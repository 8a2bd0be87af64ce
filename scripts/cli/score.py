"""JSONL texts in, calibrated scores out: the job's own code without Kafka, Flink or Redis.

Reads {"id", "text"}, one a line, and answers each line in order:

    {"id", "scores": {category: probability}, "spans": [[start, end, category], ...],
     "language", "language_confidence", "stage", "degraded"}

`degraded` names `language` where the model that scored does not read the text's language. Offsets
count code points of the text as it came. A line that cannot be scored is answered with {"id",
"error": {"line", "field", "message"}}, and the exit status is 1 in the end. Other fields of a line
are not looked at; empty lines are no lines.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, NamedTuple

import msgspec
import numpy as np
import typer

from schemas.errors import ConfigError, SluiceError
from schemas.language import UNREAD
from schemas.settings import ROOT, Settings, load_settings
from udfs.contracts import Scorer
from udfs.language import LanguageGuesser
from udfs.language_support import LanguageSupport, languages_of
from udfs.normalise import Normalised, normalise
from udfs.text_deep import DeepTextOptions
from udfs.text_deep import load as load_deep
from udfs.text_fast import FastTextScorer
from udfs.text_tiers import Reads, TextTiers, telling

BATCH: Final = 512
"""Lines that are scored together."""
SPANS_AT: Final = 0.5
MOST_SPANS: Final = 20
"""Words pointed at for one category."""
TELLING: Final = 0.5
"""A word counts that weighs this share of the strongest; chosen by `scripts/evaluate`'s figures
on span-labelled comments."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Tier(StrEnum):
    """Which models score."""

    FAST = "fast"
    DEEP = "deep"
    BOTH = "both"
    """The heavy one where the fast one is undecided, if a package is configured."""


class Spans(StrEnum):
    """Whose words are pointed at."""

    FAST = "fast"
    DEEP = "deep"
    NONE = "none"


class Bad(NamedTuple):
    """What is wrong with a line."""

    id: str | int | None
    field: str
    message: str


class Asked(NamedTuple):
    """A line that can be scored."""

    id: str | int
    text: str


def load_tiers(
    settings: Settings,
    tier: Tier,
    *,
    deep_text: Path | None = None,
    low: float | None = None,
    high: float | None = None,
) -> TextTiers:
    """The models that the settings name, as the job would put them together.

    Args:
        settings: of the job.
        tier: which of them.
        deep_text: folder of the heavy tier's package, instead of the settings'.
        low: the heavy tier is asked from this probability, instead of the settings',
        high: up to this one.

    Raises:
        ConfigError: a model that is asked for is not configured, or cannot be loaded.
    """
    files, limits = settings.cascade, settings.deep
    fast = deep = reads = None
    if tier is not Tier.DEEP:
        if files.fast_text is None:
            raise ConfigError("no fast text tier is configured", field="cascade.fast_text")
        fast = FastTextScorer.load(_path(files.fast_text))
    if tier is not Tier.FAST:
        configured = deep_text or files.deep_text
        if configured is not None:
            options = DeepTextOptions(limits.provider, limits.precision, limits.threads)
            deep = load_deep(_path(configured), options)
            reads = _reader(deep)
        elif tier is Tier.DEEP:
            raise ConfigError(
                "no heavy text tier is configured; name a package by --deep-text",
                field="cascade.deep_text",
            )
    return TextTiers(
        fast,
        deep,
        low=limits.low if low is None else low,
        high=limits.high if high is None else high,
        reads=reads,
    )


def _reader(scorer: Scorer) -> Reads:
    guesser, support = LanguageGuesser(), LanguageSupport(languages_of(scorer))

    def reads(texts: Sequence[str]) -> list[bool]:
        guesses = guesser.guess(texts, [None] * len(texts))
        return [support.reading(guess) != "unread" for guess in guesses]

    return reads


def _path(path: Path) -> Path:
    return path if path.is_absolute() else ROOT / path


class LineScorer:
    """Answers lines.

    Args:
        tiers: the models.
        max_chars: longest text accepted.
        spans: whose words are pointed at.
        spans_at: least probability of a category whose words are.
    """

    def __init__(
        self,
        tiers: TextTiers,
        *,
        max_chars: int,
        spans: Spans = Spans.FAST,
        spans_at: float = SPANS_AT,
    ) -> None:
        self._tiers = tiers
        self._max_chars = max_chars
        self._spans = spans
        self._spans_at = spans_at
        self._languages = LanguageGuesser()
        self._supports = {
            stage: LanguageSupport(languages_of(scorer))
            for stage, scorer in (("fast_text", tiers.fast), ("deep_text", tiers.deep))
            if scorer is not None
        }
        self.bad = 0
        """Lines that could not be scored so far."""

    def answer(self, lines: Sequence[tuple[int, bytes]]) -> Iterator[bytes]:
        """An answer for each line, without its end.

        Args:
            lines: scored together, each with its number.
        """
        asked = [parse(line, self._max_chars) for _, line in lines]
        texts = [normalise(entry.text) for entry in asked if isinstance(entry, Asked)]
        canonical = [text.text for text in texts]
        found = self._tiers.score(canonical)
        languages = self._languages.guess(canonical, [None] * len(texts))
        rounded = np.round(found.scores.astype(np.float64), 6).tolist()
        row = 0
        for (number, _), entry in zip(lines, asked, strict=True):
            if isinstance(entry, Bad):
                self.bad += 1
                error = {"line": number, "field": entry.field, "message": entry.message}
                yield msgspec.json.encode({"id": entry.id, "error": error})
                continue
            scores = dict(zip(self._tiers.categories, rounded[row], strict=True))
            # A category that no tier which ran has is left out.
            scores = {name: p for name, p in scores.items() if not math.isnan(p)}
            stage, language = found.stage(row), languages[row]
            unread = self._supports[stage].reading(language) == "unread"
            yield msgspec.json.encode(
                {
                    "id": entry.id,
                    "scores": scores,
                    "spans": self._spans_of(texts[row], scores),
                    "language": language.code,
                    "language_confidence": round(language.confidence, 4),
                    "stage": stage,
                    "degraded": [UNREAD] if unread else [],
                }
            )
            row += 1

    def _spans_of(self, text: Normalised, scores: dict[str, float]) -> list[tuple[int, int, str]]:
        if self._spans is Spans.NONE:
            return []
        deep = self._spans is Spans.DEEP
        found = []
        for category, probability in scores.items():
            if probability >= self._spans_at:
                words = self._tiers.explain(text.text, category, deep=deep, limit=MOST_SPANS)
                ranges = tuple((start, end) for start, end, _ in telling(words, TELLING))
                found += [(*span, category) for span in text.original_spans(ranges)]
        return found


_LINE: Final = msgspec.json.Decoder()


def parse(line: bytes, max_chars: int) -> Asked | Bad:
    """Read one line."""
    try:
        document: Any = _LINE.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Bad(None, "$", f"is not JSON: {str(error).split(' (byte')[0]}")
    except RecursionError:
        return Bad(None, "$", "is not JSON: too deep")
    if not isinstance(document, dict):
        return Bad(None, "$", "must be an object with id and text")
    key = document.get("id")
    if not isinstance(key, str | int) or isinstance(key, bool):
        return Bad(None, "$.id", "must be there, a string or a whole number")
    text = document.get("text")
    if not isinstance(text, str):
        return Bad(key, "$.text", "must be there, a string")
    if len(text) > max_chars:
        return Bad(key, "$.text", f"has {len(text)} characters, at most {max_chars}")
    return Asked(key, text)


def score_lines(source: Iterable[bytes], sink: BinaryIO, scorer: LineScorer, batch: int) -> None:
    """Answer every line of `source` with a line of `sink`, some at a time."""
    waiting: list[tuple[int, bytes]] = []
    for number, line in enumerate(source, start=1):
        if line.strip():
            waiting.append((number, line))
        if len(waiting) == batch:
            _write(sink, scorer.answer(waiting))
            waiting = []
    _write(sink, scorer.answer(waiting))


def _write(sink: BinaryIO, answers: Iterable[bytes]) -> None:
    sink.write(b"".join(answer + b"\n" for answer in answers))
    sink.flush()


@app.command()
def score(
    tier: Annotated[Tier, typer.Option(help="Models that score.")] = Tier.BOTH,
    spans: Annotated[
        Spans, typer.Option(help="Tier whose words are pointed at; deep takes long.")
    ] = Spans.FAST,
    spans_at: Annotated[
        float, typer.Option(min=0, max=1, help="Least probability of a category that gets spans.")
    ] = SPANS_AT,
    deep_text: Annotated[
        Path | None, typer.Option(help="Package of the heavy tier, instead of the settings'.")
    ] = None,
    low: Annotated[
        float | None, typer.Option(min=0, max=1, help="Heavy tier from here (deep.low).")
    ] = None,
    high: Annotated[
        float | None, typer.Option(min=0, max=1, help="Heavy tier up to here (deep.high).")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Lines scored together.")] = BATCH,
    profile: Annotated[str, typer.Option(help="Profile in conf/profiles, or a file.")] = "dev",
) -> None:
    """Score JSONL texts from standard input; exit 0 if each line could be scored, else 1.

    Exit status 2 where a model cannot be loaded.
    """
    settings = load_settings(profile)
    tiers = load_tiers(settings, tier, deep_text=deep_text, low=low, high=high)
    scorer = LineScorer(
        tiers, max_chars=settings.limits.max_text_chars, spans=spans, spans_at=spans_at
    )
    score_lines(sys.stdin.buffer, sys.stdout.buffer, scorer, batch)
    if scorer.bad:
        raise typer.Exit(1)


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app()
    except SluiceError as error:
        print(f"score: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # Whoever read has enough. Nothing may be flushed at exit into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
