"""The comparison of the batcher with a bare loop, on a small model and the processor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from schemas.errors import ConfigError
from scripts.cli import bench_gpu
from tests import deep_kit


def folder_of(tmp_path: Path) -> Path:
    deep_kit.write_package(tmp_path / "package")
    texts = [f"you {'idiot ' * (i % 40)}{i}" for i in range(150)]
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    return tmp_path


def test_both_run_the_same_windows(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    arguments = ["run", str(folder), "--provider", "cpu", "--batch", "4", "--rounds", "2"]
    done = CliRunner().invoke(bench_gpu.app, [*arguments, "--out", str(tmp_path / "o.json")])
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "o.json").read_text())
    assert found == json.loads(done.stdout)
    assert (found["texts"], found["batch"]) == (150, 4)
    assert found["windows"] > 150
    assert found["ratio"] == pytest.approx(
        found["batcher_texts_per_s"] / found["bare_texts_per_s"], rel=0.01
    )
    assert len(found["rounds_s"]["bare"]) == 2


def test_a_provider_that_is_not_there_is_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    done = CliRunner().invoke(bench_gpu.app, ["run", str(folder), "--provider", "cuda"])
    assert isinstance(done.exception, ConfigError)
    assert "provider cuda" in str(done.exception)


def test_a_folder_is_prepared(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra: scripts/setup --extra train")
    arguments = ["prepare", str(tmp_path), "--texts", "96", "--layers", "1", "--hidden", "64"]
    done = CliRunner().invoke(bench_gpu.app, arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    texts = json.loads((tmp_path / "texts.json").read_text())
    assert len(texts) == len(set(texts)) == 96
    found = bench_gpu.measure(tmp_path / "package", texts, provider="cpu", batch=8, rounds=1)
    assert found["precision"] == "fp32"
