"""Weights out of a model package, to train on from where it stands.

An INT8 file keeps each weight to 8 bits: what comes back is the trained network with a little
noise, far less than an epoch's worth of training changes. A fp32 file gives it back exactly, and so
does a checkpoint that an interrupted training left.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper

from schemas.errors import SluiceError
from scripts.cli.deep import base, network
from scripts.cli.deep.fit import CHECKPOINT
from udfs.calibration import sigmoid
from udfs.deep_manifest import TOKENIZER, DeepTextManifest, model_file
from udfs.deep_tokens import TokenWindows
from udfs.model_package import MANIFEST, read_manifest

Weights = dict[str, npt.NDArray[np.float32]]
_LAYER: Final = re.compile(r"\.layer\.(\d+)\.")
_HEAD: Final = "head"


def tokenizer_of(folder: Path) -> dict[str, Any]:
    """The package's `tokenizer.json`, parsed.

    Raises:
        SluiceError: there is none.
    """
    if not (folder / TOKENIZER).is_file():
        raise SluiceError(f"{folder}: holds no {TOKENIZER}, so nothing to go on from")
    return base.plain_tokenizer(folder)


def restored(configuration: Path, folder: Path, categories: int) -> Any:
    """The network of a package or checkpoint, on an architecture's configuration.

    Args:
        configuration: Hugging Face folder of the base that it was trained from.
        folder: of the package, or of a training with its checkpoint.
        categories: of the head.

    Raises:
        SluiceError: weights are missing or of other shapes, or what was put together does not
            reproduce the package's probes.
    """
    tokens = len(tokenizer_of(folder)["model"]["vocab"])
    found = _checkpoint(folder) if (folder / CHECKPOINT).is_file() else _exported(folder)
    layers = {int(m[1]) for name in found if (m := _LAYER.search(name))}
    encoder = network.fresh_encoder(configuration)
    if layers:
        network.keep_layers(encoder, max(layers) + 1)
    network.keep_tokens(encoder, list(range(tokens)))
    model = network.TextClassifier(encoder, categories)
    state = model.state_dict()
    for name, own in state.items():
        if name not in found or found[name].shape != tuple(own.shape):
            raise SluiceError(
                f"{folder}: has no weights {name} of shape {tuple(own.shape)}; "
                "is --base what it was trained from?"
            )
        own.copy_(torch.from_numpy(np.ascontiguousarray(found[name])))
    if (folder / MANIFEST).is_file():
        _hold_to_probes(model, folder)
    return model


def _checkpoint(folder: Path) -> Weights:
    kept = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)
    state = kept["best_state"] or kept["model"]
    return {name: value.float().numpy() for name, value in state.items()}


def _exported(folder: Path) -> Weights:
    manifest = read_manifest(folder, DeepTextManifest)
    for precision in ("fp32", "int8"):
        if precision in manifest.precisions:
            return weights_of(folder / model_file(precision))
    raise SluiceError(f"{folder}: holds no model in fp32 or INT8")


def weights_of(path: Path) -> Weights:
    """Weights of an ONNX file that `scripts.cli.deep.export` wrote, by their names in PyTorch."""
    graph = onnx.load(str(path)).graph
    arrays = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    out: Weights = {}
    for name in arrays:
        plain = name.removesuffix("_quantized")
        if name.endswith((".weight", ".bias", "_quantized")):
            out[plain] = _floats(arrays, plain)
    attention = 0
    for node in graph.node:
        if node.op_type in {"Attention", "QAttention"}:
            prefix = f"encoder.encoder.layer.{attention}.attention.self"
            weight = _floats(arrays, node.input[1].removesuffix("_quantized"))
            for part, name in enumerate(("query", "key", "value")):
                size = weight.shape[1] // 3
                own = slice(part * size, (part + 1) * size)
                out[f"{prefix}.{name}.weight"] = weight[:, own].T
                out[f"{prefix}.{name}.bias"] = arrays[node.input[2]][own].astype(np.float32)
            attention += 1
        elif node.op_type in {"MatMul", "MatMulInteger"} and _is_weight(node.input[1], arrays):
            # /encoder/encoder/layer.0/output/dense/MatMul_output_0, or logits_MatMul.
            place = node.output[0].removesuffix("_quantized").removesuffix("_output")
            place = place.removesuffix("_output_0").removesuffix("_MatMul").removesuffix("/MatMul")
            name = place.strip("/").replace("/", ".")
            name = _HEAD if name == "logits" else name
            out[f"{name}.weight"] = _floats(arrays, node.input[1].removesuffix("_quantized")).T
    return out


def _is_weight(name: str, arrays: dict[str, npt.NDArray[Any]]) -> bool:
    return name in arrays and arrays[name].ndim == 2


def _floats(arrays: dict[str, npt.NDArray[Any]], name: str) -> npt.NDArray[np.float32]:
    """An initialiser, dequantised by the last axis where it was quantised."""
    if name in arrays:
        return arrays[name].astype(np.float32)
    values = arrays[f"{name}_quantized"].astype(np.float32)
    zero = arrays[f"{name}_zero_point"].astype(np.float32)
    return np.asarray((values - zero) * arrays[f"{name}_scale"], np.float32)


def _hold_to_probes(model: Any, folder: Path) -> None:
    manifest = read_manifest(folder, DeepTextManifest)
    windows = TokenWindows(folder / TOKENIZER, manifest.max_tokens, 1)
    model.eval()
    worst = 0.0
    with torch.no_grad():
        for text, expected in zip(manifest.probes, manifest.probe_logits, strict=True):
            ids = torch.tensor([windows.window(windows.tokens(text).ids, 0)])
            got = model(ids, torch.ones_like(ids)).numpy()[0]
            worst = max(worst, float(np.abs(sigmoid(got) - sigmoid(np.array(expected))).max()))
    if not worst <= manifest.parity:
        raise SluiceError(f"{folder}: the weights put together miss its probes by {worst:.3f}")
