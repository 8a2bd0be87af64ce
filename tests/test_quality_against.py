"""Freshness, volume, drift and what is published: by hand and by law."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import msgspec
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError
from schemas.quality import QualityRecord
from schemas.settings import load_settings
from scripts.cli.quality import against, config, days, derive, publish
from scripts.cli.quality.against import Day, bounds, drift, freshness, stability, volume
from scripts.cli.quality.config import DriftCheck, FreshnessCheck, VolumeCheck
from scripts.cli.quality.days import OpenDayError, require_closed

TUESDAY = dt.date(2026, 3, 10)
WEEK = dt.timedelta(weeks=1)
COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 500), min_size=1)


def day(rows: int = 0, **more: Any) -> Day:
    own: dict[str, Any] = {"newest": None, "volumes": {}, "mixes": {}, "joins": {}, **more}
    return Day(TUESDAY, rows, **own)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        # Steady weeks: half of the median, either way.
        ([1000, 1000, 1000, 1000], (500, 1500)),
        ([1000], (500, 1500)),
        # Median 1000, distances 300, 0, 200, 700: MAD 250, and 3.5 * 1.4826 * 250 is 1297.3.
        ([700, 1000, 1200, 1700], (0, 2398)),
        # One wild week moves neither the median nor the MAD by much.
        ([1000, 1010, 990, 90_000], (502, 1508)),
    ],
)
def test_volume_is_held_to_robust_bounds(before: list[int], expected: tuple[int, int]) -> None:
    assert bounds(before, VolumeCheck()) == expected


def test_volume_looks_at_the_same_weekday_alone() -> None:
    volumes = {TUESDAY - WEEK: 100, TUESDAY - 2 * WEEK: 120, TUESDAY - dt.timedelta(days=1): 9000}
    check = volume(VolumeCheck(), day(170, volumes=volumes))
    assert not check.success
    assert check.expected.startswith("55 to 165 (median of 2 weeks")
    assert volume(VolumeCheck(), day(160, volumes=volumes)).success
    # A day without rows is no history.
    check = volume(VolumeCheck(least_weeks=2), day(5, volumes={TUESDAY - WEEK: 0}))
    assert (check.success, check.observed) == (True, "too little history: 0 weeks, 5 rows")
    with pytest.raises(ValueError, match="must not be above weeks"):
        VolumeCheck(weeks=2, least_weeks=3)


@pytest.mark.parametrize(("hours", "success"), [(0.5, True), (1.0, True), (1.1, False)])
def test_freshness_is_the_newest_rows_age_at_the_days_end(hours: float, success: bool) -> None:
    newest = dt.datetime(2026, 3, 11, tzinfo=dt.UTC) - dt.timedelta(hours=hours)
    check = freshness(FreshnessCheck(max_hours=1), day(newest=newest))
    assert (check.success, check.observed) == (success, hours)
    assert not freshness(FreshnessCheck(max_hours=1), day()).success


@given(COUNTS, COUNTS)
def test_the_index_is_a_symmetric_divergence(one: dict[str, int], other: dict[str, int]) -> None:
    value = stability(one, other)
    assert value >= 0
    assert math.isclose(value, stability(other, one), abs_tol=1e-12)
    assert stability(one, one) == 0


def test_the_index_of_a_textbook() -> None:
    # 0.4 and 0.6 to 0.6 and 0.4: 2 * 0.2 * ln 1.5.
    big = 10**9
    value = stability({"a": 4 * big, "b": 6 * big}, {"a": 6 * big, "b": 4 * big})
    assert value == pytest.approx(0.4 * math.log(1.5), rel=1e-6)


def test_drift_is_said_where_there_is_enough_to_say() -> None:
    config_of = DriftCheck(column="action", least=200)
    before = {TUESDAY - WEEK: {"action": {"allow": 900, "remove": 100}}}
    check = drift("action", config_of, day(mixes=before), {"allow": 300, "remove": 700})
    assert not check.success
    assert check.observed == pytest.approx(0.6 * math.log(7) + 0.6 * math.log(3), rel=0.02)
    check = drift("action", config_of, day(mixes=before), {"allow": 100, "remove": 99})
    assert (check.success, check.observed) == (
        True, "too little history: 199 rows, 1000 a week before",
    )  # fmt: skip
    other_day = {TUESDAY - dt.timedelta(days=1): before[TUESDAY - WEEK]}
    assert drift("action", config_of, day(mixes=other_day), {"remove": 700}).success
    # Many rare values of few rows move by chance; 40 of them are granted 39 (1/200 + 1/200).
    check = drift("x", config_of, day(mixes={TUESDAY - WEEK: {"action": {"a": 200}}}), {"a": 200})
    assert check.expected.startswith("index at most 0.25 ")
    wide = {str(number): 5 for number in range(40)}
    check = drift("x", config_of, day(mixes={TUESDAY - WEEK: {"action": wide}}), wide)
    assert check.expected.startswith("index at most 0.64 ")


def test_of_what_is_written_down_little_can_be_read() -> None:
    suite = config.load("decisions")
    long = "x" * 100
    values: list[str | None] = [*(f"{i:02}" for i in range(60)), long, long, None]
    frame = pd.DataFrame({"action": values})
    mix = against.mixes_of(suite, frame)["action"]
    assert len(mix) == against.MOST_VALUES + 1
    assert mix["x" * 32] == 2
    assert sum(mix.values()) == 62


def test_times_of_files_are_read_as_they_come() -> None:
    times: dict[str, list[str | None]] = {
        "timestamp": ["2026-03-10T10:00:00Z", "never", None],
        "said_at": [None, None, None],
    }
    frame = pd.DataFrame(times)
    newest = against.newest_of("feedback", frame)
    assert newest == dt.datetime(2026, 3, 10, 10, tzinfo=dt.UTC)
    assert against.newest_of("feedback", frame[1:]) is None


def test_a_day_closes_after_its_grace() -> None:
    end = dt.datetime(2026, 3, 11, tzinfo=dt.UTC)
    require_closed(TUESDAY, end + dt.timedelta(hours=3), 3)
    with pytest.raises(OpenDayError, match=r"2026-03-10 is open until 2026-03-11 03:00 UTC"):
        require_closed(TUESDAY, end + dt.timedelta(hours=2.9), 3)


def test_shipped_models_are_known(tmp_path: Any) -> None:
    known = days.known_models(str(tmp_path / "store"))
    assert {name for name, _ in known} >= {"fast_text", "fusion"}
    assert any(name == "fusion" and version.startswith("linear-") for name, version in known)


def test_a_suite_of_ones_own_does_not_pass_for_a_shipped_one(tmp_path: Any) -> None:
    path = tmp_path / "training.yaml"
    path.write_text("version: 1\nabout: x\nreader: training\ncolumns: {text: {}}\n")
    with pytest.raises(ConfigError, match="call it otherwise"):
        config.name_of(str(path))
    assert config.name_of(str(path.with_name("mine.yaml"))) == "mine"
    assert config.name_of(str(config.FOLDER / "training.yaml")) == "training"


def test_results_are_published_by_suite_and_day(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, bytes, bytes]] = []

    class Producer:
        def __init__(self, **options: Any) -> None:
            assert options["acks"] == "all"

        def send(self, topic: str, value: bytes, key: bytes) -> Producer:
            sent.append((topic, value, key))
            return self

        def flush(self) -> None: ...

        def get(self, timeout: float) -> None: ...

        def close(self, timeout: float) -> None: ...

    monkeypatch.setattr(publish, "KafkaProducer", Producer)
    record = QualityRecord(
        suite="decisions", day="2026-03-10", source="tables", closed=True, files=[], rows=1,
        checked=1, started_at=dt.datetime(2026, 3, 11, tzinfo=dt.UTC), passed=True, checks=[],
        mixes={},
    )  # fmt: skip
    publish.publish(load_settings("dev"), [record, msgspec.structs.replace(record, day="")])
    assert [key for _, _, key in sent] == [b"decisions/2026-03-10", b"decisions"]
    topic, value, _ = sent[0]
    assert topic == "moderation.quality"
    assert msgspec.json.decode(value, type=QualityRecord) == record


@pytest.mark.parametrize(
    ("change", "column", "expected"),
    [
        ({}, "is_confidence_wrong", 0),
        ({"confidence": 0.5}, "is_confidence_wrong", 0),
        ({"confidence": 0.6}, "is_confidence_wrong", 1),
        ({"confidence": 0.4}, "is_confidence_wrong", 1),
        ({"confidence": None}, "is_confidence_wrong", None),
        ({"degraded": ["language"]}, "is_degraded", 0),
        ({"degraded": ["language"]}, "is_unread", 1),
        ({"degraded": ["language", "redis"]}, "is_degraded", 1),
        ({"degraded": ["evidence"], "interim": True}, "is_without_evidence", 0),
        ({"degraded": ["evidence"]}, "is_without_evidence", 1),
        (
            {"model_versions": {"deep_text": "ab-int8", "fusion": "linear-1-cd"}},
            "is_model_known",
            1,
        ),
        ({"model_versions": {"deep_text": "xy-int8"}}, "is_model_known", 0),
        ({"model_versions": [("deep_text", "ab")]}, "is_model_known", 1),
        ({"model_versions": {}}, "is_model_known", None),
        ({"revision": 1}, "of_text_latency_ms", None),
        ({"content_type": "image"}, "of_text_latency_ms", None),
        ({}, "of_text_latency_ms", 7.5),
    ],
)
def test_what_is_derived_of_a_decision(change: dict[str, Any], column: str, expected: Any) -> None:
    row: dict[str, Any] = {
        "probability": 0.125, "confidence": 0.875, "degraded": [], "interim": False,
        "content_type": "text", "revision": 0, "latency_ms": 7.5, **change,
    }  # fmt: skip
    known = {("deep_text", "ab"), ("fusion", "linear-1")}
    assert derive.decisions([row], known)[column] == [expected]
