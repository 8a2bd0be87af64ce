"""The tables job: how fast it works off a backlog, how far behind it is, what it costs texts."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, Self

from confluent_kafka import Consumer, TopicPartition

from operators.table_sql import json_topics
from schemas.errors import SluiceError
from schemas.settings import ROOT
from schemas.tables_records import TABLES
from scripts.cli.bench.phase import Phase
from scripts.cli.bench.runs import Bench, Run
from scripts.cli.flink_wheel import TABLES as JARS
from scripts.cli.processes import Process, ProcessError, wait_until

_RATE: Final = 1_200.0
_READY_S: Final = 120.0
_CAUGHT_UP_S: Final = 240.0


def tables(bench: Bench) -> dict[str, Any]:
    """Rows a second out of a backlog; lag and the texts' P99 at 1,200/s, without and with it."""
    if not any(JARS.glob("*.jar")):
        raise SluiceError(f"no jars of Paimon in {JARS}; run scripts/setup --extra tables")
    run = bench.run()
    seconds, warmup_s = bench.pick(61, 8), bench.pick(5, 2)
    bench.say(f"texts alone at {_RATE:,.0f}/s")
    rows = [_row("alone", run.open_loop(_RATE, seconds, warmup_s=warmup_s))]
    run.settle()
    checkpoint_s = bench.pick(10, 2)
    with _TablesJob(run, checkpoint_s) as job:
        bench.say("the tables job works off what the topics hold")
        backlog = job.catch_up(bench)
        bench.say("texts beside the tables job")
        with _Sampled(job.behind) as lag:
            rows.append(
                _row("beside the tables job", run.open_loop(_RATE, seconds, warmup_s=warmup_s))
            )
        job.catch_up(bench)
    bench.say("texts alone again")
    rows.append(_row("alone again", run.open_loop(_RATE, seconds, warmup_s=warmup_s)))
    return {
        "rate": _RATE,
        "checkpoint_s": checkpoint_s,
        "backlog": backlog,
        "lag": {"decisions_most": max(lag), "decisions_mean": round(sum(lag) / len(lag), 1)},
        "rows": rows,
    }


def _row(name: str, phase: Phase) -> dict[str, Any]:
    return {
        "name": name,
        **phase.latency(),
        "undecided": phase.pairs.undecided,
        "busy": phase.busy(),
    }


class _TablesJob:
    """The tables job, as `scripts/run_tables` runs it: where nobody else wants the processor.

    Args:
        run: whose topics it reads.
        checkpoint_s: seconds between its checkpoints; rows appear with them.
    """

    def __init__(self, run: Run, checkpoint_s: int) -> None:
        kafka = run.settings.kafka
        self._topics = {name: getattr(run.topics, name) for name in json_topics()}
        self._decisions = run.topics.decisions
        group = f"{kafka.topic_prefix}-tables"
        self._client = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": group})
        self._log = run.folder / "tables.log"
        self._process = Process(run.folder / "tables.pid")
        out = run.folder / "tables.out"
        began = time.monotonic()
        self._process.start(
            [sys.executable, "-P", "-m", "scripts.cli.run_tables"],
            log=self._log,
            out=out,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("SLUICE_")},
                "PYTHONPATH": str(ROOT),
                "SLUICE_KAFKA__BOOTSTRAP": kafka.bootstrap,
                "SLUICE_KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
                "SLUICE_TABLES__GROUP_ID": group,
                "SLUICE_TABLES__WAREHOUSE": str(run.folder / "lake"),
                "SLUICE_TABLES__CHECKPOINT_INTERVAL_MS": str(checkpoint_s * 1000),
                "SLUICE_FLINK__CHECKPOINT_DIR": (run.folder / "tables").as_uri(),
                "SLUICE_FLINK__METRICS_PORT": "",
            },
            cwd=ROOT,
            die_with_parent=True,
        )

        def settled() -> bool:
            return self._process.pid is None or "ready" in out.read_text("utf-8").split()

        if not wait_until(settled, timeout_s=_READY_S, every_s=0.1) or not self._process.pid:
            self.stop()
            raise ProcessError("the tables job did not come up", log=self._log)
        self.start_s = time.monotonic() - began
        """Seconds until it read from Kafka."""

    def catch_up(self, bench: Bench) -> dict[str, float]:
        """Wait until everything that the topics hold now is in the tables; gives how long it took.

        Raises:
            ProcessError: it takes too long.
        """
        ends = {name: bench.reader.ends(topic) for name, topic in self._topics.items()}
        before = {name: self._read(topic, ends[name]) for name, topic in self._topics.items()}
        began = time.monotonic()

        def caught_up() -> bool:
            return all(
                self._read(topic, ends[name]) >= sum(ends[name].values())
                for name, topic in self._topics.items()
            )

        if not wait_until(caught_up, timeout_s=_CAUGHT_UP_S, every_s=0.2):
            raise ProcessError("the tables job did not catch up", log=self._log)
        took_s = time.monotonic() - began
        read = {name: sum(end.values()) - before[name] for name, end in ends.items()}
        written = sum(read[table.topic] for table in TABLES)
        return {
            "records": sum(read.values()),
            "rows": written,
            "seconds": round(took_s, 2),
            "rows_per_s": round(written / took_s, 1),
            "start_s": round(self.start_s, 1),
        }

    def behind(self) -> int:
        """Decisions that are in the topic and in no table yet. From any thread."""
        parts = self._client.list_topics(self._decisions, timeout=20).topics[self._decisions]
        read = self._read(self._decisions, parts.partitions)
        places = [TopicPartition(self._decisions, number) for number in parts.partitions]
        return sum(self._client.get_watermark_offsets(p, timeout=20)[1] for p in places) - read

    def _read(self, topic: str, partitions: Iterable[int]) -> int:
        """Records of a topic up to the newest checkpoint, which makes their rows visible."""
        asked = [TopicPartition(topic, number) for number in partitions]
        return sum(max(part.offset, 0) for part in self._client.committed(asked, timeout=20))

    def stop(self) -> None:
        """End it."""
        self._process.stop(patience_s=40.0)
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Sampled:
    """What a function says once a second, from another thread, until the block ends."""

    def __init__(self, ask: Callable[[], int]) -> None:
        self._ask = ask
        self._found: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._over.wait(1.0):
            self._found.append(self._ask())

    def __enter__(self) -> list[int]:
        self._thread.start()
        return self._found

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)
