"""The capacity model: its formulas, and the command around them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError
from schemas.settings import CONF, ROOT
from schemas.yaml_source import YamlSource
from scripts.cli.capacity_inputs import Assumptions, Figures, read_figures
from scripts.cli.capacity_model import Plan, plan
from tests.bench_result import result

ASSUMED = YamlSource.read(CONF / "bench" / "capacity.yaml").validate(Assumptions)


@pytest.fixture
def measured_file(tmp_path: Path) -> Path:
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(result()))
    return path


def measured(**changes: Any) -> Figures:
    figures = Figures(
        measured_on="a test",
        taskmanager_uploads_per_s=5_000.0,
        job_cpu_us=200.0,
        broker_cpu_us=50.0,
        redis_cpu_us=10.0,
        upload_log_bytes=400.0,
        output_log_bytes=1_600.0,
        checkpoint_bytes_per_user=150.0,
        heap_bytes_per_user=400.0,
        redis_bytes_per_row=350.0,
    )
    return msgspec.structs.replace(figures, **changes)


def planned(per_day: int = 1_000_000_000, peak: int = 35_000, **changes: Any) -> Plan:
    return plan(per_day, peak, measured(**changes), ASSUMED)


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.cli.capacity", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_a_billion_a_day_by_hand() -> None:
    found = planned()
    # 35,000 / (5,000 x 0.6) = 11.67
    assert found.value("taskmanagers") == 12 + 1
    assert found.value("partitions") == 26
    assert found.value("job_vcpus") == pytest.approx(35_000 * 200e-6 / 0.6)
    assert found.value("kafka_storage_tb") == pytest.approx(1e9 * 2_000 * 7 * 3 / 1e12)
    users = 1e9 / 5 * 1.02 * 26 / 24
    assert found.value("state_users") == pytest.approx(users)
    assert found.value("checkpoint_gib") == pytest.approx(users * (150 + 4 * 32) / 1024**3)
    assert found.value("redis_cache_gib") == pytest.approx(1e9 * 0.7 * 0.2 * 350 / 1024**3)


def test_a_small_load_needs_the_least_that_is_safe() -> None:
    found = planned(per_day=100_000, peak=10)
    assert found.value("taskmanagers") == 2
    assert found.value("partitions") == 4
    assert found.value("brokers") == 3
    assert found.value("job_machines") == 1


def test_state_that_does_not_fit_the_heap_goes_to_rocksdb() -> None:
    assert "rocksdb" in " ".join(line.name for line in planned().lines)
    assert any("rocksdb" in note for note in planned().notes)
    small = planned(per_day=10_000_000, peak=5_000)
    assert "hashmap" in " ".join(line.name for line in small.lines)


@given(
    per_day=st.integers(1_000_000, 2_000_000_000),
    factor=st.floats(1.5, 8),
    cost=st.floats(50, 400),
)
def test_more_load_never_needs_less(per_day: int, factor: float, cost: float) -> None:
    peak = math.ceil(per_day / 86_400 * 3)
    one = plan(per_day, peak, measured(job_cpu_us=cost), ASSUMED)
    more = plan(
        round(per_day * factor), math.ceil(peak * factor), measured(job_cpu_us=cost), ASSUMED
    )
    for key in ("taskmanagers", "partitions", "kafka_storage_tb", "machines", "redis_cache_gib"):
        assert more.value(key) >= one.value(key), key


def test_a_slower_job_needs_more_taskmanagers() -> None:
    assert planned(taskmanager_uploads_per_s=2_000.0).value("taskmanagers") == 30 + 1


def test_every_line_shows_its_numbers() -> None:
    for line in planned().lines:
        assert line.formula
        assert math.isfinite(line.value)
        assert line.value > 0


def test_figures_come_from_the_benchmark(measured_file: Path) -> None:
    figures = read_figures(measured_file)
    assert figures.taskmanager_uploads_per_s == 5_500.0
    assert figures.job_cpu_us == pytest.approx(202.0)
    assert figures.upload_log_bytes == 400.0
    assert figures.output_log_bytes == 1_700.0
    assert figures.heap_bytes_per_user == 400.0


def test_an_incomplete_benchmark_is_refused(tmp_path: Path) -> None:
    found = result()
    del found["cases"]["state"]
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(found))
    with pytest.raises(ConfigError, match=r"bench\.json: is no complete result"):
        read_figures(path)
    with pytest.raises(ConfigError, match=r"none\.json: not there"):
        read_figures(tmp_path / "none.json")


def test_the_command_prints_json(measured_file: Path) -> None:
    done = run("--per-day", "1000000000", "--peak", "35000", "--figures", measured_file, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["peak"] == 35_000
    assert document["plan"]["taskmanagers"]["value"] == math.ceil(35_000 / (5_500 * 0.6)) + 1
    assert document["assumed"]["utilisation"] == 0.6


def test_the_command_prints_formulas(measured_file: Path) -> None:
    done = run("--per-day", "100000000", "--figures", measured_file)
    assert done.returncode == 0, done.stderr
    # Three times the mean, where no peak is given.
    assert "3,472 a second" in done.stdout
    assert "3,472 / (5,500 x 0.6)" in " ".join(done.stdout.split())


def test_a_peak_below_the_mean_is_refused(measured_file: Path) -> None:
    done = run("--per-day", "86400000", "--peak", "999", "--figures", measured_file)
    assert done.returncode == 1
    assert "the peak cannot be 999" in done.stderr
