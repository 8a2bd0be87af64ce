"""The figures of docs/CAMPAIGNS.md, on texts that the test makes."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.cli import campaign_measure as measure
from scripts.cli import campaign_pictures as pictures
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


def test_pictures_that_were_compressed_are_one_campaign(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(4)
    for number in range(2):
        coarse = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((512, 512), Image.Resampling.BICUBIC)
        smooth.save(tmp_path / f"{number}.png")
        smooth.save(tmp_path / f"{number}.jpg", quality=98)
    monkeypatch.setattr(pictures, "VERSIONS", {"compressed": pictures.compressed})
    pictures.app([str(tmp_path)], standalone_mode=False)
    strangers, compressed = (json.loads(row) for row in capsys.readouterr().out.splitlines())
    assert (strangers["pictures"], strangers["pairs"], strangers["near"]) == (4, 6, 2)
    assert (compressed["told"], compressed["known"]) == (4, 20)
    pictures.app([str(tmp_path), "--copies"], standalone_mode=False)
    copies = json.loads(capsys.readouterr().out)
    assert (copies["near"], copies["in_a_group_with_it"], len(copies["far"])) == (2, 2, 2)
