"""Stands in for the moderation job in tests of the commands around it.

Decides by one word, refuses what cannot be decoded, and can be told to misbehave:
SLUICE_TEST_FAULT is one of lose, contradict, repeat, die.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import msgspec
from kafka import KafkaProducer

from schemas.dead_letter import DeadLetter
from schemas.decision import moderation_id
from schemas.errors import InvalidUploadError
from schemas.settings import load_settings
from schemas.upload import Upload, decode_upload
from scripts.cli.consume import Record, records
from scripts.cli.kafka_topics import client_options, wait_for_topics

FAULTY_EVERY = 50


def decide(upload: Upload, *, contradict: bool = False) -> dict[str, Any]:
    bad = "idiot" in (upload.text or "")
    return {
        "moderation_id": moderation_id(upload.content_id, upload.revision, 0, "final"),
        "content_id": upload.content_id,
        "user_id": upload.user_id,
        "status": "rejected" if bad else "approved",
        "action": "warn" if contradict else "remove" if bad else "allow",
        "category": "toxicity" if bad else "",
        "stage": "rules",
        "probability": 0.97 if bad else 0.02,
        "reason": "It says so.",
        "degraded": [],
        "latency_ms": os.getpid() / 7,
    }


def letter(record: Record, error: InvalidUploadError) -> DeadLetter:
    return DeadLetter(
        raw=record.value,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp=record.timestamp_ms,
        error_kind=error.kind,  # type: ignore[arg-type]  # the kinds of the error are these
        field=error.field,
        message=error.message,
    )


def main() -> None:
    fault = os.environ.get("SLUICE_TEST_FAULT", "")
    settings = load_settings(sys.argv[sys.argv.index("--profile") + 1])
    wait_for_topics(settings, lambda: False)  # started before its broker is
    topics = settings.topics
    producer = KafkaProducer(**client_options(settings), max_request_size=4_000_000)
    source = records(settings, list(topics.content), from_beginning=True)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for count, record in enumerate(source, start=1):
        faulty = count % FAULTY_EVERY == 0
        if fault == "die" and faulty:
            sys.exit("told to die")
        try:
            upload = decode_upload(record.value)
        except InvalidUploadError as error:
            producer.send(topics.dead_letters, msgspec.json.encode(letter(record, error)))
            continue
        if fault == "lose" and faulty:
            continue
        producer.send(topics.decisions, msgspec.json.encode(decide(upload)))
        if fault in {"repeat", "contradict"} and faulty:
            again = decide(upload, contradict=fault == "contradict")
            producer.send(topics.decisions, msgspec.json.encode(again))


if __name__ == "__main__":
    main()
