"""The process that decoding processes are forked from: one for each upload's media.

    python -m operators.media_nursery FD

It loads decoders and engines once, before it has seen any media, and stays single-threaded so
that forking it is sound. Each child is limited, handles one file and ends: nothing that a file
does to it reaches the next one. Talks over the socket FD (`operators.media_sandbox` at its other
end) and ends when that is closed.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from operators.media_landlock import leave_files, readable
from operators.media_limits import (
    Limits,
    apply,
    die_with_parent,
    filter_calls,
    leave_network,
    network_is_cut,
)
from operators.yielding import PATIENCE, lower_session, waits_for_processor, yields

MESSAGE: Final = 1 << 17
"""Longest message on the socket, bytes."""
OUT_OF_MEMORY: Final = 3
"""Exit status of a child that Python itself had no memory for."""
_PROLONGED_S: Final = 1.0
"""What a process that waits for a processor gets at a time."""


class Setup(msgspec.Struct, frozen=True):
    """The first message to it."""

    work: str
    """`module:function` that makes the function that children run."""
    argument: bytes
    """What that is made from."""


class Ready(msgspec.Struct, frozen=True):
    """Its first answer."""

    network: str
    """How children are kept from it: `namespace`, `filter`, or empty where they are not."""
    files: str
    """How they are kept from other files: `landlock`, or empty where they are not."""
    threads: int
    versions: dict[str, str]
    missing: dict[str, str]
    """Steps that cannot be done here, and why."""


class Task(msgspec.Struct, frozen=True):
    """One upload's media. Two descriptors come with it: what to read, where to write."""

    number: int
    argument: bytes
    wall_s: float
    cpu_s: int
    memory: int
    output: int


class Ended(msgspec.Struct, frozen=True):
    """How a child ended."""

    number: int
    signal: int
    """That killed it; 0 where none did."""
    status: int
    timed_out: bool
    cpu_s: float
    peak_mb: float


class Work(Protocol):
    """What `Setup.work` must make: versions, what is missing, and what a child runs."""

    versions: dict[str, str]
    missing: dict[str, str]

    def run(self, media: int, output: int, argument: bytes) -> None:
        """Read the media from one descriptor and write messages to the other."""
        ...


class _Child(NamedTuple):
    """One that runs."""

    number: int
    """Of its task."""
    deadline: float
    """When it is killed, monotonic."""
    latest: float
    """The same if it is kept from going on until then."""


class Nursery:
    """Forks, watches and reaps.

    Args:
        control: the socket.
        work: what children do.
    """

    def __init__(self, control: socket.socket, work: Work) -> None:
        self._control = control
        self._work = work
        self._readable = readable()
        self._running: dict[int, _Child] = {}
        # What lets all others go first may be kept waiting by them, which is no fault of its own.
        self._patience = PATIENCE if yields() else 1.0
        self._overdue: set[int] = set()
        self._wake, self._woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def serve(self) -> None:
        """Work until the socket is closed."""
        signal.set_wakeup_fd(self._woken)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        waiting = selectors.DefaultSelector()
        waiting.register(self._control, selectors.EVENT_READ)
        waiting.register(self._wake, selectors.EVENT_READ)
        while True:
            ready = waiting.select(self._until_due())
            if any(key.fileobj is self._control for key, _ in ready) and not self._receive():
                break
            with contextlib.suppress(BlockingIOError):
                while os.read(self._wake, 4096):
                    pass
            self._kill_overdue()
            self._reap()
        for pid in self._running:
            _kill(pid)

    def _until_due(self) -> float | None:
        due = [child.deadline for pid, child in self._running.items() if pid not in self._overdue]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _receive(self) -> bool:
        message, descriptors, _, _ = socket.recv_fds(self._control, MESSAGE, 2)
        if not message:
            return False
        task = msgspec.msgpack.decode(message, type=Task)
        media, output = descriptors
        pid = os.fork()
        if pid == 0:
            self._child(task, media, output)
        now = time.monotonic()
        latest = now + task.wall_s * self._patience
        self._running[pid] = _Child(task.number, now + task.wall_s, latest)
        os.close(media)
        os.close(output)
        return True

    def _child(self, task: Task, media: int, output: int) -> None:
        status = 1
        try:
            # A group of its own: what it starts is killed with it. Not a session, which would
            # have a share of the processor of its own.
            os.setpgid(0, 0)
            die_with_parent()
            signal.set_wakeup_fd(-1)
            # Python ignores SIGXFSZ; here it is what ends who writes too much.
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            self._control.close()
            os.close(self._wake)
            os.close(self._woken)
            apply(Limits(task.memory, task.cpu_s, task.output))
            leave_files(self._readable, media)
            filter_calls()
            self._work.run(media, output, task.argument)
            status = 0
        except MemoryError:
            status = OUT_OF_MEMORY
        finally:
            os._exit(status)  # no clean-up of what belongs to the parent

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for pid, child in self._running.items():
            if child.deadline > now or pid in self._overdue:
                continue
            if child.latest > now and waits_for_processor(pid):
                deadline = min(child.latest, now + _PROLONGED_S)
                self._running[pid] = child._replace(deadline=deadline)
            else:
                self._overdue.add(pid)
                _kill(pid)

    def _reap(self) -> None:
        for pid in list(self._running):
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if not done:
                continue
            _kill(pid)  # what it started may still run
            ended = Ended(
                self._running.pop(pid).number,
                os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
                os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0,
                pid in self._overdue,
                round(usage.ru_utime + usage.ru_stime, 3),
                round(usage.ru_maxrss / 1024, 1),
            )
            self._overdue.discard(pid)
            self._control.send(msgspec.msgpack.encode(ended))


def _kill(pid: int) -> None:
    """The whole group; and the process itself, should it not have made one yet."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _thread_count() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def main() -> None:
    """Take the set-up, load, answer, serve."""
    control = socket.socket(fileno=int(sys.argv[1]))
    lower_session()
    setup = msgspec.msgpack.decode(control.recv(MESSAGE), type=Setup)
    cut = leave_network()
    module, _, name = setup.work.partition(":")
    make: Callable[[bytes], Any] = getattr(importlib.import_module(module), name)
    work = make(setup.argument)
    filtered = _tried(lambda: filter_calls() and network_is_cut())
    network = "namespace" if cut and network_is_cut() else "filter" if filtered else ""
    files = "landlock" if _tried(lambda: leave_files([], control.fileno())) else ""
    ready = Ready(network, files, _thread_count(), work.versions, work.missing)
    control.send(msgspec.msgpack.encode(ready))
    Nursery(control, work).serve()


def _tried(what: Callable[[], bool]) -> bool:
    """Whether something works that cannot be undone: tried in a child."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if what() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


if __name__ == "__main__":
    main()
