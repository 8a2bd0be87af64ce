"""The campaigns job on a real broker: over a restart, to a bank that matches, and taken back."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from operators.compose import compose_cascade
from schemas.campaign import Campaign
from schemas.control import ControlMessage
from schemas.settings import Settings
from scripts.cli import campaigns
from scripts.cli.consume import Record, open_consumer, poll
from tests.campaign_kit import TEXT, upload
from tests.running_job import RESUMED_WITHIN_S, RunningJob, line, publish

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

OTHER = (
    "Whoever finds the grey cat of number nine gets a jar of plum jam, she answers to the name of"
    " Duchess and fears dogs and bicycles."
)


class RunningCampaignsJob(RunningJob):
    """`scripts/run_campaigns` in a process."""

    module = "scripts.cli.run_campaigns"


class Outputs:
    """Reads campaigns and control messages from their beginning."""

    def __init__(self, settings: Settings) -> None:
        self._topics = settings.topics
        names = [self._topics.campaigns, self._topics.control]
        self._consumer = open_consumer(settings, names, from_beginning=True)
        self.campaigns: list[Campaign] = []
        self.control: list[Record] = []

    def until(self, enough: Callable[[Outputs], bool], job: RunningJob) -> None:
        deadline = time.monotonic() + RESUMED_WITHIN_S
        while not enough(self):
            for record in poll(self._consumer, 200):
                if record.topic == self._topics.control:
                    self.control.append(record)
                else:
                    self.campaigns.append(msgspec.json.decode(record.value, type=Campaign))
            assert job.process.poll() is None, job.said()
            assert time.monotonic() < deadline, [
                (each.kind, each.status, each.users) for each in self.campaigns
            ]

    def published(self) -> dict[str, ControlMessage]:
        """What holds now, by key."""
        found: dict[str, ControlMessage] = {}
        for record in self.control:
            key = (record.key or b"").decode()
            if key.startswith("history/"):
                continue
            found.pop(key, None)
            if record.value:
                found[key] = msgspec.json.decode(record.value, type=ControlMessage)
        return found

    def close(self) -> None:
        self._consumer.close()


def fresh(number: int, text: str) -> bytes:
    """An upload of an account that was made just now, by the broker's time."""
    made = dt.datetime.now(dt.UTC).isoformat()
    return upload(number, text, age_days=None, account={"created_at": made}).raw


def send(settings: Settings, texts: list[str], first: int) -> None:
    uploads = [fresh(first + n, text) for n, text in enumerate(texts)]
    publish(settings, [line(raw, b"?") for raw in uploads])


def wait_for_checkpoint(folder: Path, job: RunningJob) -> None:
    """One that was begun after now."""
    since, deadline = time.time(), time.monotonic() + 60
    while True:
        begun = [path.parent.stat().st_ctime for path in folder.rglob("chk-*/_metadata")]
        if any(moment > since + 1.5 for moment in begun):
            return
        assert job.process.poll() is None, job.said()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_campaign_over_a_restart_becomes_a_bank_and_is_dismissed(
    stack_settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = stack_settings
    # Banks of the first run are over when the second one begins; its own are not.
    env = [
        {
            "SLUICE_CAMPAIGNS__CONFIG": str(tmp_path / f"{hours}.yaml"),
            "SLUICE_CAMPAIGNS__CHECKPOINT_INTERVAL_MS": "1000",
        }
        for hours in (0.001, 1.0)
    ]
    for hours in (0.001, 1.0):
        text = f"version: 1\nbank: {{expires_hours: {hours}, keep_hours: 0}}\n"
        (tmp_path / f"{hours}.yaml").write_text(text)
    outputs = Outputs(settings)
    checkpoints = tmp_path / "checkpoints"
    scam = [f"{front} {TEXT.format(n=n)}" for n, front in enumerate(["Hi", "Look:", "Hello"] * 6)]
    with RunningCampaignsJob(settings, checkpoints, **env[0]) as job:
        # Too few of the one, and enough of the other to see that they were read.
        send(settings, [*scam[:8], *[OTHER] * 10], 0)
        outputs.until(lambda found: bool(found.campaigns), job)
        wait_for_checkpoint(checkpoints, job)
        job.kill()
    assert {each.kind for each in outputs.campaigns} == {"exact"}
    send(settings, [*scam[8:], "not a campaign, but a text that somebody wrote"], 100)
    with RunningCampaignsJob(settings, checkpoints, "--resume", **env[1]) as job:
        outputs.until(
            lambda found: (
                any(each.kind == "near" for each in found.campaigns)
                and any(b"add_near" in record.value for record in found.control)
            ),
            job,
        )
        near = next(each for each in outputs.campaigns if each.kind == "near")
        message = outputs.published()[near.control_key]
        assert message.author == "campaigns job"
        assert {int(name[1:]) // 100 for name in near.examples} == {0, 1}, "of before and after"
        # The moderation job takes the message; a later copy carries it as evidence.
        live = compose_cascade(without_models(settings))
        live.apply(message)
        copy = upload(500, f"Good evening! {TEXT.format(n=909)}")
        at_ms = int(near.last_seen.timestamp() * 1000)
        decision = live.moderate([live.prepare(copy.raw, at_ms)], at_ms)[0].decision
        [found] = [each for each in decision.evidence if each.kind == "bank"]
        assert found.id.startswith(f"{near.bank}/")
        assert found.observe_only
        assert decision.stage != "bank"
        for name in ("BOOTSTRAP", "TOPIC_PREFIX"):
            value = getattr(settings.kafka, name.lower())
            monkeypatch.setenv(f"SLUICE_KAFKA__{name}", value)
        for name, value in env[1].items():
            monkeypatch.setenv(name, value)
        # Nobody moderates here, so nobody answers; what was said is on the topic.
        with pytest.raises(SystemExit) as left:
            campaigns.app(["dismiss", near.campaign_id, "--comment", "a song", "--timeout", "0.1"])
        assert left.value.code == 1
        outputs.until(
            lambda found: (
                any(each.status == "known_good" for each in found.campaigns)
                # What nobody touched ends by itself, and its bank is taken back.
                and any(each.status == "ended" for each in found.campaigns)
            ),
            job,
        )
        good = [key for key in outputs.published() if "known_good" in key]
        assert good
        assert near.control_key not in outputs.published()
        assert job.stop() == 0
    outputs.close()
    capsys.readouterr()
    campaigns.app(["list", "--all", "--json"], standalone_mode=False)
    listed = [
        msgspec.json.decode(row, type=Campaign) for row in capsys.readouterr().out.splitlines()
    ]
    assert {each.status for each in listed} == {"ended", "known_good"}
    campaigns.app(["show", near.campaign_id[:12]], standalone_mode=False)
    assert msgspec.json.decode(capsys.readouterr().out)["published"] is None


def without_models(settings: Settings) -> Settings:
    """The cascade by banks and rules alone."""
    cascade = settings.cascade.model_copy(update={"fast_text": None, "deep_text": None})
    redis = settings.redis.model_copy(update={"enabled": False})
    return settings.model_copy(update={"cascade": cascade, "redis": redis})
