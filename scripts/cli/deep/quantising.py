"""A network's ONNX file in INT8, with as few products left in float as its probes allow."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

MOST_BYTES: Final = 24 * 2**20
"""What leaving a product in float may make of a file."""
MOST_KEPT: Final = 3
"""Products left in float at most."""
_PRODUCTS: Final = frozenset({"Attention", "MatMul"})


def quantise(source: Path, target: Path, kept: Sequence[str] = ()) -> None:
    """Weights to INT8 by channel, activations quantised as they come.

    Args:
        source: ONNX file in fp32.
        target: is written.
        kept: names of nodes that stay in float.
    """
    # It advises a step that `export` has done, through the root logger.
    logging.getLogger().addFilter(_no_advice)
    try:
        quantize_dynamic(
            str(source),
            str(target),
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_exclude=list(kept),
            extra_options={
                "MatMulConstBOnly": True,
                # Fused operators are not in the type inference that it asks.
                "DefaultTensorType": onnx.TensorProto.FLOAT,
            },
        )
    finally:
        logging.getLogger().removeFilter(_no_advice)


def quantise_within(
    source: Path, target: Path, distance: Callable[[Path], float], most: float
) -> tuple[str, ...]:
    """Quantise, and leave in float what has to be for the probes to stay near.

    One product after the other, each time the one that brings the probes nearest: a transformer
    has a few whose inputs have outliers, for which 8 bits are too coarse.

    Args:
        source: ONNX file in fp32.
        target: is written, whether it comes near enough or not.
        distance: of a file from the network, the worst of its probes.
        most: distance that is near enough.

    Returns:
        Names of the nodes that stayed in float.
    """
    quantise(source, target)
    found, kept = distance(target), tuple[str, ...]()
    products = _products(source)
    trial = target.with_suffix(".trial")
    while not found <= most and len(kept) < MOST_KEPT:
        tried = []
        for name in products:
            if name not in kept:
                quantise(source, trial, (*kept, name))
                if trial.stat().st_size <= MOST_BYTES:
                    tried.append((distance(trial), name))
        trial.unlink(missing_ok=True)
        best, name = min(tried, default=(found, ""))
        if best >= found:
            break
        found, kept = best, (*kept, name)
    if kept:
        quantise(source, target, kept)
    return kept


def _products(path: Path) -> list[str]:
    """Nodes that multiply with weights."""
    graph = onnx.load(str(path)).graph
    weights = {entry.name for entry in graph.initializer}
    return [
        node.name for node in graph.node if node.op_type in _PRODUCTS and node.input[1] in weights
    ]


def _no_advice(record: logging.LogRecord) -> bool:
    return "pre-processing before quantization" not in record.getMessage()
