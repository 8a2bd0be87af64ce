"""What a case works with: the stack, a running job, phases of load, and what came of them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from schemas.errors import SluiceError
from schemas.settings import ROOT, Settings, load_settings
from schemas.topics import Topics
from scripts.cli.bench.cpu import CpuTimes, cpu_between, cpu_times
from scripts.cli.bench.job import MeasuredJob
from scripts.cli.bench.phase import Phase
from scripts.cli.bench.send import Order, Sent
from scripts.cli.bench.sending import Sending
from scripts.cli.bench.topics import (
    Offsets,
    Pairs,
    TopicReader,
    pair,
    rate_between,
)
from scripts.cli.kafka_topics import ensure_topics
from scripts.cli.local_stack import Stack
from scripts.cli.processes import ProcessError

_PATIENCE_S: Final = 240.0
"""Longest wait for the last decision of a phase."""
_WARM_UP: Final = 10_000
"""Uploads of a first backlog; also the least that a phase has."""


class JobSpec(NamedTuple):
    """A job as a case wants it; the same one is not started twice in a row."""

    profile: str = "dev"
    env: tuple[tuple[str, str], ...] = ()
    """Settings as environment variables."""
    cores: str | None = None
    """Processors that it may run on, as taskset names them."""
    deep: bool = False
    """With the heavy text tier, as the profile has it; else the fast tier decides alone."""


FULL: Final = JobSpec()
"""The cascade with the fast tier, as the dev profile has it."""
BOTH: Final = JobSpec(deep=True)
"""With both tiers."""


class Bench:
    """One run of the benchmark.

    Args:
        folder: for everything that the run leaves while it lasts.
        stack: Kafka and Redis, up.
        quick: shorter phases and smaller counts.
        data: folder of the public data sets, for natural texts; None where there is none.
        say: tells the person who waits what is going on.
    """

    def __init__(
        self,
        folder: Path,
        stack: Stack,
        *,
        quick: bool,
        say: Callable[[str], None],
        data: Path | None = None,
    ) -> None:
        self.folder = folder
        self.data = data
        self.stack = stack
        self.quick = quick
        self.say = say
        self.results: dict[str, Any] = {}
        """What the cases have found so far, by name."""
        self.reader = TopicReader(stack.kafka)
        self._numbers = itertools.count(1)
        self._spec: JobSpec | None = None
        self._run: Run | None = None

    def pick(self, full: int, quick: int) -> int:
        """One of two sizes."""
        return quick if self.quick else full

    def run(self, spec: JobSpec = FULL) -> Run:
        """Give the warm job that runs as `spec` says, starting it if it is not the present one."""
        if self._run is None or self._spec != spec:
            self.stop_job()
            self._run = self.start(spec)
            self._spec = spec
            self._run.warm_up(self.pick(30, 15))
        return self._run

    def start(self, spec: JobSpec, *, before: Callable[[Run], None] = lambda _: None) -> Run:
        """Start a job on topics of its own. The caller stops it.

        Args:
            spec: how it runs.
            before: is called when the topics are there and the job is not.
        """
        run = Run(self, spec, f"bench{next(self._numbers)}")
        before(run)
        run.start_job()
        return run

    def stop_job(self) -> None:
        """Stop the present job, if there is one."""
        if self._run is not None:
            self._run.stop()
        self._run = self._spec = None

    def close(self) -> None:
        """Stop what was started."""
        self.stop_job()
        self.reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Run:
    """A job on topics of its own.

    Args:
        bench: the benchmark.
        spec: how the job runs.
        prefix: of the topics.
    """

    def __init__(self, bench: Bench, spec: JobSpec, prefix: str) -> None:
        self._bench = bench
        self.spec = spec
        self.folder = bench.folder / prefix
        self.folder.mkdir()
        profile = spec.profile
        base = load_settings(profile if "/" not in profile else str(ROOT / profile))
        kafka = base.kafka.model_copy(
            update={
                "bootstrap": bench.stack.kafka,
                "topic_prefix": prefix,
                "group_id": f"{prefix}-moderation",
            }
        )
        redis = base.redis.model_copy(update={"url": bench.stack.redis_url})
        self.settings: Settings = base.model_copy(update={"kafka": kafka, "redis": redis})
        self.speed = 0.0
        """Uploads a second at the end of the warm-up, the load generator's start included."""
        self._job: MeasuredJob | None = None
        self._orders = itertools.count(1)
        self._jobs = itertools.count(1)
        ensure_topics(self.settings)

    @property
    def topics(self) -> Topics:
        """Names of this run's topics."""
        return self.settings.topics

    @property
    def job(self) -> MeasuredJob:
        """The running job.

        Raises:
            ProcessError: where none runs.
        """
        if self._job is None:
            raise ProcessError("the job is not running")
        return self._job

    def start_job(self, *, resume: bool = False, profile: str | None = None) -> None:
        """Start the job (again)."""
        kafka = self.settings.kafka
        env = {
            "SLUICE_KAFKA__BOOTSTRAP": kafka.bootstrap,
            "SLUICE_KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
            "SLUICE_KAFKA__GROUP_ID": kafka.group_id,
            "SLUICE_KAFKA__START": "earliest-offset",
            "SLUICE_REDIS__URL": self.settings.redis.url,
            **({} if self.spec.deep else {"SLUICE_CASCADE__DEEP_TEXT": "null"}),
            **dict(self.spec.env),
        }
        self._job = MeasuredJob(
            f"job{next(self._jobs)}",
            self.folder,
            profile=profile or self.spec.profile,
            env=env,
            cores=self.spec.cores,
            resume=resume,
        )

    def stop(self) -> None:
        """Stop the job."""
        if self._job is not None:
            self._job.stop()
        self._job = None

    def kill(self) -> None:
        """End the job by `kill -9`."""
        self.job.kill()
        self._job = None

    def order(self, count: int, **more: Any) -> Order:
        """An order of uploads for this run, with ids that no other order has."""
        number = next(self._orders)
        return Order(
            bootstrap=self.settings.kafka.bootstrap,
            topic=self.topics.content_text,
            count=count,
            **{"seed": number, "prefix": f"{self.topics.content_text}-{number}", **more},
        )

    def send(self, order: Order) -> Sent:
        """Send an order and wait until the broker has everything."""
        with Sending(order, self.folder) as sending:
            sending.go()
            return sending.result()

    def warm_up(self, seconds: float, **more: Any) -> None:
        """Let the engine compile what it will run: backlogs, until so much time has passed.

        Args:
            seconds: how long, at least one backlog.
            more: see `Order`.
        """
        self._bench.say(f"warming up for {seconds:.0f} s")
        began = time.monotonic()
        count = _WARM_UP
        while time.monotonic() - began < seconds:
            ends, started = self.ends(), time.monotonic()
            self.send(self.order(count, **more))
            self.wait(ends, count)
            self.speed = count / (time.monotonic() - started)

    def sized(self, seconds: float) -> int:
        """Uploads that the job works off in about so much time, as fast as it warmed up."""
        return max(_WARM_UP, round(self.speed * seconds / 1_000) * 1_000)

    def wait(self, since: tuple[Offsets, Offsets], count: int, patience_s: float = 0.0) -> bool:
        """Wait until so many decisions and dead letters have come.

        Args:
            since: where the two topics ended before.
            count: how many.
            patience_s: seconds; 0 for the default, after which it is an error.

        Returns:
            Whether they came in time.

        Raises:
            SluiceError: where the default patience was not enough.
        """
        deadline = time.monotonic() + (patience_s or _PATIENCE_S)
        while self.answered(since) < count:
            if time.monotonic() > deadline:
                if patience_s:
                    return False
                raise SluiceError(
                    f"{self.answered(since):,} of {count:,} uploads were decided within"
                    f" {_PATIENCE_S:.0f} s"
                )
            _ = self.job.pid  # an error if it has ended
            time.sleep(0.3)
        return True

    def settle(self) -> None:
        """Wait until nothing is left to decide."""
        self.wait(({}, {}), self._bench.reader.count(self.topics.content_text, {}))

    def answered(self, since: tuple[Offsets, Offsets]) -> int:
        """Decisions and dead letters since then."""
        count = self._bench.reader.count
        return count(self.topics.decisions, since[0]) + count(self.topics.dead_letters, since[1])

    def ends(self) -> tuple[Offsets, Offsets]:
        """Where the topics of decisions and dead letters end now."""
        ends = self._bench.reader.ends
        return ends(self.topics.decisions), ends(self.topics.dead_letters)

    def cpu(self, sender: Sending | None = None) -> CpuTimes:
        """CPU times of everything that takes part."""
        status = self._bench.stack.status()
        job = self.job
        processes = {"broker": status["kafka_pid"], "redis": status["redis_pid"]}
        processes |= {"job": job.jvm_pid, "job launcher": job.pid}
        if sender is not None:
            processes["load generator"] = sender.pid
        return cpu_times({n: pid for n, pid in processes.items() if pid}, job.jvm_pid)

    def backlog(self, count: int, **more: Any) -> tuple[float, Phase]:
        """Let the job work off a backlog.

        Args:
            count: uploads; they are sent far faster than any job decides.
            more: see `Order`.

        Returns:
            Decisions a second after the last upload had been taken by the broker, and the
            phase. Its CPU figures are those of the whole stretch.
        """
        reader, topics = self._bench.reader, self.topics
        order = self.order(count, **more)
        starts, ends = reader.ends(topics.content_text), self.ends()
        counts = self.job.counts()
        with Sending(order, self.folder) as sending:
            sending.go()
            sent = sending.result()
            before, done = self.cpu(), self.answered(ends)
        self.wait(ends, count)
        after = self.cpu()
        phase = Phase(
            order=order,
            sent=sent,
            pairs=pair(
                reader.read(topics.content_text, starts),
                decisions := reader.read(topics.decisions, ends[0]),
            ),
            window_s=after.at - before.at,
            cpu=cpu_between(before, after),
            uploads=count - done,
            counts=self._growth(counts),
        )
        last_taken = int(phase.pairs.taken_ms[-1])
        rate, _ = rate_between([record.timestamp_ms for record in decisions], last_taken)
        return rate, phase

    def open_loop(
        self, rate: float, seconds: float, *, warmup_s: float, patience_s: float = 0.0, **more: Any
    ) -> Phase:
        """Send at a steady rate whatever the job does.

        Args:
            rate: uploads a second.
            seconds: how long, after the warm-up.
            warmup_s: seconds at the same rate before; they do not count.
            patience_s: how long to wait for the last decision; 0 for as long as it takes.
            more: see `Order`.
        """
        reader, topics = self._bench.reader, self.topics
        order = self.order(round(rate * (seconds + warmup_s)), rate=rate, **more)
        with Sending(order, self.folder) as sending:
            starts, ends = reader.ends(topics.content_text), self.ends()
            counts = self.job.counts()
            sending.go()
            time.sleep(warmup_s)
            before = self.cpu(sending)
            time.sleep(seconds)
            after = self.cpu(sending)
            sent = sending.result()
        self.wait(ends, order.count, patience_s)
        pairs = pair(
            reader.read(topics.content_text, starts), reader.read(topics.decisions, ends[0])
        )
        if len(pairs.taken_ms):
            late = pairs.taken_ms >= pairs.taken_ms[0] + warmup_s * 1000
            pairs = Pairs(pairs.taken_ms[late], pairs.latency_ms[late], pairs.undecided)
        return Phase(
            order=order,
            sent=sent,
            pairs=pairs,
            window_s=after.at - before.at,
            cpu=cpu_between(before, after),
            uploads=round(rate * (after.at - before.at)),
            counts=self._growth(counts),
        )

    def _growth(self, before: Mapping[str, float]) -> dict[str, float]:
        time.sleep(1.5)  # the operator hands its counts on about once a second
        return {name: value - before.get(name, 0) for name, value in self.job.counts().items()}
