"""Cost and latency against the tick: how long an upload waits for company."""

from __future__ import annotations

from typing import Any, Final

from scripts.cli.bench.runs import Bench, JobSpec

TICKS_MS: Final = (5, 1, 20)
RATE: Final = 1_200.0


def ticks(bench: Bench) -> dict[str, Any]:
    """1,200/s under different ticks; batch size by itself is measured in the bare loop."""
    rows = []
    for tick in TICKS_MS[:2] if bench.quick else TICKS_MS:
        env = () if tick == 5 else (("SLUICE_TICK__INTERVAL_MS", str(tick)),)
        # 5 ms is the default: the job that runs already, if it still does.
        run = bench.run(JobSpec(env=env))
        bench.say(f"a tick of {tick} ms")
        phase = run.open_loop(RATE, bench.pick(8, 5), warmup_s=3.0)
        rows.append(
            {
                "tick_ms": tick,
                **phase.latency(),
                "mean_batch": phase.mean_batch(),
                "without_redis": phase.without_redis(),
                "cpu_per_1000": phase.cpu_per_1000(),
                "busy": phase.busy(),
            }
        )
    return {"rate": RATE, "rows": rows}
