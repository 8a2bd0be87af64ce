"""The same work without an engine: one Python process, one core, no Kafka and no Flink.

    python -m scripts.cli.bench.loop ORDER     (JSON of `LoopOrder`; prints a `LoopFigures`)

It calls what the operator calls, in the order in which the operator calls it
(`ModerationLogic.on_upload` for each upload of a batch, then `on_tick` for each of its users),
over the payloads that the load generator sends. What a job costs above this is the engine's.
"""

from __future__ import annotations

import datetime as dt
import gc
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from operators.compose import compose_cascade
from operators.metrics import Metrics
from operators.moderation_logic import ModerationLogic
from operators.user_state import Arrived, decode_state, encode_state
from operators.velocity import Event, VelocityConfig, VelocityRing
from schemas.features import SINGLE
from schemas.settings import ROOT, Settings, load_settings
from schemas.trust import load_trust
from schemas.upload import decode_upload
from scripts.cli.bench.uploads import Made, UploadMaker, read_load
from udfs.banks import content_hash
from udfs.normalise import normalise

SWEEP: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_WARM: Final = 2_000
_SWEPT: Final = 2_000
_PARTS: Final = 4
"""The loop is timed in parts: their spread shows how quiet the machine was."""


class LoopOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What to run."""

    profile: str
    redis_url: str
    count: int
    batch: int = 64
    """Uploads that are scored together."""
    sweep: bool = False
    """Also measure other batch sizes."""
    deep: bool = False
    """With the heavy text tier."""
    hits: list[str] = []
    load: dict[str, Any] = {}
    patterns: list[str] = []
    """Also time these in a bare loop over the texts with Python's `re`."""


class LoopFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured. Times are microseconds an upload."""

    uploads: int
    batch: int
    wall_us: float
    cpu_us: float
    parts_cpu_us: list[float]
    """CPU time in each part of the run."""
    actions: dict[str, int]
    stages_us: dict[str, float]
    """Where the time goes; measured apart from the run above, stage by stage."""
    sweep_cpu_us: dict[str, float]
    sweep_wall_us: dict[str, float]
    """By batch size."""
    patterns_us: float | None
    """The bare patterns over one text."""


class _Value:
    """Keyed state of one user, on the heap."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes: bytes | None = None

    def value(self) -> bytes | None:
        return self.bytes

    def update(self, value: bytes) -> None:
        self.bytes = value

    def clear(self) -> None:
        self.bytes = None


class BareLoop:
    """The operator's work, without the operator.

    Args:
        settings: of the cascade.
    """

    def __init__(self, settings: Settings) -> None:
        self.metrics = Metrics()
        self.brain = compose_cascade(settings, self.metrics)
        self._states: dict[str, _Value] = {}
        self._logic = ModerationLogic(
            self.brain,
            settings.topics,
            velocity=VelocityConfig.of(settings.velocity),
            # The caller's batches are the batches.
            max_batch=1_000_000,
            now_ms=lambda: time.time() * 1000,
            metrics=self.metrics,
            trust=load_trust(ROOT / settings.cascade.trust),
        )

    def run(self, uploads: Sequence[Made], batch: int) -> int:
        """Decide uploads; gives the number of records that came of it."""
        logic, states = self._logic, self._states
        records = 0
        for begin in range(0, len(uploads), batch):
            keys: dict[str, _Value] = {}
            now = int(time.time() * 1000)
            for offset, made in enumerate(uploads[begin : begin + batch], start=begin):
                key = made.key.decode()
                state = keys.get(key)
                if state is None:
                    state = keys[key] = states.get(key) or states.setdefault(key, _Value())
                arrived = Arrived(made.value, "loop", 0, offset, now, SINGLE)
                records += len(logic.on_record(key, arrived, state))
            for key, state in keys.items():
                for scored in logic.on_tick(key, state):
                    records += len(scored)
        return records


def measure(order: LoopOrder) -> LoopFigures:
    """Run what is ordered."""
    settings = load_settings(order.profile)
    redis = settings.redis.model_copy(update={"url": order.redis_url})
    settings = settings.model_copy(update={"redis": redis})
    if not order.deep:
        settings = without_deep(settings)
    loop = BareLoop(settings)
    maker = UploadMaker(read_load(**order.load), seed=77, prefix="loop", hits=order.hits)
    begin = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=60)

    made = list(maker.make(_WARM + order.count, begin=begin, rate=2_000))
    loop.run(made[:_WARM], order.batch)
    gc.collect()
    gc.freeze()
    parts: list[float] = []
    wall, cpu = time.perf_counter(), time.process_time()
    size = order.count // _PARTS
    for part in range(_PARTS):
        started = time.process_time()
        first = _WARM + part * size
        loop.run(made[first : first + size], order.batch)
        parts.append(round((time.process_time() - started) / size * 1e6, 3))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    actions = _actions(loop.metrics)

    sweep_cpu: dict[str, float] = {}
    sweep_wall: dict[str, float] = {}
    first = _WARM + order.count
    for batch in SWEEP if order.sweep else ():
        more = list(maker.make(_SWEPT, begin=begin, rate=2_000, first=first))
        first += _SWEPT
        started, started_wall = time.process_time(), time.perf_counter()
        loop.run(more, batch)
        sweep_cpu[str(batch)] = round((time.process_time() - started) / _SWEPT * 1e6, 3)
        sweep_wall[str(batch)] = round((time.perf_counter() - started_wall) / _SWEPT * 1e6, 3)
    staged = list(maker.make(_SWEPT, begin=begin, rate=2_000, first=first))
    count = size * _PARTS
    return LoopFigures(
        uploads=count,
        batch=order.batch,
        wall_us=round(wall / count * 1e6, 3),
        cpu_us=round(cpu / count * 1e6, 3),
        parts_cpu_us=parts,
        actions=actions,
        stages_us=stages(loop, settings, staged, order.batch),
        sweep_cpu_us=sweep_cpu,
        sweep_wall_us=sweep_wall,
        patterns_us=_patterns(order.patterns, staged) if order.patterns else None,
    )


def without_deep(settings: Settings) -> Settings:
    """The same, the fast tier deciding alone."""
    cascade = settings.cascade.model_copy(update={"deep_text": None})
    return settings.model_copy(update={"cascade": cascade})


def stages(
    loop: BareLoop, settings: Settings, uploads: Sequence[Made], batch: int
) -> dict[str, float]:
    """Microseconds an upload of each stage; `rest` is what the whole takes besides."""
    count = len(uploads)
    values = [made.value for made in uploads]
    uploaded = [decode_upload(value) for value in values]
    texts = [upload.text or "" for upload in uploaded]
    normal = [normalise(text) for text in texts]
    config = VelocityConfig.of(settings.velocity)
    event = Event("content", 1_700_000_000_000, 1_700_000_000_000, 7, "bench")
    # A user that has uploaded before, as most have.
    ring = VelocityRing(None, config)
    ring.observe(event)
    known = ring.encode()
    waiting = [Arrived(values[0], "loop", 0, 0, 0, SINGLE)]

    def velocity() -> None:
        for number in range(count):
            ring = VelocityRing(known, config)
            ring.observe(Event(f"c{number}", 1_700_000_001_000, 1_700_000_001_000, number, "bench"))
            ring.encode()

    def state() -> None:
        for _ in range(count):
            decode_state(encode_state(known, b"", []))
            encode_state(known, b"", waiting)
            encode_state(known, b"", [])

    found = {
        "decode": _timed(lambda: [decode_upload(value) for value in values], count),
        "normalise": _timed(lambda: [normalise(text) for text in texts], count),
        "content hash": _timed(lambda: [content_hash(text) for text in normal], count),
        "velocity": _timed(velocity, count),
        "state": _timed(state, count),
    }
    items = [
        loop.brain.prepare(value, int(time.time() * 1000)).with_velocity(SINGLE) for value in values
    ]
    before = {name: loop.metrics.value("stage_time_us_sum", stage=name) for name in _names(loop)}
    outcomes = []
    for begin in range(0, count, batch):
        outcomes += loop.brain.moderate(items[begin : begin + batch], time.time() * 1000)
    for name, value in before.items():
        spent = loop.metrics.value("stage_time_us_sum", stage=name) - value
        found[name] = round(spent / count, 3)
    encode = msgspec.json.Encoder().encode
    records = [
        [r for r in (o.decision, o.audit, o.review, o.enforcement, *o.feedback) if r is not None]
        for o in outcomes
    ]
    found["encode"] = _timed(lambda: [encode(r) for rows in records for r in rows], count)
    return found


def _names(loop: BareLoop) -> list[str]:
    return [*(stage.name for stage in loop.brain.cascade.stages), "decide"]


def _timed(work: Callable[[], object], count: int) -> float:
    """Microseconds of CPU time for one of `count`; the least of three tries."""
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return round(best / count * 1e6, 3)


def _patterns(patterns: Sequence[str], uploads: Sequence[Made]) -> float:
    """All patterns over each text, by Python's own engine, for comparison across machines."""
    compiled = [re.compile(pattern, re.IGNORECASE) for pattern in patterns]
    texts = [decode_upload(made.value).text or "" for made in uploads]
    return _timed(lambda: [[p.search(text) for p in compiled] for text in texts], len(texts))


def _actions(metrics: Metrics) -> dict[str, int]:
    found: Counter[str] = Counter()

    def add(name: str, labels: tuple[tuple[str, str], ...], growth: int) -> None:
        if name == "decisions":
            found[dict(labels)["action"]] += growth

    metrics.flush(add)
    return dict(found)


def main() -> None:
    """Run one order."""
    order = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=LoopOrder)
    print(msgspec.json.encode(measure(order)).decode())


if __name__ == "__main__":
    main()
