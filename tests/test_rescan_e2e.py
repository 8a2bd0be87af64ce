"""A picture whose store is down: its upload waits, and is looked at when the store is back."""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from kafka import KafkaProducer

from schemas.evidence import MediaEvidence, decode_evidence
from schemas.settings import Settings
from scripts.cli.consume import Record, open_consumer, poll
from scripts.cli.kafka_topics import client_options
from tests.away_kit import PICTURE, Shelf, wait_for
from tests.fakes import payload
from tests.media_kit import photo, saved
from tests.running_job import RunningJob, line, publish
from tests.test_media_e2e import Evidence, RunningMediaJob

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


class RunningRescanJob(RunningJob):
    """`scripts/run_rescan` in a process."""

    module = "scripts.cli.run_rescan"


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def store(folder: Path, port: int) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", port), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def config(folder: Path, port: int) -> Path:
    path = folder / "media.yaml"
    path.write_text(
        "version: 1\n"
        f"fetch: {{networks: [127.0.0.0/8], ports: [{port}], connect_timeout_s: 1}}\n"
        "ocr: {engine: none}\n"
        "speech: {engine: none}\n"
        "pixels: {models: []}\n"
        "rescan: {first_s: 1, most_s: 2}\n"
    )
    return path


def test_media_of_a_store_that_was_down_are_looked_at_when_it_is_back(
    stack_settings: Settings, tmp_path: Path
) -> None:
    port, metrics = free_port(), free_port()
    media = tmp_path / "media"
    media.mkdir()
    names = ("a.png", "b.png", "c.png")
    for place, name in enumerate(names):
        (media / name).write_bytes(saved(photo(seed=place)))
    uploads = {
        name: payload(name, f"user of {name}", text=None, content_type="image",
                      media_uri=f"http://127.0.0.1:{port}/{name}")
        for name in (*names, "absent.png")
    }  # fmt: skip
    publish(stack_settings, [line(value, b"u", "image") for value in uploads.values()])
    environment = {"SLUICE_MEDIA__CONFIG": str(config(tmp_path, port))}
    evidence = Evidence(stack_settings)
    with RunningMediaJob(stack_settings, tmp_path / "one", "--bounded", **environment) as job:
        assert job.wait() == 0
    evidence.until(len(uploads))
    evidence.settle()
    assert {each[0].errors[0].kind for each in evidence.found.values()} == {"unreachable"}
    waiting = records(stack_settings)
    shelf = Shelf(tmp_path)
    shelf.bank_file()
    put(stack_settings, wait_for(shelf, 9))
    assert {record.value for record in waiting} == set(uploads.values())
    with RunningRescanJob(
        stack_settings, tmp_path / "two", SLUICE_FLINK__METRICS_PORT=str(metrics), **environment
    ) as job, store(media, port):  # fmt: skip
        job.wait_ready()
        found = second(evidence, len(uploads))
        counted = urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics").read().decode()
    evidence.close()
    # What was decided without a bank, which is there now: its evidence as it was, under another id.
    (again,) = evidence.found.pop("c9")
    assert (again.hashes, again.errors) == (PICTURE.hashes, [])
    assert again.evidence_id != PICTURE.evidence_id
    assert set(found) == set(uploads)
    for name in names:
        assert found[name].errors == []
        assert found[name].hashes.pdq
    assert [(error.kind, error.step) for error in found["absent.png"].errors] == [
        ("not_found", "fetch")
    ]
    for name, each in evidence.found.items():
        assert len({one.evidence_id for one in each}) == 2, name
    keys = {decode_evidence(record.value).user_id: record.key for record in evidence.records}
    assert all(key is not None and key.decode() == user for user, key in keys.items())
    assert "media_rescans{" in counted
    assert 'fate="taken"' in counted


def second(evidence: Evidence, count: int) -> dict[str, MediaEvidence]:
    """Evidence of a second try of so many contents."""
    for _ in range(600):
        evidence.settle(0.2)
        there = {name: each[-1] for name, each in evidence.found.items() if len(each) > 1}
        if len(there) >= count:
            return there
    raise AssertionError(f"only {sorted(there)} were looked at again")


def put(settings: Settings, value: bytes) -> None:
    """One more record onto the topic of the rescan job."""
    producer = KafkaProducer(**client_options(settings))
    producer.send(settings.topics.rescan, value, b"c9")
    producer.close()


def records(settings: Settings) -> list[Record]:
    """What is in the topic of the rescan job."""
    consumer = open_consumer(settings, [settings.topics.rescan], from_beginning=True)
    found: list[Record] = []
    for _ in range(20):
        found += poll(consumer, 100)
    consumer.close()
    return found
