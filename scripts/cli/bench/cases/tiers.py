"""The two text tiers: what each costs, what reaches the heavy one, and the job with both."""

from __future__ import annotations

from typing import Any

import msgspec

from scripts.cli.bench.cases.latency import RATES
from scripts.cli.bench.cases.loop import apart
from scripts.cli.bench.phase import Phase
from scripts.cli.bench.runs import BOTH, Bench
from scripts.cli.bench.tier_loop import TierOrder


def tiers(bench: Bench) -> dict[str, Any]:
    """Texts a second and core of each tier and of the cascade, without Kafka and Flink.

    Over natural comments where the public sets are there, else over generated texts.
    """
    bench.stop_job()
    bench.say("scoring with each tier alone and with both")
    order = TierOrder(
        texts=bench.pick(4_000, 2_000),
        deep_texts=bench.pick(600, 300),
        data=str(bench.data) if bench.data else "",
    )
    failed = "the tiers could not be measured"
    printed = apart(bench, "scripts.cli.bench.tier_loop", order, failed)
    return msgspec.json.decode(printed, type=dict[str, Any])


def both_tiers(bench: Bench) -> dict[str, Any]:
    """The job with the heavy tier on: latency at steady rates, and a backlog, which it sheds."""
    run = bench.run(BOTH)
    levels = []
    for rate in RATES:
        bench.say(f"both tiers at {rate:,.0f}/s")
        phase = run.open_loop(rate, bench.pick(31, 10), warmup_s=bench.pick(4, 2))
        levels.append(
            {
                "rate": rate,
                **phase.latency(),
                "undecided": phase.pairs.undecided,
                **_shares(phase),
                "cpu_per_1000": phase.cpu_per_1000(),
                "busy": phase.busy(),
            }
        )
    bench.say("working off a backlog with both tiers")
    rate, phase = run.backlog(run.sized(bench.pick(12, 5)))
    return {"levels": levels, "backlog": {"uploads_per_s": round(rate, 1), **_shares(phase)}}


def _shares(phase: Phase) -> dict[str, float]:
    uploads = phase.counts.get("batch_size_sum", 0) or 1
    return {
        "deep_share": round(phase.counts.get("deep_scored", 0) / uploads, 4),
        "shed_share": round(phase.counts.get("degraded[deep_text]", 0) / uploads, 4),
    }
