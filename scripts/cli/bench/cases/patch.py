"""How long it takes from publishing a rule to the first decision that it had a part in."""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec

from schemas.control import ControlMessage
from schemas.settings import ROOT
from scripts.cli.bench.runs import Bench, Run
from scripts.cli.bench.sending import Sending
from scripts.cli.control_topic import ControlTopic, now
from udfs.rules import RuleSet

_RATE: Final = 300.0
_ACK_S: Final = 20.0
_RULE: Final = (
    "  - {{id: bench.patch-{number}, kind: keywords, category: spam, terms: [patch {number}]}}\n"
)


class _Hash(msgspec.Struct):
    rules_hash: str


_hash: Final = msgspec.json.Decoder(_Hash)


def patch(bench: Bench) -> dict[str, Any]:
    """Under 300/s: control message's broker time to the first decision with the new hash."""
    run = bench.run()
    bench.say("publishing rules")
    times = bench.pick(8, 4)
    # The rules in force and one more: what a person who reacts to an attack publishes.
    base = (ROOT / run.settings.cascade.rules).read_text("utf-8").rstrip()
    texts = [f"{base}\n{_RULE.format(number=number)}" for number in range(times)]
    gap_s = 2.0
    order = run.order(round(_RATE * (times + 2) * gap_s), rate=_RATE)
    reader, topics = bench.reader, run.topics
    decisions_from, control_from = reader.ends(topics.decisions), reader.ends(topics.control)
    acknowledged = []
    with Sending(order, run.folder) as sending, ControlTopic(run.settings) as control:
        sending.go()
        time.sleep(gap_s)
        for text in texts:
            started = time.monotonic()
            message = ControlMessage(kind="rules", text=text, published_at=now())
            control.publish(message)
            replies = control.wait(message.key, message.digest, _ACK_S)
            if replies.complete and all(ack.ok for ack in replies.acks):
                acknowledged.append((time.monotonic() - started) * 1000)
            time.sleep(max(0.0, gap_s - (time.monotonic() - started)))
        sending.result()
        control.withdraw("rules")
        control.wait("rules", "", _ACK_S)
    _settle(run)
    first: dict[str, int] = {}
    for record in reader.read(topics.decisions, decisions_from):
        rules_hash = _hash.decode(record.value).rules_hash
        first[rules_hash] = min(first.get(rules_hash, record.timestamp_ms), record.timestamp_ms)
    published = {
        msgspec.json.decode(record.value, type=ControlMessage).text: record.timestamp_ms
        for record in reader.read(topics.control, control_from)
        if record.key == b"rules" and record.value
    }
    acting = []
    for text in texts:
        decided = first.get(RuleSet.parse(text).hash)
        if decided is not None and text in published:
            acting.append(decided - published[text])
    return {
        "patches": times,
        "acted": len(acting),
        "acting_ms": sorted(acting),
        "acknowledged_ms": sorted(round(ms, 1) for ms in acknowledged),
        "rate": _RATE,
    }


def _settle(run: Run) -> None:
    time.sleep(1.0)
    _ = run.job.pid  # an error if it has ended
