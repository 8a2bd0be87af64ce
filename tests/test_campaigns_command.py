"""`scripts/campaigns`: what it lists, what it publishes, and what it says of the answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self

import msgspec
import pytest

from schemas.campaign import Campaign, campaign_id
from schemas.control import ControlAck, ControlMessage
from schemas.errors import SluiceError
from scripts.cli import campaigns
from scripts.cli.consume import Record
from scripts.cli.control_topic import Published, Replies
from tests.campaign_kit import EXACT, START, TOPICS, Job, config, crowd, newest, varied
from udfs.banks import ExactBanks, hash_text


class Topic:
    """The control topic, with one subtask that answers as a test says."""

    ok = True
    published: ClassVar[list[ControlMessage]] = []
    withdrawn: ClassVar[list[str]] = []

    def __init__(self, settings: Any) -> None:
        del settings

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self) -> Published:
        return Published({message.key: message for message in self.published}, {})

    def publish(self, message: ControlMessage) -> None:
        self.published.append(message)

    def withdraw(self, key: str) -> None:
        self.withdrawn.append(key)

    def wait(self, key: str, digest: str, timeout_s: float) -> Replies:
        del timeout_s
        error = "" if self.ok else "it is wrong"
        ack = ControlAck(
            key=key, digest=digest, ok=self.ok, error=error, restored=False, subtask=0,
            subtasks=1, applied={}, timestamp=START,
        )  # fmt: skip
        return Replies([ack], 1)


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Topic]]:
    monkeypatch.setattr(campaigns, "ControlTopic", Topic)
    Topic.ok, Topic.published, Topic.withdrawn = True, [], []
    yield Topic


def found(monkeypatch: pytest.MonkeyPatch, job: Job) -> Campaign:
    """The campaigns of a job, as on the topic; gives the newest."""
    records = [
        Record(TOPICS.campaigns, 0, offset, 0, record.key, record.value)
        for offset, record in enumerate(job.of(TOPICS.campaigns))
    ]
    told = campaigns.newest(records)
    monkeypatch.setattr(campaigns, "read", lambda _: told)
    return newest(job)


def run(*arguments: str) -> Any:
    """Gives the exit status where it is not 0."""
    return campaigns.app(list(arguments), standalone_mode=False)


def test_the_newest_revision_counts_and_a_campaign_that_comes_back_is_newer() -> None:
    first = newest(Job(config()).take(crowd(10)))
    later = msgspec.structs.replace(first, revision=3)
    back = msgspec.structs.replace(
        first, last_seen=first.last_seen.replace(year=2027), expires_at=first.expires_at
    )
    values = [msgspec.json.encode(each) for each in (later, first, back)]
    records = [Record("t", 0, n, 0, b"k", value) for n, value in enumerate(values)]
    assert campaigns.newest([*records[:2], Record("t", 0, 9, 0, b"k", b"{")]) == [later]
    assert campaigns.newest(records) == [back]


def test_a_campaign_is_found_by_how_its_id_begins() -> None:
    one = newest(Job(config()).take(crowd(10)))
    assert campaigns.find([one], one.campaign_id[:5]) == one
    with pytest.raises(SluiceError, match="no campaign zzz"):
        campaigns.find([one], "zzz")
    other = msgspec.structs.replace(one, campaign_id=campaign_id("text", b"other"))
    with pytest.raises(SluiceError, match="begins 2 campaigns"):
        campaigns.find([one, other], "")


def test_list_shows_those_that_are_live(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job(config()).take(crowd(10))
    one = found(monkeypatch, job)
    run("list")
    assert one.campaign_id in capsys.readouterr().out
    job.wake(one.expires_at.timestamp() * 1000 + 3_600_001)
    found(monkeypatch, job)
    run("list")
    assert "no campaign" in capsys.readouterr().out
    run("list", "--all", "--json")
    assert '"status":"ended"' in capsys.readouterr().out


def test_act_publishes_the_bank_so_that_it_decides(
    monkeypatch: pytest.MonkeyPatch, topic: type[Topic], capsys: pytest.CaptureFixture[str]
) -> None:
    one = found(monkeypatch, Job(config()).take(crowd(10)))
    run("act", one.campaign_id, "--comment", "fraud")
    [message] = topic.published
    assert (message.key, message.comment) == (one.control_key, "fraud")
    [match] = ExactBanks.parse("version: 1\n").with_delta(message.text).match(hash_text(EXACT))
    assert not match.observe_only
    assert "in force" in capsys.readouterr().out
    topic.ok = False
    assert run("act", one.campaign_id) == 1
    assert "REFUSED: it is wrong" in capsys.readouterr().out


def test_dismiss_takes_the_bank_back_and_keeps_the_content_as_good(
    monkeypatch: pytest.MonkeyPatch, topic: type[Topic]
) -> None:
    one = found(monkeypatch, Job(config()).take(varied(25)))
    run("dismiss", one.campaign_id, "--comment", "a song")
    assert topic.withdrawn == [one.control_key]
    [message] = topic.published
    banks = ExactBanks.parse("version: 1\n").with_delta(message.text)
    matches = banks.match(one.hashes[0])
    assert [(match.polarity, match.category) for match in matches] == [("good", "spam")]
    assert banks.good_near(bytes.fromhex(one.sketch))
    # The same content once more is the same entry.
    assert banks.with_delta(message.text).hash == banks.hash


def test_what_has_ended_cannot_act(monkeypatch: pytest.MonkeyPatch, topic: type[Topic]) -> None:
    job = Job(config()).take(crowd(10))
    job.wake(newest(job).expires_at.timestamp() * 1000 + 3_600_001)
    one = found(monkeypatch, job)
    with pytest.raises(SluiceError, match="is ended: its bank is over"):
        run("act", one.campaign_id)
    assert not topic.published
