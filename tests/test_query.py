"""`scripts/query`: what is read, what the views say, how answers come out."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet
import pytest
from typer.testing import CliRunner, Result

from schemas.settings import ROOT
from schemas.tables_records import ALL
from schemas.tables_views import VIEWS
from scripts.cli.lake.reading import Lake, QueryError
from scripts.cli.lake.types import duckdb_type
from scripts.cli.query import app
from tests.lake_kit import DAY, appeal, decided, found, make_lake, verdict

NEXT = DAY + dt.timedelta(days=1)
REMOVED = {"status": "rejected", "action": "remove", "category": "harassment"}
RULE = {"evidence": [found("rule", "slur"), found("rule", "slur"), found("bank", "b/1")]}
TRIED = {"evidence": [found("rule", "tried", observe_only=True)]}
DECISIONS = [
    decided(1, DAY + dt.timedelta(seconds=5), latency_ms=10.0, **REMOVED, **RULE, community_id="a"),
    decided(2, DAY + dt.timedelta(seconds=6), latency_ms=20.0, **REMOVED, **RULE, community_id="a"),
    decided(3, DAY + dt.timedelta(seconds=7), latency_ms=60.0, community_id="a", **TRIED),
    decided(4, DAY + dt.timedelta(minutes=3), degraded=["redis"]),
    decided(5, DAY + dt.timedelta(minutes=4), degraded=["redis", "evidence"]),
    decided(
        6, DAY + dt.timedelta(hours=5), status="pending_review", action="review",
        interim=True, content_type="image",
    ),
    decided(7, NEXT, content_id="c6", revision=1, content_type="image", **REMOVED),
    decided(8, NEXT + dt.timedelta(minutes=1), evidence=[
        found("bank", f"campaign_{'ab' * 8}/{n}", observe_only=True) for n in range(2)
    ]),
]  # fmt: skip
VERDICTS = [
    verdict(1, "c1", violates=True),
    # A senior reviewer outranks two reviewers, however many they are.
    verdict(2, "c2", violates=True),
    verdict(3, "c2", violates=True, rater_id="r2"),
    verdict(4, "c2", violates=False, rater_id="s1", role="senior", seconds=90.0),
    # Two reviewers who contradict each other say nothing.
    verdict(5, "c3", violates=True),
    verdict(6, "c3", violates=False, rater_id="r2"),
    # Who finds one violation of two finds the content violating.
    verdict(7, "c4", violates=True, category="spam"),
    verdict(8, "c4", violates=False, category="sexual"),
    # The decision that was in force then: of c6 the second, unless the first is named.
    verdict(9, "c6", violates=True),
    verdict(10, "c8", violates=True, golden=True),
]
APPEALS = [
    appeal(1, "c1", "overturned"),
    appeal(2, "c6", "escalated"),
    appeal(2, "c6", "upheld", said_at=DAY + dt.timedelta(hours=40)),
    appeal(3, "c2", "escalated", category="spam"),
]
LABELS = [
    {"dt": "2026-03-01", "user_id": "u1", "label_id": str(n), "name": name,
     "source": source, "present": present, "said_at": DAY + dt.timedelta(hours=n),
     "expires_at": expires, "record_partition": 0, "record_offset": n}
    for n, (name, source, present, expires) in enumerate([
        ("spammer", "model", True, DAY + dt.timedelta(hours=9)),
        ("spammer", "person", False, None),
        ("spammer", "model", True, DAY + dt.timedelta(hours=3)),
        ("spammer", "model", False, None),
    ])
]  # fmt: skip
CAMPAIGNS = [
    {"dt": "2026-03-01", "campaign_id": "ab" * 8, "revision": revision, "status": status,
     "users": users, "communities": 2, "excerpt": "buy now", "first_seen": first,
     "record_partition": 0, "record_offset": n}
    for n, (revision, status, users, first) in enumerate([
        (0, "live", 5, DAY), (1, "ended", 10, DAY), (0, "live", 6, NEXT),
    ])
]  # fmt: skip
CHECK = {"check": "rows", "severity": "error", "success": False, "observed": "0", "rows": 0}
QUALITY = [
    {"dt": "2026-03-02", "suite": suite, "day": "2026-03-01", "started_at": NEXT,
     "passed": passed, "checks": [{**CHECK, "success": passed}], "record_partition": 0,
     "record_offset": n}
    # The record of one run came twice.
    for n, (suite, passed) in enumerate([("uploads", True), ("rows", False), ("rows", False)])
]  # fmt: skip
CASES = [row for row in DECISIONS if row["moderation_id"] != "m6"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lake")
    # Of c6 the day before as well: a content that is decided on two days has a case on each.
    cases = [*CASES, DECISIONS[5]]
    make_lake(
        folder,
        {
            "decisions": DECISIONS,
            "cases": cases,
            "verdicts": VERDICTS,
            "appeals": APPEALS,
            "user_labels": LABELS,
            "quality": QUALITY,
            "campaigns": CAMPAIGNS,
        },
    )
    return folder


@pytest.fixture(scope="module")
def lake(folder: Path) -> Lake:
    prices = {"machine_hour": 0.5, "machines": 2.0, "review_hour": 36.0}
    return Lake(folder.as_uri(), "sluice", prices)


def rows(lake: Lake, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in lake.query(sql).to_pylist()]


def test_the_latest_case_of_a_content_counts(lake: Lake) -> None:
    found = rows(lake, "SELECT moderation_id FROM latest_cases ORDER BY 1")
    assert [name for (name,) in found] == ["m1", "m2", "m3", "m4", "m5", "m7", "m8"]


def test_the_highest_rank_decides_what_people_say(lake: Lake) -> None:
    said = rows(lake, "SELECT moderation_id, rank, violates, votes FROM labels ORDER BY 1")
    assert said == [
        ("m1", 3, False, 1),
        ("m2", 2, False, 1),
        ("m3", 1, None, 2),
        ("m4", 1, True, 1),
        ("m7", 3, True, 1),
    ]


def test_latency_and_volume_by_minute(lake: Lake) -> None:
    first = rows(lake, "SELECT * FROM latency_by_minute LIMIT 1")[0]
    assert first[0] == DAY
    assert first[1:] == pytest.approx((3, 20.0, 56.0, 59.2, 60.0))
    volume = rows(lake, "SELECT * FROM volume_by_minute")
    assert volume[0] == (DAY, "text", 3, 3, 1, 2, 0)
    assert volume[3] == (DAY + dt.timedelta(hours=5), "image", 1, 1, 0, 0, 1)
    assert len(volume) == 6


def test_block_rate_by_community(lake: Lake) -> None:
    assert rows(lake, "SELECT * FROM block_rate_by_community") == [
        ("", 4, 1, 0.25, 1, 0, 0.0),
        ("a", 3, 2, pytest.approx(2 / 3), 2, 2, 1.0),
    ]


def test_actions_and_the_confusion_matrix(lake: Lake) -> None:
    assert rows(lake, "SELECT * FROM action_mix_by_category WHERE dt = '2026-03-01'") == [
        ("2026-03-01", "", "allow", 3, 1.0),
        ("2026-03-01", "harassment", "remove", 2, 1.0),
    ]
    # c1 was overturned, c2 found clean, c4 missed; c3 is a tie.
    assert rows(lake, "SELECT * FROM daily_confusion_matrix") == [
        ("2026-03-01", 3, 0, 2, 0, 1, 0, 0.0, 0.0),
        ("2026-03-02", 1, 1, 0, 0, 0, 0, 1.0, 1.0),
    ]


def test_rules_and_bank_entries_by_their_overturn_rate(lake: Lake) -> None:
    assert rows(lake, "SELECT * FROM top_rules") == [("slur", 2, 2, 2, 2, 2, 1.0)]
    assert rows(lake, "SELECT * FROM top_bank_entries") == [("b/1", 2, 2, 2, 2, 2, 1.0)]


def test_appeals_reviewers_and_degraded_time(lake: Lake) -> None:
    assert rows(lake, "SELECT * FROM appeal_outcomes") == [
        ("2026-03-02", "harassment", 2, 1, 1, 0, 0.5, 0, 3.0),
        ("2026-03-02", "spam", 1, 0, 0, 1, None, 0, 2.0),
    ]
    loads = {row[1]: row[2:] for row in rows(lake, "SELECT * FROM reviewer_load")}
    assert loads["r1"] == ("reviewer", 6, 7, 1, 210.0, 30.0, 0)
    assert loads["s1"] == ("senior", 1, 1, 0, 90.0, 90.0, 0)
    degraded = rows(lake, "SELECT dependency, decisions, minutes FROM degraded_time")
    assert degraded == [("evidence", 1, 1), ("redis", 2, 2)]


def test_labels_of_users_and_their_ends(lake: Lake) -> None:
    found = rows(lake, "SELECT source, present, said_at, ended_at FROM label_history")
    hours = [
        (source, present, (said - DAY).seconds // 3600, end and (end - DAY).seconds // 3600)
        for source, present, said, end in found
    ]
    # One source's word ends another of its own, not another's; or it lapses before.
    assert hours == [
        ("model", True, 0, 2),
        ("person", False, 1, None),
        ("model", True, 2, 3),
        ("model", False, 3, None),
    ]


def test_campaigns_and_what_met_their_banks(lake: Lake) -> None:
    latest = rows(lake, "SELECT campaign_id, status, users FROM latest_campaigns")
    assert latest == [("ab" * 8, "live", 6)]  # it came back
    met = rows(lake, "SELECT campaign_id, moderation_id, observe_only FROM campaign_uploads")
    assert met == [("ab" * 8, "m8", True)]


def test_checks_that_failed(lake: Lake) -> None:
    found = rows(lake, 'SELECT suite, day, "check", observed FROM quality_faults')
    assert found == [("rows", "2026-03-01", "rows", "0")]


def test_cost(lake: Lake) -> None:
    days = lake.query("SELECT * FROM cost").to_pylist()
    assert [day["machine_usd"] for day in days] == [6.0, 1.0]  # six hours and one, two machines
    assert days[1]["review_hours"] == pytest.approx(360 / 3600)
    assert days[1]["usd"] == pytest.approx(1.0 + 3.6)
    assert days[1]["usd_per_content"] == pytest.approx(2.3)


def test_columns_and_days_are_pushed_down(lake: Lake) -> None:
    scan = lake.plan("SELECT action FROM decisions WHERE dt = '2026-03-02' AND latency_ms > 1")
    assert scan["decisions"].columns == ("dt", "action", "latency_ms")
    assert [scan["decisions"].wants(day) for day in ("2026-03-01", "2026-03-02")] == [False, True]
    read = lake.read("decisions", scan["decisions"])
    assert read is not None
    assert read.num_rows == 2
    # Through a view, and through both tables of a join.
    scan = lake.plan("SELECT * FROM action_mix_by_category WHERE dt >= '2026-03-02'")
    assert set(scan["decisions"].columns) == {"dt", "category", "action", "interim"}
    assert not scan["decisions"].wants("2026-03-01")
    scan = lake.plan(
        "SELECT d.action FROM decisions d JOIN cases c USING (dt, content_id)"
        " WHERE dt BETWEEN '2026-03-01' AND '2026-03-01' OR dt = '2026-03-09'"
    )
    wanted = {name: [s.wants(f"2026-03-0{n}") for n in (1, 2, 9)] for name, s in scan.items()}
    assert wanted["decisions"] == [True, False, True]
    assert rows(lake, "SELECT count(*) FROM decisions WHERE dt < '2026-03-02'") == [(6,)]


def test_a_condition_that_is_not_about_days_alone_keeps_every_day(lake: Lake) -> None:
    scan = lake.plan("SELECT 1 FROM decisions WHERE dt = '2026-03-02' OR user_id = 'u1'")
    assert scan["decisions"].wants("2026-03-01")
    assert rows(lake, "SELECT count(*) FROM decisions WHERE user_id = 'dt'") == [(0,)]


def test_mistakes_are_named(lake: Lake) -> None:
    for sql, says in {
        "SELECT nothing FROM decisions": 'Referenced column "nothing" not found',
        "SELECT * FROM nowhere": "nowhere does not exist",
        "SELEC 1": "syntax error",
        "DROP TABLE decisions": "give one SELECT",
        "SELECT 1; SELECT 2": "give one SELECT",
        "SELECT * FROM reports": "reports is still empty: nothing has been written yet",
    }.items():
        with pytest.raises(QueryError, match=says):
            lake.query(sql)


def test_tables_that_are_not_there_are_empty_as_well(tmp_path: Path) -> None:
    said: list[str] = []
    nothing = Lake((tmp_path / "nothing").as_uri(), "sluice", say=said.append)
    with pytest.raises(QueryError, match="decisions is still empty"):
        nothing.query("SELECT * FROM decisions")
    make_lake(tmp_path / "some", {"decisions": DECISIONS[:1]})
    some = Lake((tmp_path / "some").as_uri(), "sluice", say=said.append)
    assert some.query("SELECT * FROM daily_confusion_matrix").num_rows == 0
    assert said == ["verdicts is still empty", "appeals is still empty"]


def test_every_view_is_listed_and_can_be_asked(lake: Lake) -> None:
    listed = CliRunner().invoke(app, ["--list"]).output
    for view in VIEWS:
        assert f"  {view.name} " in listed
        assert lake.query(f"FROM {view.name}").num_rows
    assert all(f"  {name} " in listed for name in ALL)


def asked(folder: Path, *arguments: str) -> Result:
    runner = CliRunner(env={"SLUICE_TABLES__WAREHOUSE": str(folder)})
    return runner.invoke(app, list(arguments))


def test_formats(folder: Path, tmp_path: Path) -> None:
    sql = "SELECT content_id, scores, degraded, latency_ms FROM decisions ORDER BY record_offset"
    lines = asked(folder, sql, "--format", "json").output.splitlines()
    assert json.loads(lines[4]) == {
        "content_id": "c5",
        "scores": {"toxicity": 0.1},
        "degraded": ["redis", "evidence"],
        "latency_ms": 10.0,
    }
    assert "c5" in asked(folder, sql).output.splitlines()[5]
    path = tmp_path / "answer.csv"
    assert asked(folder, sql, "--format", "csv", "--out", str(path)).exit_code == 0
    table = pyarrow.csv.read_csv(path).to_pylist()
    assert table[4]["degraded"] == '["redis", "evidence"]'
    path = tmp_path / "answer.parquet"
    view = "SELECT * FROM volume_by_minute"
    assert asked(folder, view, "--format", "parquet", "--out", str(path)).exit_code == 0
    assert pyarrow.parquet.read_table(path).num_rows == 6
    refused = asked(folder, view, "--format", "parquet")
    assert (refused.exit_code, "--out FILE" in refused.output) == (2, True)


def test_what_would_be_read_can_be_asked(folder: Path) -> None:
    said = asked(folder, "SELECT action FROM decisions WHERE dt = '2026-03-02'", "--explain").output
    assert said.startswith("decisions: dt, action; ")
    assert "2026-03-02" in said


@pytest.mark.parametrize(
    ("flink", "duckdb"),
    [
        ("ARRAY<ROW<id STRING, at ARRAY<INT>>>", 'STRUCT("id" VARCHAR, "at" INTEGER[])[]'),
        ("MAP<STRING, DOUBLE>", "MAP(VARCHAR, DOUBLE)"),
        ("TIMESTAMP(6)", "TIMESTAMP"),
    ],
)  # fmt: skip
def test_types(flink: str, duckdb: str) -> None:
    assert duckdb_type(flink) == duckdb
    with pytest.raises(ValueError, match="no DuckDB type"):
        duckdb_type("MULTISET<INT>")


QUERIES = re.findall(
    r"```sql\n(.*?)```", (ROOT / "docs" / "ANALYTICS.md").read_text("utf-8"), re.DOTALL
)


@pytest.mark.parametrize("sql", QUERIES)
def test_the_queries_of_the_tour_have_answers(lake: Lake, sql: str) -> None:
    assert lake.query(sql).num_rows


def test_the_tour_names_every_table_and_view() -> None:
    tour = (ROOT / "docs" / "ANALYTICS.md").read_text("utf-8")
    named = re.findall(r"^\| `([a-z_]+)` \|", tour, re.MULTILINE)
    assert named == [*ALL, *(view.name for view in VIEWS)]
