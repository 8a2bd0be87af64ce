"""CPU time by process and, of the job's JVM, by kind of thread, out of /proc (Linux)."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

_KINDS: Final = (
    # Flink names a task's thread by its first operator; the system keeps 15 characters.
    ("moderate ->", "operator"),
    ("moderate (", "operator"),
    ("C1 Compiler", "jit"),
    ("C2 Compiler", "jit"),
    ("Sweeper", "jit"),
    ("GC Thread", "gc"),
    ("G1 ", "gc"),
    ("VM Thread", "gc"),
    ("kafka-producer", "sink client"),
    ("Source", "source"),
    ("OutputFlusher", "source"),
)
"""Beginning of a thread's name, and what its time is counted as."""
OTHERS: Final = "others"
JOB_PARTS: Final = ("operator", "source", "sink client", "gc", "jit", "other")


class CpuTimes(NamedTuple):
    """CPU seconds since the start of each, at one moment."""

    at: float
    """`time.perf_counter`, seconds."""
    processes: Mapping[str, float]
    threads: Mapping[int, tuple[str, float]]
    """Of the JVM: by thread id, the kind of thread and its seconds."""
    machine: float
    """Of everything on this machine, what the hypervisor took away included."""


def children(pid: int) -> list[int]:
    """Processes that a process has started and that still run."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that has just ended
            found += [int(child) for child in path.read_text("utf-8").split()]
    return found


def cpu_times(processes: Mapping[str, int], jvm: int | None = None) -> CpuTimes:
    """Take CPU times.

    Args:
        processes: pid by name.
        jvm: pid of the JVM whose threads are told apart.
    """
    return CpuTimes(
        time.perf_counter(),
        {name: _process_s(pid) for name, pid in processes.items()},
        {} if jvm is None else _threads(jvm),
        _machine_s(),
    )


def cpu_between(before: CpuTimes, after: CpuTimes) -> dict[str, float]:
    """CPU seconds between two moments.

    Time of threads that ended in between is lost; the pools of a running job do not end.

    Returns:
        By process; by `job: KIND` of the JVM's threads; and `OTHERS`, what everything else on
        the machine took, this process included: it shows how quiet the machine was.
    """
    spent = {
        name: seconds - before.processes.get(name, 0.0) for name, seconds in after.processes.items()
    }
    spent[OTHERS] = max(0.0, after.machine - before.machine - sum(spent.values()))
    by_kind: Counter[str] = Counter()
    for thread, (kind, seconds) in after.threads.items():
        by_kind[kind] += seconds - before.threads.get(thread, (kind, 0.0))[1]  # type: ignore[assignment]  # Counter is typed for whole numbers
    return spent | {f"job: {kind}": by_kind.get(kind, 0.0) for kind in JOB_PARTS if after.threads}


def thread_kind(name: str) -> str:
    """What a thread of the job's JVM does, by its name (of at most 15 characters)."""
    return next((kind for begin, kind in _KINDS if name.startswith(begin)), "other")


def _machine_s() -> float:
    fields = Path("/proc/stat").read_text("utf-8").splitlines()[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
    ticks = user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK")


def _process_s(pid: int) -> float:
    """User and system time of a process, finished threads included."""
    text = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _threads(pid: int) -> dict[int, tuple[str, float]]:
    found: dict[int, tuple[str, float]] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has just ended
            name = (task / "comm").read_text("utf-8", errors="replace").strip()
            found[int(task.name)] = (thread_kind(name), _thread_s(task))
    return found


def _thread_s(task: Path) -> float:
    """Seconds on a processor: to the nanosecond where the kernel keeps that, else to 10 ms."""
    try:
        return int((task / "schedstat").read_text("utf-8").split()[0]) / 1e9
    except OSError:
        fields = (task / "stat").read_text("utf-8", errors="replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
