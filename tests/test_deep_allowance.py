"""The heavy tier takes what the rest leaves of its thread, and no more."""

from __future__ import annotations

import pytest

from tests.test_stage_deep import Tier, cascade, decide
from udfs.deep_allowance import Allowance
from udfs.stage_deep import DeepLimits


class Thread:
    """A thread with a processor of its own: batches come, and take their time."""

    def __init__(self, busy_most: float) -> None:
        self.now = self.cpu = self.heavy = 0.0
        self.allowance = Allowance(busy_most, lambda: self.now, lambda: self.cpu)

    def work(self, seconds: float) -> None:
        self.now += seconds
        self.cpu += seconds

    def score(self) -> None:
        self.work(0.006)
        self.heavy += 0.006

    def run(self, seconds: float, *, every: float, base: float, wanted: int) -> tuple[float, float]:
        """Shares of the time that everything and the heavy tier took."""
        begin, cpu, heavy = self.now, self.cpu, self.heavy
        due = self.now
        while self.now < begin + seconds:
            due += every
            self.now = max(self.now, due)
            self.work(base)
            self.allowance.refill()
            for _ in range(wanted):
                if self.allowance.spent:
                    break
                self.allowance.spend(self.score)
        passed = self.now - begin
        return (self.cpu - cpu) / passed, (self.heavy - heavy) / passed


@pytest.mark.parametrize(("base", "left"), [(0.001, 0.65), (0.004, 0.35), (0.007, 0.05)])
def test_it_gets_what_is_left(base: float, left: float) -> None:
    thread = Thread(0.75)
    thread.run(5, every=0.01, base=base, wanted=4)
    busy, heavy = thread.run(20, every=0.01, base=base, wanted=4)
    assert busy == pytest.approx(0.75, abs=0.02)
    assert heavy == pytest.approx(left, abs=0.02)


def test_a_thread_that_is_busy_anyhow_leaves_it_nothing() -> None:
    thread = Thread(0.75)
    thread.run(5, every=0.01, base=0.009, wanted=4)
    _, heavy = thread.run(5, every=0.01, base=0.009, wanted=4)
    assert heavy == 0


def test_where_there_is_time_it_takes_what_it_wants() -> None:
    thread = Thread(0.75)
    busy, heavy = thread.run(5, every=0.02, base=0.001, wanted=1)
    assert heavy == pytest.approx(0.3, abs=0.01)
    assert busy == pytest.approx(0.35, abs=0.01)


def test_without_a_limit_no_clock_is_asked() -> None:
    def never() -> float:
        raise AssertionError

    free = Allowance(0, never, never)
    free.refill()
    done: list[int] = []
    free.spend(lambda: done.append(1))
    assert done
    assert not free.spent


def test_what_does_not_fit_is_shed_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = Tier("deep_text", takes_ms=20)
    found = cascade(Tier("fast_text"), deep, DeepLimits(busy_most=0.5))
    stage = next(stage for stage in found.stages if stage.name == "deep_text")

    def clock() -> float:
        return deep.spent_ms / 1e3

    monkeypatch.setattr(stage, "_allowance", Allowance(0.5, clock, clock))
    out = decide(found, "a 0.5", "b 0.3", "c 0.4")
    # 30 ms are saved up: two texts of 20 ms begin within them.
    assert deep.seen == ["a 0.5", "c 0.4"]
    assert [o.decision.degraded for o in out] == [[], ["deep_text"], []]
