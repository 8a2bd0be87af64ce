"""Whether snapshots of banks are there. Loads nothing compiled: workers of any kind ask."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from schemas.rescan import AwayBank

MANIFEST: Final = "manifest.json"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_there(away: AwayBank) -> bool:
    """Whether the manifest of a snapshot that could not be read can be read now."""
    try:
        return file_sha256(Path(away.snapshot) / MANIFEST) == away.snapshot_sha256
    except OSError:
        return False
