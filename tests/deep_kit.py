"""A small heavy-tier package, written without PyTorch or onnx, for tests of the runner.

The model is a bag of words: a logit is the mean of its tokens' vectors. So tests can say what a
text must score.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from schemas.categories import TEXT_CATEGORIES
from udfs.calibration import Platt
from udfs.deep_manifest import TOKENIZER, DeepTextManifest, Precision, model_file
from udfs.model_package import MANIFEST, entry_of

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TELLING = {
    "toxicity": ("idiot", "stupid"),
    "hate_speech": ("vermin",),
    "threat": ("kill",),
    "sexual": ("nudes",),
    "self_harm": ("suicide",),
    "spam": ("pills",),
}
STRENGTH = 40.0
MAX_TOKENS = 16
PROBES = ("you are an idiot", "hello there", "cheap pills", "i will kill you")
TRIAL = ["--unchecked", "generated rows"]
"""Options of a training whose rows nobody checked."""


def vocabulary() -> list[str]:
    """Special tokens, telling words, and every character alone and inside a word."""
    characters = string.ascii_lowercase + string.digits + string.punctuation
    telling = [word for words in TELLING.values() for word in words]
    return [*SPECIAL, *telling, *characters, *(f"##{c}" for c in characters)]


def tokenizer() -> dict[str, Any]:
    """`tokenizer.json` of a WordPiece tokenizer over `vocabulary`."""
    places = {token: i for i, token in enumerate(vocabulary())}
    return {
        "version": "1.0",
        "truncation": {"max_length": 8, "strategy": "LongestFirst", "stride": 0,
                       "direction": "Right"},
        "padding": None,
        "added_tokens": [
            {"id": places[name], "content": name, "single_word": False, "lstrip": False,
             "rstrip": False, "normalized": False, "special": True}
            for name in SPECIAL
        ],
        "normalizer": {"type": "BertNormalizer", "clean_text": True,
                       "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                     {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {
                name: {"id": name, "ids": [places[name]], "tokens": [name]}
                for name in ("[CLS]", "[SEP]")
            },
        },
        "decoder": None,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": places},
    }  # fmt: skip


def table() -> npt.NDArray[np.float32]:
    """The vector of every token, shape (tokens, categories)."""
    names = vocabulary()
    rng = np.random.default_rng(3)
    out = rng.normal(0, 0.5, (len(names), len(TEXT_CATEGORIES))).astype(np.float32)
    out[[names.index(name) for name in SPECIAL if name != "[UNK]"]] = 0
    for i, category in enumerate(TEXT_CATEGORIES):
        for word in TELLING[category]:
            out[names.index(word)] = 0
            out[names.index(word), i] = STRENGTH
    return out


def write_package(folder: Path, *, wrong: Iterable[Precision] = (), **changes: Any) -> Path:
    """Write the package; gives the folder.

    Args:
        folder: made where it is not there.
        wrong: precisions that compute something else than the probes say.
        changes: of the manifest's fields, before its version is computed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TOKENIZER).write_text(json.dumps(tokenizer()), "utf-8")
    precisions: tuple[Precision, ...] = changes.pop("precisions", ("int8", "fp32"))
    for precision in precisions:
        vectors = table() * np.float32(0.01 if precision in wrong else 1)
        (folder / model_file(precision)).write_bytes(bag_of_words(vectors))
    names = (TOKENIZER, *(model_file(precision) for precision in precisions))
    fields: dict[str, Any] = {
        "format": 1,
        "name": "deep_text",
        "version": "",
        "architecture": "bag_of_words",
        "categories": TEXT_CATEGORIES,
        "languages": ("en",),
        "max_tokens": MAX_TOKENS,
        "pad_id": 0,
        "hide_id": SPECIAL.index("[MASK]"),
        "calibrators": (Platt(1.0, -1.0),) * len(TEXT_CATEGORIES),
        "priors": (0.1,) * len(TEXT_CATEGORIES),
        "probes": PROBES,
        "probe_logits": tuple(tuple(map(float, expected(text))) for text in PROBES),
        "parity": 0.1,
        "files": {name: entry_of(folder / name) for name in names},
    }
    manifest = DeepTextManifest(**{**fields, **changes})
    if not manifest.version:
        manifest = msgspec.structs.replace(manifest, version=manifest.content_hash())
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return folder


def expected(text: str) -> npt.NDArray[np.float64]:
    """Logits of a text that fits into one window, computed here and not by the model."""
    places = {token: i for i, token in enumerate(vocabulary())}
    vectors = table().astype(np.float64)
    found = [np.zeros(len(TEXT_CATEGORIES))] * 2  # what stands around it
    for word in text.split():
        if word in places:
            found.append(vectors[places[word]])
        else:
            found.append(vectors[places[word[0]]])
            found += [vectors[places[f"##{letter}"]] for letter in word[1:]]
    return np.asarray(np.mean(found, axis=0))


def bag_of_words(vectors: npt.NDArray[np.float32]) -> bytes:
    """An ONNX model from ids and mask, shape (batch, tokens), to the mean vector.

    The file format is protobuf: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
    """
    nodes = [
        _node("Gather", ["vectors", "input_ids"], "each"),
        _node("Cast", ["attention_mask"], "mask", _attribute("to", 1)),
        _node("Unsqueeze", ["mask", "last"], "wide"),
        _node("Mul", ["each", "wide"], "there"),
        _node("ReduceSum", ["there", "middle"], "sum", _attribute("keepdims", 0)),
        _node("ReduceSum", ["wide", "middle"], "count", _attribute("keepdims", 0)),
        _node("Div", ["sum", "count"], "logits"),
    ]
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, b"bag")
    graph += _field(5, _tensor("vectors", 1, vectors.shape, vectors.tobytes()))
    graph += _field(5, _tensor("last", 7, (1,), np.array([2], np.int64).tobytes()))
    graph += _field(5, _tensor("middle", 7, (1,), np.array([1], np.int64).tobytes()))
    for name in ("input_ids", "attention_mask"):
        graph += _field(11, _value(name, 7, ("batch", "tokens")))
    graph += _field(12, _value("logits", 1, ("batch", vectors.shape[1])))
    return _number(1, 8) + _field(7, graph) + _field(8, _number(2, 17))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _attribute(name: str, value: int) -> bytes:
    return _field(1, name.encode()) + _number(3, value) + _number(20, 2)


def _node(kind: str, inputs: list[str], output: str, *attributes: bytes) -> bytes:
    out = b"".join(_field(1, name.encode()) for name in inputs) + _field(2, output.encode())
    out += _field(3, output.encode()) + _field(4, kind.encode())
    return out + b"".join(_field(5, attribute) for attribute in attributes)


def _tensor(name: str, kind: int, shape: tuple[int, ...], data: bytes) -> bytes:
    out = b"".join(_number(1, size) for size in shape) + _number(2, kind)
    return out + _field(8, name.encode()) + _field(9, data)


def _value(name: str, kind: int, shape: tuple[str | int, ...]) -> bytes:
    sizes = b"".join(
        _field(1, _field(2, size.encode()) if isinstance(size, str) else _number(1, size))
        for size in shape
    )
    return _field(1, name.encode()) + _field(2, _field(1, _number(1, kind) + _field(2, sizes)))
