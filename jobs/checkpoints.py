"""Retained checkpoints on a file system: where a job can go on from."""

from __future__ import annotations

from pathlib import Path


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint below a checkpoint folder, of whichever job.

    Flink writes `JOB/chk-N/_metadata` last, so a checkpoint with that file is complete.
    """
    complete = sorted(folder.glob("*/chk-*/_metadata"), key=lambda path: path.stat().st_mtime_ns)
    return complete[-1].parent if complete else None
