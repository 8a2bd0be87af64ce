"""Campaigns of pictures, and laws of all: order, duplicates, bounds, thresholds."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.campaign_state import Group, decode_group, encode_group
from operators.feedback_logic import Arrival
from schemas.campaign import Campaign
from schemas.evidence import FrameHash, Hashes, MediaEvidence, encode_evidence
from schemas.kept import StateError
from tests.campaign_kit import (
    EXACT,
    MINUTE,
    START,
    START_MS,
    TEXT,
    TOPICS,
    Job,
    config,
    crowd,
    newest,
    upload,
    varied,
)
from udfs.campaign_bank import GOOD_BANK, good_text
from udfs.media_banks import MediaBanks

NEW = config()

# --- pictures ------------------------------------------------------------------------------------

RNG = random.Random(9)  # noqa: S311 - test data
PICTURE = RNG.getrandbits(256)


def near_copy(number: int, bits: int = 4) -> str:
    flips = random.Random(number)  # noqa: S311 - test data
    value = PICTURE
    for place in flips.sample(range(256), bits):
        value ^= 1 << place
    return f"{value:064x}"


def pictures(count: int, *, first: int = 0) -> list[Arrival]:
    return [
        upload(n, "", content_type="image", media_uri="s3://b/x", minute=n / 100)
        for n in range(first, first + count)
    ]


def evidence(number: int, pdq: str, quality: int = 90, *, video: bool = False) -> Arrival:
    frames = [FrameHash(pdq=pdq, quality=quality, seconds=0.0)]
    found = MediaEvidence(
        evidence_id=f"e{number}",
        content_id=f"c{number}",
        user_id=f"u{number}",
        content_type="video" if video else "image",
        hashes=Hashes(frames=frames) if video else Hashes(pdq=[pdq], quality=quality),
        made_at=START,
    )
    return Arrival(encode_evidence(found), TOPICS.evidence, 0, number, START_MS + 5 * MINUTE)


@pytest.mark.parametrize("video", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_pictures_that_look_alike_are_a_campaign(video: bool, late: bool) -> None:
    found = [evidence(n, near_copy(n), video=video) for n in range(20)]
    uploads = pictures(20)
    job = Job(NEW).take([*uploads, *found] if late else [*found, *uploads])
    campaign = newest(job)
    assert (campaign.kind, campaign.hashes, campaign.sketch) == ("picture", [], "")
    assert len(job.kept.rows) == 1
    ((key, text),) = job.banks().items()
    assert key == f"media_bank/campaign_{campaign.campaign_id}"
    banks = MediaBanks.parse("version: 1\nbanks: []\n")
    banks.put({key: text})
    assert banks.banks[0].spec.observe_only
    assert bytes.fromhex(campaign.pdq) in {bytes.fromhex(near_copy(n)) for n in range(20)}
    # What a person dismisses is known by its look.
    job.publish("media_bank", f"{GOOD_BANK}.x", good_text(campaign, note="a meme", distance=24))
    assert newest(job).status == "known_good"
    assert not job.banks()


def test_pictures_without_structure_or_without_evidence_do_not_count() -> None:
    poor = [evidence(n, near_copy(n), quality=49) for n in range(20)]
    assert not Job(NEW).take([*pictures(20), *poor]).groups
    assert not Job(NEW).take(evidence(n, near_copy(n)) for n in range(20)).groups


def test_pictures_that_differ_are_none() -> None:
    others = [evidence(n, f"{RNG.getrandbits(256):064x}") for n in range(20)]
    assert not Job(NEW).take([*pictures(20), *others]).campaigns()


# --- laws ----------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_order_and_duplicates_do_not_matter(data: st.DataObject) -> None:
    """What is counted is the same in any order and with any of it twice, beyond the bound too."""
    count = data.draw(st.integers(1, 60))
    world = [
        upload(
            n,
            TEXT.format(n=data.draw(st.integers(0, 2))),
            user=f"u{data.draw(st.integers(0, 40))}",
            community=f"k{data.draw(st.integers(0, 5))}",
            age_days=data.draw(st.sampled_from([1, 50, 500, None])),
            minute=data.draw(st.floats(0, 59)),
        )
        for n in range(count)
    ]
    again = data.draw(st.lists(st.sampled_from(world), max_size=20))
    shuffled = data.draw(st.permutations([*world, *again]))
    small = config(bounds={"counted": 16})

    def sets(arrivals: list[Arrival]) -> dict[str, object]:
        groups: dict[str, object] = {}
        for key, state in Job(small).take(arrivals).groups.items():
            group = decode_group(state.value())
            group.told_level, group.told_ms = 0, 0
            groups[key] = (
                group.first_ms,
                group.last_ms,
                [(t.halvings, sorted((m, s.at_ms, s.weight) for m, s in t.members.items()))
                 for t in (group.users, group.communities, group.uploads)],
                group.examples,
            )  # fmt: skip
        return groups

    assert sets(world) == sets(shuffled)


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 120), st.integers(0, 120), st.sampled_from([crowd, varied]))
def test_what_is_delivered_again_after_a_restart_tells_nothing_new(
    cut: int, back: int, world: Callable[[int], list[Arrival]]
) -> None:
    uploads = world(120)
    straight = Job(NEW).take(uploads)
    job = Job(NEW).take(uploads[:cut])
    job.restart()
    job.take(uploads[max(0, cut - back) :])
    assert job.campaigns() == straight.campaigns()
    assert job.banks() == straight.banks()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(1, 30), st.integers(0, 2**32))
def test_never_below_the_thresholds(users: int, posts: int, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - draws examples, guards nothing
    world = [
        upload(n, EXACT, user=f"u{rng.randrange(users)}", community=f"k{rng.randrange(3)}")
        for n in range(posts)
    ]
    assert not Job(NEW).take(world).campaigns()


def test_what_is_remembered_is_bounded_and_numbers_are_near_the_truth() -> None:
    job = Job(config(bounds={"counted": 256}))
    job.take(upload(n, EXACT, minute=n / 1000) for n in range(1_500))
    states = [state.value() or b"" for state in job.groups.values()]
    assert max(map(len, states)) < 24_000
    found = newest(job)
    assert found.estimated
    group = decode_group(states[0])
    assert 0.85 < group.users.count / 1_500 < 1.15
    assert 0.85 < group.uploads.count / 1_500 < 1.15
    assert group.users.weight == 1000 * group.users.count


def test_the_same_run_says_the_same() -> None:
    assert Job(NEW).take(varied(40)).records == Job(NEW).take(varied(40)).records


def test_a_kept_value_that_cannot_be_read_is_said_and_counted_anew() -> None:
    assert decode_group(encode_group(Group(first_ms=3))) == Group(first_ms=3)
    with pytest.raises(StateError, match="version 9"):
        decode_group(b"\x09")
    with pytest.raises(StateError, match="cannot be read"):
        decode_group(b"\x01\xff")
    job = Job(NEW).take(crowd(5))
    for state in job.groups.values():
        state.update(b"\x09")
    job.take(upload(100 + n, EXACT) for n in range(10))
    assert job.metrics.value("state_resets") == len(job.groups)
    assert newest(job).users == 10


def test_records_are_json_that_says_what_it_is() -> None:
    [record] = Job(NEW).take(crowd(10)).of(TOPICS.campaigns)
    document = json.loads(record.value)
    assert record.key.decode() == document["campaign_id"]
    assert msgspec.json.decode(record.value, type=Campaign).status == "live"
