"""The moderation job as a process that is measured."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from operators.metrics import CATALOGUE
from schemas.errors import SluiceError
from schemas.settings import ROOT
from scripts.cli.bench.cpu import children
from scripts.cli.processes import Process, ProcessError, free_port, wait_until

_READY_S: Final = 240.0
_SERIES: Final = re.compile(r"^\w+_operator_sluice_(\w+)\{(.*)\} ([0-9.eE+-]+)$")


class MeasuredJob:
    """`scripts/run` in a process of its own.

    Args:
        name: of the process, its log and its folder.
        folder: holds pid file, log and checkpoints.
        profile: name or path of a profile.
        env: environment variables that point it at broker, topics and Redis, and settings.
        cores: processors that it may run on; None for all.
        resume: go on from the newest checkpoint in the folder.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        profile: str,
        env: Mapping[str, str],
        cores: str | None = None,
        resume: bool = False,
    ) -> None:
        self.folder = folder
        self.log = folder / f"{name}.log"
        self._out = folder / f"{name}.out"
        self._rest = free_port()
        self._metrics = free_port(self._rest)
        self._process = Process(folder / f"{name}.pid")
        self._out.unlink(missing_ok=True)
        command = [sys.executable, "-P", "-m", "scripts.cli.run_job", "--profile", profile]
        command += ["--resume"] if resume else []
        started = time.monotonic()
        self._process.start(
            ["taskset", "-c", cores, *command] if cores else command,
            log=self.log,
            out=self._out,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("SLUICE_")},
                "PYTHONPATH": str(ROOT),
                "SLUICE_FLINK__CHECKPOINT_DIR": (folder / "checkpoints").as_uri(),
                "SLUICE_FLINK__REST_PORT": str(self._rest),
                "SLUICE_FLINK__METRICS_PORT": str(self._metrics),
                **env,
            },
            cwd=ROOT,
            die_with_parent=True,
        )
        self._wait_ready()
        self.start_s = time.monotonic() - started
        """Seconds from the start of the process until it read from Kafka."""

    def _wait_ready(self) -> None:
        def settled() -> bool:
            return self._process.pid is None or "ready" in self._out.read_text("utf-8").split()

        in_time = wait_until(settled, timeout_s=_READY_S, every_s=0.05)
        if self._process.pid is None or not in_time:
            self.stop()
            raise ProcessError("the job did not come up", log=self.log)

    @property
    def pid(self) -> int:
        """Process that submitted the job.

        Raises:
            ProcessError: where it has ended.
        """
        pid = self._process.pid
        if pid is None:
            raise ProcessError("the job ended before its time", log=self.log)
        return pid

    @property
    def jvm_pid(self) -> int:
        """Its JVM, which runs Flink and the Python operator."""
        found = children(self.pid)
        if len(found) != 1:
            raise ProcessError(f"the job has {len(found)} child processes, not one JVM")
        return found[0]

    def rest(self, path: str) -> Any:
        """Ask Flink's REST interface."""
        url = f"http://127.0.0.1:{self._rest}{path}"
        with urllib.request.urlopen(url, timeout=10) as reply:
            return json.load(reply)

    def counts(self) -> dict[str, float]:
        """Sums of the operator's own counters by name, as the Prometheus reporter shows them."""
        url = f"http://127.0.0.1:{self._metrics}/metrics"
        with urllib.request.urlopen(url, timeout=10) as reply:
            return parse_counts(reply.read().decode())

    def newest_checkpoint(self) -> dict[str, Any] | None:
        """Flink's account of the newest complete checkpoint."""
        job = self.rest("/jobs")["jobs"][0]["id"]
        found = self.rest(f"/jobs/{job}/checkpoints")["latest"]["completed"]
        return found if isinstance(found, dict) else None

    def next_checkpoint(self, timeout_s: float = 30.0) -> dict[str, Any]:
        """Wait for a checkpoint that was triggered after now.

        Raises:
            SluiceError: where none completes in time.
        """
        asked_ms = time.time() * 1000
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = self.newest_checkpoint()
            if found is not None and found["trigger_timestamp"] >= asked_ms:
                return found
            time.sleep(0.1)
        raise SluiceError(f"no checkpoint within {timeout_s:.0f} s; see {self.log}")

    def heap_bytes(self) -> int | None:
        """Live heap after a full collection; None where the JDK's jcmd is not installed."""
        if shutil.which("jcmd") is None:
            return None
        pid = str(self.jvm_pid)
        subprocess.run(["jcmd", pid, "GC.run"], capture_output=True, check=False, timeout=60)
        done = subprocess.run(
            ["jcmd", pid, "GC.heap_info"], capture_output=True, check=False, timeout=60, text=True
        )
        used = re.search(r"used (\d+)K", done.stdout)
        return int(used.group(1)) * 1024 if used else None

    def resident_bytes(self) -> int:
        """Memory of the JVM process, Python inside it included."""
        text = Path(f"/proc/{self.jvm_pid}/status").read_text("utf-8")
        found = re.search(r"VmRSS:\s+(\d+) kB", text)
        return int(found.group(1)) * 1024 if found else 0

    def kill(self) -> None:
        """End it as a power cut would: the JVM and its launcher at once."""
        pid = self.pid
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        self._process.stop(patience_s=1)

    def stop(self) -> None:
        """End it in order."""
        self._process.stop(patience_s=40)


def parse_counts(text: str) -> dict[str, float]:
    """Sum the operator's counters, by name and, in brackets, the value of its first label.

    Args:
        text: an exposition of Flink's Prometheus reporter. It puts the names of our labels in
            front of a counter's own name (`sluice_stage_stage_time_us_sum`).

    Returns:
        For example `batches` or `stage_time_us_sum[rules]`; without the histograms' buckets.
    """
    found: Counter[str] = Counter()
    for line in text.splitlines():
        match = _SERIES.match(line)
        if match is None:
            continue
        scope, labels, value = match.groups()
        for metric in CATALOGUE:
            head = "_".join((*metric.labels, metric.name))
            rest = scope.removeprefix(head)
            if rest != scope and rest in {"", "_sum", "_count"}:
                names = [_label(labels, label) for label in metric.labels[:1]]
                key = f"{metric.name}{rest}" + "".join(f"[{name}]" for name in names)
                found[key] += float(value)  # type: ignore[assignment]  # Counter is typed for whole numbers
    return dict(found)


def _label(labels: str, name: str) -> str:
    match = re.search(rf'\b{name}="([^"]*)"', labels)
    return match.group(1) if match else ""
