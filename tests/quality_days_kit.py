"""Three days of the analyst tables for `test_quality_days`, the last one full of faults."""

from __future__ import annotations

import datetime as dt
import json

from tests.quality_kit import GERMAN, Rows, sentence

BEFORE, GOOD, BAD = dt.date(2026, 3, 3), dt.date(2026, 3, 10), dt.date(2026, 3, 17)
"""The same weekday of three weeks; the last one is full of faults."""
ROWS_OF = {BEFORE: 450, GOOD: 450, BAD: 210}


def lake_days() -> dict[str, Rows]:
    """Rows of the tables for three days."""
    rows: dict[str, Rows] = {
        name: [] for name in ("decisions", "audit", "feedback", "verdicts", "reports", "appeals")
    }
    offset = 0
    for day, count in ROWS_OF.items():
        for number in range(count):
            offset += 1
            _decide(rows, day, number, count, offset)
        _say(rows, day)
    _spoil(rows)
    return rows


def _decide(rows: dict[str, Rows], day: dt.date, number: int, count: int, offset: int) -> None:
    bad = day == BAD
    # In a bad week the day ends at a quarter past nine in the evening.
    minutes = number * (21 * 60 if bad else 24 * 60 - 20) / count + 15
    at = dt.datetime.combine(day, dt.time()) + dt.timedelta(minutes=minutes)
    name = f"{day}-{number}"
    removed = number % 10 < (9 if bad else 2)
    probability = 0.875 if removed else 0.125
    place = {"dt": f"{day}", "record_partition": number % 4, "record_offset": offset}
    rows["decisions"].append(
        {
            **place,
            "moderation_id": f"m-{name}",
            "content_id": f"c-{name}",
            "revision": 0,
            "upload_revision": 0,
            "content_type": "text",
            "user_id": f"u-{number % 50}",
            "community_id": None,
            "status": "rejected" if removed else "approved",
            "action": "remove" if removed else "allow",
            "category": "spam" if removed else "",
            "scores": [("toxicity", 0.125), ("spam", probability)],
            "severity": "mild" if removed else "none",
            "severity_score": 0.25,
            "confidence": 0.875,
            "probability": probability,
            "stage": "fusion",
            "reason": "because",
            "evidence": [{"kind": "score", "id": "fast_text", "weight": 0.5}],
            "policy_version": "1",
            "policy_hash": "0123456789abcdef",
            "rules_hash": "0123456789abcdef",
            "banks_hash": "0123456789abcdef",
            "model_versions": [("fast_text", "unheard-of")],
            "interim": False,
            "degraded": ["redis"] if bad and number % 2 else [],
            "cache": "",
            "latency_ms": 10.0,
            "asked_at": at,
            "decided_at": at + dt.timedelta(milliseconds=10),
            "features": [("uploads_1m", 1.0), ("uploads", float(number))],
        }
    )
    upload = {
        "content_id": f"c-{name}",
        "content_type": "text",
        "user_id": f"u-{number % 50}",
        "created_at": f"{at.isoformat()}Z",
        "text": GERMAN + f", Nummer {number}" if bad else sentence(number),
        "language": "en",
    }
    rows["audit"].append(
        {
            **place,
            "moderation_id": f"m-{name}",
            "content_id": f"c-{name}",
            "upload": json.dumps(upload),
            "uploaded_at": at,
            "decided_at": at + dt.timedelta(milliseconds=10),
        }
    )


def _say(rows: dict[str, Rows], day: dt.date) -> None:
    """Forty verdicts, ten reports and four appeals of a day, and the rows that came of them."""
    decided = {row["moderation_id"]: row for row in rows["decisions"] if row["dt"] == f"{day}"}
    kinds = ["verdict"] * 40 + ["report"] * 10 + ["appeal"] * 4
    for number, kind in enumerate(kinds):
        decision = decided[f"m-{day}-{number}"]
        at = dt.datetime.combine(day, dt.time(23)) + dt.timedelta(seconds=number)
        place = {"dt": f"{day}", "record_partition": 0, "record_offset": number}
        label = kind == "report" or number % 3 == 0
        said = {**place, "content_id": decision["content_id"], "said_at": at}
        event = f"{kind}-{day}-{number}"
        if kind == "verdict":
            rows["verdicts"].append(
                {**said, "verdict_id": event, "rater_id": "r", "violates": label, "golden": False}
            )
        elif kind == "report":
            rows["reports"].append({**said, "report_id": event, "reporter_id": "u-1"})
        else:
            rows["appeals"].append(
                {**said, "appeal_id": event, "outcome": "upheld" if label else "overturned"}
            )
        rows["feedback"].append(
            {
                **place,
                "feedback_id": f"f-{event}",
                "moderation_id": decision["moderation_id"],
                "content_id": decision["content_id"],
                "user_id": decision["user_id"],
                "source": kind,
                "category": "spam",
                "label": label,
                "weight": 0.5,
                "rank": 1,
                "event_id": event,
                "delay_s": (at - decision["decided_at"]).total_seconds(),
                "text": sentence(number),
                "language": "en",
                "scores": decision["scores"],
                "features": decision["features"],
                "model_versions": decision["model_versions"],
                "said_at": at,
                "decided_at": decision["decided_at"],
            }
        )
    place = {"dt": f"{day}", "record_partition": 1, "record_offset": 0}
    content = {"content_id": f"c-{day}-0", "said_at": dt.datetime.combine(day, dt.time(23))}
    # These give no rows: a test item, and an appeal that goes on.
    rows["verdicts"].append(
        {**place, **content, "verdict_id": f"g-{day}", "violates": True, "golden": True}
    )
    rows["appeals"].append({**place, **content, "appeal_id": f"e-{day}", "outcome": "escalated"})


def _spoil(rows: dict[str, Rows]) -> None:
    """Faults of the bad day that are counted one by one."""
    decisions = [row for row in rows["decisions"] if row["dt"] == f"{BAD}"]
    decisions[0]["confidence"] = 0.25
    decisions[1]["action"] = "forbid"
    decisions[2]["scores"] = [("toxicity", 0.125), ("spam", 1.5)]
    decisions[3]["policy_hash"] = None
    said = [row for row in rows["feedback"] if row["dt"] == f"{BAD}"]
    # Ten verdicts came to nothing, and three rows have features that came later.
    for row in said[:10]:
        rows["feedback"].remove(row)
    for row in said[10:13]:
        row["features"] = [*row["features"], ("reporters", 5.0)]
    for row in said[13:15]:
        row["features"] = []


DECISION_FAULTS = {
    # 1 action, 1 policy hash.
    "columns.is_valid.values": 2,
    "columns.action.values": 1,
    "columns.confidence.range": 1,
    "columns.is_confidence_wrong.values": 1,
    "columns.of_highest_score.range": 1,
    "columns.policy_hash.given": 1,
    "columns.is_model_known.values": 210,
    "shares.removed": 0,
    "shares.allowed": 0,
    "shares.degraded": 0,
    "shares.english": 0,
    "freshness": 0,
    "volume": 0,
    "drift.language": 0,
    "drift.action": 0,
    "drift.category": 0,
}
DAY_FEEDBACK_FAULTS = {
    "columns.is_features_of_decision.values": 5,
    "joins.verdict": 10,
}
