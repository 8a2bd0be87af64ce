"""The tables job on a real broker: restarted, erased from, and counted again in plain Python."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fastavro
import msgspec
import pyarrow.parquet as pq
import pytest
import redis
from kafka import KafkaProducer
from pypaimon import CatalogFactory, Schema

from schemas.control import ControlMessage
from schemas.dead_letter import DeadLetter
from schemas.decision import Decision, Enforcement, Evidence
from schemas.feedback import AppealOutcome, ReviewVerdict
from schemas.settings import ROOT, Settings
from schemas.tables_records import ALL
from schemas.tables_said import VERDICTS
from schemas.upload import decode_upload
from scripts.cli.lake.reading import Lake
from tests.days_kit import DAY, Days, Published
from tests.fakes import decision, payload
from tests.lake_kit import arrow_schema
from tests.lake_planted import nothing_personal, plant
from tests.lake_recount import Recount, Row
from tests.running_job import RunningJob, environment
from udfs.contracts import Item

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

MIDNIGHT = 1_772_409_600_000  # 2026-03-02, UTC, ms
ERASED = "user-to-be-erased"


COMPARED = {
    "latest_cases": "content_id, moderation_id",
    # Reasons are masked in one half.
    "label_history": "user_id, name, source, present, given_by, said_at, ended_at",
}
RECOUNTED = ("decisions", "verdicts", "appeals", "user_events")


class RunningTablesJob(RunningJob):
    """`scripts/run_tables` in a process."""

    module = "scripts.cli.run_tables"


def made(number: int, *, late_ms: float = 12.25, revision: int = 0, **fields: Any) -> Decision:
    """A decision about an upload of every third minute around midnight."""
    asked = MIDNIGHT + (number - 20) * 180_000
    raw = payload(f"c{number}", ERASED if number % 5 == 3 else f"u{number % 5}")
    one = decision(Item(decode_upload(raw), raw, asked), asked + late_ms)
    rejected = number % 4 == 0
    return msgspec.structs.replace(
        one,
        moderation_id=f"{one.moderation_id}-{revision}",
        revision=revision,
        community_id=f"community {number % 2}",
        status="rejected" if rejected else "approved",
        action="remove" if rejected else "allow",
        scores={"toxicity": number / 100},
        evidence=[Evidence(kind="rule", id="slur", spans=[(0, 4)])] if rejected else [],
        **fields,
    )


def said(number: int, *, violates: bool) -> ReviewVerdict:
    # An offset from UTC: it is the day before there.
    at = dt.datetime(2026, 3, 2, 23, 30, tzinfo=dt.timezone(dt.timedelta(hours=-2)))
    category = "harassment" if violates else ""
    return ReviewVerdict(
        verdict_id=f"v{number}", content_id=f"c{number}", rater_id="r", at=at,
        violates=violates, category=category, seconds=20.5,
    )  # fmt: skip


class Topics:
    """What was published, in order, by topic."""

    def __init__(self, settings: Settings) -> None:
        self._producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap)
        self.sent: dict[str, list[bytes | None]] = {}

    def send(
        self, topic: str, key: str, value: msgspec.Struct | bytes | None, at_ms: int | None = None
    ) -> None:
        raw = msgspec.json.encode(value) if isinstance(value, msgspec.Struct) else value
        self._producer.send(topic, raw, key=key.encode(), timestamp_ms=at_ms)
        self.sent.setdefault(topic, []).append(raw)

    def replay(self, records: Iterable[Published]) -> None:
        for one in records:
            self.send(one.topic, one.key.decode(), one.value, one.at_ms)

    def decided(self, topic: str, decisions: Iterable[Decision]) -> None:
        for one in decisions:
            self.send(topic, one.content_id, one)

    def flush(self) -> None:
        self._producer.flush()

    def decisions(self, topic: str) -> list[Decision]:
        """Those of this page that can be read, the first of each id, but for the erased user's."""
        first: dict[str, Decision] = {}
        for raw in self.sent[topic]:
            try:
                one = msgspec.json.decode(raw or b"", type=Decision)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            first.setdefault(one.moderation_id, one)
        return [one for one in first.values() if one.user_id != ERASED and one.content_id[0] == "c"]

    def records(self, topic: str) -> list[dict[str, Any]]:
        """Those that can be read, but for what is about the erased user."""
        found = []
        for raw in self.sent[topic]:
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                one = msgspec.json.decode(raw or b"")
                if isinstance(one, dict) and len(one) > 1 and one.get("content_id") != "c3":
                    found.append(one)
        return [one for one in found if one.get("user_id") != ERASED]


def wait_for(lake: Lake, sql: str, rows: int) -> None:
    deadline = time.monotonic() + 120
    while lake_rows(lake, sql) < rows:
        assert time.monotonic() < deadline, f"{lake_rows(lake, sql)} rows"
        time.sleep(0.5)


def lake_rows(lake: Lake, sql: str) -> int:
    return len(lake.query(sql, may_be_empty=True).to_pylist())


def everything_in(folder: Path) -> str:
    """What every file below a folder holds, unpacked."""
    parts = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            raw = path.read_bytes()
            parts.append(f"{path} {raw!r}")
            if path.suffix == ".parquet":
                parts.append(repr(pq.read_table(path).to_pylist()))
            elif raw.startswith(b"Obj\x01"):
                with path.open("rb") as file:
                    parts.append(repr(list(fastavro.reader(file))))
    return "\n".join(parts)


def without_a_column(warehouse: Path) -> None:
    """The table of verdicts as an older release made it."""
    catalog = CatalogFactory.create({"warehouse": warehouse.as_uri()})
    catalog.create_database("sluice", ignore_if_exists=False)
    arrow = arrow_schema(VERDICTS)
    older = arrow.remove(arrow.get_field_index("seconds"))
    options = {"bucket": "1", "sequence.field": "record_order"}
    keys = ["dt", *VERDICTS.key]
    schema = Schema.from_pyarrow_schema(
        older, partition_keys=["dt"], primary_keys=keys, options=options
    )
    catalog.create_table("sluice.verdicts", schema, ignore_if_exists=False)


def test_rows_are_what_the_topics_say(stack_settings: Settings, tmp_path: Path) -> None:
    names = stack_settings.topics
    warehouse = tmp_path / "lake"
    env = {
        "SLUICE_TABLES__WAREHOUSE": str(warehouse),
        "SLUICE_TABLES__CHECKPOINT_INTERVAL_MS": "1000",
        "SLUICE_TABLES__GROUP_ID": names.decisions,
    }
    checkpoints = tmp_path / "checkpoints"
    without_a_column(warehouse)
    topics = Topics(stack_settings)
    midnight = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = Days(names, int((midnight - dt.timedelta(days=6)).timestamp() * 1000))
    published = days.run()
    half = days.start_ms + 5 * DAY // 2
    topics.replay(one for one in published if one.at_ms < half)
    topics.decided(names.decisions, (made(number) for number in range(24)))
    topics.send(names.verdicts, "c3", said(3, violates=True))
    topics.send(names.verdicts, "c4", said(4, violates=False))
    bad = [b"{", b"null", b"\xff", b'{"moderation":"m"}', None, f'{{"u":"{ERASED}"}}'.encode()]
    for raw in bad:
        topics.send(names.decisions, "bad", raw)
    letter = DeadLetter(
        raw=b"\xff\x00", topic="uploads", partition=1, offset=7, timestamp=MIDNIGHT - 1,
        error_kind="encoding", field="$", message="no UTF-8",
    )  # fmt: skip
    topics.send(names.dead_letters, "x", letter)
    topics.flush()
    client = redis.Redis.from_url(stack_settings.redis.url)
    client.mset({f"user:{ERASED}": "{}", "context:c3": "{}", "context:c4": "{}", "user:u1": "{}"})

    def erase() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "scripts.cli.erase", "--user", ERASED],
            env={**environment(stack_settings, checkpoints, **env)},
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip

    with RunningTablesJob(stack_settings, checkpoints, **env) as job:
        job.wait_ready()
        lake = Lake(warehouse.as_uri(), "sluice")
        wait_for(lake, "FROM decisions WHERE moderation_id LIKE '%-0'", 24)
        wait_for(lake, "FROM unreadable", len(bad))
        wait_for(lake, "FROM dead_letters", 1)
        # While the job writes, nobody else does.
        busy = erase()
        assert busy.returncode == 2
        assert "scripts/run_tables writes the tables" in busy.stderr
        assert job.stop() == 0
    assert list(checkpoints.glob("tables/savepoint-*/_metadata"))

    assert ERASED in everything_in(warehouse)
    done = erase()
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["tables"] == {"decisions": 5, "cases": 5, "verdicts": 1, "unreadable": 1}
    assert report["redis"] == {"user": 1, "context": 1}
    assert client.exists("user:u1", "context:c4") == 2
    client.delete("user:u1", "context:c4")
    assert ERASED not in everything_in(warehouse)

    # Everything comes again, later decided, as after a failure of the moderation job; an erased
    # user's as well. Some contents are decided again.
    topics.decided(names.decisions, (made(number, late_ms=999.5) for number in range(24)))
    topics.decided(names.decisions, (made(number, revision=1) for number in (1, 2, 6)))
    topics.decided(names.decisions, (made(number) for number in range(24, 40)))
    topics.send(names.verdicts, "c16", said(16, violates=True))
    topics.send(names.appeals, "c12", AppealOutcome(
        appeal_id="a", content_id="c12", user_id="u2", outcome="overturned", rater_id="s",
        at=dt.datetime(2026, 3, 3, 8, tzinfo=dt.UTC),
    ))  # fmt: skip
    order = Enforcement(
        moderation_id="m", content_id="c", user_id="u", action="remove", category="",
        severity="mild", reason="", appealable=True, notify_user=True,
        timestamp=dt.datetime(2026, 3, 2, 1, tzinfo=dt.UTC),
    )  # fmt: skip
    topics.send(names.enforcement, "c", order)
    message = ControlMessage(
        kind="rules", text="rules: []\n", author="somebody",
        published_at=dt.datetime(2026, 3, 2, tzinfo=dt.UTC),
    )  # fmt: skip
    topics.send(names.control, "rules", message)
    topics.send(names.control, "rules", None)
    topics.replay(one for one in published if one.at_ms >= half)
    plant(topics.send, names)
    topics.flush()
    # From here on without personal data.
    conf = tmp_path / "tables.yaml"
    conf.write_text("version: 1\nmask_personal_data: true\n")
    env["SLUICE_TABLES__CONFIG"] = str(conf)
    prices = {"machine_hour": 1.0, "machines": 1.0, "review_hour": 1.0}
    counted = Recount({short: topics.records(getattr(names, short)) for short in RECOUNTED}, prices)
    with RunningTablesJob(stack_settings, checkpoints, "--resume", **env) as job:
        job.wait_ready()
        wait_for(lake, "FROM decisions WHERE moderation_id LIKE '%-0'", 32)
        wait_for(lake, "FROM decisions WHERE moderation_id LIKE '%-1'", 3)
        for table, count in {
            "decisions": len(counted.decisions),
            "verdicts": len(counted.verdicts),
            "appeals": len(counted.appeals),
            "user_labels": len(counted.events),
            "control_history": 3,
            "dead_letters": 3,
            "unreadable": len(bad),
        }.items():
            wait_for(lake, f"FROM {table}", count)
        for table in ("review_items", "feedback", "audit", "reports"):
            wait_for(lake, f"FROM {table} WHERE content_id = 'pii'", 1)
        assert job.stop() == 0
    lake = Lake(warehouse.as_uri(), "sluice", prices)
    compare(lake, topics.decisions(names.decisions), message)
    for view, recounted in counted.views().items():
        same(view, lake, recounted())
    one_row_on_the_decisions_day(lake)
    nothing_personal(lake)
    assert ERASED not in everything_in(warehouse)


def compare(lake: Lake, decisions: list[Decision], message: ControlMessage) -> None:
    """The tables and views against a recount of what was published."""

    def rows(sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in lake.query(sql).to_pylist()]

    def asked(one: Decision) -> dt.datetime:
        at = one.timestamp - dt.timedelta(milliseconds=one.latency_ms)
        return at.replace(tzinfo=None)

    # The first of each id, typed, on the day of what asked for it.
    got = rows(
        "SELECT moderation_id, latency_ms, asked_at, dt FROM decisions"
        " WHERE content_id LIKE 'c%' ORDER BY 1"
    )
    assert got == sorted(
        (one.moderation_id, one.latency_ms, asked(one), f"{asked(one):%Y-%m-%d}")
        for one in decisions
    )
    assert {row[1] for row in got} == {12.25}
    scores = dict(rows("SELECT moderation_id, scores['toxicity'] FROM decisions"))
    for one in decisions:
        assert scores[one.moderation_id] == one.scores["toxicity"]
    spans = rows("SELECT DISTINCT e.spans FROM (SELECT content_id, unnest(evidence) AS e"
                 " FROM decisions) WHERE content_id LIKE 'c%'")  # fmt: skip
    assert spans == [([[0, 4]],)]
    # People's times are taken to UTC; the column that an older release did not know is there.
    verdicts = rows("SELECT verdict_id, dt, said_at, seconds FROM verdicts"
                    " WHERE content_id LIKE 'c%' ORDER BY 1")  # fmt: skip
    at = dt.datetime(2026, 3, 3, 1, 30)  # noqa: DTZ001 - the tables hold UTC without saying so
    assert verdicts == [(name, "2026-03-03", at, 20.5) for name in ("v16", "v4")]
    letters = rows('SELECT dt, raw, "partition", "offset", received_at FROM dead_letters'
                   " WHERE topic = 'uploads'")  # fmt: skip
    before = dt.datetime(2026, 3, 1, 23, 59, 59, 999_000)  # noqa: DTZ001 - likewise
    assert letters == [("2026-03-01", b"\xff\x00", 1, 7, before)]
    assert rows("SELECT dt, action, notify_user FROM enforcement WHERE content_id = 'c'") == [
        ("2026-03-02", "remove", True)
    ]
    # The erasure told the jobs, by a hash; the table of labels holds none.
    assert set(rows("SELECT kind FROM control_history")) == {("erase",), ("rules",), (None,)}
    control = rows("SELECT kind, digest, author, withdrawn FROM control_history"
                   " WHERE kind IS DISTINCT FROM 'erase' ORDER BY record_offset")  # fmt: skip
    assert control == [("rules", message.digest, "somebody", False), (None, None, None, True)]
    # What could not be read is there as it is, but for the record with the erased user's id.
    unreadable = {value for (value,) in rows("SELECT record_value FROM unreadable")}
    # The last was written without what nobody can mask.
    assert unreadable == {b'{"moderation":"m"}', b"null", b"{", b"\xff", None}


def same(view: str, lake: Lake, recounted: list[Row]) -> None:
    """A view's rows against those of the recount, in any order."""
    columns = COMPARED.get(view, "*")
    found = lake.query(f"SELECT {columns} FROM {view}")  # noqa: S608 - names of our own
    got = [tuple(row.values()) for row in found.to_pylist()]

    def place(row: Row) -> str:
        return str([cell for cell in row if not isinstance(cell, float)])

    assert len(got) == len(recounted), view
    for one, other in zip(sorted(got, key=place), sorted(recounted, key=place), strict=True):
        exact = [(a, b) for a, b in zip(one, other, strict=True) if not isinstance(b, float)]
        assert [a for a, _ in exact] == [b for _, b in exact], view
        close = [(a, b) for a, b in zip(one, other, strict=True) if isinstance(b, float)]
        assert [a for a, _ in close] == pytest.approx([b for _, b in close]), view


def one_row_on_the_decisions_day(lake: Lake) -> None:
    """What goes with a decision that came again a day later has one row, on the decision's day."""
    for table in ("review_items", "enforcement", "audit", "feedback"):
        own = " AND f.source IN ('rule', 'bank', 'sample')" if table == "feedback" else ""
        (counts,) = lake.query(
            f"SELECT count(*) AS total, count(DISTINCT f.{ALL[table].key[0]}) AS ids,"  # noqa: S608 - names of our own
            f" count(*) FILTER (f.dt <> d.dt) AS elsewhere FROM {table} f"
            f" JOIN decisions d USING (moderation_id) WHERE d.content_id LIKE 'd%'{own}"
        ).to_pylist()
        assert counts["total"] == counts["ids"] > 0, table
        assert counts["elsewhere"] == 0, table
