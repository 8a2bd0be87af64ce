"""The JVM's optimising compiler stands back for the stream.

For the first minutes of a job it would take up to a quarter of a core from the threads that decide
uploads. On a machine with idle processors nothing changes.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

_COMPILER: Final = "C2 Compiler"
"""Beginning of its threads' names; those that are added later inherit what the first ones have."""
NICE: Final = 10


def compilers_stand_back(tasks: Path = Path("/proc/self/task")) -> int:
    """Lower the priority of the threads that compile, in the process that Python runs in.

    Args:
        tasks: the process's threads, as Linux shows them. Elsewhere nothing happens.

    Returns:
        How many threads there were.
    """
    found = 0
    for task in tasks.glob("*"):
        with contextlib.suppress(OSError, ValueError):  # a thread that has just ended
            if (task / "comm").read_text("utf-8").startswith(_COMPILER):
                os.setpriority(os.PRIO_PROCESS, int(task.name), NICE)
                found += 1
    return found
