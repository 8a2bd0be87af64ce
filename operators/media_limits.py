"""Limits of a process that decodes hostile media, by what Linux offers without any library.

Resource limits, no network (a network namespace of its own, or a system-call filter, or both),
and no system call that only an attacker needs.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import socket
import struct
from pathlib import Path
from typing import Final, NamedTuple

_CLONE_NEWUSER: Final = 0x1000_0000
_CLONE_NEWNET: Final = 0x4000_0000
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_ALLOW: Final = 0x7FFF_0000
_ERRNO_EPERM: Final = 0x0005_0001
_KILL_PROCESS: Final = 0x8000_0000
OPEN_FILES: Final = 128

# Numbers by asm/unistd.h of each architecture. Beyond the network: tracing and reading other
# processes, mounts, namespaces, kernel modules, keys, BPF, io_uring (which would pass the filter),
# signals to others, and leaving the process group that is killed with it.


class _Calls(NamedTuple):
    """System calls of an architecture."""

    audit: int
    """The kernel's name for the architecture."""
    denied: tuple[int, ...]
    own_only: tuple[int, ...]
    """Allowed where their first argument is this process."""


_CALLS: Final[dict[str, _Calls]] = {
    "x86_64": _Calls(
        0xC000_003E,
        (41, 42, 43, 44, 46, 47, 49, 50, 53, 288, 299, 307,  # sockets
         101, 310, 311, 312, 438, 440,  # other processes' memory and descriptors
         62, 129, 200, 297, 424, 109, 112,  # signals, process groups
         155, 161, 165, 166, 272, 308, 428, 429, 430, 431, 432,  # mounts, namespaces
         175, 313, 246, 320, 248, 249, 250, 298, 321, 323, 425, 426, 427, 169, 170, 171),
        (234, 302),
    ),
    "aarch64": _Calls(
        0xC000_00B7,
        (198, 199, 200, 201, 202, 203, 206, 211, 212, 242, 243, 269,
         117, 270, 271, 272, 438, 440,
         129, 130, 138, 240, 424, 154, 157,
         41, 51, 40, 39, 97, 268, 428, 429, 430, 431, 432,
         105, 273, 104, 294, 217, 218, 219, 241, 280, 282, 425, 426, 427, 142, 161, 162),
        (131, 261),
    ),
}  # fmt: skip


class Limits(NamedTuple):
    """Of one process."""

    memory: int
    """Bytes of address space beyond what it has when it begins."""
    cpu_s: int
    file_bytes: int
    """Of any file that it writes."""


def libc() -> ctypes.CDLL:
    """The C library, with errno kept."""
    return ctypes.CDLL(None, use_errno=True)


def leave_network() -> bool:
    """Move this process into a network namespace that has nothing. Before any thread starts.

    Returns:
        False where the system does not allow it.
    """
    library = libc()
    # Without privileges a user namespace of one's own gives the right to make another.
    return any(
        library.unshare(flags) == 0 for flags in (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET)
    )


def no_new_privileges() -> bool:
    """Let no program that is started gain rights, as filters ask for; False where it fails."""
    return bool(libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)


def filter_calls() -> bool:
    """Deny network and administrative system calls from now on, for children as well.

    Returns:
        False where the system or the processor does not offer it.
    """
    known = _CALLS.get(platform.machine())
    if known is None:
        return False
    program = _program(known, os.getpid())
    buffer = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    if not no_new_privileges():
        return False
    return bool(libc().prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, head, 0, 0) == 0)


def _program(known: _Calls, pid: int) -> bytes:
    """A classic BPF program: kill on a foreign architecture, EPERM for what is denied."""
    load, equal, above, answer = 0x20, 0x15, 0x35, 0x06

    def line(code: int, yes: int, no: int, value: int) -> bytes:
        return struct.pack("HBBI", code, yes, no, value)

    denied, own = known.denied, known.own_only
    rest = len(denied) + len(own)
    lines = [
        line(load, 0, 0, 4),  # the architecture
        line(equal, 1, 0, known.audit),
        line(answer, 0, 0, _KILL_PROCESS),
        line(load, 0, 0, 0),  # the call's number
        line(above, rest + 4, 0, 0x4000_0000),  # x32: other numbers for the same calls
    ]
    # Jumps count the lines in between: to the check of the argument, or on to the refusal.
    for place, number in enumerate((*own, *denied)):
        left = rest - place - 1
        lines.append(line(equal, left + (1 if place < len(own) else 4), 0, number))
    lines += [
        line(answer, 0, 0, _ALLOW),
        line(load, 0, 0, 16),  # the first argument's lower half
        line(equal, 2, 0, pid),
        line(equal, 1, 0, 0),  # as prlimit64 says it; tgkill refuses it itself
        line(answer, 0, 0, _ERRNO_EPERM),
        line(answer, 0, 0, _ALLOW),
    ]
    return b"".join(lines)


def network_is_cut() -> bool:
    """Whether this process can reach nothing, tried out."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.connect(("192.0.2.1", 9))  # TEST-NET-1 (RFC 5737); nothing is sent
    except OSError:
        return True
    return False


def die_with_parent() -> None:
    """Have this process killed when its parent ends."""
    libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def apply(limits: Limits) -> None:
    """Limit this process for good. Nothing that it starts may have more."""
    memory = _address_space() + limits.memory
    for kind, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
    ):
        resource.setrlimit(kind, (value, value))
    # The soft limit sends SIGXCPU; should that be ignored, the hard one kills.
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 1))


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")
