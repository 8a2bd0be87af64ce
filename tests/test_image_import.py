"""Foreign image classifiers as pixel packages: ONNX files, and Hugging Face folders."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from operators.media_analyse import MediaAnalyser
from schemas.errors import ConfigError, SluiceError
from scripts.cli import import_image_model
from scripts.cli.image import label_map, onnx_file
from tests.media_kit import colour_model, photo, saved, settings, upload
from udfs.model_package import MANIFEST
from udfs.pixel_package import MODEL, Geometry, PixelManifest, PixelOutput
from udfs.pixels import load, square

WEIGHTS = [[8.0, 0.0, -8.0], [-8.0, 0.0, -8.0], [-8.0, 0.0, 8.0]]
MAP = """\
version: 1
activation: softmax
names: [blood, nothing, brawl]
labels: {blood: gore, brawl: violence}
licence: MIT
preprocessing: {fit: squash, resize: 64, crop: 48, resample: bicubic, mean: [0.5, 0.5, 0.5],
  deviation: [0.5, 0.5, 0.5]}
"""
with_torch = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "onnx")),
    reason="exporting needs the extra: scripts/setup --extra train",
)


def written(folder: Path, text: str = MAP, model: bytes = b"") -> tuple[Path, Path]:
    """A model's file and its map."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "brawls.onnx").write_bytes(model or colour_model(WEIGHTS))
    (folder / "map.yaml").write_text(text)
    return folder / "brawls.onnx", folder / "map.yaml"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(import_image_model.app, [str(each) for each in arguments])


def test_an_onnx_file_becomes_a_package_that_the_media_job_scores_with(tmp_path: Path) -> None:
    model, labels = written(tmp_path / "in")
    done = run(model, "--labels", labels, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    scorer = load(tmp_path / "out")
    assert (scorer.name, scorer.categories) == ("brawls", ("violence", "gore"))
    assert scorer.geometry == Geometry(fit="squash", resize=64, crop=48, resample="bicubic")
    assert scorer.manifest.source["licence"] == "MIT"
    (row,) = scorer.score(square(Image.new("RGB", (90, 70), "red"), scorer.geometry)[None])
    assert row.tolist() == [pytest.approx(0, abs=0.01), pytest.approx(1, abs=0.01)]
    (tmp_path / "red.png").write_bytes(saved(Image.new("RGB", (90, 70), "red")))
    with MediaAnalyser(settings(tmp_path, tmp_path / "out")) as analyser:
        (found,) = analyser.analyse([upload("red", f"file://{tmp_path}/red.png")])
    assert found.scores["gore"].score == pytest.approx(row[1], abs=1e-5)
    assert found.scores["gore"].model == "brawls"
    assert found.versions["brawls"] == scorer.version


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("{blood: gore,", "{blod: gore,"), r"map.yaml:4.*no such label; it has: blood, nothing"),
        (("brawl: violence", "brawl: fights"), r"map.yaml:4.*unknown category"),
        (("[blood, nothing, brawl]", "[blood, brawl]"), r"map.yaml:3.*3 outputs"),
        (("names: [blood, nothing, brawl]\n", ""), "does not say its labels"),
        (("[blood, nothing, brawl]", "[blood, blood, brawl]"), "twice"),
        (("{blood: gore, brawl: violence}", "{}"), "must name a label"),
        (("{blood: gore,", "{blood: gore, nothing: gore, brawl: gore} #"), "none of this"),
        (("crop: 48", "crop: 80"), "not be larger"),
        (("deviation: [0.5, 0.5, 0.5]", "deviation: [0.5, 0, 0.5]"), "must not be 0"),
        (("softmax", "tanh"), "map.yaml:2"),
    ],
)
def test_a_map_that_does_not_fit_is_refused_with_its_line(
    tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    assert change[0] in MAP
    model, labels = written(tmp_path, MAP.replace(*change))
    with pytest.raises(ConfigError, match=words):
        onnx_file.import_file(model, label_map.load(labels), labels, tmp_path / "out", name="x")


def test_preprocessing_must_be_said_for_a_file(tmp_path: Path) -> None:
    model, labels = written(tmp_path, MAP.partition("preprocessing")[0])
    with pytest.raises(ConfigError, match="does not say how pictures are put in"):
        onnx_file.import_file(model, label_map.load(labels), labels, tmp_path / "out", name="x")


def test_what_is_no_image_classifier_is_refused(tmp_path: Path) -> None:
    model, _ = written(tmp_path)
    model.write_bytes(b"no model")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        onnx_file.signature(model)
    assert run(tmp_path / "none", "--labels", tmp_path / "map.yaml", "--out", "x").exit_code == 1


@pytest.mark.parametrize(
    ("weights", "activation", "words"),
    [
        (WEIGHTS, "none", "no probabilities"),
        ([[0.0, 0.0, 0.0]] * 3, "none", "add up to one"),
        ([[float("nan")] * 3] * 3, "softmax", "finite"),
    ],
)
def test_outputs_that_are_no_probabilities_are_found(
    tmp_path: Path, weights: Any, activation: str, words: str
) -> None:
    model, labels = written(tmp_path, MAP.replace("softmax", activation), colour_model(weights))
    with pytest.raises(SluiceError, match=words):
        onnx_file.import_file(model, label_map.load(labels), labels, tmp_path / "out", name="x")


def test_packages_from_before_there_was_a_choice_of_filter_keep_their_version() -> None:
    old = PixelManifest(format=1, name="a", version="", outputs=(PixelOutput("gore", (0,)),),
                        probe=(0.0,), files={})  # fmt: skip
    as_it_was = msgspec.to_builtins(old.geometry)
    del as_it_was["resample"]
    decides: tuple[object, ...] = (
        as_it_was, old.channels, old.layout, old.scale, old.mean, old.deviation, old.activation,
        old.outputs, {},
    )  # fmt: skip
    assert old.content_hash() == hashlib.sha256(msgspec.json.encode(decides)).hexdigest()[:12]
    other = msgspec.structs.replace(old, geometry=Geometry(resample="bicubic"))
    assert other.content_hash() != old.content_hash()


def test_a_file_for_one_picture_at_a_time_is_scored_one_by_one(tmp_path: Path) -> None:
    model, labels = written(tmp_path, model=colour_model(WEIGHTS, batch=1))
    onnx_file.import_file(model, label_map.load(labels), labels, tmp_path / "out", name="x")
    scorer = load(tmp_path / "out")
    squares = np.stack([square(photo(seed=n), scorer.geometry) for n in range(5)])
    assert scorer.score(squares, 4).shape == (5, 2)
    model.write_bytes(colour_model(WEIGHTS, batch=4))
    with pytest.raises(ConfigError, match="batches of exactly 4"):
        onnx_file.signature(model)


def saved_folder(folder: Path, model: Any, processor: Any) -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def hugging_map(folder: Path, activation: str = "softmax") -> Path:
    path = folder / "labels.yaml"
    path.write_text(
        f"version: 1\nactivation: {activation}\nlabels: {{LABEL_1: violence, LABEL_2: gore,"
        " LABEL_3: gore}\n"
    )
    return path


def proven(folder: Path, out: Path, labels: Path) -> PixelManifest:
    """Import by the command, load, and see that pictures are told apart at all."""
    done = run(folder, "--labels", labels, "--out", out, "--name", "foreign")
    assert done.exit_code == 0, done.output or done.exception
    scorer = load(out)
    pictures = [photo(seed=n) for n in range(4)]
    scores = scorer.score(np.stack([square(each, scorer.geometry) for each in pictures]))
    assert np.ptp(scores, axis=0).max() > 0.02  # or equal scores would prove nothing
    assert (out / MODEL).is_file()
    return msgspec.json.decode((out / MANIFEST).read_bytes(), type=PixelManifest)


@with_torch
@pytest.mark.slow
def test_a_resnet_50_with_random_weights_scores_as_its_own_code_does(tmp_path: Path) -> None:
    import torch  # noqa: PLC0415 - an extra
    import transformers  # noqa: PLC0415
    from transformers.models.convnext.image_processing_pil_convnext import (  # noqa: PLC0415
        ConvNextImageProcessorPil,
    )

    torch.manual_seed(3)
    config = transformers.ResNetConfig(num_labels=4)
    assert (list(config.depths), config.layer_type) == ([3, 4, 6, 3], "bottleneck")  # the 50
    model = transformers.ResNetForImageClassification(config)
    # Statistics of pixels, without which 50 random layers give astronomical numbers.
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    pixels = np.stack([np.asarray(photo(224, 224, seed=n)) for n in range(3)]).transpose(0, 3, 1, 2)
    batch = torch.cat([torch.from_numpy(pixels) / 127.5 - 1, torch.randn(3, 3, 224, 224)])
    with torch.no_grad():
        model.train()(batch)
        head = model.classifier[-1]
        head.weight.normal_(0, 0.3)
        head.bias -= model.eval()(batch[:3]).logits.mean(0)
    folder = saved_folder(
        tmp_path / "resnet", model,
        ConvNextImageProcessorPil(size={"shortest_edge": 224}, crop_pct=0.875, resample=3),
    )  # fmt: skip
    manifest = proven(folder, tmp_path / "out", hugging_map(tmp_path))
    assert manifest.geometry == Geometry(resize=256, crop=224, resample="bicubic")
    assert manifest.categories == ("violence", "gore")
    assert [output.columns for output in manifest.outputs] == [(1,), (2, 3)]
    assert "resnet" in manifest.source["model"]


@with_torch
@pytest.mark.slow
def test_a_transformer_that_squashes_pictures(tmp_path: Path) -> None:
    import torch  # noqa: PLC0415 - an extra
    import transformers  # noqa: PLC0415
    from transformers.models.vit.image_processing_pil_vit import (  # noqa: PLC0415
        ViTImageProcessorPil,
    )

    torch.manual_seed(4)
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        image_size=64, patch_size=16, num_labels=4, initializer_range=0.5,
    )  # fmt: skip
    model = transformers.ViTForImageClassification(config)
    processor = ViTImageProcessorPil(
        size={"height": 64, "width": 64}, resample=2, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    folder = saved_folder(tmp_path / "vit", model, processor)
    manifest = proven(folder, tmp_path / "out", hugging_map(tmp_path, "sigmoid"))
    assert manifest.geometry == Geometry(fit="squash", resize=64, crop=64)
    assert manifest.mean == manifest.deviation == (0.5, 0.5, 0.5)
    # What cannot be carried over is said, not approximated.
    path = folder / "preprocessor_config.json"
    path.write_text(path.read_text().replace('"height": 64', '"height": 32'))
    refused = run(folder, "--labels", tmp_path / "labels.yaml", "--out", tmp_path / "no")
    assert isinstance(refused.exception, ConfigError)
    assert "no square" in str(refused.exception)
    path.unlink()
    absent = run(folder, "--labels", tmp_path / "labels.yaml", "--out", tmp_path / "no")
    assert "no preprocessor_config.json" in str(absent.exception)
