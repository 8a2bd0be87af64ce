"""Personal data wherever somebody's words can come into a table, and a look for it there."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable

import msgspec

from operators.table_pii import PLAIN
from schemas.dead_letter import DeadLetter
from schemas.decision import Audit, Enforcement, Feedback, ReviewItem
from schemas.feedback import AppealOutcome, Report, ReviewVerdict
from schemas.tables_records import ALL
from schemas.topics import Topics
from schemas.upload import decode_upload
from schemas.user_events import LabelGiven
from scripts.cli.lake.reading import Lake
from tests.fakes import decision, payload
from tests.test_pii import ALL as PLANTED
from tests.test_pii import NAMED
from tests.test_tables_pii import masked
from udfs.contracts import Item
from udfs.pii import find_pii

ASKED = 1_772_500_000_000  # 2026-03-03, UTC, ms
SPOKEN = "\n".join(f"{planted}\\ and {planted}," for _, planted in PLANTED)
SPOKEN += "".join(f"\n{named}\n" for named in NAMED)
"""All kinds of personal data, written in all ways, between line breaks and backslashes."""

Send = Callable[[str, str, msgspec.Struct | bytes], None]


def plant(send: Send, names: Topics) -> None:
    """Personal data wherever somebody's words can come into a table."""
    now = dt.datetime(2026, 3, 3, 12, tzinfo=dt.UTC)
    raw = payload("pii", "u1", text=SPOKEN, more={SPOKEN: [SPOKEN]}, phone=2125550187)
    item = Item(decode_upload(raw), raw, ASKED)
    one = msgspec.structs.replace(decision(item, ASKED + 5.0), reason=SPOKEN, evidence=[])
    send(names.decisions, "pii", one)
    send(names.audit, "pii", Audit(
        one.moderation_id, "pii", msgspec.Raw(raw), "", None, {"said": SPOKEN}, None, {},
        ASKED, now, msgspec.Raw(msgspec.json.encode({"texts": [{"text": SPOKEN}]})),
    ))  # fmt: skip
    send(names.review, "pii", ReviewItem(
        moderation_id=one.moderation_id, content_id="pii", user_id="u1", community_id=None,
        content_type="text", category="", tier=1, priority=1.0, due_at=now, why="policy",
        probability=0.5, reason=SPOKEN, upload=json.loads(raw), created_at=now,
        broker_timestamp=ASKED,
    ))  # fmt: skip
    send(names.feedback, "pii", Feedback(
        feedback_id="f-pii", moderation_id=one.moderation_id, content_id="pii", source="rule",
        category="", label=True, weight=1.0, text=SPOKEN, language=None, scores={}, features={},
        model_versions={}, timestamp=now, broker_timestamp=ASKED,
    ))  # fmt: skip
    send(names.enforcement, "pii", Enforcement(
        moderation_id=one.moderation_id, content_id="pii", user_id="u1", action="remove",
        category="", severity="mild", reason=SPOKEN, appealable=True, notify_user=True,
        timestamp=now, broker_timestamp=ASKED,
    ))  # fmt: skip
    short = SPOKEN[:1900]
    send(names.reports, "pii", Report(
        report_id="r-pii", content_id="pii", reporter_id="u2", at=now, note=short,
    ))  # fmt: skip
    send(names.verdicts, "pii", ReviewVerdict(
        verdict_id="v-pii", content_id="pii", rater_id="r", violates=False, at=now, note=short,
        seconds=5.0,
    ))  # fmt: skip
    send(names.appeals, "pii", AppealOutcome(
        appeal_id="a-pii", content_id="pii", user_id="u1", outcome="upheld", rater_id="r",
        at=now, note=short,
    ))  # fmt: skip
    send(names.user_events, "u1", LabelGiven(
        user_id="u1", name="watched", reason=SPOKEN[:490], by="s1", at=now,
    ))  # fmt: skip
    send(names.dead_letters, "pii", DeadLetter(
        raw=raw, topic="pii", partition=0, offset=1, timestamp=ASKED, error_kind="internal",
        field=f"$.{SPOKEN}", message=SPOKEN, content_id="pii",
    ))  # fmt: skip
    send(names.decisions, SPOKEN, f"no JSON: {SPOKEN}".encode())


def nothing_personal(lake: Lake) -> None:
    """None of what was planted is in a row; the engine masks as the patterns are tested."""
    texts = 0
    for name in ALL:
        for row in lake.query(f"FROM {name}", may_be_empty=True).to_pylist():
            held = str(row)
            assert not any(planted in held for _, planted in PLANTED), (name, held)
            assert not any(named in held for named in NAMED.values()), (name, held)
            for column, value in row.items():
                if isinstance(value, str) and column not in PLAIN and "pii" in row.values():
                    assert find_pii(value) == [], (name, column)
                    texts += 1
    assert texts > 15
    (item,) = lake.query("FROM review_items WHERE content_id = 'pii'").to_pylist()
    assert item["text"] == item["reason"] == masked(SPOKEN)
    upload = json.loads(item["upload"])
    assert upload["text"] == masked(SPOKEN)
    assert upload["phone"] == "[number]"
    for mask in ("[email]", "[card]", "[ip]", "[phone]", "[handle]", "[name]"):
        assert mask in item["text"]
