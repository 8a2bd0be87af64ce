"""How many texts a second and core each model tier scores, and both of them in the cascade.

Run as a process of its own:

    python -m scripts.cli.bench.tier_loop ORDER     (JSON of `TierOrder`; prints a `TierFigures`)
"""

from __future__ import annotations

import datetime as dt
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from operators.compose import compose_cascade
from operators.metrics import Metrics
from schemas.settings import load_settings, unhurried
from schemas.upload import decode_upload
from scripts.cli import training_data
from scripts.cli.bench.loop import without_deep
from scripts.cli.bench.uploads import UploadMaker, read_load
from udfs.cascade import Cascade
from udfs.normalise import normalise
from udfs.text_deep import DeepTextScorer

BATCH: Final = 64
T = TypeVar("T")
_MOST_CHARS: Final = 5_000


class TierOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What to run."""

    texts: int
    deep_texts: int
    """Of them, how many the heavy tier scores by itself."""
    data: str = ""
    """Folder of the public sets; empty: texts of the load generator."""


class TierFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured, on one core. Times are microseconds of CPU a text."""

    source: str
    toxic_share: float | None
    mean_chars: float
    fast_us: float
    """Normalised texts to scores."""
    normalise_us: float
    deep_us: float
    deep_share: float
    """Of the texts, how many the fast tier leaves to the heavy one."""
    cascade_fast_us: float
    """The whole cascade, from payload to records, without the heavy tier."""
    cascade_us: float
    """With it, unlimited."""
    deep_by_tokens_ms: dict[str, float]


def measure(order: TierOrder) -> TierFigures:
    """Run what is ordered.

    Raises:
        SystemExit: the profile has no heavy tier.
    """
    texts, source, toxic = _texts(order)
    settings = load_settings("dev")
    redis = settings.redis.model_copy(update={"enabled": False})
    # No budget: what the tier would like to look at is the question.
    settings = unhurried(settings).model_copy(update={"redis": redis})
    metrics = Metrics()
    both = compose_cascade(settings, metrics).cascade
    fast_only = compose_cascade(without_deep(settings)).cascade
    if not isinstance(both.deep_text, DeepTextScorer) or both.fast_text is None:
        sys.exit("the dev profile has no heavy text tier")
    fast, heavy = both.fast_text, both.deep_text
    normal = [normalise(text).text for text in texts]
    payloads = [_payload(i, text) for i, text in enumerate(texts)]
    now = time.time() * 1000

    def run(cascade: Cascade) -> None:
        for part in _parts(payloads):
            cascade.moderate([cascade.prepare(raw, int(now)) for raw in part], now)

    run(fast_only)  # warm
    before = metrics.value("deep_scored")
    cascade_us = _timed(lambda: run(both), len(texts))
    scored = metrics.value("deep_scored") - before
    return TierFigures(
        source=source,
        toxic_share=toxic,
        mean_chars=round(sum(map(len, texts)) / len(texts), 1),
        fast_us=min(
            _timed(lambda: [fast.score(part) for part in _parts(normal)], len(normal))
            for _ in range(3)
        ),
        normalise_us=_timed(lambda: [normalise(text) for text in texts], len(texts)),
        deep_us=_timed(lambda: heavy.score(normal[: order.deep_texts]), order.deep_texts),
        deep_share=round(scored / len(texts), 4),
        cascade_fast_us=min(_timed(lambda: run(fast_only), len(texts)) for _ in range(3)),
        cascade_us=cascade_us,
        deep_by_tokens_ms={str(n): _milliseconds(heavy, n) for n in (16, 32, 64, 128)},
    )


def _texts(order: TierOrder) -> tuple[list[str], str, float | None]:
    if order.data:
        rows = [
            row
            for row in training_data.read_all(Path(order.data), irc_rows=1)
            if row.source == "jigsaw_natural"
        ]
        step = max(1, len(rows) // order.texts)
        rows = rows[::step][: order.texts]
        toxic = sum(row.labels.get("toxicity") == 1 for row in rows) / len(rows)
        return [row.text[:_MOST_CHARS] for row in rows], "jigsaw_natural", round(toxic, 4)
    maker = UploadMaker(read_load(), seed=3, prefix="tiers")
    made = maker.make(order.texts, begin=dt.datetime.now(dt.UTC), rate=1_000)
    return [decode_upload(one.value).text or "" for one in made], "load generator", None


def _payload(number: int, text: str) -> bytes:
    return msgspec.json.encode(
        {
            "content_id": f"c{number}",
            "content_type": "text",
            "user_id": f"u{number}",
            "created_at": "2026-01-01T00:00:00Z",
            "text": text,
        }
    )


def _parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    for first in range(0, len(rows), BATCH):
        yield rows[first : first + BATCH]


def _timed(work: Callable[[], object], count: int) -> float:
    started = time.process_time()
    work()
    return round((time.process_time() - started) / count * 1e6, 2)


def _milliseconds(scorer: DeepTextScorer, tokens: int) -> float:
    """Of one window, the best of some tries."""
    window = [scorer.manifest.hide_id] * tokens
    best = min(_timed(lambda: scorer.run([window]), 1) for _ in itertools.repeat(None, 15))
    return round(best / 1e3, 2)


def main() -> None:
    """Run one order."""
    order = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=TierOrder)
    print(msgspec.json.encode(measure(order)).decode())


if __name__ == "__main__":
    main()
