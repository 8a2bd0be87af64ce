"""What the capacity model starts from: measured figures, and assumptions out of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from schemas.errors import ConfigError

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MachineKind(_Part):
    """One machine."""

    vcpus: Count
    memory_gib: Positive


class KafkaAssumptions(_Part):
    """How topics are kept."""

    replication: Count
    min_brokers: Count
    retention_days: Positive
    partitions_per_taskmanager: Count
    output_readers: Annotated[int, Field(ge=0)]
    broker_network_gbit: Positive
    broker_storage_tb: Positive


class UserAssumptions(_Part):
    """Who uploads."""

    uploads_per_day: Positive
    feature_days: Positive
    new_share: Annotated[float, Field(ge=0, le=1)]


class CacheAssumptions(_Part):
    """What Redis holds."""

    unique_share: Share
    remembered_share: Share
    """Of those, whose scores are kept: what the heavy tier looked at, or 1 (`redis.remember`)."""
    keep_days: Positive
    row_bytes: Positive
    user_row_bytes: Positive


class Prices(_Part):
    """USD."""

    vcpu_hour: Annotated[float, Field(ge=0)]
    memory_gib_hour: Annotated[float, Field(ge=0)]
    storage_gb_month: Annotated[float, Field(ge=0)]
    cross_zone_gb: Annotated[float, Field(ge=0)]
    cross_zone_share: Annotated[float, Field(ge=0, le=1)]


class Assumptions(_Part):
    """`conf/bench/capacity.yaml`."""

    version: int
    utilisation: Share
    spare_taskmanagers: Annotated[int, Field(ge=0)]
    machine: MachineKind
    taskmanager_overhead_gib: Positive
    heap_state_limit_gib: Positive
    kafka: KafkaAssumptions
    users: UserAssumptions
    cache: CacheAssumptions
    prices: Prices


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What the model takes from a run of the benchmark."""

    measured_on: str
    taskmanager_uploads_per_s: float
    """One operator, out of a backlog."""
    job_cpu_us: float
    """CPU time of the job's processes an upload, microseconds."""
    broker_cpu_us: float
    redis_cpu_us: float
    upload_log_bytes: float
    """Bytes of one upload in the broker's log, and of everything that Sluice writes about it."""
    output_log_bytes: float
    checkpoint_bytes_per_user: float
    heap_bytes_per_user: float
    redis_bytes_per_row: float


def read_figures(path: Path) -> Figures:
    """Take the figures out of a benchmark's JSON.

    Raises:
        ConfigError: where the file is missing or lacks a case that is needed.
    """
    try:
        result = msgspec.json.decode(path.read_bytes())
        cases, machine = result["cases"], result["machine"]
        drained, rows = cases["drained"], cases["state"]["hashmap"]["rows"]
        cpu, per_upload = drained["cpu_per_1000"], drained["per_upload"]
        logs: dict[str, float] = dict(per_upload["log_bytes"])
        upload = logs.pop("content.text")
        last = rows[-1]
        return Figures(
            measured_on=f"{machine['processors']} x {machine['processor']}, {machine['date']}",
            taskmanager_uploads_per_s=drained["uploads_per_s"],
            job_cpu_us=round((cpu["job"] + cpu["job launcher"]) * 1000, 2),
            broker_cpu_us=round(cpu["broker"] * 1000, 2),
            redis_cpu_us=round(cpu["redis"] * 1000, 2),
            upload_log_bytes=upload,
            output_log_bytes=round(sum(logs.values()), 1),
            checkpoint_bytes_per_user=last["checkpoint_bytes_per_user"],
            heap_bytes_per_user=last["heap_bytes_per_user"] or last["checkpoint_bytes_per_user"],
            redis_bytes_per_row=per_upload["redis_bytes_per_key"] or 0.0,
        )
    except OSError:
        raise ConfigError("not there; make it with scripts/bench --out", file=str(path)) from None
    except (msgspec.DecodeError, KeyError, IndexError, TypeError) as error:
        raise ConfigError(
            f"is no complete result of scripts/bench (cases drained and state): {error!r}",
            file=str(path),
        ) from None
