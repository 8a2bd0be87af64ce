"""The asking side of the sandbox: hand over a file, get back what a limited process said of it.

    with Sandbox("udfs.media_inspect:make_work", argument) as sandbox:
        outcome = sandbox.run(descriptor, task_argument, limits)

Every call is one process, forked from a nursery that has its decoders loaded, limited in memory,
processor time, wall time and output, and without a network. Thread-safe. Should the nursery
itself die, a new one is started and the file is tried once more.
"""

from __future__ import annotations

import itertools
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Final, NamedTuple, Self

import msgspec

from operators.media_nursery import MESSAGE, OUT_OF_MEMORY, Ended, Ready, Setup, Task
from operators.yielding import PATIENCE, yields
from schemas.errors import DependencyUnavailableError
from schemas.evidence import FailureKind
from schemas.settings import ROOT

START_S: Final = 120.0
"""How long loading the decoders may take on a busy machine."""
_GRACE_S: Final = 5.0
"""Beyond a task's own wall time, until the nursery counts as stuck."""
_BLOCK: Final = 1 << 16
_TRIES: Final = 2


class TaskLimits(NamedTuple):
    """Of one file."""

    wall_s: float
    cpu_s: int
    memory_mb: int
    output_mb: int


class Outcome(NamedTuple):
    """What came of one file."""

    output: bytes
    """Everything that the process wrote, up to its end."""
    failure: FailureKind | None
    """What ended the process before its time; None where it came to its end."""
    message: str
    limit: str
    cpu_s: float
    peak_mb: float


class _Nursery:
    """One nursery process, and the answers that came from it."""

    def __init__(self, setup: Setup) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # One thread each for what may not fork with threads, and no settings of ours: what
        # decodes hostile media has no need of passwords.
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(ROOT),
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": "1",
            "OMP_THREAD_LIMIT": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "OPENCV_FOR_THREADS_NUM": "1",
        }
        with theirs:
            # The working tree's modules come by PYTHONPATH; -P keeps the current folder's out.
            self.process = subprocess.Popen(  # noqa: S603 - a fixed command of our own
                [sys.executable, "-P", "-m", "operators.media_nursery", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._socket = ours
        ours.send(msgspec.msgpack.encode(setup))
        self.ready = self._wait_ready()
        self._lock = threading.Lock()
        self._answers: dict[int, Ended] = {}
        self._news = threading.Condition()
        self._dead = False
        threading.Thread(target=self._listen, name="media-sandbox", daemon=True).start()

    def _wait_ready(self) -> Ready:
        self._socket.settimeout(START_S * _patience())
        try:
            message = self._socket.recv(MESSAGE)
        except OSError:
            message = b""
        if not message:
            self.kill()
            raise DependencyUnavailableError(
                "media_sandbox", "its process did not start; its reason is in this process's errors"
            )
        self._socket.settimeout(None)
        return msgspec.msgpack.decode(message, type=Ready)

    def _listen(self) -> None:
        while True:
            try:
                message = self._socket.recv(MESSAGE)
            except OSError:
                message = b""
            with self._news:
                if message:
                    ended = msgspec.msgpack.decode(message, type=Ended)
                    self._answers[ended.number] = ended
                else:
                    self._dead = True
                self._news.notify_all()
            if not message:
                return

    @property
    def dead(self) -> bool:
        return self._dead

    def send(self, task: Task, media: int, output: int) -> bool:
        """Hand over one file; False where nobody takes it."""
        try:
            with self._lock:
                socket.send_fds(self._socket, [msgspec.msgpack.encode(task)], [media, output])
        except OSError:
            return False
        return True

    def ended(self, number: int, timeout_s: float) -> Ended | None:
        """How a child ended; None where the nursery died or says nothing."""
        with self._news:
            self._news.wait_for(lambda: self._dead or number in self._answers, timeout_s)
            return self._answers.pop(number, None)

    def kill(self) -> None:
        """End it and everything that it forked (children die with it)."""
        self.process.kill()
        self.process.wait(20)
        self._socket.close()

    def close(self) -> None:
        """Let it end by itself; kill it where it does not."""
        self._socket.shutdown(socket.SHUT_RDWR)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)
        self._socket.close()


class Sandbox:
    """Runs one limited process a file.

    Args:
        work: `module:function` that makes what the processes run (`operators.media_nursery.Work`).
        argument: what it is made from.
    """

    def __init__(self, work: str, argument: bytes) -> None:
        self._setup = Setup(work, argument)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._nursery: _Nursery | None = None
        self.restarts = 0
        """How often the nursery died and was started anew."""

    def start(self) -> Ready:
        """Start the nursery, if none runs; what it can do.

        Raises:
            DependencyUnavailableError: it does not come up.
        """
        return self._living().ready

    @property
    def nursery_pid(self) -> int:
        """Of the process that all others are forked from."""
        return self._living().process.pid

    def run(self, media: int, argument: bytes, limits: TaskLimits) -> Outcome:
        """Have one file looked at.

        Args:
            media: descriptor of the file; stays the caller's.
            argument: for the function that looks at it.
            limits: of the process.

        Raises:
            DependencyUnavailableError: no nursery comes up.
        """
        for last in range(1, _TRIES + 1):
            nursery = self._living()
            outcome = self._run(nursery, media, argument, limits)
            if outcome is not None:
                return outcome
            self._bury(nursery)
            if last == _TRIES:
                break
        return Outcome(b"", "internal", "the process that decoders are forked from died", "", 0, 0)

    def _run(
        self, nursery: _Nursery, media: int, argument: bytes, limits: TaskLimits
    ) -> Outcome | None:
        """None where the nursery died over it."""
        most = limits.output_mb << 20
        task = Task(
            next(self._numbers), argument, limits.wall_s, limits.cpu_s, limits.memory_mb << 20, most
        )
        source, sink = os.pipe2(os.O_CLOEXEC)
        try:
            try:
                taken = nursery.send(task, media, sink)
            finally:
                os.close(sink)
            if not taken:
                return None
            deadline = time.monotonic() + (limits.wall_s + _GRACE_S) * _patience()
            output = _read(source, most, deadline)
        finally:
            # Where it writes on nevertheless, it dies of a broken pipe.
            os.close(source)
        ended = nursery.ended(task.number, max(0.0, deadline - time.monotonic()))
        if ended is None:
            return None
        why = _why(ended, limits, overflow=len(output) > most)
        return Outcome(output[:most], *why, ended.cpu_s, ended.peak_mb)

    def _living(self) -> _Nursery:
        with self._lock:
            if self._nursery is None:
                self._nursery = _Nursery(self._setup)
            return self._nursery

    def _bury(self, nursery: _Nursery) -> None:
        with self._lock:
            if self._nursery is nursery:
                self._nursery = None
                self.restarts += 1
                nursery.kill()

    def close(self) -> None:
        """End all its processes."""
        with self._lock:
            if self._nursery is not None:
                self._nursery.close()
                self._nursery = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _patience() -> float:
    """What lets all others go first may be kept waiting by them."""
    return PATIENCE if yields() else 1.0


def _read(source: int, most: int, deadline: float) -> bytes:
    """Everything up to the writer's end, or one byte more than allowed, or the deadline."""
    output = bytearray()
    waiting = select.poll()  # select takes no descriptor above 1023
    waiting.register(source, select.POLLIN)
    while len(output) <= most:
        if not waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
            break
        block = os.read(source, _BLOCK)
        if not block:
            break
        output += block
    return bytes(output)


def _why(
    ended: Ended, limits: TaskLimits, *, overflow: bool
) -> tuple[FailureKind | None, str, str]:
    """Kind, sentence and setting of what ended a process."""
    if overflow or ended.signal == signal.SIGXFSZ:
        limit = f"sandbox.output_mb = {limits.output_mb}"
        return "output_limit", "the decoder wrote more than it may", limit
    if ended.timed_out:
        return "wall_time", "the decoder did not return", f"sandbox wall_s = {limits.wall_s:g}"
    if ended.signal == signal.SIGXCPU:
        limit = f"sandbox cpu_s = {limits.cpu_s}"
        return "cpu_time", "the decoder used more processor time than it may", limit
    if ended.status == OUT_OF_MEMORY:
        limit = f"sandbox.memory_mb = {limits.memory_mb}"
        return "memory", "the decoder used more memory than it may", limit
    if ended.signal == signal.SIGKILL:
        # Neither of us sent it: the kernel does where the machine has no memory left.
        return "memory", "the system killed the decoder, most likely for want of memory", ""
    if ended.signal:
        name = signal.Signals(ended.signal).name
        return "crashed", f"a native fault ended the decoder ({name})", ""
    if ended.status:
        return "crashed", f"the decoder ended with status {ended.status}", ""
    return None, "", ""
