"""Keyed state: bytes a user, and whether a job stays as fast with a million of them."""

from __future__ import annotations

from typing import Any, Final

from scripts.cli.bench.cases.rules_only import PROFILE
from scripts.cli.bench.runs import FULL, Bench, JobSpec, Run

_BACKENDS: Final = ("hashmap", "rocksdb")
_FILL_S: Final = 600.0
"""Longest time that filling to the next step may take."""


def state(bench: Bench) -> dict[str, Any]:
    """Fill the state with users, one short upload each, and measure at each step.

    The filling job has no model and no Redis, which changes nothing about the state; the whole
    cascade then goes on from its checkpoint.
    """
    bench.stop_job()
    return {backend: _filled(bench, backend) for backend in _BACKENDS}


def _filled(bench: Bench, backend: str) -> dict[str, Any]:
    steps = (
        [10_000, 100_000] if bench.quick or backend == "rocksdb" else [10_000, 100_000, 1_000_000]
    )
    spec = JobSpec(PROFILE, (("SLUICE_FLINK__STATE_BACKEND", backend),))
    run = bench.start(spec)
    try:
        run.warm_up(bench.pick(10, 5), load={"users": 1_000, "samples": 0.0})
        empty = _memory(run)
        rows: list[dict[str, Any]] = []
        known = 0
        for users in steps:
            if (users - known) / run.speed > _FILL_S:
                bench.say(f"{backend}: this machine is too slow to fill up to {users:,} users")
                break
            bench.say(f"{backend}: filling the state to {users:,} users")
            since = run.ends()
            run.send(run.order(users - known, seed=known, each_user_once=True))
            run.wait(since, users - known)
            known = users
            memory = _memory(run)
            rate, _ = run.backlog(
                run.sized(bench.pick(5, 3)), load={"users": users, "samples": 0.0}
            )
            rows.append(
                {
                    "users": users,
                    **memory,
                    **{
                        f"{name}_per_user": _per_user(memory[name], empty[name], users)
                        for name in ("checkpoint_bytes", "heap_bytes")
                    },
                    "uploads_per_s": round(rate, 1),
                }
            )
        found: dict[str, Any] = {"empty": empty, "rows": rows}
        if backend == "hashmap":
            found["whole_cascade"] = _resumed(bench, run, known)
        return found
    finally:
        run.stop()


def _resumed(bench: Bench, run: Run, users: int) -> dict[str, Any]:
    """The whole cascade on the state that the other job has filled."""
    bench.say(f"the whole cascade goes on with the state of {users:,} users")
    run.job.next_checkpoint()
    run.stop()
    run.start_job(resume=True, profile=FULL.profile)
    run.warm_up(bench.pick(12, 6), load={"users": users})
    rate, phase = run.backlog(run.sized(bench.pick(10, 4)), load={"users": users})
    return {
        "users": users,
        "start_s": round(run.job.start_s, 1),
        "uploads_per_s": round(rate, 1),
        "cpu_per_1000": phase.cpu_per_1000(),
        "state_bytes_mean": round(
            phase.counts.get("state_bytes_sum", 0) / (phase.counts.get("state_bytes_count", 0) or 1)
        ),
    }


def _memory(run: Run) -> dict[str, Any]:
    checkpoint = run.job.next_checkpoint()
    return {
        "checkpoint_bytes": checkpoint["state_size"],
        "checkpoint_ms": checkpoint["end_to_end_duration"],
        "heap_bytes": run.job.heap_bytes(),
        "resident_bytes": run.job.resident_bytes(),
    }


def _per_user(now: int | None, empty: int | None, users: int) -> float | None:
    return None if now is None or empty is None else round((now - empty) / users, 1)
