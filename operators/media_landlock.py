"""No files but programs and libraries, and no signals to others: Landlock (Linux 5.13 and later).

https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from operators.media_limits import libc, no_new_privileges
from schemas.settings import ROOT

# The same numbers on every architecture that Landlock runs on.
_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_ASK_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_EXECUTE: Final = 1 << 0
_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_RIGHTS_BY_VERSION: Final = (13, 13, 14, 15, 15, 16)
"""How many rights on files there are, by the version of the interface."""
_SCOPES_SINCE: Final = 6
_SCOPES: Final = 0b11
"""Abstract sockets and signals stay within the process and what it starts."""

_PROGRAMS: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache",
                    "/etc/alternatives")  # fmt: skip
_OURS: Final = ("schemas", "udfs", "operators", "tests")


def readable() -> list[str]:
    """Folders and files that what decodes may read and run: programs, libraries, this code."""
    python = (sys.prefix, sys.base_prefix, sys.exec_prefix)
    return [*_PROGRAMS, *python, *(str(ROOT / name) for name in _OURS)]


def leave_files(readable: Iterable[str], media: int) -> bool:
    """Allow this process and what it starts these files alone, for good.

    Args:
        readable: folders and files to read and to run.
        media: descriptor of one more file to read; it may have no name.

    Returns:
        False where the system does not offer it.
    """
    library = libc()
    version = library.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)
    if version < 1:
        return False
    rights = (1 << _RIGHTS_BY_VERSION[min(version, len(_RIGHTS_BY_VERSION)) - 1]) - 1
    scopes = _SCOPES if version >= _SCOPES_SINCE else 0
    attributes = struct.pack("QQQ", rights, 0, scopes)[: 24 if scopes else 8]
    rules = library.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if rules < 0:
        return False
    try:
        for name in readable:
            _allow_path(library, rules, name, _EXECUTE | _READ_FILE | _READ_DIR)
        _allow_path(library, rules, "/dev/null", _READ_FILE | _WRITE_FILE)
        _allow_path(library, rules, "/dev/urandom", _READ_FILE)
        _allow(library, rules, media, _READ_FILE)
        return no_new_privileges() and library.syscall(_RESTRICT_SELF, rules, 0) == 0
    finally:
        os.close(rules)


def _allow_path(library: ctypes.CDLL, rules: int, name: str, rights: int) -> None:
    try:
        place = os.open(name, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not on this system
    try:
        folder = Path(name).is_dir()
        _allow(library, rules, place, rights if folder else rights & ~_READ_DIR)
    finally:
        os.close(place)


def _allow(library: ctypes.CDLL, rules: int, place: int, rights: int) -> None:
    rule = struct.pack("=Qi", rights, place)
    library.syscall(_ADD_RULE, rules, _PATH_BENEATH, rule, 0)
