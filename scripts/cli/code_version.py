"""Which version of this code made something, for manifests."""

from __future__ import annotations

import subprocess
from importlib.metadata import PackageNotFoundError, version

from schemas.settings import ROOT


def code_version() -> str:
    """Version of this code for a manifest: its commit, `+` after it where files were changed."""
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=12"],
            capture_output=True, text=True, check=True, timeout=20,
        )  # fmt: skip
        return done.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        pass
    try:
        return version("sluice")
    except PackageNotFoundError:
        return "unknown"
