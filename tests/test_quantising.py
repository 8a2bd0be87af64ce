"""INT8 files: what stays in float, and how much of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="export needs the extra: scripts/setup --extra train")

import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from scripts.cli.deep import quantising

WIDE = 32


def network(path: Path, *, outlier: float) -> None:
    """Two products, one after the other; the input of the second has an outlier."""
    rng = np.random.default_rng(3)
    first, second = (rng.normal(0, 0.2, (WIDE, WIDE)).astype(np.float32) for _ in range(2))
    first[:, 0] *= outlier
    second[0] = 0
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "first.weight"], ["h"], name="first"),
            helper.make_node("MatMul", ["h", "second.weight"], ["y"], name="second"),
        ],
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, WIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, WIDE])],
        [
            numpy_helper.from_array(first, "first.weight"),
            numpy_helper.from_array(second, "second.weight"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(path))


def outputs(path: Path) -> np.ndarray[Any, Any]:
    x = np.random.default_rng(4).normal(0, 1, (8, WIDE)).astype(np.float32)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.mark.parametrize(("outlier", "kept"), [(1.0, ()), (500.0, ("second",))])
def test_what_8_bits_are_too_coarse_for_stays_in_float(
    tmp_path: Path, outlier: float, kept: tuple[str, ...]
) -> None:
    source, target = tmp_path / "plain.onnx", tmp_path / "model.int8.onnx"
    network(source, outlier=outlier)
    expected = outputs(source)
    most = 0.15 * float(np.abs(expected).max())

    def distance(path: Path) -> float:
        return float(np.abs(outputs(path) - expected).max())

    found = quantising.quantise_within(source, target, distance, most)

    assert found == kept
    assert distance(target) <= most
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.int8.onnx", "plain.onnx"]
    if kept:
        coarse = tmp_path / "coarse.onnx"
        quantising.quantise(source, coarse)
        assert distance(coarse) > most


def test_a_file_that_would_be_too_large_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "plain.onnx", tmp_path / "model.int8.onnx"
    network(source, outlier=500.0)
    monkeypatch.setattr(quantising, "MOST_BYTES", 100)

    found = quantising.quantise_within(source, target, lambda _: 1.0, 0.5)

    assert found == ()
    assert target.is_file()
