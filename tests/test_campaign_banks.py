"""Banks that expire, that only observe, and that know nearly equal copies of a text."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable

import pytest

from schemas.errors import ConfigError
from schemas.upload import Upload
from tests.test_media_banks import QUERY
from tests.test_media_banks import bank as media_bank
from tests.test_media_banks import banks as media_banks
from udfs.banks import ExactBanks, content_hash, hash_text
from udfs.campaign_sketch import sketch_of
from udfs.contracts import BankMatch, Item
from udfs.evidence import bank_evidence
from udfs.media_banks import MediaBanks
from udfs.normalise import normalise
from udfs.stages import BankStage, Work, signals_of

END = "2026-03-01T12:00:00Z"
END_MS = 1_772_366_400_000
TEXT = (
    "Only today our trading room gives away a starting balance, write to the manager of the room"
    " on telegram and tell him the code 4821 before midnight."
)
NEARLY = TEXT.replace("4821", "99310").replace("Only today", "Today only") + " Hurry!"
OTHER = (
    "The council meets on Thursday in the old library to talk about the new cycle path along the"
    " river, and everybody who lives near is welcome to ask questions."
)


def sketch(text: str) -> str:
    found = sketch_of(normalise(text).text)
    assert found is not None
    return f"1:{found.hex()}"


def banks(*deltas: str) -> ExactBanks:
    found = ExactBanks.parse("version: 1\nbanks: []\n")
    for delta in deltas:
        found = found.with_delta(delta)
    return found


def exact(more: str = "", name: str = "campaign_1") -> str:
    return (
        f"version: 1\nbank: {name}\ncategory: spam\n{more}"
        f"add: [{{hash: {hash_text(TEXT)}, id: e1}}]\n"
    )


def near(more: str = "", name: str = "campaign_2") -> str:
    return (
        f"version: 1\nbank: {name}\ncategory: spam\n{more}"
        f"add_near: [{{sketch: '{sketch(TEXT)}', id: n1}}]\n"
    )


def work(text: str, broker_ms: int) -> Work:
    upload = Upload(
        content_id="c", content_type="text", user_id="u", text=text,
        created_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    )  # fmt: skip
    normalised = normalise(text)
    return Work(
        Item(upload, b"", broker_ms, normalised=normalised, content_hash=content_hash(normalised))
    )


@pytest.mark.parametrize("delta", [exact, near])
def test_a_bank_ends_by_the_brokers_time_of_the_upload(delta: Callable[[str], str]) -> None:
    found = banks(delta(f"expires_at: {END}\n"))

    def matched(at_ms: float) -> bool:
        exactly = found.match(hash_text(TEXT), at_ms)
        return bool(exactly or found.match_near(normalise(TEXT).text, at_ms))

    assert matched(END_MS - 1)
    assert not matched(END_MS)
    assert matched(0)


def test_entries_of_banks_that_last_and_that_end_are_both_found() -> None:
    found = banks(
        exact(name="lasts"), exact(f"expires_at: {END}\n"), exact(f"expires_at: {END}\n", "b")
    )
    hit = found.match(hash_text(TEXT), 1.0)
    assert [match.bank for match in hit] == ["lasts", "campaign_1", "b"]


def test_a_nearly_equal_copy_is_found_and_a_stranger_is_not() -> None:
    found = banks(near())
    assert found.has_near
    [copy] = found.match_near(normalise(NEARLY).text)
    assert (copy.bank, copy.entry, copy.category) == ("campaign_2", "n1", "spam")
    assert 0.7 <= copy.confidence < 1
    assert 0 < copy.distance < 64 * 0.31
    [same] = found.match_near(normalise(TEXT.upper()).text)
    assert (same.confidence, same.distance) == (1.0, 0)
    assert not found.match_near(normalise(OTHER).text)
    assert not found.match_near("short")
    assert not banks(near("similarity: 0.99\n")).match_near(normalise(NEARLY).text)


def test_without_near_entries_nobody_has_to_ask() -> None:
    assert not banks(exact()).has_near
    assert not banks(near("enabled: false\n")).has_near
    assert not banks(near(), "version: 1\nbank: campaign_2\nremove: [n1]\n").has_near


def test_a_good_bank_vouches_for_no_near_copy() -> None:
    """What nearly is a good text may be its abuse."""
    good = banks(near("polarity: good\n"))
    assert not good.has_near
    assert not good.match_near(normalise(TEXT).text)
    sketched = sketch_of(normalise(NEARLY).text)
    assert sketched is not None
    assert [match.entry for match in good.good_near(sketched)] == ["n1"]


@pytest.mark.parametrize("delta", [exact, near])
def test_a_bank_that_observes_is_evidence_and_decides_nothing(delta: Callable[[str], str]) -> None:
    sheets = {}
    for observe in ("true", "false"):
        sheet = sheets[observe] = work(TEXT, END_MS)
        BankStage(banks(delta(f"observe_only: {observe}\n")), 0.84).run([sheet], 0)
    assert not sheets["true"].settled
    assert sheets["false"].settled
    assert not signals_of(sheets["true"]).banks
    assert signals_of(sheets["false"]).banks
    [seen] = sheets["true"].banks
    assert bank_evidence(seen, "text").observe_only
    assert not bank_evidence(sheets["false"].banks[0], "text").observe_only


def test_the_stage_finds_near_copies_by_the_uploads_time() -> None:
    stage = BankStage(banks(near(f"expires_at: {END}\n")), 0.84)
    early, late = work(NEARLY, END_MS - 1), work(NEARLY, END_MS)
    stage.run([early, late], END_MS + 1)
    assert [match.entry for match in early.banks] == ["n1"]
    assert not late.banks


def test_a_campaign_that_grows_replaces_its_bank() -> None:
    one = banks(exact("observe_only: true\n"))
    [match] = one.match(hash_text(TEXT))
    assert match.observe_only
    changed = one.with_delta("version: 1\nbank: campaign_1\nobserve_only: false\n")
    [match] = changed.match(hash_text(TEXT))
    assert not match.observe_only
    assert changed.hash != one.hash
    assert banks(exact("observe_only: true\n")).hash == one.hash


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ("expires_at: 2026-03-01T12:00:00\n", "expires_at"),
        ("similarity: 0.2\n", "similarity"),
        ("add_near: [{sketch: '2:00', id: n}]\n", "add_near.0.sketch"),
    ],
)
def test_mistakes_are_named(more: str, field: str) -> None:
    with pytest.raises(ConfigError) as error:
        banks(exact(more))
    assert error.value.field == field


# --- media ---------------------------------------------------------------------------------------


def held(delta: str) -> MediaBanks:
    found = media_banks(media_bank())
    found.put({"media_bank/known": f"version: 1\nmedia_bank: known\n{delta}"})
    return found


def test_a_media_bank_ends_by_the_brokers_time_of_the_upload() -> None:
    found = held(f"expires_at: {END}\n")
    # Long after, a redelivery gets what the upload got first.
    assert found.match(QUERY, END_MS * 2.0, END_MS - 1)
    assert not found.match(QUERY, 0.0, END_MS)
    assert not found.match(QUERY, END_MS)


def test_a_media_bank_that_observes_says_so() -> None:
    [match] = held("observe_only: true\n").match(QUERY, 0.0)
    assert match.observe_only
    [match] = held("observe_only: false\n").match(QUERY, 0.0)
    assert not match.observe_only
    assert dataclasses.replace(match, observe_only=True) != match


def test_a_flood_is_what_a_bank_that_ends_is_for() -> None:
    lasting, ending = media_banks(media_bank()), MediaBanks.parse("version: 1\nbanks: []\n")
    assert QUERY.picture is not None
    entry = f"add: [{{hash: '{QUERY.picture.pdq[0].hex()}', id: c}}]\n"
    made = "version: 1\nmedia_bank: c\nkind: pdq\ncategory: spam\n"
    ending.put({"media_bank/c": f"{made}expires_at: {END}\n{entry}"})

    def holds(found: MediaBanks) -> list[BankMatch]:
        matches = [match for _ in range(150) for match in found.match(QUERY, 1.0)]
        return [match for match in matches if match.hold]

    assert holds(lasting)
    assert not holds(ending)


def test_banks_without_the_new_fields_keep_their_hash() -> None:
    same = media_banks(media_bank(more="    observe_only: false\n"))
    assert media_banks(media_bank()).hash == same.hash
    assert media_banks(media_bank(more="    observe_only: true\n")).hash != same.hash
