"""`kill -9` in the middle of a backlog with broken records in it: what is lost, what differs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from schemas.dead_letter import DeadLetter
from schemas.decision import VOLATILE_FIELDS
from scripts.cli.bench.runs import FULL, Bench, Run
from scripts.cli.bench.topics import Taken, content_id

BROKEN: Final = (
    "",
    "{",
    "null",
    '{"content_id": 7}',
    '{"content_id":"b","content_type":"text","user_id":"u","created_at":"yesterday","text":"x"}',
    '{"content_id":"b","content_type":"hologram","user_id":"u","created_at":"2026-01-01T00:00:00Z"}',
    '{"content_id":"b","content_type":"text","user_id":"","created_at":"2026-01-01T00:00:00Z"}',
    "[" * 100,
)
_USERS: Final = 20_000
_KILL_AT: Final = 0.4
_QUIET_S: Final = 8.0


def kill(bench: Bench) -> dict[str, Any]:
    """Kill the job's processes at 40% of a backlog, start again, and account for everything."""
    bench.stop_job()
    count = bench.pick(50_000, 20_000)
    broken_every = 100

    def backlog(run: Run) -> None:
        run.send(
            run.order(count, broken=list(BROKEN), broken_every=broken_every, load={"users": _USERS})
        )

    run = bench.start(FULL, before=backlog)
    try:
        return _account(bench, run)
    finally:
        run.stop()


def _account(bench: Bench, run: Run) -> dict[str, Any]:
    reader, topics = bench.reader, run.topics
    sent = reader.count(topics.content_text, {})
    bench.say("waiting for a checkpoint in the middle of the backlog")
    while run.answered(({}, {})) < _KILL_AT * sent or run.job.newest_checkpoint() is None:
        time.sleep(0.1)
    before = run.answered(({}, {}))
    killed_ms = time.time() * 1000
    run.kill()
    bench.say("killed; starting again")
    run.start_job(resume=True)
    _until_quiet(run)
    decisions = reader.read(topics.decisions, {})
    result = account(
        reader.read(topics.content_text, {}), decisions, reader.read(topics.dead_letters, {})
    )
    after = [record.timestamp_ms for record in decisions if record.timestamp_ms > killed_ms + 500]
    return {
        "answered_before_kill": before,
        "silence_s": round((min(after, default=killed_ms) - killed_ms) / 1000, 2),
        **result,
    }


def _until_quiet(run: Run) -> None:
    """Wait until nothing has come for a while."""
    known, since = -1, time.monotonic()
    while time.monotonic() - since < _QUIET_S:
        answered = run.answered(({}, {}))
        if answered != known:
            known, since = answered, time.monotonic()
        time.sleep(0.25)


class _Counted(msgspec.Struct):
    features: dict[str, float]


_counted: Final = msgspec.json.Decoder(_Counted)
_letter: Final = msgspec.json.Decoder(DeadLetter)


def account(
    uploads: Iterable[Taken], decisions: Iterable[Taken], letters: Iterable[Taken]
) -> dict[str, int]:
    """Compare what was sent with what came of it.

    Returns:
        lost: uploads without a decision; contradicting: decisions that differ from the first
        under their id in anything but what tells about the run; repeated: decisions beyond the
        first; dropped: broken records without a dead letter; surplus: dead letters of records
        that are not broken; miscounted: users whose largest day count is not the number of
        their uploads.
    """
    wanted: dict[bytes, bytes] = {}
    broken: set[tuple[int, int]] = set()
    for record in uploads:
        if record.key:
            wanted[content_id(record.value)] = record.key
        else:
            broken.add((record.partition, record.offset))
    first: dict[bytes, bytes] = {}
    counted: dict[bytes, int] = {}
    repeated = contradicting = 0
    for record in decisions:
        known = first.setdefault(record.key, record.value)
        if known is not record.value:
            repeated += 1
            contradicting += _stable(known) != _stable(record.value)
        features = _counted.decode(record.value).features
        user = wanted.get(record.key, b"")
        counted[user] = max(counted.get(user, 0), int(features["uploads_1d"]))
    dead = {(letter.partition, letter.offset) for letter in map(_decoded, letters)}
    per_user = Counter(wanted.values())
    return {
        "uploads": len(wanted),
        "broken": len(broken),
        "lost": len(wanted.keys() - first.keys()),
        "contradicting": contradicting,
        "repeated": repeated,
        "dropped": len(broken - dead),
        "surplus": len(dead - broken),
        "miscounted": sum(counted.get(user) != count for user, count in per_user.items()),
    }


def _decoded(record: Taken) -> DeadLetter:
    return _letter.decode(record.value)


def _stable(value: bytes) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.json.decode(value)
    return {name: field for name, field in document.items() if name not in VOLATILE_FIELDS}
