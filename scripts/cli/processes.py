"""Processes that a command starts beside itself: pid files, free ports, orderly ends.

A pid file holds the pid and the process's start time, so that a pid that the system has
given to somebody else since is never taken for ours.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from schemas.errors import SluiceError

_PORTS = range(20_000, 32_000)
"""Below the range that systems hand out to outgoing connections: a client that keeps dialling
a broker that is down could otherwise be given the broker's own port."""


class ProcessError(SluiceError):
    """A process of ours did not start, or ended when it should not have.

    Args:
        message: what happened.
        log: the file that says why, if there is one. Its last lines become part of the text.
    """

    def __init__(self, message: str, *, log: Path | None = None) -> None:
        self.log = log
        tail = last_lines(log) if log else ""
        super().__init__(f"{message}\n{log}:\n{tail}" if tail else message)


def last_lines(path: Path, count: int = 15) -> str:
    """Return the end of a log, or nothing where there is none."""
    if not path.is_file():
        return ""
    return "\n".join(path.read_text("utf-8", errors="replace").splitlines()[-count:])


def free_port(*taken: int) -> int:
    """Find a TCP port of 127.0.0.1 that nobody uses now and that is not among `taken`."""
    for port in random.SystemRandom().sample(_PORTS, 200):
        if port not in taken and port_is_free(port):
            return port
    raise ProcessError(f"no free port between {_PORTS.start} and {_PORTS.stop}")


def port_is_free(port: int) -> bool:
    """Say whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        # As servers do, or the leftovers of closed connections would count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _stat(pid: int) -> tuple[str, str] | None:
    """State letter and start time (clock ticks since boot) of a process, None if gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the name in brackets and may itself hold spaces and brackets.
    fields = text.rpartition(")")[2].split()
    return fields[0], fields[19]


def started_at(pid: int) -> float:
    """Monotonic time (`time.monotonic`, seconds) at which a running process was started.

    Raises:
        ProcessError: where there is no such process.
    """
    found = _stat(pid)
    if found is None:
        raise ProcessError(f"no process {pid}")
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(found[1]) / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - age


class Process:
    """One background process, found again by its pid file.

    Args:
        pid_file: where the pid is (to be) written. Its stem is the process's name.
    """

    def __init__(self, pid_file: Path) -> None:
        self.pid_file = pid_file
        self.name = pid_file.stem
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The pid if the process is alive."""
        try:
            pid, _, start = self.pid_file.read_text("utf-8").partition(" ")
        except OSError:
            return None
        if not pid.isdigit():
            return None
        if self._child is not None and self._child.pid == int(pid):
            self._child.poll()  # or it would stay behind as a zombie
        found = _stat(int(pid))
        if found is None or found[0] == "Z" or found[1] != start.strip():
            return None
        return int(pid)

    def start(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        out: Path | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        die_with_parent: bool = False,
    ) -> int:
        """Start the process and write its pid file.

        It gets a session of its own: Ctrl-C reaches the command, which ends it in order.

        Args:
            command: program and arguments.
            log: gets standard error, and standard output too unless `out` is given.
            out: gets standard output.
            env: its whole environment; the caller's if left out.
            cwd: where it runs.
            die_with_parent: the kernel ends it when this process goes, `kill -9` included.
        """
        if die_with_parent and shutil.which("setpriv"):
            command = ["setpriv", "--pdeathsig", "TERM", "--", *command]
        log.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as files:
            errors = files.enter_context(log.open("ab"))
            output = files.enter_context(out.open("ab")) if out else errors
            self._child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=dict(env) if env is not None else None,
                cwd=cwd,
                start_new_session=True,
            )
        found = _stat(self._child.pid)
        self.pid_file.parent.mkdir(parents=True, exist_ok=True)
        self.pid_file.write_text(f"{self._child.pid} {found[1] if found else ''}", "utf-8")
        return self._child.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it is alive."""
        pid = self.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self, *, patience_s: float = 10.0) -> None:
        """End the process: politely, then by force, with the rest of its session.

        Args:
            patience_s: seconds between the two.
        """
        pid = self.pid
        if pid is not None:
            self.signal(signal.SIGTERM)
            wait_until(lambda: self.pid is None, timeout_s=patience_s)
        elif self._child is not None:
            pid = self._child.pid
        if pid is not None:
            # Whatever it left behind in its session goes too (a JVM whose launcher died).
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            wait_until(lambda: self.pid is None, timeout_s=5.0)
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout=1.0)
        self._child = None
        self.pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """End the process as a power cut would. The pid file stays, as it would."""
        self.signal(signal.SIGKILL)
        wait_until(lambda: self.pid is None, timeout_s=5.0)


def wait_until(condition: Callable[[], bool], *, timeout_s: float, every_s: float = 0.02) -> bool:
    """Wait for a condition; returns whether it came true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this command as Ctrl-C does, through every `finally`."""

    def interrupt(number: int, _frame: object) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
