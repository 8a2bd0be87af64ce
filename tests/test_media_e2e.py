"""The media job: a real broker, a real mini-cluster, real and hostile media."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from schemas.decision import Decision
from schemas.evidence import MediaEvidence, decode_evidence
from schemas.settings import Settings
from scripts.cli.consume import Record, open_consumer, poll
from scripts.cli.flink_cluster import FlinkCluster
from tests.fakes import payload
from tests.media_kit import clip, lettering, photo, png_bomb, saved, write_colours
from tests.running_cluster import Submitter
from tests.running_job import Answers, RunningJob, line, publish

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


POISON = payload("p", text=None, content_type="image")


class RunningMediaJob(RunningJob):
    """`scripts/run_media` in a process."""

    module = "scripts.cli.run_media"


class Evidence:
    """Reads the evidence topic from its beginning."""

    def __init__(self, settings: Settings) -> None:
        self._consumer = open_consumer(settings, [settings.topics.evidence], from_beginning=True)
        self.records: list[Record] = []
        self.found: dict[str, list[MediaEvidence]] = {}

    def until(self, count: int, timeout_s: float = 120) -> None:
        """Read until so many contents have evidence."""
        deadline = time.monotonic() + timeout_s
        while len(self.found) < count:
            self._take(poll(self._consumer, 200))
            assert time.monotonic() < deadline, f"evidence of {sorted(self.found)} alone"

    def settle(self, seconds: float = 1.0) -> None:
        """Read what still comes."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._take(poll(self._consumer, 100))

    def close(self) -> None:
        self._consumer.close()

    def _take(self, new: list[Record]) -> None:
        self.records += new
        for record in new:
            evidence = decode_evidence(record.value)
            self.found.setdefault(evidence.content_id, []).append(evidence)


def config(folder: Path, ocr: str = "rapidocr") -> Path:
    """`conf/media.yaml` of a test."""
    path = folder / "media.yaml"
    path.write_text(
        "version: 1\n"
        f"fetch: {{folders: [{folder}]}}\n"
        "sandbox: {image_wall_s: 6, image_cpu_s: 5}\n"
        f"ocr: {{engine: {ocr}}}\n"
        "speech: {engine: none}\n"
        f"pixels: {{models: [{write_colours(folder / 'colours')}]}}\n"
    )
    return path


def below(process: int, words: str) -> list[int]:
    """Processes that one started, or those did, whose command line holds the words."""
    family = {process}
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in family} - family
        family |= more
        grown = bool(more)
    found = []
    for pid in family - {process}:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if words in command:
            found.append(pid)
    return found


def test_media_become_evidence_whatever_they_are(stack_settings: Settings, tmp_path: Path) -> None:
    media = {
        "letter.png": (saved(lettering("FREE MONEY")), "image"),
        "photo.jpg": (saved(photo(), "JPEG"), "image"),
        "film.mp4": (clip([photo(160, 120, seed // 20) for seed in range(60)]), "video"),
        "bomb.png": (png_bomb(30_000, 3_000), "image"),
        "empty.png": (b"", "image"),
        "page.png": (b"<html>", "image"),
        "noise.mp4": (b"\0\0\0\x18ftypisom" + bytes(3000), "video"),
    }
    lines = []
    for name, (data, kind) in media.items():
        (tmp_path / name).write_bytes(data)
        value = payload(name, f"user of {name}", text=None, content_type=kind,
                        media_uri=f"file://{tmp_path}/{name}")  # fmt: skip
        # A record under another's key still reaches its own user's state.
        lines.append(line(value, b"somebody", kind))
    refused = payload("refused", "u", text=None, content_type="image", media_uri="http://10.0.0.1/")
    text = payload("text", "u")
    poison = [b"", b"{", b"null", b"\xff", POISON]
    lines += [line(value, b"u", "image") for value in (refused, text, *poison)]
    publish(stack_settings, lines)
    with RunningMediaJob(
        stack_settings, tmp_path / "checkpoints", "--bounded",
        SLUICE_MEDIA__CONFIG=str(config(tmp_path)),
    ) as job:  # fmt: skip
        assert job.wait() == 0
        evidence = Evidence(stack_settings)
        evidence.until(len(media) + 1)
        evidence.settle()
    evidence.close()
    assert all(len(each) == 1 for each in evidence.found.values())
    found = {name: each[0] for name, each in evidence.found.items()}
    assert set(found) == {*media, "refused"}
    keys = {decode_evidence(record.value).user_id: record.key for record in evidence.records}
    assert all(key is not None and key.decode() == user for user, key in keys.items())
    assert [text.text for text in found["letter.png"].texts] == ["FREE MONEY"]
    assert found["photo.jpg"].hashes.pdq
    assert set(found["photo.jpg"].scores) == {"nudity", "gore"}
    assert len([f for f in found["film.mp4"].hashes.frames if f.why == "cut"]) == 2
    kinds = {
        name: (each.errors[0].kind, each.errors[0].step)
        for name, each in found.items()
        if each.errors
    }
    assert kinds == {
        "bomb.png": ("pixel_limit", "decode"),
        "empty.png": ("empty", "fetch"),
        "page.png": ("unsupported_type", "identify"),
        "noise.mp4": ("malformed", "probe"),
        "refused": ("refused", "fetch"),
    }
    check_decisions(stack_settings, found, tmp_path)


def check_decisions(settings: Settings, evidence: dict[str, MediaEvidence], folder: Path) -> None:
    """The moderation job, on the same topics: held first, then decided with what was found."""
    banks = folder / "media_banks.yaml"
    known = evidence["photo.jpg"].hashes.pdq[3]  # as it is when it is turned
    banks.write_text(
        "version: 1\n"
        "banks:\n"
        f"  - {{id: known, kind: pdq, category: csam, entries: [{{hash: '{known}', id: one}}]}}\n"
    )
    with RunningJob(
        settings, folder / "moderation", "--bounded", SLUICE_CASCADE__MEDIA_BANKS=str(banks)
    ) as job:
        assert job.wait() == 0
    answers = Answers(settings)
    answers.until(lambda a: a.count() >= 2 * len(evidence) + 1, timeout_s=60)
    answers.settle()
    answers.close()
    by_content: dict[str, list[Decision]] = {}
    for decision in answers.decisions():
        by_content.setdefault(decision.content_id, []).append(decision)
    assert len(by_content.pop("text")) == 1
    assert set(by_content) == set(evidence)
    for held, decided in by_content.values():
        assert (held.revision, held.interim) == (0, True)
        assert (decided.revision, decided.interim) == (1, False)
    final = {name: each[1] for name, each in by_content.items()}
    assert (final["photo.jpg"].action, final["photo.jpg"].category) == ("remove", "csam")
    (match,) = [each for each in final["photo.jpg"].evidence if each.kind == "bank"]
    assert (match.id, match.source) == ("known/one", "pixels")
    # Nobody knows what they show, or no model looked for everything: people decide.
    for name in ("bomb.png", "empty.png", "page.png", "noise.mp4", "refused"):
        assert (final[name].status, final[name].degraded) == ("pending_review", ["evidence"])
    assert "evidence.self_harm" in final["film.mp4"].degraded
    letters = {letter.raw for letter in answers.letters()}
    assert letters == {b"", b"{", b"null", b"\xff", POISON}


def test_on_a_cluster_it_goes_on_when_its_processes_are_killed(
    stack_settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(saved(photo(), "JPEG"))
    evidence = Evidence(stack_settings)

    def send(name: str) -> None:
        value = payload(name, "u", text=None, content_type="image",
                        media_uri=f"file://{tmp_path}/photo.jpg")  # fmt: skip
        publish(stack_settings, [line(value, b"u", "image")])

    with FlinkCluster(tmp_path / "cluster", quick=True, die_with_parent=True) as cluster:
        submitter = Submitter(cluster.up(1), stack_settings, tmp_path)
        submitter.submit("--job", "media", SLUICE_MEDIA__CONFIG=str(config(tmp_path, ocr="none")))
        send("before")
        evidence.until(1)
        # The process that decoders are forked from is killed, then the one that asks it.
        for number, words in enumerate(("operators.media_nursery", "pyflink.fn_execution")):
            killed = below(os.getpid(), words)
            assert killed, words
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
            send(f"after {words}")
            evidence.until(number + 2)
        evidence.settle()
    evidence.close()
    assert len(evidence.found) == 3
    for each in evidence.found.values():
        # What came twice after the restart has the same id, and says the same.
        assert len({one.evidence_id for one in each}) == 1
        assert all(one.hashes == each[0].hashes for one in each)
        assert each[0].hashes.pdq
        assert set(each[0].scores) == {"nudity", "gore"}
