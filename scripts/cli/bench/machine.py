"""What the figures were measured on."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any, Final

from schemas.settings import ROOT

_PACKAGES: Final = ("apache-flink", "pemja", "numpy", "msgspec", "confluent-kafka", "redis")


def machine() -> dict[str, Any]:
    """Processor, memory, load before the start, and the versions of what was run."""
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _first(Path("/proc/cpuinfo"), r"model name\s*:\s*(.+)") or platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_gib": _memory_gib(),
        "system": platform.platform(terse=True),
        # A benchmark on a machine that was busy already says little.
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "java": _output("java", "-version"),
        "kafka": next((p.stem for p in (ROOT / ".build" / "kafka").glob("kafka_*.jar")), ""),
        "redis_server": _output("redis-server", "--version"),
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": _output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"),
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _output(*command: str) -> str:
    """First line that a command prints; empty where it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except OSError:
        return ""
    lines = (done.stdout or done.stderr).splitlines()
    return lines[0].strip() if lines else ""


def _first(path: Path, pattern: str) -> str:
    try:
        found = re.search(pattern, path.read_text("utf-8"))
    except OSError:
        return ""
    return found.group(1).strip() if found else ""


def _memory_gib() -> float:
    total = _first(Path("/proc/meminfo"), r"MemTotal:\s*(\d+) kB")
    return round(int(total or 0) / 1024**2, 1)
