"""Retained checkpoints on a file system: where a job can go on from."""

from __future__ import annotations

from pathlib import Path


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint or savepoint below a checkpoint folder, of whichever job.

    Flink writes `JOB/chk-N/_metadata` (or `savepoint-.../_metadata`) last, so that one with that
    file is complete.
    """
    found = [*folder.glob("*/chk-*/_metadata"), *folder.glob("savepoint-*/_metadata")]
    complete = sorted(found, key=lambda path: path.stat().st_mtime_ns)
    return complete[-1].parent if complete else None
