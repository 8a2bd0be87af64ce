"""The capacity and cost model: formulas over measured figures and stated assumptions."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from scripts.cli.capacity_inputs import Assumptions, Figures

_DAY_S: Final = 86_400
_GIB: Final = 1024**3
_MONTH_H: Final = 730
_REMEMBERED_BYTES: Final = 32
"""A remembered upload in a user's value (`operators.velocity`)."""


class Line(NamedTuple):
    """One result."""

    key: str
    name: str
    value: float
    unit: str
    formula: str
    """With the numbers in it."""


class Plan(NamedTuple):
    """What a load needs."""

    per_day: int
    peak: int
    lines: tuple[Line, ...]
    notes: tuple[str, ...]

    def value(self, key: str) -> float:
        """A line's value by its key."""
        return next(line.value for line in self.lines if line.key == key)


def plan(per_day: int, peak: int, measured: Figures, assumed: Assumptions) -> Plan:
    """Work out what a load needs.

    Args:
        per_day: uploads a day.
        peak: uploads a second at the busiest time.
        measured: by the benchmark.
        assumed: everything else.
    """
    found = _Planner(per_day, peak, measured, assumed)
    found.compute()
    found.state()
    found.redis()
    found.kafka()
    found.cost()
    return Plan(per_day, peak, tuple(found.lines), tuple(found.notes))


class _Planner:
    def __init__(self, per_day: int, peak: int, measured: Figures, assumed: Assumptions) -> None:
        self.per_day, self.peak, self.m, self.a = per_day, peak, measured, assumed
        self.lines: list[Line] = []
        self.notes: list[str] = []
        self.values: dict[str, float] = {}

    def put(self, key: str, name: str, value: float, unit: str, formula: str) -> float:
        self.values[key] = value
        self.lines.append(Line(key, name, value, unit, formula))
        return value

    def compute(self) -> None:
        """TaskManagers and the machines under them."""
        m, a, peak = self.m, self.a, self.peak
        safe = m.taskmanager_uploads_per_s * a.utilisation
        taskmanagers = self.put(
            "taskmanagers",
            "TaskManagers (one slot each)",
            math.ceil(peak / safe) + a.spare_taskmanagers,
            "",
            f"ceil({peak:,} / ({m.taskmanager_uploads_per_s:,.0f} x {a.utilisation}))"
            f" + {a.spare_taskmanagers} spare",
        )
        self.put(
            "job_vcpus",
            "vCPUs of the job at the peak",
            peak * m.job_cpu_us / 1e6 / a.utilisation,
            "",
            f"{peak:,} x {m.job_cpu_us:,.0f} us / {a.utilisation}",
        )
        partitions = max(4, int(taskmanagers) * a.kafka.partitions_per_taskmanager)
        self.put(
            "partitions",
            "Partitions of each topic",
            partitions,
            "",
            f"{taskmanagers:,.0f} TaskManagers x {a.kafka.partitions_per_taskmanager}, at least 4",
        )

    def state(self) -> None:
        """Keyed state: where it lies, and what a checkpoint moves."""
        m, a = self.m, self.a
        # State expires after 26 idle hours; today's and a little of yesterday's users.
        active = self.per_day / a.users.uploads_per_day * (1 + a.users.new_share) * 26 / 24
        users = self.put(
            "state_users",
            "Users with keyed state",
            active,
            "",
            f"{self.per_day:,} / {a.users.uploads_per_day:g} x (1 + {a.users.new_share:g})"
            " x 26 h / 24 h",
        )
        more = _REMEMBERED_BYTES * max(0.0, min(64.0, a.users.uploads_per_day) - 1)
        per_user = m.checkpoint_bytes_per_user + more
        checkpoint = self.put(
            "checkpoint_gib",
            "Checkpoint, whole",
            users * per_user / _GIB,
            "GiB",
            f"users x ({m.checkpoint_bytes_per_user:,.0f} + {more:,.0f} B of remembered uploads)",
        )
        heap = users * (m.heap_bytes_per_user + more) / _GIB / self.values["taskmanagers"]
        backend = "hashmap" if heap <= a.heap_state_limit_gib else "rocksdb"
        self.put(
            "state_gib_per_taskmanager",
            f"State in a TaskManager ({backend})",
            heap if backend == "hashmap" else checkpoint / self.values["taskmanagers"],
            "GiB",
            f"users x {m.heap_bytes_per_user + more:,.0f} B of heap / TaskManagers ="
            f" {heap:,.2f} GiB; limit {a.heap_state_limit_gib:g}",
        )
        memory = (
            a.taskmanager_overhead_gib
            + (1.5 * heap if backend == "hashmap" else min(2.0, a.heap_state_limit_gib))
            + 1.0
        )
        self.put(
            "taskmanager_gib",
            "Memory of a TaskManager",
            memory,
            "GiB",
            f"{a.taskmanager_overhead_gib:g} + 1 for Python"
            + (" + 1.5 x heap of state" if backend == "hashmap" else " + 2 for RocksDB's caches"),
        )
        machine = a.machine
        by_cpu = self.values["job_vcpus"] / machine.vcpus
        by_memory = self.values["taskmanagers"] * memory / machine.memory_gib
        self.put(
            "job_machines",
            f"Machines for TaskManagers ({machine.vcpus} vCPUs, {machine.memory_gib:g} GiB)",
            math.ceil(max(by_cpu, by_memory)),
            "",
            f"ceil(max({by_cpu:,.2f} by vCPUs, {by_memory:,.2f} by memory))",
        )
        if backend == "rocksdb":
            self.notes.append(
                "The state does not fit on the heap of these TaskManagers: set"
                " flink.state_backend to rocksdb (the cluster profile has it), and expect the"
                " rate that docs/BENCHMARKS.md gives for it."
            )

    def redis(self) -> None:
        """Memory and processors of Redis."""
        m, a = self.m, self.a
        a_day = self.per_day * a.cache.unique_share * a.cache.remembered_share
        rows = a_day * a.cache.keep_days
        row_bytes = m.redis_bytes_per_row or a.cache.row_bytes
        active = self.per_day / a.users.uploads_per_day
        users = active * (1 + a.users.new_share * (a.users.feature_days - 1))
        self.put(
            "redis_cache_gib",
            "Redis: decision cache",
            rows * row_bytes / _GIB,
            "GiB",
            f"{self.per_day:,} x {a.cache.unique_share:g} unique x"
            f" {a.cache.remembered_share:g} remembered x {a.cache.keep_days:g} d x"
            f" {row_bytes:,.0f} B",
        )
        self.put(
            "redis_users_gib",
            "Redis: user features",
            users * a.cache.user_row_bytes / _GIB,
            "GiB",
            f"{active:,.0f} active a day x (1 + {a.users.new_share:g} x"
            f" {a.users.feature_days - 1:g} d) x {a.cache.user_row_bytes:g} B",
        )
        self.put(
            "redis_vcpus",
            "Redis: vCPUs at the peak",
            max(1.0, self.peak * m.redis_cpu_us / 1e6 / a.utilisation),
            "",
            f"{self.peak:,} x {m.redis_cpu_us:,.1f} us / {a.utilisation}, at least 1",
        )
        gib = self.values["redis_cache_gib"] + self.values["redis_users_gib"]
        self.put(
            "redis_machines",
            "Machines for Redis (half of their memory used, a replica each)",
            2 * math.ceil(gib / (a.machine.memory_gib / 2)),
            "",
            f"2 x ceil({gib:,.1f} GiB / {a.machine.memory_gib / 2:g} GiB)",
        )
        full = a_day * 30 * row_bytes / _GIB
        self.notes.append(
            f"The decision cache with its whole time to live of 30 days would take {full:,.0f} GiB;"
            " with maxmemory and allkeys-lru it keeps what is used."
        )

    def kafka(self) -> None:
        """Brokers, storage and network."""
        m, a, k = self.m, self.a, self.a.kafka
        per_upload = m.upload_log_bytes + m.output_log_bytes
        storage = self.put(
            "kafka_storage_tb",
            "Kafka: storage",
            self.per_day * per_upload * k.retention_days * k.replication / 1e12,
            "TB",
            f"{self.per_day:,} x ({m.upload_log_bytes:,.0f} + {m.output_log_bytes:,.0f}) B"
            f" x {k.retention_days:g} d x {k.replication} replicas",
        )
        # In once and out to the followers; uploads out to the job, outputs out to readers.
        copies = m.upload_log_bytes * (1 + (k.replication - 1) + 1) + m.output_log_bytes * (
            1 + (k.replication - 1) + k.output_readers
        )
        network = self.put(
            "kafka_network_gbit",
            "Kafka: network at the peak, all brokers",
            self.peak * copies * 8 / 1e9,
            "Gbit/s",
            f"{self.peak:,} x {copies:,.0f} B (in, {k.replication - 1} followers, readers) x 8",
        )
        cores = self.put(
            "kafka_vcpus",
            "Kafka: vCPUs at the peak",
            self.peak * m.broker_cpu_us * k.replication / 1e6 / a.utilisation,
            "",
            f"{self.peak:,} x {m.broker_cpu_us:,.0f} us x {k.replication} replicas"
            f" / {a.utilisation}",
        )
        needs = {
            "vCPUs": cores / a.machine.vcpus,
            "storage": storage / a.utilisation / k.broker_storage_tb,
            "network": network / a.utilisation / k.broker_network_gbit,
        }
        which = max(needs, key=lambda name: needs[name])
        self.put(
            "brokers",
            "Kafka brokers",
            max(k.min_brokers, math.ceil(needs[which])),
            "",
            ", ".join(f"{value:,.2f} by {name}" for name, value in needs.items())
            + f"; at least {k.min_brokers}",
        )
        self.values["copies"] = copies

    def cost(self) -> None:
        """What it costs a month, and for a million uploads."""
        a, p = self.a, self.a.prices
        machines = self.values["job_machines"] + self.values["redis_machines"]
        machines += self.values["brokers"] + 2
        hour = a.machine.vcpus * p.vcpu_hour + a.machine.memory_gib * p.memory_gib_hour
        self.put(
            "machines",
            "Machines altogether",
            machines,
            "",
            "TaskManagers', Redis', brokers, and 2 for the JobManager and its standby",
        )
        compute = self.put(
            "compute_usd_month",
            "Machines, a month",
            machines * hour * _MONTH_H,
            "USD",
            f"{machines:,.0f} x {hour:.2f} USD an hour x {_MONTH_H} h",
        )
        storage = self.put(
            "storage_usd_month",
            "Storage, a month",
            self.values["kafka_storage_tb"] / a.utilisation * 1000 * p.storage_gb_month,
            "USD",
            f"{self.values['kafka_storage_tb']:,.1f} TB / {a.utilisation}"
            f" x {p.storage_gb_month} USD/GB",
        )
        moved = self.per_day * 30 * self.values["copies"] / 1e9
        network = self.put(
            "network_usd_month",
            "Traffic between zones, a month",
            moved * p.cross_zone_share * p.cross_zone_gb,
            "USD",
            f"{moved:,.0f} GB x {p.cross_zone_share} x {p.cross_zone_gb} USD/GB",
        )
        self.put(
            "usd_per_million",
            "Cost of a million uploads",
            (compute + storage + network) / (self.per_day * 30) * 1e6,
            "USD",
            "all of it / (30 days of uploads) x 1,000,000",
        )
