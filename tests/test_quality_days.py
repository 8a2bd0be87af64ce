"""`scripts/quality` over days of the analyst tables: what it finds, remembers and shows."""

from __future__ import annotations

import datetime as dt
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from schemas.quality import QualityRecord
from scripts.cli.quality import history
from tests.lake_kit import make_lake
from tests.quality_days_kit import (
    BAD,
    BEFORE,
    DAY_FEEDBACK_FAULTS,
    DECISION_FAULTS,
    GOOD,
    ROWS_OF,
    lake_days,
)
from tests.quality_kit import driven


class Runs(NamedTuple):
    folder: Path
    said: dict[str, tuple[Any, str]]
    records: dict[tuple[str, str], QualityRecord]
    """By suite and day."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("days")
    make_lake(folder / "warehouse", lake_days())
    out = folder / "out"
    today = dt.datetime.now(dt.UTC).date().isoformat()
    day = ["run", "--out", str(out), "--store", str(folder / "models"), "--day"]
    commands = {
        "before": [*day, f"{BEFORE}", "--table", "decisions"],
        "good": [*day, f"{GOOD}", "--metrics", str(folder / "good.prom")],
        "bad": [*day, f"{BAD}", "--table", "decisions", "--table", "feedback"],
        "sample": [*day[:1], "--out", str(folder / "sample"), *day[3:], f"{GOOD}", "--rows", "100",
                   "--table", "decisions"],
        "today": [*day, today],
        "open": [*day, today, "--open", "--table", "decisions"],
        "history": ["history", "--out", str(out)],
        "page": ["page", "--out", str(out), "--day", f"{GOOD}"],
    }  # fmt: skip
    done = driven(list(commands.values()), SLUICE_TABLES__WAREHOUSE=str(folder / "warehouse"))
    records = {(one.suite, one.day): one for one in history.read(out)}
    return Runs(folder, dict(zip(commands, done, strict=True)), records)


def failed(record: QualityRecord) -> dict[str, int]:
    return {check.check: check.unexpected for check in record.checks if not check.success}


def observed(record: QualityRecord) -> dict[str, Any]:
    return {check.check: check.observed for check in record.checks}


def test_a_sound_day_passes(runs: Runs) -> None:
    status, said = runs.said["good"]
    assert status == 0, said
    for suite in ("uploads", "decisions", "feedback"):
        record = runs.records[suite, f"{GOOD}"]
        # That nobody knows the model is a warning.
        assert set(failed(record)) <= {"columns.is_model_known.values"}, suite
        assert record.passed
        assert record.closed
    assert runs.records["decisions", f"{GOOD}"].rows == ROWS_OF[GOOD]
    found = observed(runs.records["feedback", f"{GOOD}"])
    assert found["joins.verdict"] == found["joins.report"] == found["joins.appeal"] == 1.0


def test_every_fault_of_a_bad_day_is_found_and_counted(runs: Runs) -> None:
    status, said = runs.said["bad"]
    assert status == 1
    assert failed(runs.records["decisions", f"{BAD}"]) == DECISION_FAULTS
    assert failed(runs.records["feedback", f"{BAD}"]) == DAY_FEEDBACK_FAULTS
    assert observed(runs.records["feedback", f"{BAD}"])["joins.verdict"] == pytest.approx(0.75)
    assert "FAULT volume: expected 225 to 675 (median of 2 weeks" in said
    (place,) = next(
        check.places
        for check in runs.records["decisions", f"{BAD}"].checks
        if check.check == "columns.action.values"
    )
    assert re.fullmatch(r"1:\d+", place)


def test_the_first_day_has_nothing_to_be_compared_with(runs: Runs) -> None:
    found = observed(runs.records["decisions", f"{BEFORE}"])
    assert found["volume"] == f"too little history: 0 weeks, {ROWS_OF[BEFORE]} rows"
    assert found["drift.language"].startswith("too little history")
    assert runs.said["before"][0] == 0


def test_a_large_day_is_sampled_and_counted_whole(runs: Runs) -> None:
    assert runs.said["sample"][0] == 0, runs.said["sample"][1]
    (record,) = history.read(runs.folder / "sample")
    assert (record.rows, record.checked) == (ROWS_OF[GOOD], 100)
    assert observed(record)["volume"] == ROWS_OF[GOOD]


def test_a_day_that_is_not_over_is_refused(runs: Runs) -> None:
    status, _ = runs.said["today"]
    assert re.fullmatch(
        r"quality: \d{4}-\d\d-\d\d is open until \d{4}-\d\d-\d\d 03:00 UTC .*--open .*", status
    )
    status, said = runs.said["open"]
    assert status == 1
    assert "FAULT rows: expected at least 1, found 0" in said


def test_the_history_tells_runs_apart(runs: Runs) -> None:
    _, said = runs.said["history"]
    lines = [line.split() for line in said.splitlines()[1:]]
    assert [line[:2] for line in lines if line[0] == "feedback"] == [
        ["feedback", f"{day}"] for day in (GOOD, BAD)
    ]
    assert re.search(rf"decisions +{BAD} .* FAILED: .*volume 210\.0", said)
    assert re.search(r"decisions .* FAILED \(open day\): rows 0", said)


def test_the_page_of_a_day_stands_alone_and_draws_its_trends(runs: Runs) -> None:
    page = (runs.folder / "out" / f"{BAD}" / "index.html").read_text("utf-8")
    assert "Data quality of 2026-03-17: 2 suites, 2 failed" in page
    assert "No result for this day: uploads" in page
    assert not re.search(r"https?:|src=|<script|@import|url\(", page)
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    for drawing in drawings:
        ET.fromstring(drawing)  # noqa: S314 - of our own making
    # Of a share two days of the fortnight are known, a week apart: a dot each that matters.
    mix = next(row for row in page.split("<tr>") if "shares.removed" in row)
    assert "2 of 14 days, 0.2 to 0.89" in mix
    assert mix.count('class="fault"') == 2  # the word, and the day's dot
    assert runs.said["page"][1].strip().endswith(f"{GOOD}/index.html")
    text = "".join(path.read_text("utf-8") for path in (runs.folder / "out").rglob("*.*"))
    assert "Verspätung" not in text
    assert "u-49" not in text


def test_metrics_have_the_figures(runs: Runs) -> None:
    text = (runs.folder / "good.prom").read_text("utf-8")
    assert f'sluice_quality_rows{{suite="decisions"}} {ROWS_OF[GOOD]}\n' in text
    assert 'sluice_quality_observed{suite="feedback",check="joins.verdict"} 1.0\n' in text
    assert text.count("# TYPE sluice_quality_failed gauge") == 1
