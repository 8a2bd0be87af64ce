"""Run the moderation job and, beside it, the media job, in the foreground."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from types import FrameType
from typing import Annotated

import typer

from jobs.local import LOGS
from scripts.cli.run_job import BoundedOption, ProfileOption, ResumeOption

app = typer.Typer(add_completion=False, help=__doc__)
_AGAIN_AFTER_S = 10.0


@app.command()
def main(
    profile: ProfileOption = "dev",
    bounded: BoundedOption = False,
    resume: ResumeOption = False,
    media: Annotated[
        bool, typer.Option(help="Run the media job as well, which looks at pictures and videos.")
    ] = True,
) -> None:
    """Run both jobs until SIGTERM or Ctrl-C; print `ready` once the moderation job reads.

    Each is a process of its own: a fault in one leaves the other alone. The media job starts
    once the moderation job reads, and again should it end; its log is .run/logs/media.log.
    """
    options = ["--profile", profile]
    options += ["--bounded"] if bounded else []
    options += ["--resume"] if resume else []
    moderation = _command("run_job", options)
    if media and bounded:
        # What is in pictures has to be known before the moderation job's input ends.
        done = subprocess.run(_command("run_media", options), stdout=sys.stderr, check=False)
        if done.returncode:
            sys.exit(done.returncode)
    if bounded or not media:
        os.execv(moderation[0], moderation)  # noqa: S606 - no shell; this process becomes the job
    sys.exit(Both(moderation, _command("run_media", options)).run())


def _command(module: str, options: list[str]) -> list[str]:
    return [sys.executable, "-P", "-m", f"scripts.cli.{module}", *options]


class Both:
    """Two jobs, of which the first is the one that counts.

    Args:
        moderation: its command line.
        media: likewise.
    """

    def __init__(self, moderation: list[str], media: list[str]) -> None:
        self._commands = moderation, media
        self._children: list[subprocess.Popen[str]] = []
        self._stop = threading.Event()

    def run(self) -> int:
        """Run both until the first ends; gives its exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        first = self._start(self._commands[0], None)
        media = threading.Thread(target=self._look_at_media, daemon=True)
        for line in first.stdout or ():
            print(line, end="", flush=True)
            if line.strip() == "ready":
                media.start()
        status = first.wait()
        self._end(signal.SIGTERM, None)
        if media.ident is not None:
            media.join()
        return status

    def _look_at_media(self) -> None:
        """Run the media job again and again."""
        LOGS.mkdir(parents=True, exist_ok=True)
        path = LOGS / "media.log"
        while not self._stop.is_set():
            with path.open("a") as log:
                child = self._start(self._commands[1], log.fileno())
                status = child.wait()
            if not self._stop.is_set():
                print(
                    f"the media job ended with {status}, it is started again in"
                    f" {_AGAIN_AFTER_S:.0f} s; its log is {path}",
                    file=sys.stderr,
                )
                self._stop.wait(_AGAIN_AFTER_S)

    def _start(self, command: list[str], log: int | None) -> subprocess.Popen[str]:
        if shutil.which("setpriv"):
            # A `kill -9` of this process ends its jobs, too.
            command = ["setpriv", "--pdeathsig", "TERM", "--", *command]
        out = subprocess.PIPE if log is None else log
        # The media job gets a session of its own: what stands back, stands back as a session.
        child = subprocess.Popen(
            command, stdout=out, stderr=log, text=True, start_new_session=log is not None
        )
        self._children.append(child)
        if self._stop.is_set():
            child.terminate()
        return child

    def _end(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a handler's
        self._stop.set()
        for child in self._children:
            if child.poll() is None:
                child.terminate()


if __name__ == "__main__":
    app()
