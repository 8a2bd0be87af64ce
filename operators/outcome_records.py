"""Turns outcomes into records for topics, and counts them."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from operators.dead_letters import dead_letter
from operators.metrics import Metrics
from operators.user_state import Arrived
from schemas.topics import Topics
from udfs.contracts import Outcome


class Record(NamedTuple):
    """One record for a topic."""

    topic: str
    key: bytes
    value: bytes


Scored = tuple[Record, ...]

_encode = msgspec.json.Encoder().encode


class OutcomeRecords:
    """Writes and counts what one operator instance says.

    Args:
        topics: where records go.
        metrics: counts go here.
    """

    def __init__(self, topics: Topics, metrics: Metrics) -> None:
        self._topics = topics
        self._reviews = metrics.counter("reviews")
        self._decisions = metrics.counter("decisions")
        self._decided_category = metrics.counter("decided_category")
        self._cache_hits = metrics.counter("cache_hits")
        self._degraded = metrics.counter("degraded")
        self._dead_letters = metrics.counter("dead_letters")
        self._latency = metrics.histogram("latency_ms")
        self._case_latency = metrics.histogram("case_latency_ms")

    def of(self, outcome: Outcome) -> Scored:
        """The records of one outcome."""
        topics = self._topics
        decision = outcome.decision
        key = decision.content_id.encode("utf-8", "replace")
        records = [Record(topics.decisions, key, _encode(decision))]
        if outcome.audit is not None:
            records.append(Record(topics.audit, key, _encode(outcome.audit)))
        if outcome.review is not None:
            records.append(Record(topics.review, key, _encode(outcome.review)))
            self._reviews.add(outcome.review.why)
        if outcome.enforcement is not None:
            records.append(Record(topics.enforcement, key, _encode(outcome.enforcement)))
        records.extend(Record(topics.feedback, key, _encode(row)) for row in outcome.feedback)
        if outcome.rescan is not None:
            records.append(Record(topics.rescan, key, _encode(outcome.rescan)))
        self._count(outcome)
        return tuple(records)

    def decided_for_good(self, records: Scored) -> bool:
        """Whether no more evidence is asked for than there was."""
        return all(record.topic != self._topics.rescan for record in records)

    def dead_letter(self, arrived: Arrived, kind: str, field: str, message: str) -> Record:
        """The record of what cannot be decided."""
        self._dead_letters.add(kind)
        return Record(self._topics.dead_letters, *dead_letter(arrived, kind, field, message))

    def _count(self, outcome: Outcome) -> None:
        decision = outcome.decision
        self._decisions.add(decision.action, decision.stage)
        if decision.action != "allow":
            self._decided_category.add(decision.category)
        if decision.cache:
            self._cache_hits.add(decision.cache)
        for dependency in decision.degraded:
            self._degraded.add(dependency)
        latency = self._case_latency if decision.revision else self._latency
        latency.observe(decision.latency_ms)
