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
    found = apart(bench, "scripts.cli.bench.loop", wanted, "the bare loop failed")
    return msgspec.json.decode(found, type=LoopFigures)


def apart(bench: Bench, module: str, order: msgspec.Struct, failed: str) -> bytes:
    """What a module prints for an order, run in a process of its own.

    Args:
        bench: the benchmark.
        module: reads the order's JSON from the file that it is given.
        order: what to measure.
        failed: begins the message of an error.

    Raises:
        SluiceError: it failed; with the end of what it said.
    """
    path = Path(bench.folder) / "order.json"
    path.write_bytes(msgspec.json.encode(order))
    done = subprocess.run(
        [sys.executable, "-P", "-m", module, str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "false"},
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise SluiceError(f"{failed}: {done.stderr.decode()[-800:]}")
    return done.stdout
