"""The whole job: a real broker, a real Redis, a real mini-cluster."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter, defaultdict
from pathlib import Path

import msgspec
import pytest

from operators.context_store import ContextStore
from schemas.decision import VOLATILE_FIELDS, Decision
from schemas.settings import Settings
from scripts.cli.upload_lines import UploadLine
from tests.fakes import payload
from tests.running_job import Answers, RunningJob, line, publish

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(500)]

HOSTILE = "you are a stupid idiot and everybody hates you"
START = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)

POISON = [
    b"",
    b"{",
    b"null",
    b"\xff\xfe{}",
    b'{"content_id": 7}',
    payload("p1", text=None),
    payload("p2", content_type="hologram"),
    payload("p3", created_at="yesterday"),
    payload("p4", user_id=""),
    payload("p5", text="x" * 60_000),
    payload("p6", nested=[]).replace(b"[]", b"[" * 500 + b"]" * 500),
    payload("p7")[:-20],
]


def at(seconds: float) -> str:
    return (START + dt.timedelta(seconds=seconds)).isoformat()


def keyed(content_id: str, user: str, text: str, seconds: float, **fields: object) -> UploadLine:
    value = payload(content_id, user, text=text, created_at=at(seconds), **fields)
    return line(value, user.encode())


def mixed_traffic(rng: random.Random) -> list[UploadLine]:
    """Clean users out of order, a flood, redeliveries, poison, wrong and missing keys."""
    lines = [
        keyed(f"clean-{i}", f"user-{i % 97}", f"a friendly note number {i}", rng.uniform(0, 7200))
        for i in range(1500)
    ]
    lines += [keyed(f"flood-{i}", "flooder", "buy cheap watches", 100 + i / 20) for i in range(120)]
    lines += [keyed(f"cruel-{i}", "bully", "go and kill yourself", i * 60) for i in range(5)]
    lines += [rng.choice(lines[:1500]) for _ in range(200)]
    lines += [line(value, rng.choice([None, b"k"])) for value in POISON]
    lines += [line(payload(f"nokey-{i}", "keyless"), None) for i in range(20)]
    lines += [line(payload(f"wrongkey-{i}", "mislaid"), f"other-{i}".encode()) for i in range(20)]
    lines += [
        line(payload(f"media-{i}", "painter", text=None, content_type="image", media_uri="s3://b/x"),
             b"painter", "image")
        for i in range(5)
    ]  # fmt: skip
    rng.shuffle(lines)
    return lines


def stable(decision: Decision) -> dict[str, object]:
    return {
        name: value
        for name, value in msgspec.structs.asdict(decision).items()
        if name not in VOLATILE_FIELDS
    }


def check_complete(lines: list[UploadLine], answers: Answers) -> None:
    """Every upload decided, every redelivery the same, every poison a dead letter."""
    sent: Counter[str] = Counter()
    poisoned: Counter[bytes] = Counter()
    for upload in lines:
        if upload.value in POISON:
            poisoned[upload.value] += 1
        else:
            sent[msgspec.json.decode(upload.value)["content_id"]] += 1
    decisions = answers.decisions()
    assert Counter(d.content_id for d in decisions if d.revision == 0) == sent
    assert Counter(letter.raw for letter in answers.letters()) == poisoned
    by_id: dict[str, dict[str, object]] = {}
    for decision in decisions:
        assert by_id.setdefault(decision.moderation_id, stable(decision)) == stable(decision)
    assert len({d.moderation_id for d in decisions if d.revision == 0}) == len(sent)


def heated_thread(settings: Settings, answers: Answers, before: int) -> list[UploadLine]:
    """Hostile posts of a thread, then an answer, twice, and one in another thread; gives them."""

    def post(name: str, text: str, thread: str = "heated") -> UploadLine:
        where = {"thread_id": thread, "parent_content_id": "root"}
        return line(payload(name, f"user of {name}", text=text, **where), None)

    first = [post(name, HOSTILE) for name in ("root", "reply-1", "reply-2", "reply-3")]
    publish(settings, first)
    answers.until(lambda a: a.count() == before + 4)
    # Nothing follows, and yet what they say has arrived.
    kept = ContextStore(settings.redis, settings.context).thread("heated").kept
    assert [each.entries for each in kept] == [4]
    answers.settle(settings.context.settle_ms / 1000 + 1)
    later = [post("answer", "thank you"), post("other", "thank you", "calm")]
    publish(settings, later)
    answers.until(lambda a: a.count() == before + 6)
    publish(settings, later[:1])
    answers.until(lambda a: a.count() == before + 7)
    return [*first, *later, later[0]]


def check_surroundings(answers: Answers) -> None:
    """The answer was told of its parent and its thread; a redelivery agrees anyhow."""
    by_content = {d.content_id: d for d in answers.decisions()}
    toxicity = max(by_content["root"].scores.values())
    assert toxicity > 0.5
    told, other = by_content["answer"].features, by_content["other"].features
    assert told["parent_toxicity"] == pytest.approx(toxicity, abs=0.001)
    assert told["thread_posts"] == 4
    assert 2 < told["thread_heat"] < 4
    assert other["parent_toxicity"] == told["parent_toxicity"]
    assert "thread_heat" not in other


def test_everything_is_accounted_for(stack_settings: Settings, tmp_path: Path) -> None:
    lines = mixed_traffic(random.Random(7))  # noqa: S311 - not for secrets
    answers = Answers(stack_settings)
    # Long enough not to take a busy test machine for a slow Redis.
    with RunningJob(stack_settings, tmp_path, SLUICE_REDIS__TIMEOUT_MS="1000") as job:
        job.wait_ready()
        publish(stack_settings, lines)
        answers.until(lambda a: a.count() >= len(lines))
        answers.settle()
        lines += heated_thread(stack_settings, answers, len(lines))
        assert job.stop() == 0
    check_complete(lines, answers)
    check_surroundings(answers)
    decisions = answers.decisions()
    by_user: dict[str, list[Decision]] = defaultdict(list)
    for decision in decisions:
        by_user[decision.user_id].append(decision)
    # A record without a key, or under another's, still counts for its own user.
    for user in ("keyless", "mislaid"):
        assert max(d.features["uploads_1d"] for d in by_user[user]) == 20
    assert max(d.features["uploads_1d"] for d in by_user["flooder"]) == 120
    assert any(d.action != "allow" for d in by_user["flooder"])
    for decision in by_user["painter"]:
        assert (decision.status, decision.action) == ("pending_review", "review")
        assert decision.interim
        assert "evidence" in decision.degraded
    # Outputs that go with decisions name them.
    known = {d.moderation_id for d in decisions}
    topics = stack_settings.topics
    for topic in (topics.audit, topics.review, topics.enforcement, topics.feedback):
        records = answers.raw(topic)
        assert records, topic
        assert {msgspec.json.decode(r.value)["moderation_id"] for r in records} <= known
    answers.close()


def test_a_bounded_run_decides_everything_and_ends(
    stack_settings: Settings, tmp_path: Path
) -> None:
    lines = mixed_traffic(random.Random(8))  # noqa: S311 - not for secrets
    publish(stack_settings, lines)
    with RunningJob(stack_settings, tmp_path, "--bounded") as job:
        assert job.wait() == 0
    answers = Answers(stack_settings)
    answers.until(lambda a: a.count() >= len(lines), timeout_s=60)
    answers.settle()
    check_complete(lines, answers)
    # Nothing more will come: what waited for evidence was decided without it.
    overdue = [d for d in answers.decisions() if d.revision]
    assert {d.user_id for d in overdue} == {"painter"}
    assert [(d.revision, d.interim) for d in overdue] == [(1, False)] * 5
    # On a busy machine Redis can miss its time-out.
    assert all({"evidence"} <= set(d.degraded) <= {"evidence", "redis"} for d in overdue)
    answers.close()


def test_after_a_kill_the_job_goes_on_without_loss_or_contradiction(
    stack_settings: Settings, tmp_path: Path
) -> None:
    """Back to the newest checkpoint: offsets, counters and waiting uploads agree."""
    total = 4000
    lines = [keyed(f"c{i}", f"user-{i % 50}", f"some note {i}", i / 10) for i in range(total)]
    answers = Answers(stack_settings)
    with RunningJob(stack_settings, tmp_path) as job:
        job.wait_ready()
        publish(stack_settings, lines[:1500])
        answers.until(lambda a: a.count() >= 1500)
        answers.settle(2.5)  # at least one checkpoint
        publish(stack_settings, lines[1500:])
        answers.until(lambda a: a.count() >= 1800)
        job.kill()
    with RunningJob(stack_settings, tmp_path, "--resume") as job:
        answers.until(lambda a: a.distinct() == total)
        answers.settle()
        assert job.stop() == 0
    assert not answers.letters()
    by_id: dict[str, Decision] = {}
    for decision in answers.decisions():
        first = by_id.setdefault(decision.moderation_id, decision)
        # What the heavy tier had time for before the kill it may not have time for after it.
        if ("deep_text" in first.degraded) == ("deep_text" in decision.degraded):
            assert stable(first) == stable(decision)
    assert len(by_id) == total
    # As if nothing had happened: each user's counter ended where the number of uploads says.
    highest: Counter[str] = Counter()
    for decision in answers.decisions():
        count = int(decision.features["uploads_1d"])
        highest[decision.user_id] = max(highest[decision.user_id], count)
    assert set(highest.values()) == {total // 50}
    answers.close()
