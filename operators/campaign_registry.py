"""Keeps the campaigns that are live: joins what groups of copies tell, makes and ends banks.

One instance sees everything: groups tell little. The control topic is read as well, so that what
a person says about a campaign's bank, and what known-good banks hold, counts here too. The clock
says when an expired bank's message is taken back, and nothing else: the bank has ended before by
the uploads' own time.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, Protocol

import msgspec

from operators.campaign_count import Crossing, decode_crossing
from operators.campaign_live import LIVES, Live, joined, representative
from operators.metrics import Metrics
from operators.moderation_logic import Record
from schemas.campaign import BANK_PREFIX, Campaign
from schemas.campaign_job import CampaignsDocument
from schemas.control import HISTORY, ControlMessage
from schemas.kept import StateError
from schemas.topics import Topics
from udfs.campaign_bank import bank_text
from udfs.campaign_good import KnownGood

_AUTHOR: Final = "campaigns job"


class Kept(Protocol):
    """State by name; Flink's MapState of bytes fits."""

    def items(self) -> list[tuple[str, bytes]]: ...
    def put(self, key: str, value: bytes) -> None: ...
    def remove(self, key: str) -> None: ...


class Told(NamedTuple):
    """What follows from one record or one timer."""

    records: list[Record]
    due_ms: int | None
    """When to look for campaigns that have ended, wall clock; None: nothing waits for a time."""


_encode: Final = msgspec.json.Encoder().encode


class RegistryLogic:
    """State machine of the one instance.

    Args:
        config: thresholds and banks.
        topics: where records go.
        good: what is known to be good.
        now_ms: wall clock, ms since the epoch.
        metrics: counts go here.
    """

    def __init__(
        self,
        config: CampaignsDocument,
        topics: Topics,
        good: KnownGood,
        *,
        now_ms: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._topics = topics
        self._good = good
        self._now_ms = now_ms
        self._events = metrics.counter("campaigns")
        self._banks = metrics.counter("campaign_banks")
        self._state_resets = metrics.counter("state_resets")
        self._keep_ms = config.bank.keep_hours * 3_600_000
        self._live: dict[str, Live] | None = None
        self._strays: dict[str, float] = {}
        """Keys of banks whose campaigns this job does not know (of before it lost its state, or
        published by a person later), and when they are taken back."""

    def on_crossing(self, raw: bytes, campaigns: Kept, messages: Kept) -> Told:
        """Take what a group of copies tells."""
        live = self._load(campaigns, messages)
        records = list(self._crossed(decode_crossing(raw), live, campaigns, messages))
        return Told(records, self._due(live))

    def on_control(self, key: str, value: bytes | None, campaigns: Kept, messages: Kept) -> Told:
        """Take one record of the control topic."""
        kind, _, name = key.partition("/")
        if key.startswith(HISTORY) or kind not in {"bank", "media_bank"}:
            return Told([], None)
        live = self._load(campaigns, messages)
        if name.startswith(BANK_PREFIX):
            self._answered(live, key, value, campaigns, messages)
            return Told([], self._due(live))
        if value:
            messages.put(key, value)
        else:
            messages.remove(key)
        self._good.put(key, value)
        records = [
            record
            for each in list(live.values())
            if self._good.knows(each.record)
            for record in self._end(each, live, campaigns, good=True)
        ]
        return Told(records, self._due(live))

    def on_timer(self, campaigns: Kept, messages: Kept) -> Told:
        """End the campaigns whose banks have expired."""
        live = self._load(campaigns, messages)
        now = self._now_ms()
        over = [each for each in live.values() if self._over_ms(each) <= now]
        records = [r for each in over for r in self._end(each, live, campaigns, good=False)]
        for key in [key for key, over_ms in self._strays.items() if over_ms <= now]:
            self._banks.add("taken_back")
            records.append(Record(self._topics.control, key.encode(), b""))
            del self._strays[key]
            messages.remove(key)
        return Told(records, self._due(live))

    def _load(self, campaigns: Kept, messages: Kept) -> dict[str, Live]:
        """What the state holds; read once, since nobody else writes it."""
        if self._live is None:
            self._live = {}
            for name, value in campaigns.items():
                try:
                    self._live[name] = LIVES.decode(value)
                except StateError:
                    # Its bank expires by itself; that is better than a job that fails for ever.
                    self._state_resets.add()
                    campaigns.remove(name)
            for key, value in sorted(messages.items()):
                terms = _terms(value)
                if not key.partition("/")[2].startswith(BANK_PREFIX):
                    self._good.put(key, value)
                elif terms is not None:
                    self._strays[key] = terms.ends_ms + self._keep_ms
        return self._live

    def _crossed(
        self, crossing: Crossing, live: dict[str, Live], campaigns: Kept, messages: Kept
    ) -> Iterator[Record]:
        config = self._config
        found = representative(crossing, config)
        if found is None:
            self._events.add("loose")
            return
        fresh = found.campaign(crossing, config)
        if self._good.knows(fresh):
            self._events.add("known_good")
            return
        before = next((each for _, each in sorted(live.items()) if found.joins(each, config)), None)
        if before is None and len(live) >= config.bounds.campaigns:
            self._events.add("full")
            return
        after = Live(fresh) if before is None else joined(before, fresh, config)
        if before is not None and after.record == before.record:
            return
        self._events.add("new" if before is None else "grown")
        live[after.record.campaign_id] = after
        # It may be one of before this job lost its state.
        if self._strays.pop(after.record.control_key, None) is not None:
            messages.remove(after.record.control_key)
        yield self._record(after.record)
        if (
            config.bank.mode != "off"
            and not after.withdrawn
            and self._over_ms(after) > self._now_ms()
        ):
            yield self._publish(after)
            after = msgspec.structs.replace(after, published=True)
            live[after.record.campaign_id] = after
        campaigns.put(after.record.campaign_id, LIVES.encode(after))

    def _answered(
        self,
        live: dict[str, Live],
        key: str,
        value: bytes | None,
        campaigns: Kept,
        messages: Kept,
    ) -> None:
        """A campaign's bank was published, by this job or by a person, or taken back."""
        name = key.partition("/")[2].removeprefix(BANK_PREFIX)
        terms = _terms(value) if value else None
        each = live.get(name)
        if each is None:
            if value and terms is not None:
                self._strays[key] = terms.ends_ms + self._keep_ms
                messages.put(key, value)
            elif self._strays.pop(key, None) is not None:
                messages.remove(key)
            return
        if value and terms is None:
            return
        after = msgspec.structs.replace(
            each,
            published=terms is not None,
            withdrawn=terms is None,
            observe_only=each.observe_only if terms is None else terms.observe_only,
        )
        live[name] = after
        campaigns.put(name, LIVES.encode(after))

    def _end(
        self, each: Live, live: dict[str, Live], campaigns: Kept, *, good: bool
    ) -> Iterator[Record]:
        record = each.record
        self._events.add("dismissed" if good else "ended")
        yield self._record(
            msgspec.structs.replace(
                record,
                revision=record.revision + 1,
                status="known_good" if good else "ended",
            )
        )
        if each.published:
            self._banks.add("taken_back")
            yield Record(self._topics.control, record.control_key.encode(), b"")
        del live[record.campaign_id]
        campaigns.remove(record.campaign_id)

    def _publish(self, each: Live) -> Record:
        config, record = self._config, each.record
        observe = config.bank.mode != "act" if each.observe_only is None else each.observe_only
        text = bank_text(
            record,
            confidence=config.bank.confidence,
            similarity=config.texts.similarity,
            distance=config.pictures.distance,
            observe_only=observe,
        )
        self._banks.add("published")
        message = ControlMessage(
            kind="media_bank" if record.kind == "picture" else "bank",
            name=record.bank,
            text=text,
            file="campaigns",
            author=_AUTHOR,
            comment=f"{record.users} users, {record.uploads} uploads, revision {record.revision}",
            # The uploads' time: the same message whenever the job comes to it.
            published_at=record.last_seen,
        )
        return Record(self._topics.control, message.key.encode(), _encode(message))

    def _record(self, campaign: Campaign) -> Record:
        return Record(self._topics.campaigns, campaign.campaign_id.encode(), _encode(campaign))

    def _over_ms(self, each: Live) -> float:
        return each.record.expires_at.timestamp() * 1000 + self._keep_ms

    def _due(self, live: dict[str, Live]) -> int | None:
        ends = [self._over_ms(each) for each in live.values()] + [*self._strays.values()]
        first = min(ends, default=None)
        return None if first is None or math.isinf(first) else int(max(first, self._now_ms())) + 1


class _Terms(NamedTuple):
    """What a campaign's bank says about itself."""

    observe_only: bool
    ends_ms: float


def _terms(value: bytes) -> _Terms | None:
    """Terms of a bank by its message; None where it cannot be read."""
    try:
        text = msgspec.json.decode(value, type=_Text).text
        document = msgspec.yaml.decode(text, type=_Delta)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    # Without an end it is a person's, who takes it back as well.
    ends_ms = math.inf if document.expires_at is None else document.expires_at.timestamp() * 1000
    return _Terms(document.observe_only, ends_ms)


class _Text(msgspec.Struct):
    text: str


class _Delta(msgspec.Struct):
    observe_only: bool = False
    expires_at: dt.datetime | None = None
