"""The same cascade in a bare Python loop: what the engine's share is measured against."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from schemas.errors import SluiceError
from schemas.settings import ROOT
from scripts.cli.bench.loop import LoopFigures, LoopOrder
from scripts.cli.bench.runs import Bench


def loop(bench: Bench) -> dict[str, Any]:
    """One core, no engine: CPU per upload, by stage, and by batch size."""
    # A job beside it would take its share of the caches and of Redis.
    bench.stop_job()
    figures = bare_loop(bench, count=bench.pick(20_000, 8_000), sweep=True)
    return {
        "uploads_per_s": round(1e6 / figures.wall_us, 1),
        "uploads_per_cpu_s": round(1e6 / figures.cpu_us, 1),
        **msgspec.to_builtins(figures),
    }


def bare_loop(bench: Bench, **order: Any) -> LoopFigures:
    """Run the loop in a process of its own.

    Args:
        bench: the benchmark.
        order: see `LoopOrder`.
    """
    wanted = LoopOrder(**{"profile": "dev", "redis_url": bench.stack.redis_url, **order})
    path = Path(bench.folder) / "loop.json"
    path.write_bytes(msgspec.json.encode(wanted))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "scripts.cli.bench.loop", str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "false"},
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise SluiceError(f"the bare loop failed: {done.stderr.decode()[-800:]}")
    return msgspec.json.decode(done.stdout, type=LoopFigures)
