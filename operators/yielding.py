"""Work that yields: media and tables beside a job that has to answer within milliseconds.

A process that has called `yield_to_others` runs where nobody else wants the processor (Linux's
SCHED_IDLE), and so does everything that it starts afterwards. A nice value alone does not do
that: with the kernel's autogroups, which most systems have switched on, it counts within one
session only, and sessions share the processor equally. So a session's leader lowers its group as
well, wherever there is one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import time
from pathlib import Path
from typing import Final

PATIENCE: Final = 10.0
"""How many times its wall time a process may take while it waits for a processor."""
LOWEST: Final = 19
"""Nice value of a group that yields."""
_AUTOGROUP: Final = Path("/proc/self/autogroup")
_SET_IO_PRIORITY: Final = {"x86_64": 251, "aarch64": 30}
"""Number of `ioprio_set`, which the C library has no name for."""
_WHO_PROCESS: Final = 1
_IO_IDLE: Final = 3 << 13
_BUSY: Final = frozenset({"R", "D"})
"""States of who waits for a processor or a disk, or has one."""


def yield_to_others() -> None:
    """Let all others go first, now and for every thread and process that is started later.

    What the system does not offer is left out.
    """
    set_io_priority = _SET_IO_PRIORITY.get(platform.machine())
    library = ctypes.CDLL(None)
    for thread in (int(task.name) for task in Path("/proc/self/task").iterdir()):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))
        if set_io_priority is not None:
            library.syscall(set_io_priority, _WHO_PROCESS, thread, _IO_IDLE)
    lower_session()


def yields() -> bool:
    """Whether this process lets others go first."""
    return os.sched_getscheduler(0) == os.SCHED_IDLE


def lower_session() -> bool:
    """Lower the group of a session that is this process's own, if it yields.

    Returns:
        False where the session is another's too, or the system has no such groups.
    """
    if not yields() or os.getsid(0) != os.getpid() or not _AUTOGROUP.exists():
        return False
    for _ in range(20):
        try:
            _AUTOGROUP.write_text(str(LOWEST), "ascii")
        except BlockingIOError:  # without privileges: ten times a second, for all of the system
            time.sleep(0.06)
        except OSError:
            return False
        else:
            return True
    return False


def waits_for_processor(group: int) -> bool:
    """Whether any process of a process group would go on if it were let."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text("utf-8", errors="replace")
        except OSError:
            continue
        # The second field is the name in brackets and may itself hold spaces and brackets.
        state, _, of, *_ = text.rpartition(")")[2].split()
        if int(of) == group and state in _BUSY:
            return True
    return False
