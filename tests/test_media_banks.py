"""Media banks: kinds, cohorts, deltas that come and go, floods, and what a held match decides."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import pytest
from PIL import Image

from schemas.errors import ConfigError
from schemas.media_banks import Flood
from schemas.settings import ROOT
from tests.policy_kit import CLEAN, bad, good, policy, signals
from tests.test_image_hashes import drawn
from udfs.bank_flood import FloodGuard
from udfs.bank_snapshot import MANIFEST, file_sha256, write_snapshot
from udfs.image_hashes import PictureHashes, hash_picture
from udfs.live_index import LiveIndex
from udfs.media_banks import DISPUTED, MediaBanks
from udfs.media_query import Frame, MediaQuery

RNG = random.Random(5)  # noqa: S311 - test data
PICTURE = hash_picture(drawn(11))
SHA256, MD5 = RNG.randbytes(32), RNG.randbytes(16)
QUERY = MediaQuery(cohort="c1", sha256=SHA256, md5=MD5, picture=PICTURE)
HASHES = {
    "sha256": SHA256,
    "md5": MD5,
    "pdq": PICTURE.pdq[0],
    "phash64": PICTURE.phash64[0],
    "phash256": PICTURE.phash256[0],
}


def flip(value: bytes, bits: int) -> bytes:
    """The same hash with its first bits flipped."""
    number = int.from_bytes(value) ^ (((1 << bits) - 1) << (8 * len(value) - bits))
    return number.to_bytes(len(value))


def bank(kind: str = "pdq", value: bytes | None = None, more: str = "", name: str = "known") -> str:
    value = HASHES[kind] if value is None else value
    return (
        f"  - id: {name}\n    kind: {kind}\n    category: violence\n{more}"
        f"    entries: [{{hash: '{value.hex()}', id: e1}}]\n"
    )


def banks(*listed: str) -> MediaBanks:
    return MediaBanks.parse("version: 1\nbanks:\n" + "".join(listed), "media.yaml")


def names(known: MediaBanks, query: MediaQuery = QUERY, now_ms: float = 0.0) -> list[str]:
    return [match.entry for match in known.match(query, now_ms)]


@pytest.mark.parametrize("kind", HASHES)
def test_every_kind_finds_its_hash(kind: str) -> None:
    [match] = banks(bank(kind)).match(QUERY, 0.0)
    assert (match.bank, match.entry, match.category) == ("known", "e1", "violence")
    assert (match.severity, match.polarity, match.hold) == ("severe", "bad", "")
    assert (match.distance, match.confidence) == (0, 1.0)
    assert not names(banks(bank(kind)), MediaQuery(cohort="c1"))
    assert not names(banks(bank(kind, RNG.randbytes(len(HASHES[kind])))))


@pytest.mark.parametrize(("kind", "bits", "reach"), [("pdq", 256, 31), ("phash64", 64, 10)])
def test_confidence_falls_with_the_distance(kind: str, bits: int, reach: int) -> None:
    value = HASHES[kind]
    [match] = banks(bank(kind, flip(value, reach), "    confidence: 0.9\n")).match(QUERY, 0.0)
    assert match.distance == reach
    assert match.confidence == pytest.approx(0.9 * (1 - reach / bits))
    assert not names(banks(bank(kind, flip(value, reach + 1))))
    assert not names(banks(bank(kind, flip(value, 5), "    distance: 4\n")))
    assert names(banks(bank(kind, flip(value, 4), "    distance: 4\n"))) == ["e1"]


@pytest.mark.parametrize("how", list(Image.Transpose))
@pytest.mark.parametrize("kind", ["pdq", "phash64", "phash256"])
def test_turned_and_mirrored_copies_match(kind: str, how: Image.Transpose) -> None:
    turned = MediaQuery(cohort="c", picture=hash_picture(drawn(11).transpose(how)))
    assert names(banks(bank(kind)), turned) == ["e1"]


def test_a_picture_without_structure_is_not_looked_up() -> None:
    plain = PictureHashes(pdq=PICTURE.pdq, quality=49, phash64=(), phash256=())
    assert not names(banks(bank()), MediaQuery(cohort="c", picture=plain))
    assert names(banks(bank(more="    min_quality: 49\n")), MediaQuery(cohort="c", picture=plain))
    poor = bank().replace("id: e1}", "id: e1, quality: 49}")
    assert len(banks(poor)) == 0


def test_a_share_of_uploads_is_always_the_same() -> None:
    half = banks(bank(more="    enabled_ratio: 0.5\n"))
    cohorts = [f"c{i}" for i in range(2000)]

    def asked(known: MediaBanks) -> list[str]:
        return [c for c in cohorts if known.banks[0].asked(c)]

    assert 900 < len(asked(half)) < 1100
    assert asked(half) == asked(banks(bank(more="    enabled_ratio: 0.5\n")))
    more = asked(banks(bank(more="    enabled_ratio: 0.7\n")))
    assert set(asked(half)) < set(more)
    assert asked(half) != asked(banks(bank(more="    enabled_ratio: 0.5\n    seed: b\n")))
    assert not names(banks(bank(more="    enabled_ratio: 0\n")))
    assert not names(banks(bank(more="    enabled: false\n")))


def test_good_and_bad_banks_both_answer() -> None:
    good = bank(more="    polarity: good\n", name="fine")
    found = banks(bank(), good).match(QUERY, 0.0)
    assert [(match.bank, match.polarity) for match in found] == [("known", "bad"), ("fine", "good")]


# --- videos ----------------------------------------------------------------------------------


def test_a_video_is_known_by_enough_of_its_frames() -> None:
    frames = [RNG.randbytes(32) for _ in range(10)]
    entries = ", ".join(f"{{hash: '{frame.hex()}', id: clip}}" for frame in frames)
    text = (
        "  - id: clips\n    kind: video_pdq\n    category: gore\n    query_share: 0.5\n"
        f"    bank_share: 0.4\n    entries: [{entries}]\n"
    )
    known = banks(text)

    def seen(count: int, others: int, quality: int = 100) -> list[str]:
        mine = [Frame(flip(frame, 8), quality) for frame in frames[:count]]
        mine += [Frame(RNG.randbytes(32), 100) for _ in range(others)]
        return names(known, MediaQuery(cohort="c", frames=tuple(mine)))

    assert seen(5, 5) == ["clip"]
    assert seen(4, 5) == []
    assert seen(3, 0) == []  # too little of the entry
    assert seen(4, 0) == ["clip"]
    assert seen(10, 0, quality=49) == []
    query = MediaQuery(
        cohort="c", frames=(Frame(frames[0], 90), *[Frame(f, 90) for f in frames[1:]])
    )
    [match] = known.match(query, 0.0)
    assert (match.distance, match.confidence) == (0, 1.0)


def test_frames_of_a_video_are_looked_up_among_pictures() -> None:
    query = MediaQuery(cohort="c", frames=(Frame(RNG.randbytes(32), 90), Frame(PICTURE.pdq[0], 90)))
    assert names(banks(bank()), query) == ["e1"]


CLIPS = ROOT.parent / "shared" / "data" / "vpdq_videos" / "sample-hashes"


@pytest.mark.parametrize(
    ("clip", "known_as"),
    [
        ("chair-19-sd-bar", ["chair"]),
        ("chair-20-sd-bar-128x128", ["chair"]),
        ("chair-22-sd-grey-bar", ["chair"]),
        ("chair-22-sd-sepia-bar", ["chair"]),
        ("chair-22-with-small-logo-bar", ["chair"]),
        # What covers much of a frame changes its hash beyond the distance.
        ("chair-22-with-large-logo-bar", []),
        ("doorknob-hd-no-bar-128x128", ["doorknob"]),
    ],
)
def test_edits_of_real_clips_are_known_by_their_good_frames(clip: str, known_as: list[str]) -> None:
    if not CLIPS.is_dir():
        pytest.skip("the vPDQ sample hashes are not on this machine")

    def frames(name: str) -> list[Frame]:
        rows = [line.split(",") for line in (CLIPS / f"{name}.txt").read_text().split()]
        return [Frame(bytes.fromhex(row[2]), int(row[1]), float(row[3])) for row in rows]

    known = MediaBanks.parse(
        "version: 1\nbanks: [{id: clips, kind: video_pdq, category: gore, bank_share: 0.5}]\n"
    )
    for name, original in (("chair", "chair-orig-22-sd-bar"), ("doorknob", "doorknob-hd-no-bar")):
        good_ = [frame.pdq for frame in frames(original) if frame.quality >= 50]
        known.banks[0].live.add(b"".join(good_), [name] * len(good_))
    assert names(known, MediaQuery(cohort="c", frames=tuple(frames(clip)))) == known_as


# --- deltas ----------------------------------------------------------------------------------

NEW = RNG.randbytes(16)
NEW_QUERY = MediaQuery(cohort="c", md5=NEW)


def delta(body: str, name: str = "known") -> str:
    return f"version: 1\nmedia_bank: {name}\n{body}"


def test_deltas_come_and_are_taken_back() -> None:
    known = banks(bank("md5"))
    begin = known.hash
    first = {"bank/a": delta(f"add: [{{hash: '{NEW.hex()}', id: e2}}]\n")}
    known.put(first)
    index = known.banks[0].live
    assert names(known, NEW_QUERY) == ["e2"]
    assert names(known) == ["e1"]
    second = {**first, "bank/b": delta("withdraw: [e1, nobody]\n")}
    known.put(second)
    assert known.banks[0].live is index  # changed in place
    assert not names(known)
    after = known.hash
    # The order of arrival makes no difference.
    other = banks(bank("md5"))
    other.put({"bank/b": second["bank/b"]})
    other.put(second)
    assert (other.hash, names(other), names(other, NEW_QUERY)) == (after, [], ["e2"])
    known.put(second)
    assert known.hash == after
    known.put({})
    assert known.hash == begin
    assert (names(known), names(known, NEW_QUERY)) == (["e1"], [])


def test_a_disputed_entry_is_held_until_it_is_confirmed() -> None:
    known = banks(bank())
    known.put({"bank/a": delta("dispute: [e1]\n")})
    [match] = known.match(QUERY, 0.0)
    assert (match.hold, match.acts(0.84)) == (DISPUTED, False)
    known.put({"bank/a": delta("dispute: [e1]\n"), "bank/b": delta("confirm: [e1]\n")})
    [match] = known.match(QUERY, 0.0)
    assert (match.hold, match.acts(0.84)) == ("", True)


def test_a_delta_may_make_a_bank_and_change_what_it_says() -> None:
    known = banks(bank())
    made = delta(f"kind: md5\ncategory: gore\nadd: [{{hash: '{MD5.hex()}', id: m}}]\n", "fresh")
    known.put({"bank/x": made, "bank/y": delta("enabled: false\n")})
    assert [(m.bank, m.category) for m in known.match(QUERY, 0.0)] == [("fresh", "gore")]
    known.put({"bank/y": delta("severity: mild\n")})
    assert [(m.bank, m.severity) for m in known.match(QUERY, 0.0)] == [("known", "mild")]


def test_a_snapshot_takes_the_place_of_all_entries(tmp_path: Path) -> None:
    live = LiveIndex.build(PICTURE.pdq[0] + RNG.randbytes(32), ["s1", "s2"], bits=256, distance=31)
    write_snapshot(tmp_path / "snap", live, bank="known", kind="pdq")
    sha256 = file_sha256(tmp_path / "snap" / MANIFEST)
    body = f"snapshot: {tmp_path / 'snap'}\nsnapshot_sha256: {sha256}\n"
    known = banks(bank())
    known.put({"bank/known": delta(body)})
    assert (names(known), len(known)) == (["s1"], 2)
    more = f"add: [{{hash: '{PICTURE.pdq[0].hex()}', id: s3}}]\n"
    known.put({"bank/known": delta(body), "bank/known.1": delta(more)})
    assert (names(known), len(known)) == (["s1", "s3"], 3)
    path = tmp_path / "media.yaml"
    path.write_text(
        "version: 1\nbanks:\n  - {id: known, kind: pdq, category: violence, snapshot: snap,"
        f" snapshot_sha256: {sha256}}}\n"
    )
    assert names(MediaBanks.load(path)) == ["s1"]
    for old, new, message in [
        ("kind: pdq", "kind: phash256", "snapshot: .* holds pdq hashes, the bank phash256"),
        (sha256, "ab" * 32, "snapshot: .* is another snapshot: its manifest's SHA-256 differs"),
        (f", snapshot_sha256: {sha256}", "", "snapshot_sha256: goes with snapshot"),
    ]:
        with pytest.raises(ConfigError, match=rf"media\.yaml:3: banks\.0\.{message}"):
            MediaBanks.parse(path.read_text().replace(old, new), "media.yaml", tmp_path)


def test_a_snapshot_that_was_prepared_is_put_in_force_without_reading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = LiveIndex.build(PICTURE.pdq[0], ["s1"], bits=256, distance=31)
    write_snapshot(tmp_path / "snap", live, bank="known", kind="pdq")
    sha256 = file_sha256(tmp_path / "snap" / MANIFEST)
    text = delta(f"snapshot: {tmp_path / 'snap'}\nsnapshot_sha256: '{sha256}'\n")
    known = banks(bank("pdq", RNG.randbytes(32)))
    with pytest.raises(ConfigError, match=r"bank/known:3: snapshot: .* is another snapshot"):
        known.prepare({"bank/known": text.replace(sha256, "ab" * 32)})
    known.prepare({"bank/known": text, "bank/more": delta("severity: mild\n")})
    assert not names(known)

    def never(path: Path) -> str:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr("udfs.bank_snapshot.file_sha256", never)
    known.put({"bank/known": text})
    assert names(known) == ["s1"]


WRONG = [
    ("kind: md5\n", "kind: bank known is of kind pdq"),
    ("add: [{hash: " + "ab" * 16 + ", id: x}]\n", "add.0.hash: a pdq hash has 64 hex digits"),
    ("add: [{hash: XYZ, id: x}]\n", "add.0.hash: String should match pattern"),
    ('category: ""\n', "category: is required for known-bad content"),
    ("snapshot: nowhere\nsnapshot_sha256: " + "ab" * 32 + "\n", "cannot be read: No such file"),
    ("colour: red\n", "colour: unknown field colour"),
]


@pytest.mark.parametrize(("body", "message"), WRONG)
def test_a_wrong_delta_changes_nothing(body: str, message: str) -> None:
    known = banks(bank())
    known.put({"bank/a": delta("severity: mild\n")})
    begin = known.hash
    with pytest.raises(ConfigError) as error:
        known.put({"bank/a": delta("severity: mild\n"), "bank/b": delta(body)})
    assert message in str(error.value)
    assert (known.hash, names(known)) == (begin, ["e1"])


def test_a_new_bank_needs_kind_and_category() -> None:
    for body, field in (("category: gore\n", "kind"), ("kind: md5\n", "category")):
        with pytest.raises(ConfigError, match=rf"{field}: bank new does not exist yet"):
            banks(bank()).put({"bank/new": delta(body, "new")})


def test_a_distance_beyond_the_index_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"media\.yaml:6: banks\.0\.distance: phash64 is exact"):
        banks(bank("phash64", more="    distance: 11\n"))


# --- floods ----------------------------------------------------------------------------------

MINUTE = 60_000.0


def test_an_entry_far_above_its_history_is_held_and_says_so() -> None:
    guard = FloodGuard(Flood(window_minutes=10, at_least=20, factor=5))
    said = [guard.observe("e", 1000.0) for _ in range(25)]
    assert said[:20] == [""] * 20
    assert said[20].startswith(
        "its entry has matched 21 times in 10 minutes, far above its history"
    )
    assert all(said[20:])
    assert guard.observe("other", 1000.0) == ""
    # Held at the beginning of the next window, and let go when that was not too many.
    assert guard.observe("e", 11 * MINUTE)
    assert guard.observe("e", 21 * MINUTE) == ""


def test_a_steady_stream_becomes_history_and_a_flood_does_not() -> None:
    guard = FloodGuard(Flood(window_minutes=1, at_least=20, factor=5))
    for window in range(50):
        assert not any(guard.observe("e", window * MINUTE) for _ in range(15))
    assert not any(guard.observe("e", 50 * MINUTE) for _ in range(70))
    flood = [guard.observe("e", 51 * MINUTE) for _ in range(1000)]
    assert flood[0] == "" != flood[-1]
    assert guard.observe("e", 53 * MINUTE) == ""
    again = [guard.observe("e", 53 * MINUTE) for _ in range(1000)]
    assert sum(not said for said in again) < 200


def test_the_guard_forgets_who_matched_longest_ago() -> None:
    guard = FloodGuard(Flood(at_least=1), entries=3)
    for name in "abcabcd":
        guard.observe(name, 0.0)
    assert len(guard) == 3


def test_a_bank_says_that_it_holds_an_entry() -> None:
    flood = "    flood: {at_least: 3, factor: 2, window_minutes: 5}\n"
    known = banks(bank(more=flood))
    holds = [known.match(QUERY, 0.0)[0].hold for _ in range(5)]
    assert [bool(hold) for hold in holds] == [False, False, False, True, True]
    without = banks(bank(more="    flood: null\n"))
    assert not any(without.match(QUERY, 0.0)[0].hold for _ in range(500))


@pytest.mark.parametrize("confidence", [1.0, 0.75])
def test_a_held_match_is_reviewed_and_the_reason_says_why(confidence: float) -> None:
    acts = bad("spam", confidence=1.0)
    held = dataclasses.replace(acts, hold=DISPUTED, confidence=confidence)
    assert policy().decide(signals(banks=[acts]), CLEAN).status == "rejected"
    verdict = policy().decide(signals(banks=[held]), CLEAN)
    assert (verdict.status, verdict.decided_by, verdict.review_why) == (
        "pending_review", "bank", "policy",
    )  # fmt: skip
    assert verdict.reason.endswith("; its entry is disputed.")


def test_a_held_good_match_vouches_for_nothing() -> None:
    doubtful = dataclasses.replace(good(), hold=DISPUTED)
    assert policy().decide(signals(banks=[bad("spam"), good()]), CLEAN).status == "approved"
    assert policy().decide(signals(banks=[bad("spam"), doubtful]), CLEAN).status == "rejected"
