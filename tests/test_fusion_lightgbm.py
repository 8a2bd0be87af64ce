"""The fusion by boosted trees: what every fusion keeps to, its constraints, and its training."""

from __future__ import annotations

import datetime as dt
import math
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.categories import TEXT_CATEGORIES
from schemas.errors import ConfigError
from schemas.features import ThreadContext, UserFeatures, Velocity, Window
from schemas.settings import CONF
from schemas.upload import Account
from scripts.cli.fusion_training import grow
from tests.fusion_kit import contexts, probability, users
from tests.policy_kit import CLEAN, NOW, rule, scored, signals, velocity
from tests.policy_kit import fusion as linear
from udfs.contracts import Fusion, Signals
from udfs.fusion_lightgbm import (
    FALLING,
    FEATURES,
    FOREST,
    HISTORY_FROM,
    RISING,
    UPLOAD_FEATURES,
    FusionManifest,
    LightGbmFusion,
    columns_of,
    rows_of,
)
from udfs.model_package import MANIFEST, entry_of

PACKAGE = CONF / "models/fusion"
every_score = st.fixed_dictionaries(dict.fromkeys(TEXT_CATEGORIES, probability))
some_scores = st.dictionaries(st.sampled_from(TEXT_CATEGORIES), probability)
rules = st.lists(
    st.builds(rule, st.sampled_from([*TEXT_CATEGORIES, "csam"]), weight=probability), max_size=4
)


@st.composite
def velocities(draw: st.DrawFn) -> Velocity:
    """Windows that hold each other."""
    count, repeats, communities = 1, 0, 1
    windows = []
    for width in (10.0, 60.0, 3600.0, 86400.0):
        added = draw(st.integers(0, 40))
        count += added
        repeats += draw(st.integers(0, added))
        communities = draw(st.integers(communities, count))
        windows.append(Window(count, count - repeats, communities, width / count))
    return Velocity(windows=(windows[0], windows[1], windows[2], windows[3]))


accounts = st.builds(
    Account,
    created_at=st.none() | st.integers(0, 5_000).map(lambda days: NOW - dt.timedelta(days=days)),
    verified=st.booleans(),
)
everything = st.builds(
    lambda account, **fields: signals(on={"account": account}, **fields),
    accounts,
    scores=every_score | some_scores,
    rules=rules,
    evasion=probability,
    velocity=velocities(),
    user=users,
    context=contexts,
)


@cache
def shipped() -> LightGbmFusion:
    return LightGbmFusion.load(PACKAGE, linear())


def fused(**fields: Any) -> dict[str, float]:
    return shipped().fuse([signals(**fields)])[0]


# What every fusion keeps to


def test_it_is_a_fusion_and_names_all_that_decides() -> None:
    joined: Fusion = shipped()
    version = shipped().manifest.version
    assert joined.version == f"lightgbm-{version}+{linear().version}"
    assert re.fullmatch(r"[0-9a-f]{12}", version)


@given(st.lists(everything, max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_batch_is_its_uploads_one_by_one(batch: list[Signals]) -> None:
    together = shipped().fuse(batch)
    assert together == [shipped().fuse([one])[0] for one in batch]
    assert together == shipped().fuse(batch)
    for one, found in zip(batch, together, strict=True):
        assert one.scores.keys() <= found.keys()
        assert all(0 <= p <= 1 for p in found.values())
        assert all(type(p) is float for p in found.values())


def test_the_signals_are_left_as_they_were() -> None:
    given_ = dict(CLEAN)
    found = shipped().fuse([signals(scores=given_)])[0]
    found["spam"] = 0.5
    assert given_ == CLEAN


def test_nan_stays_nan_and_spoils_nothing_else() -> None:
    found = fused(scores=scored(spam=math.nan))
    assert math.isnan(found["spam"])
    assert not any(math.isnan(found[name]) for name in TEXT_CATEGORIES if name != "spam")


@pytest.mark.parametrize("p", [0.0, 1.0, 1e-15, 0.9999999])
def test_extreme_scores_stay_probabilities(p: float) -> None:
    assert 0 <= fused(scores=scored(spam=p), rules=(rule("spam", weight=1.0),))["spam"] <= 1


@given(everything)
@settings(max_examples=60, deadline=None)
def test_what_no_model_scored_is_the_linear_fusions(one: Signals) -> None:
    found, other = shipped().fuse([one])[0], linear().fuse([one])[0]
    modelled = one.scores.keys()
    assert {n: p for n, p in found.items() if n not in modelled} == {
        n: p for n, p in other.items() if n not in modelled
    }


def test_without_scores_rules_and_floods_still_speak() -> None:
    assert fused(scores={}, rules=(rule("csam"),)).keys() == {"csam"}
    assert fused(rules=(rule("csam"),)).keys() == {*TEXT_CATEGORIES, "csam"}
    assert fused(scores={}, velocity=velocity((12, 1)))["spam"] > 0.2


# Constraints


@given(everything, st.data())
@settings(max_examples=150, deadline=None)
def test_more_evidence_never_lowers_a_probability(before: Signals, data: st.DataObject) -> None:
    def raised(p: float | None) -> float | None:
        return None if p is None else data.draw(st.floats(p, 1))

    scores = {name: data.draw(st.floats(p, 1)) for name, p in before.scores.items()}
    user = before.user
    more = data.draw(st.integers(0, 30))
    after = signals(
        on={"account": before.upload.account},
        scores=scores,
        rules=[*before.rules, *data.draw(rules)],
        evasion=raised(before.evasion),
        velocity=Velocity(
            windows=tuple(  # type: ignore[arg-type]  # a generator's length is not typed
                Window(w.count + more, w.distinct_texts, w.distinct_communities, w.mean_gap_s)
                for w in before.velocity.windows
            )
        ),
        user=msgspec.structs.replace(
            user,
            reputation=data.draw(st.floats(0, user.reputation)),
            violations=user.violations + data.draw(st.integers(0, 3)),
            toxicity_rate=raised(user.toxicity_rate),
            report_rate=raised(user.report_rate),
        ),
        context=ThreadContext(
            parent_toxicity=raised(before.context.parent_toxicity),
            community_baseline=raised(before.context.community_baseline),
        ),
    )
    low, high = shipped().fuse([before, after])
    for category in before.scores:
        assert high[category] >= low[category] - 1e-12


@given(everything, st.floats(0, 5_000))
@settings(max_examples=60, deadline=None)
def test_an_older_or_verified_account_never_raises_a_probability(
    before: Signals, days: float
) -> None:
    account = before.upload.account
    if account.created_at is not None:
        later = before.now_ms + int(days * 86_400_000)
        older = msgspec.structs.replace(before, now_ms=later)
        for low, high in zip(*(f.values() for f in shipped().fuse([older, before])), strict=True):
            assert low <= high + 1e-12 or math.isnan(low)
    sure = signals(
        on={"account": msgspec.structs.replace(account, verified=True)},
        **{f: getattr(before, f) for f in ("scores", "rules", "evasion", "velocity", "user",
                                            "context")},
    )  # fmt: skip
    for low, high in zip(*(f.values() for f in shipped().fuse([sure, before])), strict=True):
        assert low <= high + 1e-12


def test_every_constraint_is_on_a_column() -> None:
    assert set(FEATURES) > RISING | FALLING
    assert not RISING & FALLING
    assert shipped().manifest.rising == tuple(n for n in FEATURES if n in RISING)
    assert {"score", "highest_other_score", "strongest_rule", "rule_weight", "evasion"} <= RISING
    assert "reputation" in FALLING


def test_new_accounts_are_judged_by_content_and_speed() -> None:
    regular = UserFeatures(known=True, uploads=90, violations=9, toxicity_rate=1.0, reputation=1.0)
    new = msgspec.structs.replace(regular, uploads=HISTORY_FROM - 1)
    stranger = UserFeatures()
    assert fused(user=new) == fused(user=stranger)
    assert (
        fused(user=regular, scores=scored(toxicity=0.4))["toxicity"]
        > (fused(user=stranger, scores=scored(toxicity=0.4))["toxicity"])
    )


def test_behaviour_alone_condemns_no_harmless_text() -> None:
    worst = UserFeatures(
        known=True, uploads=90, reputation=0, violations=30, toxicity_rate=1.0, report_rate=1.0
    )
    hot = ThreadContext(parent_toxicity=1.0, community_baseline=1.0)
    found = fused(user=worst, context=hot, scores=dict.fromkeys(TEXT_CATEGORIES, 0.005))
    assert max(found.values()) < 0.5


# Columns and trees


def test_columns_hold_what_their_names_say() -> None:
    one = signals(
        on={"account": Account(created_at=NOW, verified=True)},
        scores=scored(spam=0.5),
        rules=(rule("spam", weight=0.4), rule("spam", weight=0.6), rule("csam")),
        evasion=0.3,
        velocity=velocity((7, 3), (20, 10, 2)),
        user=UserFeatures(known=True, uploads=9, reputation=60, violations=2),
    )
    table = columns_of([one])
    found = dict(zip(UPLOAD_FEATURES, table.uploads[0].tolist(), strict=True))
    assert found["evasion"] == 0.3
    assert (found["count_10s"], found["repeats_10s"]) == (7, 4)
    assert (found["count_1h"], found["repeats_1h"], found["communities_1h"]) == (20, 10, 2)
    assert (found["reputation"], found["violations"], found["verified"]) == (60, 2, 1)
    assert found["account_age_days"] == pytest.approx(0, abs=1)
    assert math.isnan(found["parent_toxicity"])
    assert table.whole == [False]
    place = TEXT_CATEGORIES.index("spam")
    assert table.strongest[0, place] == 0.6
    assert table.total[0, place] == pytest.approx(1.0)
    row = dict(zip(FEATURES, rows_of(table)[place].tolist(), strict=True))
    assert row["score"] == pytest.approx(0)
    assert row["highest_other_score"] == pytest.approx(math.log(0.01 / 0.99))
    assert [row[f"is_{name}"] for name in TEXT_CATEGORIES] == [
        float(name == "spam") for name in TEXT_CATEGORIES
    ]


def naive(fusion: LightGbmFusion, row: Any) -> float:
    """A walk over the trees as one would write it down."""
    arrays = fusion.forest
    odds = row[0]
    for tree in range(len(arrays["value"])):
        node, nodes = 0, arrays["feature"].shape[1]
        while node < nodes:
            x = row[arrays["feature"][tree, node]]
            right = arrays["missing_right"][tree, node] if math.isnan(x) else (
                x > arrays["threshold"][tree, node]
            )  # fmt: skip
            node = 2 * node + (2 if right else 1)
        odds += arrays["value"][tree, node - nodes]
    return float(1 / (1 + math.exp(-odds)))


@given(everything)
@settings(max_examples=40, deadline=None)
def test_the_compiled_walk_is_the_naive_one(one: Signals) -> None:
    found = shipped().probabilities([one])[0]
    for place, row in enumerate(rows_of(columns_of([one]))):
        expected = math.nan if math.isnan(row[0]) else naive(shipped(), row)
        assert found[place] == pytest.approx(expected, abs=1e-12, nan_ok=True)


# Packages


def changed(folder: Path, **arrays: Any) -> Path:
    """A copy of the shipped package with other arrays, its manifest made to fit."""
    shutil.copytree(PACKAGE, folder)
    forest = {**shipped().forest, **arrays}
    (folder / FOREST).write_bytes(grow.forest_bytes(forest))
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=FusionManifest)
    manifest = msgspec.structs.replace(manifest, files={FOREST: entry_of(folder / FOREST)})
    manifest = msgspec.structs.replace(manifest, version=manifest.content_hash())
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return folder


def test_what_is_written_is_what_is_loaded(tmp_path: Path) -> None:
    same = LightGbmFusion.load(changed(tmp_path / "same"), linear())
    assert same.version == shipped().version
    doubled = changed(tmp_path / "other", value=shipped().forest["value"] * 2)
    other = LightGbmFusion.load(doubled, linear())
    assert other.version != shipped().version
    assert other.fuse([signals()]) != shipped().fuse([signals()])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("feature", lambda a: a + np.uint8(len(FEATURES))),
        ("feature", lambda a: a.astype(np.int64)),
        ("feature", lambda a: a[:, :-1]),
        ("feature", lambda a: a[0]),
        ("threshold", lambda a: a[:-1]),
        ("missing_right", lambda a: a[:, :-1]),
        ("value", lambda a: a * np.nan),
        ("value", lambda a: a[:, :-1]),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name: str, change: Any, tmp_path: Path) -> None:
    wrong = changed(tmp_path / "wrong", **{name: change(shipped().forest[name])})
    with pytest.raises(ConfigError, match="do not fit"):
        LightGbmFusion.load(wrong, linear())


def test_a_changed_package_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "package"
    shutil.copytree(PACKAGE, folder)
    (folder / FOREST).write_bytes((folder / FOREST).read_bytes() + b"x")
    with pytest.raises(ConfigError, match="sha256"):
        LightGbmFusion.load(folder, linear())
    (folder / FOREST).unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        LightGbmFusion.load(folder, linear())
    text = (PACKAGE / MANIFEST).read_text("utf-8")
    (folder / MANIFEST).write_text(text.replace('"evasion"', '"disguise"'), "utf-8")
    with pytest.raises(ConfigError, match="other features"):
        LightGbmFusion.load(folder, linear())
    (folder / MANIFEST).write_text(text.replace(shipped().manifest.version, "0" * 12), "utf-8")
    with pytest.raises(ConfigError, match="edited"):
        LightGbmFusion.load(folder, linear())


def test_the_card_says_what_is_assumed() -> None:
    page = (PACKAGE / "MODEL_CARD.md").read_text("utf-8")
    assert shipped().manifest.version in page
    assert "simulated" in page
    assert "not the default" in page
