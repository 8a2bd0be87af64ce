"""The load generator's process, seen from the benchmark."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

import msgspec

from schemas.errors import SluiceError
from schemas.settings import ROOT
from scripts.cli.bench.send import Order, Sent


class Sending:
    """The load generator at work.

    Args:
        order: what it sends.
        folder: for the order's file.
    """

    def __init__(self, order: Order, folder: Path) -> None:
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".json", delete=False) as file:
            file.write(msgspec.json.encode(order))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "scripts.cli.bench.send", file.name],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._line()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def go(self) -> None:
        """Begin to send."""
        if self._process.stdin is not None:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()

    def result(self) -> Sent:
        """Wait until everything is sent.

        Raises:
            SluiceError: where the broker did not take everything.
        """
        sent = msgspec.json.decode(self._line(), type=Sent)
        if sent.failures:
            raise SluiceError(f"uploads were not sent: {sent.failures[0]}")
        return sent

    def _line(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise SluiceError(f"the load generator ended with {self._process.wait(10)}")
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None and self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
