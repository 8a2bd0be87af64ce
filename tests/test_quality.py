"""`scripts/quality`: good rows pass, and every planted fault is found and counted."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.categories import TEXT_CATEGORIES
from schemas.errors import ConfigError
from schemas.settings import ROOT
from scripts.cli.dataset.rows import Row, table
from scripts.cli.quality import config, frames, report
from scripts.cli.quality.report import Record, Run
from scripts.cli.quality.suites import Result

Rows = list[dict[str, Any]]
DRIVER = """
import json, sys, io, contextlib
from scripts.cli.quality import command
for line in sys.stdin:
    sys.argv = ["quality", *json.loads(line)]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            command.main()
        except SystemExit as leave:
            status = leave.code
    print(json.dumps([status, said.getvalue()]))
"""
"""Runs the command several times in one process: Great Expectations is imported once."""
PLACES = ("harbour", "market", "library", "station", "garden", "museum", "bakery", "stadium")
THINGS = ("boat", "ticket", "book", "train", "tree", "painting", "loaf", "match", "bench", "lamp")
GERMAN = "Der Zug hatte eine Stunde Verspätung, und wir haben den Anschluss verpasst"


def sentence(number: int) -> str:
    place, thing = PLACES[number % 8], THINGS[number // 8 % 10]
    return f"We met at the {place} and somebody had left a {thing} there, number {number}."


def uploads() -> Rows:
    return [
        {
            "content_id": f"c-{i}",
            "content_type": "text",
            "user_id": f"u-{i % 20}",
            "created_at": f"2026-03-0{1 + i % 9}T10:00:00Z",
            "text": sentence(i),
            "language": "en",
            "is_public": True,
            "priority": i % 4,
        }
        for i in range(200)
    ]


def bad_uploads() -> list[dict[str, Any] | str]:
    rows: list[dict[str, Any] | str] = [*uploads()]

    def change(first: int, last: int, **fields: Any) -> None:
        for i in range(first, last):
            old = rows[i]
            assert isinstance(old, dict)
            rows[i] = {**old, **fields}

    change(0, 2, content_type="audio")
    change(2, 5, user_id=None)
    change(5, 6, text="x" * 50_001)
    change(6, 8, priority=12)
    change(8, 9, priority="high")
    change(9, 10, created_at="2024-03-01T10:00:00Z")
    change(10, 14, content_id="c-10")
    change(20, 70, text="...")
    change(70, 199, text=GERMAN, is_public=False)
    rows[199] = "{not json"
    return rows


UPLOAD_FAULTS = {
    # 2 types, 3 users, 1 long text, 3 priorities, 1 line.
    "columns.is_valid.values": 10,
    "columns.content_id.given": 1,
    "columns.content_type.given": 1,
    "columns.content_type.values": 2,
    "columns.user_id.given": 4,
    "columns.created_at.given": 1,
    "columns.text.length": 1,
    "columns.priority.range": 3,
    "columns.of_age_days.range": 1,
    "columns.of_copies.range": 4,
    "shares.empty_texts": 0,
    "shares.english": 0,
    "shares.declared_right": 0,
    "shares.private": 0,
}


def training() -> list[Row]:
    rows = []
    for i in range(400):
        labels = tuple(
            None if (i + j) % 7 == 0 else int((i // 10 + 3 * j) % 10 == 0)
            for j in range(len(TEXT_CATEGORIES))
        )
        rows.append(
            Row(
                id=i,
                text=sentence(i),
                source="made",
                language="en",
                split="train" if i % 10 < 7 else "dev" if i % 10 < 8 else "test",
                labels=labels,
                weights=tuple(0.0 if label is None else 1.0 for label in labels),
                group=i,
            )
        )
    return rows


def training_table(rows: list[Row]) -> pa.Table:
    return table(rows)


def bad_training() -> pa.Table:
    rows = training()
    by_split = {
        name: [row for row in rows if row.split == name] for name in ("train", "dev", "test")
    }
    train, test = by_split["train"], by_split["test"]
    # The same text, dressed up, in train and test: two rows each.
    train[0].text = f"  {test[0].text.upper()} "
    train[0].labels, train[0].weights = test[0].labels, test[0].weights
    # A group in two splits: two rows.
    train[1].group = test[1].group
    train[2].parent, train[2].kind = test[2].id, "disguised"
    test[3].kind = "copy"
    train[3].text += " __label__toxic"
    train[4].text += " spam=1"
    train[5].text, train[6].text = "one text twice", "one text twice"
    train[5].labels, train[6].labels = (1, *[None] * 5), (0, *[None] * 5)
    train[5].weights = train[6].weights = (1.0, *[0.0] * 5)
    train[7].weights = (1.0,) * 6
    train[7].labels = (None, 0, 0, 0, 0, 0)
    train[8].labels = (7, 0, 0, 0, 0, 0)
    train[8].weights = (1.0,) * 6
    train[9].agreement = 0.1
    for row in rows:
        # No training row threatens any more, and nobody knows English.
        row.labels = (*row.labels[:2], 0, *row.labels[3:])
        row.weights = (*row.weights[:2], 1.0, *row.weights[3:])
        row.language = "pt"
    train[10].id = train[11].id
    made = training_table(rows)
    return made.append_column("score_toxicity", pa.array([0.5] * len(rows)))


TRAINING_FAULTS = {
    "more_columns": 0,
    "columns.id.unique": 2,
    "columns.agreement.range": 1,
    "columns.label_toxicity.values": 1,
    "columns.is_weight_as_label.values": 1,
    "columns.of_text_splits.range": 2,
    "columns.of_group_splits.range": 2,
    "columns.is_parent_elsewhere.values": 1,
    "columns.is_label_in_text.values": 2,
    "columns.is_held_out_made.values": 1,
    "shares.threat": 0,
    "shares.english": 0,
    "shares.declared_right": 0,
}


def feedback() -> Rows:
    return [
        {
            "feedback_id": f"f-{i}",
            "moderation_id": f"m-{i}",
            "content_id": f"c-{i}",
            "source": ("verdict", "verdict", "rule", "sample")[i % 4],
            "category": "toxicity",
            "label": None if i % 4 == 3 else i % 4 == 2 or i % 3 == 0,
            "weight": 1.0,
            "text": sentence(i),
            "language": "en",
            "scores": {"toxicity": 0.3, "spam": 0.1},
            "features": {"uploads_1m": 1.0},
            "model_versions": {"fast_text": "1"},
            "timestamp": "2026-03-01T10:00:00Z",
        }
        for i in range(100)
    ]


def bad_feedback() -> Rows:
    rows = feedback()
    rows[0]["label"] = None  # a verdict without a label
    rows[3]["label"] = True  # a sample with one
    rows[4]["weight"] = 2
    rows[5]["feedback_id"] = "f-6"
    rows[7]["scores"] = {"toxicity": 1.5, "spam": 0.1}
    rows[8]["scores"] = {"toxicity": -0.5, "spam": 0.1}
    for i, j in ((9, 12), (13, 16)):
        rows[j].update(content_id=rows[i]["content_id"], label=not rows[i]["label"])
    for i in (20, 21, 22):
        rows[i]["scores"] = {"toxicity": float(rows[i]["label"])}
    rows[24]["text"] += " toxicity: true"
    rows[25]["category"] = 7
    for row in (*rows[17:20], *rows[26:]):
        row.update(source="rule", label=True)
    return rows


FEEDBACK_FAULTS = {
    "columns.is_valid.values": 1,
    "columns.feedback_id.unique": 2,
    "columns.weight.range": 1,
    "columns.of_lowest_score.range": 1,
    "columns.of_highest_score.range": 1,
    "columns.is_label_as_source.values": 2,
    "columns.is_contradicted.values": 4,
    "columns.is_score_the_label.values": 3,
    "columns.is_label_in_text.values": 1,
    "shares.own_labels": 0,
}


class Done(NamedTuple):
    status: int
    said: str
    results: dict[str, Result]
    folder: Path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    folder = tmp_path_factory.mktemp("quality")

    def lines(name: str, rows: Any) -> Path:
        path = folder / f"{name}.jsonl"
        path.write_text(
            "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), "utf-8"
        )
        return path

    def parquet(name: str, made: pa.Table) -> Path:
        pq.write_table(made, folder / f"{name}.parquet")
        return folder / f"{name}.parquet"

    half = uploads()
    files = {
        "uploads good": [lines("up-1", half[:100]), lines("up-2", half[100:])],
        "uploads bad": [lines("up-bad", bad_uploads())],
        "training good": [parquet("train", training_table(training()))],
        "training bad": [parquet("train-bad", bad_training())],
        "feedback good": [lines("fb", feedback())],
        "feedback parquet": [parquet("fb", pa.Table.from_pylist(feedback()))],
        "feedback bad": [lines("fb-bad", bad_feedback())],
    }
    commands = [
        ["run", *map(str, own), "--suite", name.split()[0], "--out", str(folder / name),
         "--metrics", str(folder / f"{name}.prom")]
        for name, own in files.items()
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        cwd=ROOT, input="\n".join(map(json.dumps, commands)), capture_output=True, text=True,
        check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    out = {}
    for name, line in zip(files, done.stdout.splitlines(), strict=True):
        status, said = json.loads(line)
        made = folder / name / name.split()[0]
        records = read_records(made / report.RECORDS)
        results = {record.result.check: record.result for record in records}
        out[name] = Done(status, said, results, folder / name)
    return out


def read_records(path: Path) -> list[Record]:

    return [msgspec.json.decode(line, type=Record) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize(
    ("name", "rows"),
    [("uploads", 200), ("training", 400), ("feedback", 100)],
)
def test_good_rows_pass(runs: dict[str, Done], name: str, rows: int) -> None:
    done = runs[f"{name} good"]
    assert done.status == 0, done.said
    assert [r.check for r in done.results.values() if not r.success] == []
    assert f"{name}: {rows} rows, {len(done.results)} of {len(done.results)} checks" in done.said


def test_feedback_reads_the_same_from_parquet(runs: dict[str, Done]) -> None:
    lines, columns = runs["feedback good"], runs["feedback parquet"]
    assert columns.status == 0, columns.said
    assert columns.results == lines.results


@pytest.mark.parametrize(
    ("name", "faults"),
    [("uploads", UPLOAD_FAULTS), ("training", TRAINING_FAULTS), ("feedback", FEEDBACK_FAULTS)],
)
def test_every_planted_fault_is_found_and_counted(
    runs: dict[str, Done], name: str, faults: dict[str, int]
) -> None:
    done = runs[f"{name} bad"]
    assert done.status == 1
    found = {check: r.unexpected for check, r in done.results.items() if not r.success}
    assert found == faults
    for check in faults:
        assert f" {check}: expected " in done.said


def test_results_name_rows_and_never_quote_them(runs: dict[str, Done]) -> None:
    done = runs["feedback bad"]
    assert done.results["columns.is_label_in_text.values"].places == ["fb-bad.jsonl:25"]
    assert done.results["columns.weight.range"].places == ["fb-bad.jsonl:5"]
    for path in done.folder.rglob("*"):
        assert path.is_dir() or "somebody had left" not in path.read_text("utf-8")
    assert runs["training bad"].results["more_columns"].observed == "score_toxicity"
    assert runs["uploads bad"].results["shares.empty_texts"].observed == pytest.approx(
        50 / 199, abs=0.01
    )


def test_the_page_and_the_metrics_tell_the_same(runs: dict[str, Done]) -> None:
    done = runs["uploads bad"]
    page = (done.folder / "uploads" / report.PAGE).read_text("utf-8")
    failed = [r for r in done.results.values() if not r.success]
    assert page.count('class="fault"') == sum(r.severity == "error" for r in failed)
    assert page.count('class="warning"') == sum(r.severity == "warning" for r in failed)
    assert page.count("<tr>") == len(done.results) + 1
    text = done.folder.with_name("uploads bad.prom").read_text("utf-8")
    assert text.count('severity="error"} 1\n') == sum(r.severity == "error" for r in failed)
    assert 'sluice_quality_rows{suite="uploads"} 200\n' in text
    assert (
        'sluice_quality_unexpected_rows{suite="uploads",check="columns.user_id.given"} 4\n' in text
    )


def test_shipped_suites_are_sound_and_name_only_what_there_is() -> None:
    assert config.names() == ["feedback", "training", "uploads"]
    readers: dict[str, Callable[[Rows], dict[str, list[Any]]]] = {
        "upload": frames._uploads,
        "feedback": frames._feedback,
        "training": frames._training,
    }
    shared = {"is_blank", "of_language", "is_told", "is_declared_right"}
    for name in config.names():
        suite = config.load(name)
        derived = set(readers[suite.reader]([{"parent": -1}])) | shared
        named = [*suite.columns, *(share.column for share in suite.shares.values())]
        for column in named:
            assert (
                column in derived
                or not column.startswith(("is_", "of_"))
                or (column == "is_public")
            )


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("columns: {a: {min: 2, max: 1}}", 4, "must not be above max"),
        ("columns: {a: {mim: 2}}", 4, "mim"),
        ("columns: {a: {}}\nshares: {b: {column: a, values: []}}", 5, "values"),
        ("columns: {a: {}}\nshares: {b: {column: a, values: [1], min: 1, max: 0}}", 5, "above max"),
        ("columns: {}", 4, "columns"),
    ],
)
def test_mistakes_in_a_suite_are_reported_where_they_stand(
    tmp_path: Path, text: str, line: int, said: str
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(f"version: 1\nabout: x\nreader: upload\n{text}\n", "utf-8")
    with pytest.raises(ConfigError) as caught:
        config.load(str(path))
    assert (caught.value.file, caught.value.line) == (str(path), line)
    assert said in str(caught.value)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such suite; there are: feedback, training, uploads"):
        config.load("upload")
    with pytest.raises(ConfigError, match="cannot be read"):
        frames.read([tmp_path / "absent.jsonl"], "upload")
    (tmp_path / "wrong.parquet").write_bytes(b"no")
    with pytest.raises(ConfigError, match="cannot be read as Parquet"):
        frames.read([tmp_path / "wrong.parquet"], "upload")


def test_text_on_the_page_is_escaped() -> None:
    result = Result(
        check="<b>", severity="error", about="", expectation="", expected="<i>", success=False,
        observed="<script>", unexpected=1, rows=1, places=["a<b:1"],
    )  # fmt: skip
    made = Run(
        suite="s", about="<u>", files=["<f>"], rows=1,
        started_at=dt.datetime.fromtimestamp(0, dt.UTC), results=[result],
    )  # fmt: skip
    page = report.render(made)
    assert not any(tag in page for tag in ("<script>", "<b>", "<i>", "<u>", "<f>", "a<b"))
