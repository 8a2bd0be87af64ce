"""`scripts/quality`: good rows pass, and every planted fault is found and counted."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import ConfigError
from schemas.quality import QualityCheck, QualityFile, QualityRecord
from scripts.cli.dataset.rows import table
from scripts.cli.quality import config, derive, frames, page, report
from scripts.cli.quality.report import Record
from tests.quality_kit import (
    FEEDBACK_FAULTS,
    TRAINING_FAULTS,
    UPLOAD_FAULTS,
    bad_feedback,
    bad_training,
    bad_uploads,
    driven,
    feedback,
    training,
    uploads,
)


class Done(NamedTuple):
    status: int
    said: str
    results: dict[str, QualityCheck]
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
        "training good": [parquet("train", table(training()))],
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
    out = {}
    for name, (status, said) in zip(files, driven(commands), strict=True):
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
    assert config.names() == ["corpus", "decisions", "feedback", "training", "uploads"]
    for name in config.names():
        suite = config.load(name)
        derived = set(derive.columns_of(suite.reader, [{"parent": -1}]))
        named = [*suite.columns, *(share.column for share in suite.shares.values())]
        named += [drift.column for drift in suite.drift.values()]
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
    with pytest.raises(
        ConfigError,
        match="no such suite; there are: corpus, decisions, feedback, training, uploads",
    ):
        config.load("upload")
    with pytest.raises(ConfigError, match="cannot be read"):
        frames.read([tmp_path / "absent.jsonl"], "upload")
    (tmp_path / "wrong.parquet").write_bytes(b"no")
    with pytest.raises(ConfigError, match="cannot be read as Parquet"):
        frames.read([tmp_path / "wrong.parquet"], "upload")


def test_a_folder_stands_for_its_closed_files(tmp_path: Path) -> None:
    for name in ("dt=2/b.jsonl", "dt=1/a.parquet", ".part-0.jsonl", "_tmp/c.jsonl", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "dt=3").mkdir()
    found = frames.closed_files([tmp_path, tmp_path / "notes.txt"])
    assert [path.name for path in found] == ["a.parquet", "b.jsonl", "notes.txt"]
    with pytest.raises(ConfigError, match="holds no closed"):
        frames.closed_files([tmp_path / "dt=3"])


def test_text_on_the_page_is_escaped() -> None:
    result = QualityCheck(
        check="<b>", severity="error", about="", expectation="", expected="<i>", success=False,
        observed="<script>", unexpected=1, rows=1, places=["a<b:1"],
    )  # fmt: skip
    made = QualityRecord(
        suite="s", day="", source="files", closed=True,
        files=[QualityFile(name="<f>", sha256="")], rows=1, checked=1,
        started_at=dt.datetime.fromtimestamp(0, dt.UTC), passed=False, checks=[result], mixes={},
    )  # fmt: skip
    for text in (report.render(made, "<u>"), page.render(made.date, [made])):
        assert not any(tag in text for tag in ("<script>", "<b>", "<i>", "<u>", "<f>", "a<b"))
