"""Which rows retention and erasure take, and what they leave. Deleting itself: test_tables_e2e."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from schemas.settings import Settings, load_settings
from schemas.tables_conf import Hold, HoldsDocument
from schemas.tables_records import ALL
from scripts.cli import erase, retention
from scripts.cli.dataset.rows import SCHEMA, content_key
from scripts.cli.lake.deleting import count
from scripts.cli.lake.doomed import of_user
from scripts.cli.lake.reading import Lake
from scripts.cli.lake.training_rows import erase_rows
from scripts.cli.lake.turns import TablesBusyError, writing
from tests.lake_kit import DAY, decided, make_lake, verdict

TODAY = dt.date(2026, 5, 1)
OLD = DAY  # 61 days before
NEW = dt.datetime(2026, 4, 20)  # noqa: DTZ001 - the tables hold UTC without saying so
REMOVED = {"status": "rejected", "action": "remove"}


def audit(number: int, at: dt.datetime, user: str = "u1", **fields: Any) -> dict[str, Any]:
    upload = {"content_id": f"c{number}", "user_id": user, "text": f"text {number}"}
    row = {
        "dt": f"{at:%Y-%m-%d}", "moderation_id": f"m{number}", "content_id": f"c{number}",
        "user_id": user, "upload": json.dumps(upload), "record_partition": 0,
        "record_offset": number,
    }  # fmt: skip
    return row | fields


DECISIONS = [
    decided(1, OLD),
    decided(2, OLD, **REMOVED, user_id="u2"),
    # Removed at first, then allowed: not safe every time.
    decided(3, OLD, **REMOVED),
    decided(30, OLD, content_id="c3", revision=1),
    decided(4, OLD, user_id="held"),
    decided(5, OLD),
    decided(6, NEW),
    decided(7, dt.datetime(2022, 1, 1), user_id="u2"),  # noqa: DTZ001 - likewise
]
LAKE = {
    "decisions": DECISIONS,
    "cases": [row for row in DECISIONS if row["moderation_id"] != "m3"],
    "audit": [
        *(audit(number, OLD) for number in (1, 3, 5)),
        audit(2, OLD, "u2"),
        audit(4, OLD, "held"),
        audit(6, NEW),
        audit(8, OLD),  # no decision is about it
    ],
    "verdicts": [verdict(1, "c1", violates=False), verdict(2, "c2", violates=True)],
    "reports": [
        {"dt": "2026-04-20", "report_id": f"r{n}", "content_id": content, "reporter_id": who,
         "record_partition": 0, "record_offset": n}
        for n, (content, who) in enumerate([("c1", "u2"), ("c2", "u3"), ("c9", "u9")])
    ],
    "feedback": [
        # Rows that banks and rules gave do not say whose content it is.
        {"dt": "2026-03-01", "feedback_id": f"f{n}", "content_id": content, "user_id": None,
         "source": "rule", "text": "from feedback", "record_partition": 0, "record_offset": n}
        for n, content in enumerate(["c1", "c2"])
    ],
    "unreadable": [
        {"dt": f"{at:%Y-%m-%d}", "topic": "t", "record_partition": 0, "record_offset": n,
         "record_value": value, "written_at": at}
        for n, (at, value) in enumerate([
            (OLD, b"{"), (NEW, b'\xff{"user_id":"u2"'), (NEW, b'{"user_id":"u22"}'), (NEW, None),
        ])
    ],
    "dead_letters": [
        {"dt": "2026-04-20", "topic": "t", "partition": 0, "offset": n, "user_id": who,
         "raw": raw, "record_partition": 0, "record_offset": n}
        for n, (who, raw) in enumerate([("u2", b"{}"), (None, b'"u2"'), ("u1", b"u2")])
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lake")
    make_lake(folder, LAKE)
    return folder


@pytest.fixture
def settings(folder: Path, tmp_path: Path) -> Settings:
    holds = tmp_path / "holds.yaml"
    holds.write_text(
        "version: 1\nholds:\n"
        "  - {user_id: held, reason: case 1}\n  - {content_id: c5, reason: case 2}\n"
    )
    settings = load_settings("dev")
    tables = settings.tables.model_copy(update={"warehouse": folder.as_uri(), "holds": holds})
    redis = settings.redis.model_copy(update={"enabled": False})
    return settings.model_copy(update={"tables": tables, "redis": redis})


def test_retention_takes_what_is_old_and_safe(settings: Settings) -> None:
    planned = {one.doomed.table: one for one in retention.planned(settings, TODAY)}
    # Old and safe are c1 and c8; c4 and c5 are held, c2 and c3 were removed once, c6 is new.
    assert (planned["audit"].going, planned["audit"].held) == (2, 2)
    assert [day.dt for day in planned["audit"].days] == ["2026-03-01"]
    # Decisions are kept for three years.
    assert (planned["decisions"].going, planned["cases"].going) == (1, 1)
    assert [day.dt for day in planned["decisions"].days] == ["2022-01-01"]
    assert planned["unreadable"].going == 1
    assert planned["verdicts"].going == planned["enforcement"].going == 0
    assert "control_history" not in planned


def test_nothing_is_deleted_where_nothing_tells_what_is_safe(
    settings: Settings, tmp_path: Path
) -> None:
    make_lake(tmp_path / "lake", {"audit": LAKE["audit"]})
    tables = settings.tables.model_copy(update={"warehouse": (tmp_path / "lake").as_uri()})
    with pytest.raises(Exception, match="decisions is empty: nothing tells what is safe"):
        retention.planned(settings.model_copy(update={"tables": tables}), TODAY)


def test_the_plan_is_said(folder: Path) -> None:
    runner = CliRunner(env={"SLUICE_TABLES__WAREHOUSE": str(folder)})
    said = runner.invoke(retention.app, ["plan", "--today", "2026-05-01"])
    assert "audit: 4 rows (2026-03-01 to 2026-03-01)" in said.output
    as_json = runner.invoke(retention.app, ["plan", "--today", "2026-05-01", "--json"])
    assert json.loads(as_json.output)["audit"]["rows"] == 4
    assert runner.invoke(retention.app, ["plan", "--today", "today"]).exit_code == 2


def test_an_erasure_takes_every_row_about_a_user(settings: Settings) -> None:
    report = erase.erase(settings, "u2", [], dry_run=True)
    assert report["tables"] == {
        "reports": 2,  # of a content of theirs, and by them
        "verdicts": 1,
        "feedback": 1,
        "decisions": 2,
        "cases": 2,
        "audit": 1,
        "dead_letters": 2,
        "unreadable": 1,
    }
    assert report["complete"]
    assert not (Path(settings.tables.warehouse.removeprefix("file://")) / "erasures.jsonl").exists()


def test_a_legal_hold_keeps_and_is_named(settings: Settings) -> None:
    whole = erase.erase(settings, "held", [], dry_run=True)
    assert (whole["complete"], whole["held_by"]) == (False, ["case 1"])
    assert "tables" not in whole
    part = erase.erase(settings, "u1", [], dry_run=True)
    assert part["held"] == {"decisions": 1, "cases": 1, "audit": 1}
    assert (part["complete"], part["held_by"]) == (False, ["case 2"])


def test_ids_are_quoted(folder: Path) -> None:
    lake = Lake(folder.as_uri(), "sluice")
    holds = HoldsDocument(version=1, holds=(Hold(content_id="it's", reason="r"),))
    for name in ("reports", "unreadable", "enforcement"):
        doomed = of_user(ALL[name], "o'brién", holds, "duckdb")
        assert doomed is not None
        assert count(lake, doomed).going == 0
    flink = of_user(ALL["unreadable"], "o'brién", holds, "flink")
    assert flink is not None
    assert flink.goes == "(POSITION('\"o''brién\"' IN DECODE(t.record_value, 'UTF-8')) > 0)"


def test_one_writes_at_a_time(tmp_path: Path) -> None:
    with (
        writing(tmp_path.as_uri(), "scripts/run_tables"),
        pytest.raises(TablesBusyError, match=r"scripts/run_tables writes .*stop it first"),
        writing(tmp_path.as_uri(), "scripts/erase"),
    ):
        pass
    with writing(tmp_path.as_uri(), "scripts/erase"):
        pass


def dataset_row(number: int, text: str, **fields: Any) -> dict[str, Any]:
    row = {"id": number, "text": text, "source": "feedback", "kind": "original", "parent": -1}
    return row | fields


def test_training_rows_go_with_their_copies(tmp_path: Path) -> None:
    texts = ["call me at +1 650 253 0000", "harmless"]
    rows = [
        dataset_row(0, "call me at [PHONE]"),
        dataset_row(1, "harmless"),
        dataset_row(2, "h4rmless", kind="disguised", parent=1),
        dataset_row(3, "h4rm1ess", kind="copy", parent=2),
        dataset_row(4, "harmless", source="templates"),
        dataset_row(5, "somebody else's"),
        dataset_row(6, "what it said before an edit", content=content_key("c1")),
        dataset_row(7, "like c1, of a public set", content=content_key("c1"), source="edos"),
        dataset_row(8, "of another content", content=content_key("c2")),
    ]
    from udfs.pii import mask  # noqa: PLC0415 - what the first row has to be

    rows[0]["text"] = mask(texts[0])
    assert rows[0]["text"] != texts[0]
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), tmp_path / "rows.parquet")
    lines = [{"content_id": content, "text": content} for content in ("c1", "c2")]
    (tmp_path / "feedback.jsonl").write_text("".join(f"{json.dumps(x)}\n" for x in lines) + "?\n")
    named = pa.table({"content_id": ["c1", "c3", None]})
    (tmp_path / "below").mkdir()
    pq.write_table(named, tmp_path / "below" / "feedback.parquet")
    pq.write_table(pa.table({"else": [1]}), tmp_path / "below" / "other.parquet")
    removed = erase_rows(tmp_path, {"c1", "c9"}, texts)
    assert removed == {"below/feedback.parquet": 1, "feedback.jsonl": 1, "rows.parquet": 5}
    left = pq.read_table(tmp_path / "rows.parquet")
    assert left["id"].to_pylist() == [4, 5, 7, 8]
    assert left.schema.equals(SCHEMA)
    assert (tmp_path / "feedback.jsonl").read_text() == '{"content_id": "c2", "text": "c2"}\n?\n'
    assert pq.read_table(tmp_path / "below" / "feedback.parquet")["content_id"].to_pylist() == [
        "c3",
        None,
    ]
    assert erase_rows(tmp_path, {"c1", "c9"}, texts) == {}
