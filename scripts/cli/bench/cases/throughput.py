"""How much one job decides: a backlog, and the largest steady load."""

from __future__ import annotations

from typing import Any, Final

from scripts.cli.bench.footprint import footprint, growth
from scripts.cli.bench.phase import Phase
from scripts.cli.bench.runs import Bench, JobSpec, Run
from scripts.cli.bench.topics import latency_figures, shares

P99_BOUND_MS: Final = 250.0
"""A load is kept up with while the P99 of its second half stays below this: a queue that grows
passes any bound, and 250 ms is where a user would begin to notice."""


def drained(bench: Bench) -> dict[str, Any]:
    """Uploads a second out of a backlog, after warm-up; and what an upload costs then."""
    run = bench.run()
    rates = []
    for _ in range(2):
        bench.say("working off a backlog")
        before = footprint(bench.stack, run.settings.kafka.topic_prefix)
        rate, phase = run.backlog(run.sized(bench.pick(12, 5)))
        after = footprint(bench.stack, run.settings.kafka.topic_prefix)
        rates.append(round(rate, 1))
    return {
        "uploads_per_s": max(rates),
        "each": rates,
        "uploads": phase.order.count,
        "actions": _actions(phase),
        "mean_batch": phase.mean_batch(),
        "without_redis": phase.without_redis(),
        "cpu_per_1000": phase.cpu_per_1000(),
        "busy": phase.busy(),
        "operator_stage_us": operator_stages(phase),
        "per_upload": growth(before, after, phase.order.count),
    }


def maximum(bench: Bench) -> dict[str, Any]:
    """The largest open-loop rate at which decisions keep up and P99 stays bounded."""
    run = bench.run()
    ceiling = bench.results.get("drained", {}).get("uploads_per_s") or 8_000.0
    tries: list[dict[str, Any]] = []

    def holds(rate: float) -> bool:
        found = _try(bench, run, rate)
        tries.append(found)
        bench.say(f"{rate:,.0f}/s: P99 {found['p99_ms']:.0f} ms, {_yes(found)}")
        return bool(found["held"])

    # The load generator needs its share of the two cores: the backlog's rate is out of reach.
    low, high = 0.0, ceiling
    rate = 0.7 * ceiling
    for _ in range(bench.pick(6, 4)):
        if holds(rate):
            low = rate
        else:
            high = rate
        rate = (low + high) / 2
        if high - low < 0.04 * ceiling:
            break
    return {"uploads_per_s": round(low, 1), "p99_bound_ms": P99_BOUND_MS, "tries": tries}


def cached(bench: Bench) -> dict[str, Any]:
    """A backlog in which 30% of the uploads repeat a recent text, as natural traffic does.

    The caches keep every score here, so that their own cost shows.
    """
    run = bench.run(JobSpec(env=(("SLUICE_REDIS__REMEMBER", "all"),)))
    bench.say("working off a backlog with repeated texts")
    rate, phase = run.backlog(run.sized(bench.pick(12, 5)), load={"repeats": 0.3})
    counts = phase.counts
    hits = counts.get("cache_hits[local]", 0) + counts.get("cache_hits[redis]", 0)
    return {
        "repeats": 0.3,
        "uploads_per_s": round(rate, 1),
        "hit_share": round(hits / max(phase.order.count, 1), 4),
        "cpu_per_1000": phase.cpu_per_1000(),
        "busy": phase.busy(),
    }


def operator_stages(phase: Phase) -> dict[str, float]:
    """Microseconds an upload by stage, as the operator itself counted them."""
    uploads = phase.counts.get("batch_size_sum", 0) or 1
    found = {
        name.partition("[")[2].rstrip("]"): round(value / uploads, 3)
        for name, value in phase.counts.items()
        if name.startswith("stage_time_us_sum[")
    }
    return found | {
        "batch, encoding included": round(
            phase.counts.get("batch_time_ms_sum", 0) * 1000 / uploads, 3
        )
    }


def _try(bench: Bench, run: Run, rate: float) -> dict[str, Any]:
    seconds = bench.pick(8, 4)
    # A rate that is far too high would leave a queue that takes minutes: twice the time is
    # long enough to know.
    phase = run.open_loop(rate, seconds, warmup_s=2.0, patience_s=seconds * 2)
    if phase.pairs.undecided:
        run.settle()
    taken = phase.pairs.taken_ms
    late = phase.pairs.latency_ms[taken >= taken[0] + seconds * 500] if len(taken) else []
    figures = latency_figures(late)
    # A generator that could not keep its own plan has not tried this rate.
    kept = phase.sent.seconds <= (seconds + 2.0) * 1.1
    p99 = figures.get("p99_ms", float("inf"))
    return {
        "rate": round(rate, 1),
        "p99_ms": p99,
        "p50_ms": figures.get("p50_ms", float("inf")),
        "generator_kept_up": kept,
        "busy": phase.busy(),
        "held": kept and p99 <= P99_BOUND_MS and not phase.pairs.undecided,
    }


def _yes(found: dict[str, Any]) -> str:
    if not found["generator_kept_up"]:
        return "the load generator fell behind"
    return "holds" if found["held"] else "too much"


def _actions(phase: Phase) -> dict[str, float]:
    counts = {
        name.partition("[")[2].rstrip("]"): int(value)
        for name, value in phase.counts.items()
        if name.startswith("decisions[") and value
    }
    return shares(counts)
