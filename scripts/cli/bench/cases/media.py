"""Texts while the media job works, and while it is killed: two jobs, two failure regions."""

from __future__ import annotations

import datetime as dt
import os
import sys
import threading
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from schemas.settings import ROOT
from scripts.cli.bench.phase import Phase
from scripts.cli.bench.runs import Bench, Run
from scripts.cli.bench.topics import Offsets
from scripts.cli.processes import Process, ProcessError, wait_until
from scripts.cli.publisher import UploadPublisher
from scripts.cli.sample_media import draw_all, media_config
from scripts.cli.upload_lines import parse_line

_RATE: Final = 300.0
_READY_S: Final = 300.0
_CLIPS: Final = ("videos/0000.webm", "videos/0001.mp4", "videos/0003.webm", "videos/0007.mp4")


def media(bench: Bench) -> dict[str, Any]:
    """P99 of texts alone, beside a backlog of videos, and while the media job is killed."""
    run = bench.run()
    drawn = run.folder / "drawn"
    draw_all(drawn)
    seconds, warmup_s = bench.pick(31, 8), bench.pick(4, 2)
    # More than is looked at while it is measured: there must be a backlog to the end.
    clips = bench.pick(400, 120)
    bench.say(f"texts alone at {_RATE:,.0f}/s")
    rows = [_row("alone", run.open_loop(_RATE, seconds, warmup_s=warmup_s), 0)]
    evidence = bench.reader.ends(run.topics.evidence)
    _publish(run, drawn, clips)
    with _MediaJob(run, drawn) as job:
        job.wait_for(bench, evidence, 1)
        bench.say(f"beside a backlog of {clips} clips")
        before = bench.reader.count(run.topics.evidence, evidence)
        phase = run.open_loop(_RATE, seconds, warmup_s=warmup_s)
        seen = bench.reader.count(run.topics.evidence, evidence)
        rows.append(_row("beside a backlog of videos", phase, seen - before))
        bench.say("the media job is killed and starts again")
        killer = threading.Timer(warmup_s + seconds / 4, job.again)
        killer.start()
        phase = run.open_loop(_RATE, seconds, warmup_s=warmup_s)
        killer.join()
        job.wait_for(bench, evidence, seen + 1)
        after = bench.reader.count(run.topics.evidence, evidence)
        rows.append(_row("while the media job is killed and starts again", phase, after - seen))
    return {"rate": _RATE, "clips": clips, "rows": rows}


def _row(name: str, phase: Phase, evidence: int) -> dict[str, Any]:
    return {
        "name": name,
        **phase.latency(),
        "undecided": phase.pairs.undecided,
        "evidence": evidence,
        "busy": phase.busy(),
    }


def _publish(run: Run, drawn: Path, clips: int) -> None:
    now = dt.datetime.now(dt.UTC)
    with UploadPublisher(run.settings) as publisher:
        for number in range(clips):
            upload = {
                "content_id": f"{run.topics.content_video}-{number}",
                "content_type": "video",
                "user_id": f"film-{number % 50}",
                "created_at": now.isoformat(),
                "media_uri": (drawn / _CLIPS[number % len(_CLIPS)]).as_uri(),
            }
            line = parse_line(msgspec.json.encode(upload), base=now)
            publisher.send(publisher.prepare(line), lambda _: None)
        publisher.flush()


class _MediaJob:
    """The media job, which stands back for everything that is measured."""

    def __init__(self, run: Run, drawn: Path) -> None:
        self._folder = run.folder
        self._topic = run.topics.evidence
        config = media_config(run.folder, drawn, run.settings.media.config)
        kafka = run.settings.kafka
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")},
            "PYTHONPATH": str(ROOT),
            "SLUICE_KAFKA__BOOTSTRAP": kafka.bootstrap,
            "SLUICE_KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
            "SLUICE_KAFKA__START": "earliest-offset",
            "SLUICE_MEDIA__CONFIG": str(config),
            # Evidence of a batch comes at once.
            "SLUICE_MEDIA__BATCH": "4",
            "SLUICE_FLINK__CHECKPOINT_DIR": (run.folder / "media").as_uri(),
            "SLUICE_FLINK__METRICS_PORT": "",
        }
        self._process = Process(run.folder / "media.pid")
        self._start()

    def _start(self, *options: str) -> None:
        module = [sys.executable, "-P", "-m", "scripts.cli.run_media", *options]
        self._process.start(
            module,
            log=self._folder / "media.log",
            env=self._env,
            cwd=ROOT,
        )

    def again(self) -> None:
        """Kill the job with all its processes, and start it from its newest checkpoint."""
        self._process.stop(patience_s=0.0)
        self._start("--resume")

    def wait_for(self, bench: Bench, since: Offsets, count: int) -> None:
        """Wait until so much evidence has come since then.

        Raises:
            ProcessError: it does not come.
        """
        if not wait_until(
            lambda: bench.reader.count(self._topic, since) >= count,
            timeout_s=_READY_S,
            every_s=0.5,
        ):
            raise ProcessError("no evidence came", log=self._folder / "media.log")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop(patience_s=20.0)
