"""Priority, deadlines and picks of the review queue."""

from __future__ import annotations

import datetime as dt
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy_kit import NOW, policy
from udfs.review import LabelPicker, Sampler, due_at, priority

REVIEW = policy().document.review
LABELLING = policy().document.labelling
WEIGHTS = REVIEW.priority


@pytest.mark.parametrize(
    ("reported", "p", "reputation", "engagement", "hours", "expected"),
    [
        (False, 0.5, 100, 0, 0, 50),
        (False, 1.0, 100, 0, 0, 0),
        (True, 1.0, 100, 0, 0, 100),
        (False, 0.0, 0, 0, 0, 30),
        (False, 1.0, 100, 999_999, 0, 20),
        (False, 1.0, 100, 0, 12, 15),
        (False, 1.0, 100, 0, 500, 30),
        (True, 0.75, 50, 999, 24, 100 + 25 + 15 + 10 + 30),
    ],
)
def test_the_published_formula(
    *,
    reported: bool,
    p: float,
    reputation: float,
    engagement: int,
    hours: float,
    expected: float,
) -> None:
    found = priority(
        WEIGHTS,
        reported=reported,
        probability=p,
        reputation=reputation,
        engagement=engagement,
        hours_waiting=hours,
    )
    assert found == pytest.approx(expected)


@given(
    st.booleans(),
    st.floats(0, 1),
    st.floats(0, 100),
    st.integers(0, 10**9),
    st.floats(0, 1000),
)
def test_priority_grows_with_what_makes_an_item_urgent(
    reported: bool, p: float, reputation: float, engagement: int, hours: float
) -> None:
    def at(
        *,
        reported: bool = reported,
        p: float = p,
        reputation: float = reputation,
        engagement: int = engagement,
        hours: float = hours,
        degraded: bool = False,
    ) -> float:
        return priority(
            WEIGHTS,
            reported=reported,
            probability=p,
            reputation=reputation,
            engagement=engagement,
            hours_waiting=hours,
            degraded=degraded,
        )

    assert 0 <= at() <= 100 + 50 + 30 + 30 + 30
    assert at(p=0.5) >= at()
    assert at(reputation=0) >= at()
    assert at(engagement=2 * engagement) >= at()
    assert at(hours=hours + 1) >= at()
    assert at(reported=True) >= at()
    assert at(degraded=True) == pytest.approx(at() + 100)


@pytest.mark.parametrize(("tier", "minutes"), [(0, 15), (1, 60), (2, 240), (3, 1440)])
def test_deadlines_by_tier(tier: int, minutes: int) -> None:
    assert due_at(REVIEW.tiers, tier, NOW) == NOW + dt.timedelta(minutes=minutes)


@given(st.floats(0, 1), st.text(max_size=20))
def test_a_sampler_is_a_function_of_the_id(rate: float, content_id: str) -> None:
    assert Sampler(rate, "a").picks(content_id) == Sampler(rate, "a").picks(content_id)
    assert not Sampler(0.0, "a").picks(content_id)
    assert Sampler(1.0, "a").picks(content_id)
    if Sampler(rate, "a").picks(content_id):
        assert Sampler(min(1.0, rate * 1.5), "a").picks(content_id)


@pytest.mark.parametrize("rate", [0.01, 0.25, 0.9])
def test_samplers_take_their_share_of_consecutive_ids(rate: float) -> None:
    n = 20_000
    picked = sum(Sampler(rate, "s").picks(f"content-{i}") for i in range(n))
    assert abs(picked - rate * n) < 5 * math.sqrt(n * rate * (1 - rate))


def test_salts_pick_independently() -> None:
    one, two = Sampler(0.5, "one"), Sampler(0.5, "two")
    both = sum(one.picks(f"c{i}") and two.picks(f"c{i}") for i in range(8000))
    assert abs(both - 2000) < 200


def test_ids_that_are_no_unicode_can_be_picked() -> None:
    assert Sampler(1.0, "s").picks("\ud800")


@pytest.mark.parametrize(
    ("p", "band"),
    [
        (0.5, "uncertain"),
        (0.45, "uncertain"),
        (0.55, "uncertain"),
        (0.2, "near_approval"),
        (0.8, "near_rejection"),
    ],
)
def test_labels_are_picked_in_the_bands(p: float, band: str) -> None:
    picker = LabelPicker(LABELLING)
    picks = [picker.pick(f"c{i}", p) for i in range(2000)]
    assert set(picks) == {"", band}
    share = sum(pick == band for pick in picks) / len(picks)
    rate = next(b.rate for b in LABELLING.bands if b.name == band)
    assert abs(share - rate) < 0.06


@pytest.mark.parametrize("p", [0.0, 0.17, 0.23, 0.44, 0.56, 0.77, 0.83, 1.0, math.nan])
def test_labels_are_not_picked_outside_the_bands(p: float) -> None:
    picker = LabelPicker(LABELLING)
    assert {picker.pick(f"c{i}", p) for i in range(200)} == {""}


def test_disagreement_is_picked_whatever_the_score() -> None:
    picker = LabelPicker(LABELLING)
    picks = [picker.pick(f"c{i}", 0.99, disagreement=0.5) for i in range(400)]
    assert 120 < picks.count("disagreement") < 280
    assert picker.pick("c1", 0.99, disagreement=0.4) == ""
