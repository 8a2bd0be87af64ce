"""From a network to a model package: ONNX in three precisions, calibrated and held to probes."""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.optimizer import optimize_model

from schemas.errors import SluiceError
from scripts.cli.deep.files import write_manifest
from scripts.cli.deep.probes import PROBES
from scripts.cli.deep.quantising import quantise_within
from udfs.calibration import Calibrator, Platt, sigmoid
from udfs.deep_manifest import TOKENIZER, DeepTextManifest, Precision, model_file
from udfs.deep_tokens import TokenWindows
from udfs.model_package import MANIFEST, PackagedFile, entry_of
from udfs.normalise import normalise

OPSET: Final = 17
PARITY: Final = 0.1
"""Most that a probe's probability, before calibration, may differ from fp32's."""
NEAR: Final = 0.08
"""What an INT8 file keeps to: other processors add up in another order."""
EXACT: Final = 1e-3
"""Most that the fp32 file's logits may differ from the network's."""
PRECISIONS: Final[tuple[Precision, ...]] = ("int8", "fp16", "fp32")
_FUSED: Final = {"bert": "bert", "distilbert": "bert", "roberta": "bert", "xlm-roberta": "bert"}
"""Architectures whose attention ONNX Runtime's optimiser knows, to its name for them."""


class Exported(msgspec.Struct):
    """A package as far as the network alone makes it."""

    folder: Path
    manifest: DeepTextManifest
    distances: dict[str, float]
    """By precision, largest difference of a probe's logit from fp32."""
    in_float: tuple[str, ...] = ()
    """Products of the INT8 file that are not in INT8, by the names of their nodes."""


def export(
    model: Any,
    tokenizer: Mapping[str, Any],
    out: Path,
    *,
    architecture: str,
    heads: int,
    hidden: int,
    categories: Sequence[str],
    max_tokens: int,
    pad_id: int,
    hide_id: int,
    precisions: Sequence[Precision] = PRECISIONS,
    languages: Sequence[str] = ("en",),
    name: str = "deep_text",
) -> Exported:
    """Write the package's files and a manifest without calibration (`finish` adds it).

    Args:
        model: ids and mask, shape (batch, tokens), to logits, shape (batch, categories).
        tokenizer: `tokenizer.json`, parsed.
        out: folder; files of an earlier package in it are replaced.
        architecture: Hugging Face's name.
        heads: of attention.
        hidden: size of a token's vector.
        categories: of the logits, in the order of `TEXT_CATEGORIES`.
        max_tokens: of a window, special ones included.
        pad_id: token that fills up.
        hide_id: token that stands for a hidden word.
        precisions: files that the package gets.
        languages: that the model reads.
        name: of the scorer.

    Raises:
        SluiceError: what ONNX Runtime computes is not what the network does.
    """
    out.mkdir(parents=True, exist_ok=True)
    for old in (MANIFEST, *(model_file(precision) for precision in PRECISIONS)):
        (out / old).unlink(missing_ok=True)
    (out / TOKENIZER).write_text(json.dumps(tokenizer, ensure_ascii=False), "utf-8")
    windows = TokenWindows(out / TOKENIZER, max_tokens, 24)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        plain, fused = Path(folder) / "plain.onnx", Path(folder) / "fused.onnx"
        _to_onnx(model, plain)
        _verify(model, plain, windows, pad_id)
        _fuse(plain, fused, architecture, heads, hidden)
        if "fp32" in precisions:
            shutil.copyfile(plain, out / model_file("fp32"))
        if "fp16" in precisions:
            half = convert_float_to_float16(
                onnx.load(str(fused)), keep_io_types=True, disable_shape_infer=True
            )
            onnx.save(half, str(out / model_file("fp16")))
        probes = tuple(normalise(text).text for text in PROBES)

        def scored(path: Path) -> Any:
            return np.stack([_first_window(path, windows, text) for text in probes])

        logits = scored(plain)

        in_float: tuple[str, ...] = ()
        if "int8" in precisions:
            in_float = quantise_within(
                fused,
                out / model_file("int8"),
                lambda path: float(np.abs(sigmoid(scored(path)) - sigmoid(logits)).max()),
                NEAR,
            )
        files = {TOKENIZER: out / TOKENIZER}
        files |= {model_file(p): out / model_file(p) for p in PRECISIONS if p in precisions}
        distances: dict[str, float] = {
            precision: float(np.abs(scored(out / model_file(precision)) - logits).max())
            for precision in precisions
        }
    manifest = DeepTextManifest(
        format=1,
        name=name,
        version="",
        architecture=architecture,
        categories=tuple(categories),
        languages=tuple(languages),
        max_tokens=max_tokens,
        pad_id=pad_id,
        hide_id=hide_id,
        calibrators=(Platt(1.0, 0.0),) * len(categories),
        priors=(0.5,) * len(categories),
        probes=probes,
        probe_logits=tuple(tuple(float(value) for value in row) for row in logits),
        parity=PARITY,
        files={file: entry_of(path) for file, path in files.items()},
    )
    return Exported(out, write_manifest(manifest, out), distances, in_float)


def finish(
    exported: Exported,
    *,
    calibrators: Sequence[Calibrator],
    priors: Sequence[float],
    thresholds: dict[str, dict[str, float]],
    labels: dict[str, Any] | None = None,
    training: dict[str, Any],
    metrics: dict[str, Any],
) -> DeepTextManifest:
    """Write the manifest again, with calibration and where it all came from."""
    manifest = msgspec.structs.replace(
        exported.manifest,
        calibrators=tuple(calibrators),
        priors=tuple(round(prior, 4) for prior in priors),
        thresholds=thresholds,
        labels=labels or {},
        training=training,
        metrics=metrics,
    )
    return write_manifest(manifest, exported.folder)


def without(manifest: DeepTextManifest, out: Path, precisions: Sequence[Precision]) -> None:
    """Drop precisions from a package (what is not shipped)."""
    files: dict[str, PackagedFile] = {
        name: entry
        for name, entry in manifest.files.items()
        if name not in {model_file(precision) for precision in precisions}
    }
    for precision in precisions:
        (out / model_file(precision)).unlink(missing_ok=True)
    write_manifest(msgspec.structs.replace(manifest, files=files), out)


def _to_onnx(model: Any, path: Path) -> None:
    model = model.to("cpu").eval()
    ids = torch.ones((2, 12), dtype=torch.int64)
    mask = torch.ones_like(ids)
    mask[1, 8:] = 0
    shape = {0: "batch", 1: "tokens"}
    with warnings.catch_warnings(), torch.no_grad():
        # The tracing exporter: its graphs are those that the optimiser knows how to fuse.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (ids, mask),
            str(path),
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_axes={"input_ids": shape, "attention_mask": shape, "logits": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )


def _fuse(plain: Path, fused: Path, architecture: str, heads: int, hidden: int) -> None:
    """Fuse attention and normalisation where the optimiser knows the architecture."""
    kind = _FUSED.get(architecture)
    if kind is None:
        shutil.copyfile(plain, fused)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optimize_model(
            str(plain), model_type=kind, num_heads=heads, hidden_size=hidden, opt_level=0
        )
    found.save_model_to_file(str(fused))
    before, after = _session(plain), _session(fused)
    for feed in _feeds():
        expected, got = before.run(None, feed)[0], after.run(None, feed)[0]
        if not np.allclose(expected, got, atol=EXACT):
            shutil.copyfile(plain, fused)
            return


def _verify(model: Any, path: Path, windows: TokenWindows, pad_id: int) -> None:
    """Shapes other than the traced one, padding among them, must give what the network gives."""
    session = _session(path)
    long = [*windows.before, *range(3, 3 + min(windows.body, 40)), *windows.after]
    short = [*windows.before, 4, 5, *windows.after]
    for rows in ([long], [short], [long, short]):
        longest = max(map(len, rows))
        ids = np.array([row + [pad_id] * (longest - len(row)) for row in rows], np.int64)
        mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in rows], np.int64)
        got = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        with torch.no_grad():
            expected = model(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
        distance = float(np.abs(got - expected).max())
        if not distance <= EXACT:
            raise SluiceError(f"the exported model differs from the network by {distance:.2g}")


def _feeds() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    out = []
    for batch, tokens in ((1, 7), (3, 33)):
        ids = rng.integers(3, 90, (batch, tokens))
        mask = np.ones_like(ids)
        mask[-1, tokens - 2 :] = 0
        out.append({"input_ids": ids, "attention_mask": mask})
    return out


def _first_window(path: Path, windows: TokenWindows, text: str) -> Any:
    session = _cached_session(path)
    ids = np.array([windows.window(windows.tokens(text).ids, 0)], np.int64)
    return session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0]


_last: dict[str, Any] = {}


def _cached_session(path: Path) -> Any:
    key = f"{path}:{path.stat().st_mtime_ns}"
    if key not in _last:
        _last.clear()
        _last[key] = _session(path)
    return _last[key]


def _session(path: Path) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
