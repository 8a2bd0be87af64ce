"""The figures of docs/CAMPAIGNS.md, on texts that the test makes."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest

from scripts.cli import campaign_measure as measure
from tests.campaign_kit import EXACT, config

WORDS = [f"{front}{end}" for front in "bdfgklmnprst" for end in ("alo", "eni", "iru", "osa", "ute")]


def strangers(count: int, rng: random.Random) -> list[str]:
    return [" ".join(rng.choice(WORDS) for _ in range(20)) for _ in range(count)]


def test_every_version_is_another_text() -> None:
    rng = random.Random(1)  # noqa: S311 - test data
    for version in measure.VERSIONS.values():
        assert len({version(EXACT, rng) for _ in range(20)}) > 10


def test_copies_are_told_and_strangers_are_not() -> None:
    rng = random.Random(2)  # noqa: S311 - test data
    assert not measure.told(iter(strangers(300, rng)), config())
    copies = [measure.disguised(EXACT, rng) for _ in range(20)]
    assert measure.told(iter([*strangers(50, rng), *copies]), config())


def test_the_figures_are_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(3)  # noqa: S311 - test data
    file = tmp_path / "texts.csv"
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["comment_text"])
        writer.writerows([[text] for text in strangers(40, rng)])
    measure.app([str(file), "--plants", "4"], standalone_mode=False)
    rows = [json.loads(row) for row in capsys.readouterr().out.splitlines()]
    by_name = {row["what"]: row for row in rows}
    assert by_name["strangers"]["campaigns"] == 0
    assert by_name["disguised"]["told"] == by_name["framed"]["told"] == 4
    assert by_name["30 % of words"]["told"] <= by_name["5 % of words"]["told"]
