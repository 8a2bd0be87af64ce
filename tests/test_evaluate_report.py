"""`scripts/evaluate` as a whole: sets in, a report out."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from schemas.categories import TEXT_CATEGORIES
from schemas.errors import ConfigError
from schemas.settings import ROOT
from scripts.cli.dataset.rows import Row, table
from scripts.cli.evaluate import markdown, sets
from scripts.cli.evaluate.__main__ import app
from tests import deep_kit
from udfs.normalise import normalise
from udfs.text_fast import FastTextScorer

HARMLESS = (
    "the {} choir sang until midnight",
    "my {} neighbour bakes bread on sundays",
    "we met a {} doctor at the station",
    "the weather was fine and the {} team won",
)
ABUSIVE = (
    "you are a stupid idiot, {} or not",
    "shut up you {} idiot, nobody likes you",
    "go away stupid {} fool",
    "what a pathetic {} idiot you are",
)
WORDS = ("polish", "turkish", "german", "deaf", "tall", "old", "loud", "quiet")


def lines() -> list[dict[str, Any]]:
    out = []
    for patterns, label in ((HARMLESS, 0), (ABUSIVE, 1)):
        for i, pattern in enumerate(patterns):
            for word in WORDS:
                labels = {"toxicity": label, "threat": 0}
                source = "left" if i % 2 else "right"
                out.append({"text": pattern.format(word), "labels": labels, "source": source})
    random.Random(2).shuffle(out)  # noqa: S311 - order of a test's rows
    return out


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("labelled") / "small.jsonl"
    path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines()))
    return path


@pytest.fixture(scope="session")
def report(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    package = deep_kit.write_package(tmp_path_factory.mktemp("deep"))
    out = tmp_path_factory.mktemp("report")
    arguments = ["--deep-text", str(package), "--out", str(out), "--resamples", "20"]
    done = CliRunner().invoke(app, [str(labelled), *arguments], env={"SLUICE_DATA": ""})
    assert done.exit_code == 0, (done.output, done.exception)
    return out


@cache
def document(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode((folder / "report.json").read_bytes())
    return found


def test_every_tier_is_measured(report: Path) -> None:
    found = document(report)
    assert found["tiers"].keys() == {"fast", "deep", "both"}
    assert found["models"].keys() == {"fast", "deep"}
    for tier, entry in found["tiers"].items():
        assert entry["categories"].keys() == {"toxicity", "threat"}
        toxicity = entry["categories"]["toxicity"]
        assert toxicity["rows"] == 64
        for figure in toxicity["figures"].values():
            if figure["value"] is not None and figure["low"] is not None:
                assert figure["low"] <= figure["high"]
        # A category that nothing is labelled as gets no figures.
        assert "figures" not in entry["categories"]["threat"]
        assert entry["averages"].keys() == {"macro", "micro", "weighted"}
        assert toxicity["by_source"].keys() == {"left", "right"}
        assert entry["robustness"]["toxicity"].keys() > {"as_is", "leet", "look_alike"}
        assert entry["robustness"]["toxicity"]["as_is"]["recall_kept"] in {1.0, None}
        assert entry["identity_terms"]["toxicity"]["sentences"] > 0
        assert 0 <= entry["share_deep"] <= 1, tier
    shares = {tier: entry["share_deep"] for tier, entry in found["tiers"].items()}
    assert shares["fast"] == 0 < shares["both"] < 1 == shares["deep"]


def test_figures_are_those_of_the_models(report: Path, labelled: Path) -> None:
    data = sets.read(str(labelled), None, split="test", held_out=False)
    model = FastTextScorer.load(ROOT / "conf/models/fast_text")
    scores = model.score([normalise(text).text for text in data.texts])[:, 0]
    labels = data.labels[:, 0]
    wins = [up > down for up in scores[labels == 1] for down in scores[labels == 0]]
    figure = document(report)["tiers"]["fast"]["categories"]["toxicity"]["figures"]["roc_auc"]
    assert figure["value"] == pytest.approx(np.mean(wins))


def test_the_frontier_has_both_ends(report: Path) -> None:
    points = document(report)["frontier"]
    tiers = document(report)["tiers"]
    by_kind = {point["kind"]: point for point in points}
    for name in ("fast", "deep"):
        figure = tiers[name]["categories"]["toxicity"]["figures"]["pr_auc"]["value"]
        assert by_kind[name]["pr_auc"]["toxicity"] == pytest.approx(figure)


def test_the_page_shows_what_was_measured_and_its_plots(report: Path) -> None:
    page = (report / "REPORT.md").read_text("utf-8")
    for title in (
        "Ranking and calibration", "Flagged at 0.5", "All categories", "Best thresholds",
        "A queue sorted by score", "By source", "Disguises", "Groups", "Identity terms",
        "Cost against quality", "Plots", "Where the formulas are from",
    ):  # fmt: skip
        assert f"## {title}" in page, title
    assert "nan" not in page.lower().split()
    value = document(report)["tiers"]["both"]["categories"]["toxicity"]["figures"]["roc_auc"]
    assert f"{value['value']:.3f} (" in page
    for name in ("pr", "roc", "reliability", "thresholds", "frontier"):
        assert f"({name}.svg)" in page
        text = (report / f"{name}.svg").read_text("utf-8")
        assert "<svg" in text
        assert "<dc:date>" not in text


def test_a_report_is_the_same_again(report: Path, labelled: Path, tmp_path: Path) -> None:
    arguments = ["--tier", "fast", "--out", str(tmp_path), "--resamples", "20"]
    done = CliRunner().invoke(app, [str(labelled), *arguments], env={"SLUICE_DATA": ""})
    assert done.exit_code == 0, done.output
    before, after = document(report)["tiers"]["fast"], document(tmp_path)["tiers"]["fast"]
    del before["cpu_us"], after["cpu_us"]
    assert before == after
    assert "frontier" not in document(tmp_path)


def test_models_that_are_asked_for_must_be_there(labelled: Path, tmp_path: Path) -> None:
    arguments = ["--tier", "deep", "--deep-text", str(tmp_path / "none")]
    done = CliRunner().invoke(app, [str(labelled), *arguments])
    assert isinstance(done.exception, ConfigError)


# Sets


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "is no labelled text"),
        ('{"text": "a"}', "labels"),
        ('{"text": "a", "labels": {"gore": 1}}', "toxicity"),
        ('{"text": "a", "labels": {"spam": 2}}', "0, 1 or null"),
    ],
)
def test_a_wrong_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.jsonl"
    path.write_text('{"text": "a", "labels": {"spam": 1}}\n' + line + "\n", "utf-8")
    with pytest.raises(ConfigError, match=message) as raised:
        sets.read(str(path), None, split="test", held_out=False)
    assert raised.value.line == 2


def test_lines_may_name_groups_and_unknown_labels(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [
        {"text": "one", "labels": {"spam": 1, "threat": None}, "group": "a"},
        {"text": "two", "labels": {"spam": 0}, "group": ["a", "b"]},
        {"text": "  ", "labels": {"spam": 0}},
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    found = sets.read(str(path), None, split="test", held_out=False)
    assert found.name == "rows"
    assert found.texts == ["one", "two"]
    assert {name: own.tolist() for name, own in found.groups.items()} == {
        "a": [True, True],
        "b": [False, True],
    }
    column = TEXT_CATEGORIES.index("spam")
    assert found.labels[:, column].tolist() == [1, 0]
    assert np.isnan(np.delete(found.labels, column, axis=1)).all()


def test_a_data_set_gives_its_split(tmp_path: Path) -> None:
    unknown, weights = (None,) * 5, (1.0,) * 6
    rows = [
        Row(id=0, text="kept", source="s", language="en", split="test",
            labels=(1, *unknown), weights=weights),
        Row(id=1, text="made", source="s", language="en", split="test", kind="disguised",
            labels=(1, *unknown), weights=weights),
        Row(id=2, text="fitted", source="s", language="en", split="train",
            labels=(0, *unknown), weights=weights),
    ]  # fmt: skip
    pq.write_table(table(rows), tmp_path / "rows.parquet")
    found = sets.read(str(tmp_path), None, split="test", held_out=False)
    assert found.texts == ["kept"]
    assert found.labels[0, 0] == 1
    whole = sets.read(str(tmp_path / "rows.parquet"), None, split="train", held_out=False)
    assert whole.texts == ["fitted"]
    with pytest.raises(ConfigError, match="no texts"):
        sets.read(str(tmp_path), None, split="dev", held_out=False)


def test_what_is_no_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="jigsaw_natural"):
        sets.read("no_such_set", tmp_path, split="test", held_out=False)
    with pytest.raises(ConfigError, match="--data"):
        sets.read("jigsaw_natural", None, split="test", held_out=False)
    with pytest.raises(ConfigError, match="cannot be read"):
        sets.read("hatecheck_german", tmp_path, split="test", held_out=False)


def test_a_set_is_thinned_evenly() -> None:
    labels = np.zeros((100, len(TEXT_CATEGORIES)))
    rows = {"a": np.arange(100) < 50}
    whole = sets.LabelledSet("s", [str(i) for i in range(100)], labels, ["x"] * 100, rows)
    thin = whole.thinned(10)
    assert thin.texts == [str(i) for i in range(0, 100, 11)]
    assert thin.groups["a"].sum() == 5
    assert whole.thinned(0).texts == whole.texts


def test_numbers_are_printed_for_people() -> None:
    assert markdown.number(None) == markdown.number(float("nan")) == ""
    assert markdown.number(0.12345) == "0.123"
    assert markdown.number(7) == "7"
    assert markdown.table(("a",), []) == ""
