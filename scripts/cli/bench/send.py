"""The load generator, a process of its own: makes uploads, waits for the word, sends them.

    python -m scripts.cli.bench.send ORDER     (JSON of `Order`)

Prints `ready` when everything is in memory and connected, sends when a line comes on standard
input, and prints a `Sent` as JSON. Everything that can be done before is done before: while it
sends it takes as little as it can of the processor that it shares with the job.
"""

from __future__ import annotations

import datetime as dt
import gc
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from confluent_kafka import KafkaError, Message, Producer

from scripts.cli.bench.uploads import UploadMaker, read_load
from scripts.cli.publisher import paced

_CHUNK: Final = 50_000
"""A backlog is made and sent in pieces: a million uploads need not fit into memory."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to send."""

    bootstrap: str
    topic: str
    count: int
    rate: float = 0.0
    """Uploads a second; 0 for as fast as the broker takes them."""
    seed: int = 1
    prefix: str = "bench"
    """Of the content ids."""
    load: dict[str, Any] = {}
    """Changes to `conf/bench/load.yaml`."""
    hits: list[str] = []
    """See `UploadMaker`."""
    broken: list[str] = []
    """Payloads that are no uploads, one after every `broken_every` uploads, in turn."""
    broken_every: int = 100
    each_user_once: bool = False
    """User n sends upload n, a short text: fills the keyed state."""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent."""

    uploads: int
    broken: int
    seconds: float
    cpu_s: float
    """CPU time of the load generator while it sent."""
    late_ms: float
    """How far behind its plan it fell at most."""
    failures: list[str]


class _Record(NamedTuple):
    key: bytes | None
    value: bytes


def run(order: Order, go: Iterable[str]) -> Sent:
    """Send what is ordered, as soon as `go` yields something."""
    # librdkafka, not the client that the commands use: that one takes 90 to 250 us of CPU time
    # an upload, which would be the job's share of these processors.
    producer = Producer(
        {
            "bootstrap.servers": order.bootstrap,
            "acks": "all",
            "linger.ms": 5,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 1_048_576,
        }
    )
    producer.list_topics(order.topic, timeout=20)
    batches = pieces(order)
    piece = next(batches)
    # The collector would walk through all that is waiting again and again.
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    next(iter(go))
    failures: list[str] = []

    def failed(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(str(error))

    started, cpu = time.perf_counter(), time.process_time()
    late = 0.0
    uploads = broken = 0
    while piece:
        # A piece with a rate is all there is.
        for record, number in zip(piece, paced(order.rate), strict=False):
            producer.produce(order.topic, record.value, record.key, on_delivery=failed)
            if number % 64 == 0:
                producer.poll(0)
                if order.rate:
                    late = max(late, time.perf_counter() - started - number / order.rate)
            if record.key is None:
                broken += 1
            else:
                uploads += 1
        producer.flush(60)
        piece = next(batches, [])
    return Sent(
        uploads=uploads,
        broken=broken,
        seconds=time.perf_counter() - started,
        cpu_s=time.process_time() - cpu,
        late_ms=late * 1000,
        failures=failures[:5],
    )


def pieces(order: Order) -> Iterator[list[_Record]]:
    """What is to be sent, worked out; all at once where there is a rate to keep."""
    # A plan's times are those of the sending, which begins in a moment.
    begin = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=0.5 if order.rate else 0.0)
    made = _each_user_once(order, begin) if order.each_user_once else _uploads(order, begin)
    size = order.count * 2 if order.rate else _CHUNK
    piece: list[_Record] = []
    for record in _mixed(made, order):
        piece.append(record)
        if len(piece) >= size:
            yield piece
            piece = []
    if piece:
        yield piece


def _mixed(made: Iterator[_Record], order: Order) -> Iterator[_Record]:
    """Uploads, with broken records among them."""
    for number, record in enumerate(made):
        yield record
        if order.broken and number % order.broken_every == order.broken_every - 1:
            value = order.broken[number // order.broken_every % len(order.broken)]
            yield _Record(None, value.encode())


def _uploads(order: Order, begin: dt.datetime) -> Iterator[_Record]:
    maker = UploadMaker(
        read_load(**order.load), seed=order.seed, prefix=order.prefix, hits=order.hits
    )
    for key, value, _ in maker.make(order.count, begin=begin, rate=order.rate):
        yield _Record(key, value)


def _each_user_once(order: Order, begin: dt.datetime) -> Iterator[_Record]:
    created = begin.isoformat(timespec="milliseconds")
    for number in range(order.seed, order.seed + order.count):
        content_id, user = f"{order.prefix}-{number}", f"user-{number}"
        value = (
            f'{{"content_id":"{content_id}","content_type":"text","user_id":"{user}",'
            f'"created_at":"{created}","community_id":"bench","text":"hello number {number}"}}'
        )
        yield _Record(user.encode(), value.encode())


def main() -> None:
    """Run one order."""
    order = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Order)
    print(msgspec.json.encode(run(order, sys.stdin)).decode(), flush=True)


if __name__ == "__main__":
    main()
