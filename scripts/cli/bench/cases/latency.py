"""From the upload's broker timestamp to the decision's, at steady rates."""

from __future__ import annotations

from typing import Any, Final

from scripts.cli.bench.cases.throughput import operator_stages
from scripts.cli.bench.runs import Bench

RATES: Final = (300.0, 1_200.0)


def latency(bench: Bench) -> dict[str, Any]:
    """P50, P99 and P99.9 at 300/s, 1,200/s and half of the maximum, checkpoints on."""
    run = bench.run()
    rates = list(RATES)
    most = bench.results.get("maximum", {}).get("uploads_per_s")
    if most:
        rates.append(round(most / 2, 1))
    levels = []
    for rate in rates:
        bench.say(f"latency at {rate:,.0f}/s")
        checkpoint = run.job.newest_checkpoint()
        phase = run.open_loop(rate, bench.pick(31, 8), warmup_s=bench.pick(4, 2))
        after = run.job.newest_checkpoint()
        levels.append(
            {
                "rate": rate,
                **phase.latency(),
                "undecided": phase.pairs.undecided,
                "generator_late_ms": round(phase.sent.late_ms, 1),
                "mean_batch": phase.mean_batch(),
                "without_redis": phase.without_redis(),
                "checkpoints": _number(after) - _number(checkpoint),
                "cpu_per_1000": phase.cpu_per_1000(),
                "busy": phase.busy(),
                "operator_stage_us": operator_stages(phase),
                "by_second": phase.seconds(),
            }
        )
    return {"levels": levels}


def _number(checkpoint: dict[str, Any] | None) -> int:
    return int(checkpoint["id"]) if checkpoint else 0
