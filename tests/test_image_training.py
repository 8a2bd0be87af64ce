"""Pictures that the project draws, and the small model that is trained on them."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from schemas.errors import SluiceError
from schemas.settings import CONF
from scripts.cli import train_image
from scripts.cli.image import figures, gallery
from scripts.cli.image.brush import FONTS, UNSEEN_FONTS
from tests.media_kit import photo, saved, write_colours
from udfs.pixel_package import Geometry
from udfs.pixels import load

SMALL = Geometry(fit="squash", resize=32, crop=32)
SHIPPED = CONF / "models" / "image_spam"


def test_the_same_seed_draws_the_same_pictures_and_another_draws_others() -> None:
    first, again = (gallery.pictures(20, "train", 5, SMALL) for _ in range(2))
    other = gallery.pictures(20, "train", 6, SMALL)
    assert (first.squares == again.squares).all()
    assert first.layouts == again.layouts == other.layouts
    differ = (first.squares != other.squares).reshape(20, -1).any(1)
    assert differ.all()


def test_splits_share_no_picture_and_half_is_spam() -> None:
    splits = {name: gallery.pictures(12, name, 5, SMALL) for name in ("train", "dev", "test")}
    for one, two in itertools.combinations(splits.values(), 2):
        pairs = (one.squares[:, None] == two.squares[None]).reshape(12, 12, -1).all(2)
        assert not pairs.any()
    assert all(own.labels.sum() == 6 for own in splits.values())


def test_unseen_layouts_and_fonts_are_never_trained_on() -> None:
    trained = {layout.name for layout, _ in gallery.drawn(26, "train", 5)}
    unseen = {layout.name for layout, _ in gallery.drawn(6, "unseen", 5)}
    assert trained | unseen == {layout.name for layout in gallery.LAYOUTS}
    assert not trained & unseen
    assert not set(FONTS) & set(UNSEEN_FONTS)
    assert len(gallery.LAYOUTS) == len({layout.name for layout in gallery.LAYOUTS})


def test_figures_are_those_of_the_scores() -> None:
    pictures = gallery.Pictures(
        np.zeros((8, 1, 1, 3), np.uint8), np.array([1.0, 0.0] * 4), ("banner", "photo") * 4
    )
    perfect = figures.quality(pictures, pictures.labels * 0.9 + 0.05, seed=1)
    assert perfect["roc_auc"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert perfect["recall_at_0.95"]["value"] == 1.0
    assert perfect["false_positives_at_0.5"]["value"] == 0.0
    assert perfect["layouts"]["photo"] == {
        "spam": False, "pictures": 4, "mean": 0.05, "at_0.5": 0.0,
    }  # fmt: skip
    turned = figures.quality(pictures, 1 - pictures.labels, seed=1)
    assert turned["roc_auc"]["value"] == 0.0
    assert turned["false_positives_at_0.8"]["value"] == 1.0


def test_intervals_of_shares_are_wilsons() -> None:
    # Newcombe 1998, table I, method 3: 81 of 263, 15 of 148, 0 of 20.
    assert figures.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert figures.wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert figures.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


def test_real_pictures_are_found_in_folders_and_what_is_none_is_passed_over(tmp_path: Path) -> None:
    with pytest.raises(SluiceError, match="no pictures"):
        figures.real_pictures(tmp_path, SMALL)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a.png").write_bytes(saved(photo()))
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    (tmp_path / "c.txt").write_text("no picture")
    scorer = load(write_colours(tmp_path / "colours"))
    squares = figures.real_pictures(tmp_path, scorer.geometry)
    assert len(squares) == 1
    assert figures.harmless(scorer, squares)["pictures"] == 1


@pytest.mark.slow
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "onnx")),
    reason="training needs the extra: scripts/setup --extra train",
)
def test_training_gives_a_package_with_its_card(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.png").write_bytes(saved(photo()))
    out = tmp_path / "out"
    done = CliRunner().invoke(
        train_image.app,
        ["--out", str(out), "--pictures", "160", "--held-out", "40", "--epochs", "8",
         "--side", "32", "--threads", "1", "--real", str(tmp_path / "real")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output or done.exception
    scorer = load(out)
    assert (scorer.name, scorer.categories) == ("image_spam", ("spam",))
    unseen = scorer.manifest.source["metrics"]["unseen"]
    assert unseen["pictures"] == 40
    # So short a training learns something, or it would be a coin.
    assert unseen["roc_auc"]["value"] > 0.6
    card = (out / "MODEL_CARD.md").read_text()
    assert scorer.version in card
    assert "1 pictures (of a folder)" in card


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="the model is not shipped")
def test_the_shipped_model_is_small_and_does_what_its_card_says() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 2_000_000
    scorer = load(SHIPPED)
    pictures = gallery.pictures(60, "unseen", 77, scorer.geometry)
    scores = scorer.score(pictures.squares)[:, 0]
    # Other pictures than those that its figures were taken from.
    assert figures.quality(pictures, scores.astype(float), seed=1)["roc_auc"]["value"] > 0.9
