"""Writing a heavy model package's manifest; needs no PyTorch."""

from __future__ import annotations

from pathlib import Path

import msgspec

from udfs.deep_manifest import DeepTextManifest
from udfs.model_package import MANIFEST


def write_manifest(manifest: DeepTextManifest, out: Path) -> DeepTextManifest:
    """Write it under its content's version; gives it as written."""
    manifest = msgspec.structs.replace(manifest, version=manifest.content_hash())
    part = out / f".{MANIFEST}.part"
    part.write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
    part.replace(out / MANIFEST)
    return manifest
