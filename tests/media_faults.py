"""What a sandbox must bear: a decoder that crashes, hangs, eats memory, or does worse.

What a file asks for stands in its first line. `make_work` is handed to the sandbox by name.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from schemas.evidence import MediaFacts
from udfs.media_inspect import InspectSetup, MediaWork
from udfs.media_inspect import make_work as make_real
from udfs.media_reports import Report, frame

MARK = b"fault:"


def fault(name: str) -> bytes:
    """The bytes that ask for it; behind a picture's end they are a polyglot."""
    return MARK + name.encode() + b"\n"


def _spin() -> NoReturn:
    while True:
        pass


def _sleep() -> NoReturn:
    while True:
        time.sleep(1)


def _hoard() -> NoReturn:
    kept = []
    while True:
        kept.append(bytearray(16 << 20))


def _hoard_natively() -> None:
    """As a C library does: it asks, is refused, and steps on what it did not get."""
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    while True:
        got = library.malloc(ctypes.c_size_t(64 << 20))
        ctypes.memset(got, 1, 64 << 20)


def _network() -> str:
    def reach() -> None:
        with socket.socket() as one:
            one.settimeout(1)
            one.connect(("127.0.0.1", 9))

    return _refusal(reach)


def _trace() -> str:
    return str(ctypes.CDLL(None, use_errno=True).ptrace(16, os.getppid(), 0, 0))  # attach


def _flood(output: int) -> NoReturn:
    while True:
        os.write(output, b"x" * 65_536)


def _fill_disk() -> NoReturn:
    with os.fdopen(os.memfd_create("fault"), "wb") as file:
        while True:
            file.write(b"x" * (1 << 20))


def _write_file() -> str:
    return _refusal(lambda: Path("/tmp/sluice-fault").write_text("x"))  # noqa: S108 - must fail


def _read_file() -> str:
    for name in ("/etc/passwd", "/proc/1/environ", str(Path.home()), "/tmp"):  # noqa: S108 - must fail
        found = Path(name)
        said = _refusal(lambda found=found: os.open(found, os.O_RDONLY))  # type: ignore[misc]
        if said != "PermissionError":
            return f"{name}: {said}"
    return "PermissionError"


def _signal() -> str:
    return _refusal(lambda: os.kill(os.getppid(), 0))


def _leave_group() -> str:
    child = subprocess.run([sys.executable, "-c", "import os; os.setsid()"], check=False)
    return str(child.returncode)


def _refusal(what: Callable[[], object]) -> str:
    try:
        what()
    except OSError as error:
        return type(error).__name__
    return "reached"


def _leave_a_child(output: int) -> str:
    """It holds the output open, and would for ever."""
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[output]
    )
    return str(child.pid)


def _garbage(output: int) -> NoReturn:
    os.write(output, b"\xff" * 100)
    os._exit(0)


FAULTS: dict[str, Callable[[int], object]] = {
    "segfault": lambda _: ctypes.string_at(0),
    "abort": lambda _: os.abort(),
    "spin": lambda _: _spin(),
    "sleep": lambda _: _sleep(),
    "hoard": lambda _: _hoard(),
    "hoard-natively": lambda _: _hoard_natively(),
    "flood": _flood,
    "fill-disk": lambda _: _fill_disk(),
    "leave-a-child": _leave_a_child,
    "write-file": lambda _: _write_file(),
    "read-file": lambda _: _read_file(),
    "signal": lambda _: _signal(),
    "leave-group": lambda _: _leave_group(),
    "exit": lambda _: os._exit(7),
    "garbage": _garbage,
    "network": lambda _: _network(),
    "trace": lambda _: _trace(),
    "environment": lambda _: ",".join(sorted(os.environ)),
    "standing": lambda _: (
        f"{os.sched_getscheduler(0)} {os.getsid(0)} {os.getpgid(0)} {os.getpid()}"
    ),
    "nothing": lambda _: "nothing",
}


class FaultyWork:
    """Does what the file asks for, and says what came of it in `facts.format`."""

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}
        self.missing: dict[str, str] = {}

    def run(self, media: int, output: int, argument: bytes) -> None:
        text = os.pread(media, 4096, 0)
        _do_asked(text, output)


def _do_asked(text: bytes, output: int) -> None:
    name = text.partition(MARK)[2].split(b"\n", 1)[0].decode()
    os.write(output, frame(Report(step="decode", state="began")))
    said = str(FAULTS[name](output))
    os.write(output, frame(Report(step="decode", state="ended", facts=MediaFacts(format=said))))


class PartlyFaultyWork:
    """The real work, but for files with a fault behind their end."""

    def __init__(self, real: MediaWork) -> None:
        self._real = real
        self.versions = real.versions
        self.missing = real.missing

    def run(self, media: int, output: int, argument: bytes) -> None:
        size = os.fstat(media).st_size
        tail = os.pread(media, 4096, max(0, size - 4096))
        if MARK in tail:
            _do_asked(tail, output)
        else:
            self._real.run(media, output, argument)


def make_work(_argument: bytes) -> FaultyWork:
    """No decoder at all: it starts at once."""
    return FaultyWork()


def make_partly_faulty(argument: bytes) -> Any:
    """Every real decoder, and the faults."""
    msgspec.msgpack.decode(argument, type=InspectSetup)
    return PartlyFaultyWork(make_real(argument))
