"""A result of `scripts/bench`, small and made up, for the tests of what reads one."""

from __future__ import annotations

import copy
from typing import Any

_CPU = {
    "broker": 0.05,
    "redis": 0.01,
    "job": 0.2,
    "job launcher": 0.002,
    "job: operator": 0.16,
    "job: source": 0.01,
    "job: sink client": 0.01,
    "job: gc": 0.01,
    "job: jit": 0.005,
    "job: other": 0.005,
}
_BUSY = {"ours": 1.4, "others": 0.02}


def _level(rate: float, p99: float) -> dict[str, Any]:
    return {
        "rate": rate,
        "count": int(rate * 30),
        "p50_ms": p99 / 2,
        "p99_ms": p99,
        "p999_ms": p99 * 2,
        "max_ms": p99 * 3,
        "undecided": 0,
        "generator_late_ms": 1.0,
        "mean_batch": rate / 200,
        "without_redis": 0.001,
        "checkpoints": 10,
        "cpu_per_1000": _CPU | {"load generator": 0.02},
        "busy": _BUSY,
        "operator_stage_us": {"rules": 7.0},
        "by_second": [{"second": s, "p50_ms": p99 / 2, "p99_ms": p99} for s in range(30)],
    }


def _state_row(users: int, rate: float) -> dict[str, Any]:
    return {
        "users": users,
        "checkpoint_bytes": 1_000_000 + 150 * users,
        "checkpoint_ms": 40,
        "heap_bytes": 120_000_000 + 400 * users,
        "resident_bytes": 900_000_000,
        "checkpoint_bytes_per_user": 150.0,
        "heap_bytes_per_user": 400.0,
        "uploads_per_s": rate,
    }


_RESULT: dict[str, Any] = {
    "version": 1,
    "quick": False,
    "took_s": 800.0,
    "failed": [],
    "machine": {
        "date": "2026-01-02 03:04 UTC",
        "processor": "Test Processor",
        "processors": 2,
        "memory_gib": 23.5,
        "system": "Linux",
        "load_before": 0.1,
        "python": "3.11.7",
        "java": 'openjdk version "17"',
        "kafka": "kafka_2.13-4.1.0",
        "redis_server": "Redis server v=7.0.15 sha=0",
        "packages": {"apache-flink": "2.3.0"},
        "commit": "abc1234",
    },
    "cases": {
        "tiers": {
            "source": "jigsaw_natural",
            "toxic_share": 0.097,
            "mean_chars": 380.0,
            "fast_us": 9.0,
            "normalise_us": 30.0,
            "deep_us": 5_000.0,
            "deep_share": 0.21,
            "cascade_fast_us": 110.0,
            "cascade_us": 1_200.0,
            "deep_by_tokens_ms": {"16": 1.5, "32": 2.7},
        },
        "both_tiers": {
            "levels": [
                _level(rate, p99) | {"deep_share": 0.07, "shed_share": 0.001}
                for rate, p99 in ((300.0, 40.0), (1_200.0, 90.0))
            ],
            "backlog": {"uploads_per_s": 3_000.0, "deep_share": 0.01, "shed_share": 0.06},
        },
        "media": {
            "rate": 300.0,
            "clips": 400,
            "rows": [
                _level(300.0, p99) | {"name": name, "undecided": 0, "evidence": evidence}
                for name, p99, evidence in (("alone", 20.0, 0), ("beside a backlog", 31.0, 12))
            ],
        },
        "tables": {
            "rate": 1_200.0,
            "nice": 10,
            "checkpoint_s": 10,
            "backlog": {"records": 100_000, "rows": 180_000, "rows_per_s": 9_000.0},
            "lag": {"decisions_most": 12_000, "decisions_mean": 6_000.0},
            "rows": [
                _level(1_200.0, p99) | {"name": name, "undecided": 0}
                for name, p99 in (("alone", 30.0), ("beside the tables job", 44.0))
            ],
        },
        "loop": {
            "uploads_per_s": 8_000.0,
            "uploads": 20_000,
            "batch": 64,
            "wall_us": 125.0,
            "cpu_us": 120.0,
            "stages_us": {"decode": 3.0, "normalise": 9.0, "rules": 6.5, "fast_text": 45.0},
            "sweep_cpu_us": {"1": 400.0, "64": 120.0, "1024": 115.0},
            "sweep_wall_us": {"1": 600.0, "64": 125.0, "1024": 118.0},
        },
        "drained": {
            "uploads_per_s": 5_500.0,
            "each": [5_400.0, 5_500.0],
            "actions": {"allow": 0.95, "remove": 0.05},
            "cpu_per_1000": _CPU,
            "busy": _BUSY,
            "operator_stage_us": {"rules": 8.0, "fast_text": 50.0},
            "per_upload": {
                "log_bytes": {"content.text": 400.0, "decisions": 900.0, "audit": 800.0},
                "redis_keys": 0.95,
                "redis_bytes_per_key": 350.0,
            },
        },
        "maximum": {
            "uploads_per_s": 4_000.0,
            "p99_bound_ms": 250.0,
            "tries": [
                {"rate": 4_000.0, "p99_ms": 80.0, "held": True, "busy": _BUSY},
                {"rate": 5_000.0, "p99_ms": 900.0, "held": False, "busy": _BUSY},
            ],
        },
        "cached": {"repeats": 0.3, "uploads_per_s": 6_000.0, "hit_share": 0.29},
        "latency": {
            "levels": [_level(300.0, 14.0), _level(1_200.0, 22.0), _level(2_000.0, 40.0)],
        },
        "patch": {
            "patches": 3,
            "acted": 3,
            "acting_ms": [20, 25, 60],
            "acknowledged_ms": [30.0, 31.0, 70.0],
            "rate": 300.0,
        },
        "ticks": {
            "rate": 1_200.0,
            "rows": [
                {**_level(1_200.0, 22.0), "tick_ms": 5},
                {**_level(1_200.0, 19.0), "tick_ms": 1},
            ],
        },
        "rules_only": {
            "uploads_per_s_on_one_core": 9_000.0,
            "aim": 3_725.0,
            "published": {
                "kafka_to_kafka": 745.0,
                "engine_alone": 1_093.0,
                "patterns_in_a_loop": 29_000.0,
            },
            "loop_uploads_per_s": 16_000.0,
            "patterns_per_s": 30_000.0,
        },
        "state": {
            "hashmap": {
                "rows": [_state_row(10_000, 9_000.0), _state_row(1_000_000, 8_600.0)],
                "whole_cascade": {"users": 1_000_000, "uploads_per_s": 5_300.0, "start_s": 15.0},
            },
            "rocksdb": {"rows": [_state_row(10_000, 7_000.0)]},
        },
        "kill": {
            "uploads": 60_000,
            "broken": 600,
            "answered_before_kill": 25_000,
            "silence_s": 14.0,
            "lost": 0,
            "contradicting": 0,
            "repeated": 900,
            "dropped": 0,
            "surplus": 0,
            "miscounted": 0,
        },
    },
}


def result() -> dict[str, Any]:
    """A complete result in which every aim but one is met: the open loop stays below 5,000/s."""
    return copy.deepcopy(_RESULT)
