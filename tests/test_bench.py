"""The benchmark's parts: what it sends, how it counts, what it says. No timing is asserted."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.compose import compose_cascade
from operators.metrics import CATALOGUE
from schemas.control import ControlMessage
from schemas.dead_letter import DeadLetter
from schemas.errors import ConfigError, InvalidUploadError
from schemas.settings import ROOT, Settings, load_settings
from schemas.upload import decode_upload
from scripts.cli.bench import tier_loop
from scripts.cli.bench.cases.kill import BROKEN, account
from scripts.cli.bench.cases.rules_only import HITS, PROFILE, RULES, plain_patterns
from scripts.cli.bench.cpu import CpuTimes, children, cpu_between, cpu_times, thread_kind
from scripts.cli.bench.footprint import Footprint, growth, log_bytes
from scripts.cli.bench.job import parse_counts
from scripts.cli.bench.loop import BareLoop, LoopOrder, measure
from scripts.cli.bench.send import Order, pieces
from scripts.cli.bench.topics import (
    Pairs,
    Taken,
    by_second,
    latency_figures,
    pair,
    rate_between,
)
from scripts.cli.bench.uploads import Made, UploadMaker, read_load
from tests import deep_kit
from udfs.rules import RuleSet

BEGAN = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


def made(count: int = 2_000, *, seed: int = 1, rate: float = 1_000.0, **load: Any) -> list[Made]:
    maker = UploadMaker(read_load(**load), seed=seed, prefix=f"s{seed}")
    return list(maker.make(count, begin=BEGAN, rate=rate))


def rules_only() -> Settings:
    return load_settings(str(ROOT / PROFILE))


# --- uploads ------------------------------------------------------------------------------


def test_uploads_are_valid_and_no_text_comes_twice() -> None:
    uploads = [decode_upload(upload.value) for upload in made(5_000)]
    assert len({upload.text for upload in uploads}) == len(uploads)
    assert len({upload.content_id for upload in uploads}) == len(uploads)


def test_two_seeds_share_no_text() -> None:
    texts = [{decode_upload(u.value).text for u in made(3_000, seed=seed)} for seed in (1, 2)]
    assert not texts[0] & texts[1]


def test_the_same_seed_makes_the_same_uploads() -> None:
    assert made(200, seed=5) == made(200, seed=5)


def test_generated_texts_have_the_length_that_was_asked_for() -> None:
    lengths = [len(decode_upload(u.value).text or "") for u in made(500, samples=0.0)]
    assert max(lengths) <= 120
    assert np.mean(lengths) > 105


def test_times_follow_the_rate() -> None:
    uploads = [decode_upload(upload.value) for upload in made(3_000, rate=1_000.0)]
    assert uploads[0].created_at == BEGAN
    assert uploads[-1].created_at - BEGAN == dt.timedelta(milliseconds=2_999)


def test_the_key_is_the_user() -> None:
    for upload in made(300, users=7):
        assert decode_upload(upload.value).user_id.encode() == upload.key
    assert len({upload.key for upload in made(300, users=7)}) == 7


def test_repeats_are_as_frequent_as_asked() -> None:
    texts = Counter(decode_upload(u.value).text for u in made(5_000, samples=0.0, repeats=0.3))
    assert 0.25 < 1 - len(texts) / 5_000 < 0.35


def test_every_rule_of_the_comparison_is_hit_by_its_text() -> None:
    rules = RuleSet.load(RULES)
    assert (len(rules.document.rules), len(HITS)) == (15, 15)
    cascade = compose_cascade(rules_only())
    maker = UploadMaker(read_load(samples=0.0, rule_hits=1.0), seed=3, prefix="hit", hits=HITS)
    items = [cascade.prepare(u.value, 0) for u in maker.make(600, begin=BEGAN, rate=1_000)]
    matched = {match.rule_id for found in rules.match(items, 0.0) for match in found}
    assert matched == {rule.id for rule in rules.document.rules}
    outcomes = cascade.moderate(items, 0.0)
    assert all(outcome.decision.stage == "rules" for outcome in outcomes)
    assert len(plain_patterns()) == 15


def test_broken_records_stand_between_the_uploads() -> None:
    order = Order(bootstrap="", topic="t", count=500, broken=list(BROKEN), broken_every=50)
    records = [record for piece in pieces(order) for record in piece]
    assert sum(record.key is None for record in records) == 10
    assert sum(record.key is not None for record in records) == 500
    for value in BROKEN:
        with pytest.raises(InvalidUploadError):
            decode_upload(value.encode())


def test_filling_gives_each_user_one_upload() -> None:
    order = Order(bootstrap="", topic="t", count=300, seed=100, each_user_once=True)
    records = [record for piece in pieces(order) for record in piece]
    assert [record.key for record in records] == [f"user-{n}".encode() for n in range(100, 400)]
    assert all(decode_upload(record.value).text for record in records)


# --- the bare loop ------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_the_bare_loop_decides_every_upload(batch: int) -> None:
    loop = BareLoop(rules_only())
    records = loop.run(made(200, users=20), batch)
    decisions = loop.metrics.value("decisions", action="allow", stage="policy")
    assert records >= 200
    assert 150 < decisions <= 200
    assert loop.metrics.value("uploads", content_type="text") == 200


def test_the_bare_loop_reports_every_stage() -> None:
    found = measure(
        LoopOrder(profile=str(ROOT / PROFILE), redis_url="", count=400, patterns=plain_patterns())
    )
    assert {"decode", "normalise", "velocity", "rules", "decide", "encode"} <= set(found.stages_us)
    assert all(us >= 0 for us in found.stages_us.values())
    assert found.cpu_us > 0
    assert found.patterns_us
    assert sum(found.actions.values()) >= 400


def test_without_a_model_none_can_be_pushed() -> None:
    live = compose_cascade(rules_only())
    stages = [stage.name for stage in live.cascade.stages]
    assert stages == ["lookup", "bank", "rules", "media_bank"]
    assert set(live.cascade.applied.model_versions) == {"fusion"}
    pointer = ControlMessage(kind="model", name="fast_text", text="folder: x", published_at=BEGAN)
    with pytest.raises(ConfigError, match="started without a model"):
        live.apply(pointer)


# --- counting -----------------------------------------------------------------------------


def taken(key: str, value: bytes, at_ms: int, offset: int = 0) -> Taken:
    return Taken(0, offset, at_ms, key.encode(), value)


def upload(content_id: str, at_ms: int, offset: int = 0, user: str = "u") -> Taken:
    return taken(user, json.dumps({"content_id": content_id}).encode(), at_ms, offset)


def decision(content_id: str, at_ms: int = 0, **fields: Any) -> Taken:
    body = {"action": "allow", "latency_ms": 1.0, "features": {"uploads_1d": 1.0}} | fields
    return taken(content_id, json.dumps(body).encode(), at_ms)


def test_an_upload_is_paired_with_its_first_decision() -> None:
    pairs = pair(
        [upload("b", 20), upload("a", 10), upload("lost", 30)],
        [decision("a", 15), decision("b", 29), decision("a", 400), decision("other", 1)],
    )
    assert pairs.taken_ms.tolist() == [10, 20]
    assert pairs.latency_ms.tolist() == [5, 9]
    assert pairs.undecided == 1


def test_nothing_can_be_paired() -> None:
    pairs = pair([], [decision("a", 15)])
    assert (len(pairs.taken_ms), pairs.undecided) == (0, 0)
    assert by_second(pairs) == []


def test_percentiles_are_nearest_rank() -> None:
    figures = latency_figures(list(range(1000, 0, -1)))
    assert (figures["p50_ms"], figures["p99_ms"]) == (500, 990)
    assert (figures["p999_ms"], figures["max_ms"], figures["count"]) == (999, 1000, 1000)
    assert latency_figures([]) == {"count": 0}


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=300))
def test_percentiles_are_values_in_order(values: list[int]) -> None:
    figures = latency_figures(values)
    ordered = [figures[name] for name in ("p50_ms", "p99_ms", "p999_ms", "max_ms")]
    assert ordered == sorted(ordered)
    assert set(ordered) <= set(map(float, values))
    assert sum(v <= figures["p99_ms"] for v in values) >= 0.99 * len(values)


def test_a_rate_counts_what_came_after_the_moment() -> None:
    rate, count = rate_between([500, 1_000, 1_500, 2_000, 3_000], 1_000)
    assert (rate, count) == (1.5, 3)
    assert rate_between([], 5) == (0.0, 0)


def test_latency_second_by_second() -> None:
    pairs = Pairs(np.array([0, 900, 1_100]), np.array([5, 7, 50]), 0)
    assert [row["second"] for row in by_second(pairs)] == [0, 1]
    assert by_second(pairs)[1]["p99_ms"] == 50


def test_threads_are_told_apart_by_their_names() -> None:
    names = {
        "moderate -> Dat": "operator",
        "C2 CompilerThre": "jit",
        "G1 Young RemSet": "gc",
        "kafka-producer-": "sink client",
        "Source: KafkaSo": "source",
        "flink-pekko.act": "other",
    }
    assert {name: thread_kind(name) for name in names} == names


def test_cpu_between_two_moments() -> None:
    before = CpuTimes(0.0, {"broker": 1.0}, {7: ("operator", 2.0)}, 100.0)
    after = CpuTimes(1.0, {"broker": 1.5}, {7: ("operator", 2.75), 8: ("gc", 0.25)}, 102.0)
    spent = cpu_between(before, after)
    assert (spent["broker"], spent["job: operator"], spent["job: gc"]) == (0.5, 0.75, 0.25)
    # The rest of the machine: two processors' time less ours.
    assert spent["others"] == 1.5


def test_this_process_uses_the_processor() -> None:
    pid = {"me": os.getpid()}
    before = cpu_times(pid, pid["me"])
    total = 0
    while cpu_times(pid).processes["me"] < before.processes["me"] + 0.05:
        total += sum(range(10_000))
    spent = cpu_between(before, cpu_times(pid, pid["me"]))
    assert spent["me"] > 0.04
    assert spent["job: other"] > 0.03


def test_child_processes_are_found() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in children(os.getpid())
        child.kill()


EXPOSITION = """
# TYPE flink_taskmanager_job_task_operator_sluice_batches counter
flink_taskmanager_job_task_operator_sluice_batches{job_id="a",subtask_index="0",} 7.0
flink_taskmanager_job_task_operator_sluice_batches{job_id="a",subtask_index="1",} 3.0
flink_taskmanager_job_task_operator_sluice_stage_stage_time_us_sum{stage="rules",host="",} 50.0
flink_taskmanager_job_task_operator_sluice_stage_le_stage_time_us_bucket{stage="rules",le="5",} 9
flink_taskmanager_job_task_operator_sluice_action_stage_decisions{action="allow",stage="x",} 4.0
flink_taskmanager_job_task_operator_numRecordsOut{job_id="a",} 99.0
"""


def test_counters_are_read_from_the_reporter() -> None:
    assert parse_counts(EXPOSITION) == {
        "batches": 10.0,
        "stage_time_us_sum[rules]": 50.0,
        "decisions[allow]": 4.0,
    }
    assert {"batches", "stage_time_us", "decisions"} <= {metric.name for metric in CATALOGUE}


def test_log_segments_are_summed_by_topic(tmp_path: Path) -> None:
    for name, size in (("b1.content.text-0", 10), ("b1.content.text-1", 5), ("b2.audit-0", 99)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0000.log").write_bytes(b"x" * size)
    assert log_bytes(tmp_path, "b1") == {"content.text": 15}


def test_growth_is_per_upload() -> None:
    before, after = Footprint({"a": 100}, 1_000, 0), Footprint({"a": 300, "b": 50}, 4_500, 10)
    assert growth(before, after, 10) == {
        "log_bytes": {"a": 20.0, "b": 5.0},
        "redis_keys": 1.0,
        "redis_bytes_per_key": 350.0,
    }


# --- accounting after a kill --------------------------------------------------------------


def letter(offset: int) -> Taken:
    body = DeadLetter(
        raw=b"{", topic="t", partition=0, offset=offset, timestamp=0,
        error_kind="not_json", field="$", message="",
    )  # fmt: skip
    return taken("", msgspec.json.encode(body), 0)


def broken(offset: int) -> Taken:
    return Taken(0, offset, 0, b"", b"{")


def test_a_run_in_which_all_is_well() -> None:
    uploads = [upload("a", 0, 0, "u"), upload("b", 0, 1, "u"), broken(2)]
    decisions = [
        decision("a", features={"uploads_1d": 1.0}),
        decision("b", features={"uploads_1d": 2.0}),
        # After the restart once more; what tells about the run may differ.
        decision("b", features={"uploads_1d": 2.0}, latency_ms=99.0),
    ]
    assert account(uploads, decisions, [letter(2), letter(2)]) == {
        "uploads": 2, "broken": 1, "lost": 0, "contradicting": 0, "repeated": 1,
        "dropped": 0, "surplus": 0, "miscounted": 0,
    }  # fmt: skip


def test_everything_that_can_go_wrong_is_counted() -> None:
    uploads = [upload("a", 0, 0, "u"), upload("b", 0, 1, "u"), broken(2), broken(3)]
    decisions = [decision("a"), decision("a", action="remove")]
    found = account(uploads, decisions, [letter(2), letter(1)])
    assert found["lost"] == 1
    assert found["contradicting"] == 1
    assert found["dropped"] == 1
    assert found["surplus"] == 1
    assert found["miscounted"] == 1


def test_tiers_are_measured_one_by_one_and_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_CASCADE__DEEP_TEXT", str(deep_kit.write_package(tmp_path)))
    monkeypatch.setenv("SLUICE_DEEP__LOW", "0")
    monkeypatch.setenv("SLUICE_DEEP__HIGH", "1")
    found = tier_loop.measure(tier_loop.TierOrder(texts=80, deep_texts=10))
    assert found.source == "load generator"
    # All but what rules settle: the band is everything.
    assert 0.5 < found.deep_share <= 1
    assert found.cascade_us > found.cascade_fast_us > found.fast_us > 0
    assert set(found.deep_by_tokens_ms) == {"16", "32", "64", "128"}
