"""Campaigns as tests make them: copies of texts, users, communities, and state that is a dict."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from operators.campaign_count import CountLogic, encode_crossing
from operators.campaign_registry import RegistryLogic
from operators.campaign_sign import SignLogic
from operators.campaign_state import decode_copy
from operators.feedback_logic import Arrival
from operators.metrics import Metrics
from operators.moderation_logic import Record
from schemas.campaign import Campaign
from schemas.campaign_job import CampaignsDocument
from schemas.control import ControlMessage
from schemas.settings import LimitSettings
from schemas.topics import topics
from tests.fakes import Memory
from udfs.banks import ExactBanks
from udfs.campaign_good import KnownGood
from udfs.media_banks import MediaBanks

TOPICS: Final = topics("moderation")
START: Final = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
START_MS: Final = int(START.timestamp() * 1000)
MINUTE: Final = 60_000
TEXT: Final = (
    "Only today our trading room gives away a starting balance, write to the manager of the room"
    " on telegram and tell him the code {n} before midnight."
)
EXACT: Final = TEXT.format(n="4821")


def config(**more: Any) -> CampaignsDocument:
    """The defaults, with some sections of one's own."""
    return CampaignsDocument.model_validate({"version": 1, **more})


def upload(
    number: int,
    text: str = TEXT,
    *,
    user: str | None = None,
    community: str | None = None,
    age_days: float | None = 1.0,
    minute: float = 0.0,
    **more: Any,
) -> Arrival:
    """One upload, by a user of its own unless one is named."""
    document: dict[str, Any] = {
        "content_id": f"c{number}",
        "content_type": "text",
        "user_id": user or f"u{number}",
        "created_at": START.isoformat(),
        "text": text,
        **more,
    }
    if community is not None:
        document["community_id"] = community
    at = START + dt.timedelta(minutes=minute)
    if age_days is not None:
        document["account"] = {"created_at": (at - dt.timedelta(days=age_days)).isoformat()}
    topic = TOPICS.for_content_type(document["content_type"])
    return Arrival(json.dumps(document).encode(), topic, 0, number, int(at.timestamp() * 1000))


class Table:
    """State by name."""

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}

    def items(self) -> list[tuple[str, bytes]]:
        return list(self.rows.items())

    def put(self, key: str, value: bytes) -> None:
        self.rows[key] = value

    def remove(self, key: str) -> None:
        self.rows.pop(key, None)


class Job:
    """The three operators, one after the other, without an engine."""

    def __init__(self, config: CampaignsDocument, banks: str = "", media_banks: str = "") -> None:
        self.metrics = Metrics()
        self.now_ms = float(START_MS)
        self._files = (
            f"version: 1\nbanks:\n{banks}" if banks else "version: 1\nbanks: []\n",
            f"version: 1\nbanks:\n{media_banks}" if media_banks else "version: 1\nbanks: []\n",
        )
        self._config = config
        self._sign = SignLogic(config, TOPICS, LimitSettings(), self.metrics)
        self._count = CountLogic(config, self.metrics)
        self._media: dict[str, Memory] = {}
        self.groups: dict[str, Memory] = {}
        self.kept, self.messages = Table(), Table()
        self.records: list[Record] = []
        self.due_ms: int | None = None
        self.restart()

    def restart(self) -> None:
        """The registry anew, from its state."""
        texts, media = self._files
        good = KnownGood(
            ExactBanks.parse(texts),
            MediaBanks.parse(media),
            self._config.known_good,
            self._config.texts.similarity,
        )
        self._registry = RegistryLogic(
            self._config, TOPICS, good, now_ms=lambda: self.now_ms, metrics=self.metrics
        )

    def take(self, arrivals: Iterable[Arrival]) -> Job:
        """Uploads and evidence, in this order."""
        for arrival in arrivals:
            content = json.loads(arrival.raw)["content_id"]
            media = self._media.setdefault(content, Memory())
            for signed in self._sign.on_record(content, arrival, media):
                group = self.groups.setdefault(signed.key, Memory())
                copy = decode_copy(signed.copy)
                told = self._count.on_copy(signed.family, copy, group)
                if told is not None:
                    self._note(
                        self._registry.on_crossing(encode_crossing(told), self.kept, self.messages)
                    )
        return self

    def control(self, key: str, value: bytes | None) -> None:
        """A record of the control topic."""
        self._note(self._registry.on_control(key, value, self.kept, self.messages))

    def publish(self, kind: Any, name: str, text: str) -> None:
        """A person's control message."""
        message = ControlMessage(kind=kind, name=name, text=text, author="ann", published_at=START)
        self.control(message.key, msgspec.json.encode(message))

    def read_back(self) -> None:
        """What the job has written to the control topic comes back to it."""
        for record in self.of(TOPICS.control):
            self.control(record.key.decode(), record.value or None)

    def wake(self, at_ms: float) -> None:
        """The clock, and the timer."""
        self.now_ms = at_ms
        self._note(self._registry.on_timer(self.kept, self.messages))

    def of(self, topic: str) -> list[Record]:
        return [record for record in self.records if record.topic == topic]

    def campaigns(self) -> list[Campaign]:
        """Every revision that was told, in order."""
        return [
            msgspec.json.decode(record.value, type=Campaign) for record in self.of(TOPICS.campaigns)
        ]

    def banks(self) -> dict[str, str]:
        """The text of each bank that is published now, by its control key."""
        published: dict[str, str] = {}
        for record in self.of(TOPICS.control):
            key = record.key.decode()
            published.pop(key, None)
            if record.value:
                published[key] = msgspec.json.decode(record.value, type=ControlMessage).text
        return published

    def _note(self, told: Any) -> None:
        self.records += told.records
        self.due_ms = told.due_ms


def crowd(count: int, text: str = EXACT, **more: object) -> list[Arrival]:
    return [upload(n, text, minute=n / 100, **more) for n in range(count)]  # type: ignore[arg-type]  # of upload's own


def varied(count: int) -> list[Arrival]:
    """Copies that differ: another code, another word in front, another end."""
    fronts = ["Hi all.", "Look:", "My friends!", "Good news,", "Hello"]
    ends = ["Hurry!", "Thanks", "It works, I tried", "xoxo", "See you there"]
    texts = [
        f"{fronts[n % 5]} {TEXT.format(n=1000 + 37 * n)} {ends[n // 5 % 5]}" for n in range(count)
    ]
    return [upload(n, text, minute=n / 100) for n, text in enumerate(texts)]


def newest(job: Job) -> Campaign:
    *_, last = job.campaigns()
    return last
