"""No training on rows that failed their checks or that nobody checked."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from schemas.categories import TEXT_CATEGORIES
from schemas.errors import ConfigError, SluiceError
from schemas.quality import QualityCheck, QualityFile, QualityRecord
from scripts.cli import blend_tiers, build_dataset, train_fast, train_fusion, training_templates
from scripts.cli.dataset.build import FILE
from scripts.cli.dataset.rows import table
from scripts.cli.quality import gate, history
from scripts.cli.quality.gate import UncheckedRowsError
from scripts.cli.training_corpus import Corpus
from tests.quality_kit import sentence, training

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A history of the test's own."""
    monkeypatch.setattr(history, "OUT", tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "data" / FILE
    path.parent.mkdir()
    pq.write_table(table(training()), path)
    return path


def result(path: Path, *, passed: bool, suite: str = "training", hours: float = 0) -> QualityRecord:
    check = QualityCheck(
        check="columns.text.length", severity="error", about="", expectation="", expected="short",
        success=passed, observed=1.0, unexpected=int(not passed), rows=1, places=[],
    )  # fmt: skip
    return QualityRecord(
        suite=suite, day="", source="files", closed=True, rows=1, checked=1, passed=passed,
        files=[QualityFile(name=path.name, sha256=gate.digest(path))], checks=[check], mixes={},
        started_at=NOON + dt.timedelta(hours=hours),
    )  # fmt: skip


def test_rows_that_nobody_checked_are_refused(rows: Path, results: Path) -> None:
    with pytest.raises(UncheckedRowsError, match=r"not checked as it is now: run scripts/quality"):
        gate.require(rows, "training")
    # Another suite says nothing, and neither does a result about other bytes.
    history.add(results, result(rows, passed=True, suite="feedback"))
    other = rows.with_name("other")
    other.write_bytes(b"other")
    history.add(results, result(other, passed=True))
    with pytest.raises(UncheckedRowsError, match="not checked as it is now"):
        gate.require(rows, "training")
    with pytest.raises(UncheckedRowsError, match="cannot be read"):
        gate.require(rows.with_name("absent"), "training")


def test_rows_that_changed_since_are_refused(rows: Path, results: Path) -> None:
    history.add(results, result(rows, passed=True))
    assert gate.require(rows, "training")["passed"] is True
    rows.write_bytes(rows.read_bytes() + b"!")
    with pytest.raises(UncheckedRowsError, match="not checked as it is now"):
        gate.require(rows, "training")


@pytest.mark.parametrize(("earlier", "later"), [(True, False), (False, True)])
def test_the_newest_result_counts_wherever_it_lies(
    earlier: bool, later: bool, rows: Path, results: Path
) -> None:
    history.add(results, result(rows, passed=later, hours=1))
    beside = rows.with_name(gate.BESIDE)
    beside.write_bytes(msgspec.json.encode(result(rows, passed=earlier)))
    if later:
        assert gate.require(rows, "training")["suite"] == "training"
        return
    with pytest.raises(UncheckedRowsError, match=r"failed .* 13:00 UTC: columns\.text\.length;"):
        gate.require(rows, "training")


def test_whoever_trains_nevertheless_says_why(rows: Path) -> None:
    facts = gate.require(rows, "training", unchecked=" a trial ")
    assert facts == {"suite": "training", "unchecked": "a trial"}
    with pytest.raises(UncheckedRowsError, match="wants a reason"):
        gate.require(rows, "training", unchecked=" ")


def test_a_damaged_history_is_no_pass(rows: Path, results: Path) -> None:
    history.add(results, result(rows, passed=True))
    with (results / history.FILE).open("ab") as file:
        file.write(b'{"suite": "training", "pas\n')
    with pytest.raises(ConfigError, match="is no result") as caught:
        gate.require(rows, "training")
    assert caught.value.line == 2


def test_a_data_set_is_checked_when_it_is_built(
    tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {
        "version": 1,
        "sources": {"templates": {}, "feedback": {}},
        "templates": ["training/functional_templates.yaml"],
        "template_fills": 2,
        "augment": {"tricks": {"misspelling": 1}},
    }
    config = tmp_path / "dataset.yaml"
    config.write_text(yaml.safe_dump(wanted))
    feedback = tmp_path / "feedback.jsonl"
    feedback.write_bytes(b"")
    out = tmp_path / "out"
    arguments = ["--config", str(config), "--feedback", str(feedback), "--out", str(out)]
    done = CliRunner().invoke(build_dataset.app, arguments)
    assert isinstance(done.exception, UncheckedRowsError)
    assert not out.exists()
    history.add(results, result(feedback, passed=True, suite="feedback"))
    done = CliRunner().invoke(build_dataset.app, arguments)
    # Patterns alone lack too much to train on: the rows are there, and no training takes them.
    assert done.exit_code == 1, done.output
    assert "FAULT shares.self_harm" in done.stderr
    (record,) = history.read(out / gate.BESIDE)
    assert not record.passed
    assert record.files[0].sha256 == gate.digest(out / FILE)
    with pytest.raises(UncheckedRowsError, match="failed the suite training"):
        gate.require(out / FILE, "training")

    for training_app, words in (
        (train_fusion.app, [str(out)]),
        (blend_tiers.app, [str(tmp_path), "--data", str(out)]),
    ):
        done = CliRunner().invoke(training_app, words)
        assert isinstance(done.exception, UncheckedRowsError)
    taken: dict[str, Any] = {}

    def train(*_: Any, **own: Any) -> None:
        taken.update(own)
        raise SluiceError("far enough")

    monkeypatch.setattr(train_fusion, "train", train)
    CliRunner().invoke(train_fusion.app, [str(out), "--unchecked", "patterns will do"])
    assert taken["quality"] == {"suite": "training", "unchecked": "patterns will do"}


def test_sound_rows_pass_their_own_check(rows: Path) -> None:
    assert gate.examine_file(rows, "training").passed
    assert gate.require(rows, "training")["passed"] is True


def corpus(count: int, *, leak: bool) -> Corpus:
    """Texts as scripts/train_fast has them; one stands in two splits where they leak."""
    texts = [sentence(number).lower() for number in range(count)]
    if leak:
        texts[0] = texts[-1]
    labels = np.array(
        [[(i // 10 + 3 * j) % 10 == 0 for j in range(len(TEXT_CATEGORIES))] for i in range(count)],
        np.float32,
    )
    return Corpus(
        texts,
        np.array(["made"] * count),
        [""] * count,
        labels,
        np.ones_like(labels),
        np.zeros(labels.shape, np.bool_),
        np.array([0] * (count * 7 // 10) + [1] * (count // 10) + [2] * (count // 5)),
    )


def test_the_fast_tiers_own_rows_are_checked_before_anything_is_fitted(tmp_path: Path) -> None:
    assert train_fast.checked(corpus(1000, leak=False), None) == {
        "suite": "corpus", "rows": 1000, "passed": True,
    }  # fmt: skip
    with pytest.raises(UncheckedRowsError, match=r"fail the suite corpus: .*of_text_splits\.range"):
        train_fast.checked(corpus(1000, leak=True), None)
    assert train_fast.checked(corpus(10, leak=True), "a trial")["unchecked"] == "a trial"

    def refuse(_: Corpus) -> dict[str, Any]:
        raise UncheckedRowsError("no")

    with pytest.raises(UncheckedRowsError):
        train_fast.train(
            [], training_templates.load(), tmp_path / "out", seed=1, quick=True,
            console=Console(quiet=True), check=refuse,
        )  # fmt: skip
    assert not (tmp_path / "out").exists()
