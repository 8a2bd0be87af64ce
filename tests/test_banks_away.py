"""Banks whose snapshot cannot be read: what goes on, what says so, and what is decided again."""

from __future__ import annotations

import datetime as dt
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from operators import compose
from operators.compose import LiveCascade, compose_cascade
from operators.control import ControlLogic
from operators.metrics import Metrics
from operators.moderation_logic import ModerationLogic, Record
from operators.rescan_logic import published
from operators.user_state import Arrived
from operators.velocity import VelocityConfig
from schemas.control import ControlAck, ControlMessage
from schemas.decision import Decision
from schemas.errors import ConfigError, UnreadableError
from schemas.evidence import decode_evidence, encode_evidence
from schemas.features import SINGLE
from schemas.rescan import BANKS, decode_bank_wait
from schemas.settings import CaseSettings, load_settings
from schemas.topics import topics
from tests.away_kit import KNOWN, OTHER, PICTURE, Rescan, Shelf
from tests.fakes import NOW_MS, Memory, payload
from tests.test_cases import Map
from udfs.bank_snapshot import MANIFEST
from udfs.media_banks import MediaBanks
from udfs.media_query import MediaQuery

TOPICS = topics()
QUERY = MediaQuery(cohort="c", sha256=bytes.fromhex(KNOWN))
WHEN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def entries(banks: MediaBanks, digest: str = KNOWN) -> list[str]:
    query = MediaQuery(cohort="c", sha256=bytes.fromhex(digest))
    return [f"{match.bank}/{match.entry}" for match in banks.match(query, 0.0)]


def test_the_others_go_on_and_it_comes_back_as_it_would_have_been(shelf: Shelf) -> None:
    path = shelf.bank_file()
    deltas = {
        "media_bank/known": "version: 1\nmedia_bank: known\n"
        f"add: [{{hash: '{'ab' * 32}', id: d}}]\n"
    }
    whole = MediaBanks.load(path)
    whole.put(deltas)
    assert (entries(whole), whole.away) == (["known/known-0", "more/m"], ())
    shelf.away()
    with pytest.raises(UnreadableError, match="cannot be read: No such file"):
        MediaBanks.load(path)
    banks = MediaBanks.load(path, patient=True)
    banks.put(deltas, patient=True)
    assert [(each.bank, each.snapshot) for each in banks.away] == [
        ("known", str(shelf.folder / "known"))
    ]
    assert (entries(banks), entries(banks, OTHER)) == (["more/m"], ["known/in-place"])
    assert entries(banks, "ab" * 32) == ["known/d"]
    assert banks.hash != whole.hash
    assert not banks.any_back(banks.away)
    shelf.back()
    assert banks.any_back(banks.away)
    banks.put(deltas, patient=True)
    assert (entries(banks), banks.away, banks.hash) == (entries(whole), (), whole.hash)
    assert entries(banks, "ab" * 32) == ["known/d"]


def test_a_delta_waits_for_its_snapshot_and_the_bank_before_stays(shelf: Shelf) -> None:
    path = shelf.bank_file()
    named = shelf.write("newer", OTHER)
    first = f"version: 1\nmedia_bank: known\n{named}"
    then = f"version: 1\nmedia_bank: known\nadd: [{{hash: '{'ab' * 32}', id: d}}]\n"
    whole = MediaBanks.load(path)
    banks = MediaBanks.load(path)
    messages = {"media_bank/known": first, "media_bank/known.1": then}
    whole.put(messages)
    shelf.away()
    with pytest.raises(UnreadableError):
        banks.put({"media_bank/known": first})
    assert (entries(banks), banks.away) == (["known/known-0", "more/m"], ())
    banks.put({"media_bank/known": first}, patient=True)
    assert banks.waiting == {"media_bank/known"}
    assert [each.snapshot for each in banks.away] == [str(shelf.folder / "newer")]
    # What comes after it acts at once, on the bank that there is.
    banks.put(messages, patient=True)
    assert entries(banks) == ["known/known-0", "more/m"]
    assert entries(banks, "ab" * 32) == ["known/d"]
    shelf.back()
    banks.put(messages, patient=True)
    assert (banks.hash, banks.away, banks.waiting) == (whole.hash, (), frozenset())
    assert (entries(banks), entries(banks, OTHER)) == (["more/m"], ["known/newer-0"])
    # One that is taken back is not waited for.
    shelf.away()
    banks = MediaBanks.load(path, patient=True)
    banks.put(messages, patient=True)
    assert len(banks.away) == 2
    banks.put({}, patient=True)
    assert [each.snapshot for each in banks.away] == [str(shelf.folder / "known")]


def test_what_changes_a_bank_that_waits_to_be_made_waits_with_it(shelf: Shelf) -> None:
    path = shelf.bank_file()
    named = shelf.write("fresh", OTHER)
    made = f"version: 1\nmedia_bank: fresh\nkind: sha256\ncategory: gore\n{named}"
    then = f"version: 1\nmedia_bank: fresh\nadd: [{{hash: '{'ab' * 32}', id: d}}]\n"
    messages = {"media_bank/fresh": made, "media_bank/fresh.1": then}
    banks = MediaBanks.load(path)
    hashed = banks.hash
    shelf.away()
    banks.put(messages, patient=True)
    assert banks.waiting == messages.keys()
    assert (banks.hash, len(banks.away)) == (hashed, 1)
    shelf.back()
    banks.put(messages, patient=True)
    assert "fresh/fresh-0" in entries(banks, OTHER)
    assert entries(banks, "ab" * 32) == ["fresh/d"]


def test_what_is_wrong_with_a_snapshot_is_no_outage(shelf: Shelf) -> None:
    path = shelf.bank_file()
    (shelf.folder / "known" / MANIFEST).write_text("{}")
    with pytest.raises(ConfigError, match="is not a snapshot's manifest"):
        MediaBanks.load(path, patient=True)


# --- in the moderation job, and back through the rescan job -----------------------------------


class Job:
    """Control and one user's records through one subtask, and what the rescan job makes of it."""

    def __init__(self, banks: Path) -> None:
        settings = load_settings("dev")
        redis = settings.redis.model_copy(update={"enabled": False})
        files = settings.cascade.model_copy(update={"media_banks": banks, "deep_text": None})
        self._settings = settings.model_copy(update={"redis": redis, "cascade": files})
        self.now = NOW_MS
        self.state, self.cases = Memory(), Map()
        self.out: list[Record] = []
        self.kept: dict[str, bytes] = {}
        self._offset = 0
        self.metrics = Metrics()
        self.start()

    def start(self) -> None:
        """Everything but the state is lost."""
        self.live = compose_cascade(self._settings, self.metrics)
        self.logic = ModerationLogic(
            self.live,
            TOPICS,
            velocity=VelocityConfig(),
            max_batch=100,
            now_ms=lambda: self.now,
            metrics=self.metrics,
            cases=CaseSettings(),
        )
        self.control = ControlLogic(
            self.live, TOPICS.control_acks, subtask=0, subtasks=1, now_ms=lambda: self.now
        )
        self.restored = [acked(each) for each in self.control.restore(list(self.kept.items()))]

    def publish(self, name: str, text: str) -> ControlAck:
        message = ControlMessage(
            kind="media_bank", name=name, text=text, file="delta.yaml", published_at=WHEN
        )
        key = f"media_bank/{name}"
        (answer,) = self.control.on_message(key, msgspec.json.encode(message))
        if answer.keep and answer.value:
            self.kept[key] = answer.value
        return acked(answer.ack)

    def take(self, raw: bytes, topic: str) -> None:
        self._offset += 1
        arrived = Arrived(raw, topic, 0, self._offset, int(self.now), SINGLE)
        self.out += self.logic.on_record("u1", arrived, self.state, self.cases)
        for records in self.logic.on_tick("u1", self.state, self.cases):
            self.out += records

    def upload(self, content_id: str = "c1", **fields: Any) -> None:
        media = {"content_type": "image", "media_uri": "file:///p.png", "text": None} | fields
        topic = TOPICS.content_text if media["content_type"] == "text" else TOPICS.content_image
        self.take(payload(content_id, **media), topic)

    def decisions(self) -> list[Decision]:
        return [
            msgspec.json.decode(record.value, type=Decision)
            for record in self.out
            if record.topic == TOPICS.decisions
        ]

    def waits(self) -> list[bytes]:
        return [record.value for record in self.out if record.topic == TOPICS.rescan]

    def until(self, condition: Callable[[], bool]) -> None:
        """Texts come in until something is so: banks are looked for while batches are decided."""
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline
            self.upload(f"t{time.monotonic()}", content_type="text", text="hello", media_uri=None)
            time.sleep(0.01)


def acked(record: Record) -> ControlAck:
    return msgspec.json.decode(record.value, type=ControlAck)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "AGAIN_S", 0.0)


@pytest.mark.usefixtures("soon")
def test_decisions_say_it_and_are_made_again_when_the_bank_is_back(shelf: Shelf) -> None:
    path = shelf.bank_file(kind="pdq")
    shelf.away()
    job = Job(path)
    job.upload("text", content_type="text", text="hello there", media_uri=None)
    job.upload()
    job.take(encode_evidence(PICTURE), TOPICS.evidence)
    text, interim, final = job.decisions()
    assert [BANKS in each.degraded for each in (text, interim, final)] == [False, False, True]
    # The other bank knows it, and acts.
    assert [each.id for each in final.evidence if each.kind == "bank"] == ["more/m"]
    (waiting,) = job.waits()
    assert job.metrics.value("degraded", dependency=BANKS) == 1
    # The rescan job waits as it does for a store, and says nothing meanwhile.
    rescan = Rescan()
    rescan.take(waiting)
    assert rescan.run(3600) == []
    shelf.back()
    (found,) = rescan.run(3600)
    assert rescan.run(36_000) == []
    key, value = published(found)
    assert (key, decode_evidence(value).hashes) == (b"u1", PICTURE.hashes)
    assert found.evidence_id != PICTURE.evidence_id
    job.until(lambda: not job.live.cascade.media_banks.away)  # type: ignore[union-attr]
    job.take(value, TOPICS.evidence)
    last = job.decisions()[-1]
    assert (last.revision, last.action, last.category) == (2, "remove", "csam")
    assert BANKS not in last.degraded
    assert len({each.moderation_id for each in job.decisions()}) == len(job.decisions())
    # Delivered again it changes nothing, and the upload is not kept any more.
    count = len(job.out)
    job.take(value, TOPICS.evidence)
    job.take(encode_evidence(PICTURE), TOPICS.evidence)
    assert len(job.out) == count
    assert len(job.waits()) == 1


@pytest.mark.usefixtures("soon")
def test_a_message_is_kept_over_a_restart_until_its_snapshot_is_there(shelf: Shelf) -> None:
    job = Job(shelf.bank_file(kind="pdq", value=OTHER))
    delta = f"version: 1\nmedia_bank: known\n{shelf.write('newer', KNOWN, kind='pdq')}"
    shelf.away()
    before = job.live.applied()
    ack = job.publish("known", delta)
    assert (ack.ok, "cannot be read" in ack.error) == (False, True)
    assert ack.applied == before == job.live.applied()
    job.upload()
    job.take(encode_evidence(PICTURE), TOPICS.evidence)
    assert BANKS in job.decisions()[-1].degraded
    assert [each.bank for each in decode_bank_wait(job.waits()[0]).banks] == ["known"]
    job.start()
    assert [each.ok for each in job.restored] == [False]
    shelf.back()
    job.until(lambda: "message:media_bank/known" in job.live.applied())
    applied = job.live.applied()
    assert applied["message:media_bank/known"] == ack.digest
    assert applied["banks_hash"] != before["banks_hash"]
    job.upload("c2")
    job.take(encode_evidence(msgspec.structs.replace(PICTURE, content_id="c2")), TOPICS.evidence)
    last = job.decisions()[-1]
    assert (last.category, BANKS in last.degraded) == ("csam", False)
    # Withdrawn while it waits, it is not waited for.
    shelf.away()
    job.publish("known", delta.replace("newer", "nowhere"))
    job.live.withdraw("media_bank/known")
    assert "message:media_bank/known" not in job.live.applied()


def test_a_look_that_takes_long_holds_up_no_batch(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, soon: None
) -> None:
    job = Job(shelf.bank_file())
    shutil.rmtree(shelf.folder)
    job.start()
    entered = []

    def slow(self: MediaBanks, away: object) -> bool:
        entered.append(away)
        time.sleep(1.0)
        return False

    monkeypatch.setattr(MediaBanks, "any_back", slow)
    began = time.monotonic()
    for number in range(20):
        job.upload(f"t{number}", content_type="text", text="hello", media_uri=None)
    assert time.monotonic() - began < 0.8
    assert len(entered) == 1
    assert isinstance(job.live, LiveCascade)
