"""Exact banks: hashes of normalised texts, vetoes, deltas, and errors that name the line."""

# ruff: noqa: RUF001 - look-alikes are what is tested

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import ConfigError
from schemas.settings import CONF
from tests.policy_kit import POLICY_FILE
from udfs.banks import ExactBanks, content_hash, hash_text, parse_csv
from udfs.normalise import normalise
from udfs.policy import Policy

KNOWN = "Send one coin, get two coins back! Write to our manager now."
HASH = "f1dd64e4b6a3a4f5f1e1ad3e6ddd8c1d3b2b9d3f3f0e3b3c7a0b2f4b1c0d9e8f"


def bank(name: str = "scams", more: str = "", text: str = KNOWN, entry: str = "e1") -> str:
    return (
        f"  - id: {name}\n    category: spam\n    severity: severe\n{more}"
        f"    entries: [{{hash: {hash_text(text)}, id: {entry}}}]\n"
    )


def banks(*listed: str) -> ExactBanks:
    body = "\n" + "".join(listed) if listed else " []\n"
    return ExactBanks.parse(f"version: 1\nbanks:{body}", "banks.yaml")


@pytest.mark.parametrize(
    "copy",
    [
        KNOWN,
        KNOWN.upper(),
        f"  {KNOWN}\n\n",
        KNOWN.replace(" ", "  "),
        KNOWN.replace("o", "о"),
        KNOWN.replace("coin", "co\u200bin"),
        KNOWN.replace("!", "！"),
        "𝐒𝐞𝐧𝐝" + KNOWN[4:],
        KNOWN.replace("coins", "c o i n s"),
    ],
)
def test_a_copy_in_disguise_is_the_known_text(copy: str) -> None:
    [match] = banks(bank()).match(content_hash(normalise(copy)))
    assert (match.bank, match.entry, match.category) == ("scams", "e1", "spam")
    assert (match.severity, match.polarity, match.confidence) == ("severe", "bad", 1.0)
    assert match.distance == 0


def test_another_text_is_not() -> None:
    known = banks(bank())
    assert not known.match(hash_text(KNOWN + " Hurry."))
    assert not known.match("")
    assert not known.match("no hex")


def test_the_hash_of_a_text_is_what_the_documentation_says() -> None:
    assert hash_text("Hello  World") == hashlib.sha256(b"hello world").hexdigest()
    assert hash_text("\ud800") == hashlib.sha256(b"").hexdigest()


def test_a_text_may_be_known_to_several_banks() -> None:
    """All matches are given: what a good one outweighs is the policy's to say."""
    same = bank("fine", "    polarity: good\n", entry="g")
    everything = same.replace("category: spam", 'category: ""').replace("id: fine", "id: any")
    found = banks(bank(), same, everything).match(hash_text(KNOWN))
    assert [(m.bank, m.polarity, m.category) for m in found] == [
        ("scams", "bad", "spam"),
        ("fine", "good", "spam"),
        ("any", "good", ""),
    ]


def test_a_disabled_bank_matches_nothing() -> None:
    assert not banks(bank(more="    enabled: false\n")).match(hash_text(KNOWN))
    good = bank("fine", "    polarity: good\n    enabled: false\n", entry="g")
    assert [match.entry for match in banks(bank(), good).match(hash_text(KNOWN))] == ["e1"]


def test_the_hash_is_of_the_content() -> None:
    one, two = bank("one"), bank("two", text="another")
    assert banks(one, two).hash == banks(two, one).hash
    assert len(banks(one).hash) == 16
    others = [
        banks(one),
        banks(two),
        banks(one, two),
        banks(bank("one", entry="e2")),
        banks(bank("one", "    enabled: false\n")),
        banks(bank("one", text="another")),
        banks(),
    ]
    assert len({other.hash for other in others}) == len(others)


# --- deltas ----------------------------------------------------------------------------------


def delta(body: str) -> str:
    return f"version: 1\nbank: scams\n{body}"


def test_entries_come_and_go() -> None:
    before = banks(bank())
    added = before.with_delta(delta(f"add: [{{hash: {hash_text('new')}, id: e2}}]\n"))
    assert [m.entry for m in added.match(hash_text("new"))] == ["e2"]
    assert [m.entry for m in added.match(hash_text(KNOWN))] == ["e1"]
    removed = added.with_delta(delta("remove: [e1]\n"))
    assert not removed.match(hash_text(KNOWN))
    assert len(before) == 1
    assert len({before.hash, added.hash, removed.hash}) == 3
    assert added.with_delta(delta("remove: [e2]\n")).hash == before.hash


def test_a_delta_changes_only_what_it_gives() -> None:
    changed = banks(bank()).with_delta(delta("severity: mild\nenabled: true\n"))
    [match] = changed.match(hash_text(KNOWN))
    assert (match.severity, match.category) == ("mild", "spam")
    assert not banks(bank()).with_delta(delta("enabled: false\n")).match(hash_text(KNOWN))


def test_a_delta_may_make_a_bank() -> None:
    text = (
        f"version: 1\nbank: fresh\ncategory: threat\nadd: [{{hash: {hash_text('x y')}, id: t1}}]\n"
    )
    made = banks(bank()).with_delta(text)
    assert [m.category for m in made.match(hash_text("X Y"))] == ["threat"]
    assert [spec.id for spec in made.banks] == ["scams", "fresh"]
    good = made.with_delta("version: 1\nbank: fine\npolarity: good\n")
    assert good.banks[-1].category == ""


def test_a_snapshot_replaces_all_entries(tmp_path: Path) -> None:
    rows = "hash,id\n" + "".join(f"{hash_text(f'text {i}')},s{i}\n" for i in range(500))
    (tmp_path / "big.csv").write_text(rows)
    text = delta(
        f"snapshot: {tmp_path / 'big.csv'}\n"
        f"snapshot_sha256: {hashlib.sha256(rows.encode()).hexdigest()}\n"
        "remove: [s7]\n"
    )
    after = banks(bank()).with_delta(text)
    assert len(after) == 499
    assert not after.match(hash_text(KNOWN))
    assert not after.match(hash_text("text 7"))
    assert [m.entry for m in after.match(hash_text("TEXT 499"))] == ["s499"]
    (tmp_path / "big.csv").write_text(rows + f"{hash_text('late')},late\n")
    with pytest.raises(ConfigError, match=r"another file: its SHA-256 differs") as error:
        banks(bank()).with_delta(text, "delta.yaml")
    assert (error.value.file, error.value.line) == ("delta.yaml", 4)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("remove: [nobody]\n", "d.yaml:3: remove: bank scams has no entry nobody"),
        (
            "add: [{hash: ABC, id: e2}]\n",
            "d.yaml:3: add.0.hash: String should match pattern '^[0-9a-f]{64}$'",
        ),
        (f"add: [{{hash: {HASH}, id: e1}}]\n", "d.yaml:3: add.0.id: there are two entries e1"),
        (
            f"add: [{{hash: {hash_text(KNOWN)}, id: e9}}]\n",
            "d.yaml:3: add.0.hash: the same hash is entry e1 already",
        ),
        ("snapshot: x.csv\n", "d.yaml:1: snapshot_sha256: is required with snapshot"),
        (
            f"snapshot: none.csv\nsnapshot_sha256: {HASH}\n",
            "d.yaml:3: snapshot: none.csv cannot be",
        ),
        ('category: ""\n', "d.yaml:3: category: is required for known-bad content"),
        ("colour: red\n", "d.yaml:3: colour: unknown field colour"),
        (
            "normalisation: 0\n",
            "d.yaml:3: normalisation: the texts were hashed with normalisation 0, this is 1",
        ),
    ],
)
def test_a_wrong_delta_is_refused(body: str, message: str) -> None:
    before = banks(bank())
    hashed = before.hash
    with pytest.raises(ConfigError) as error:
        before.with_delta(delta(body), "d.yaml")
    assert str(error.value).startswith(message)
    assert before.hash == hashed


def test_a_new_bank_needs_a_category() -> None:
    with pytest.raises(ConfigError, match=r"^d:1: category: bank new does not exist yet"):
        banks().with_delta("version: 1\nbank: new\n", "d")


# --- files -----------------------------------------------------------------------------------


def test_a_csv_file_is_read_beside_the_bank_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.csv").write_text(
        f'hash,id,note\n{hash_text(KNOWN)},c1,"two\nlines, quoted"\n\n{HASH},c2\n', "utf-8-sig"
    )
    path = tmp_path / "banks.yaml"
    path.write_text("version: 1\nbanks:\n  - {id: a, category: spam, file: sub/a.csv}\n")
    loaded = ExactBanks.load(path)
    assert len(loaded) == 2
    assert [m.entry for m in loaded.match(HASH)] == ["c2"]


BAD_CSV = [
    ("", 1, "the first line must be hash,id or hash,id,note"),
    ("id,hash\n", 1, "the first line must be hash,id or hash,id,note"),
    (f"hash,id\n{HASH},a\nxyz,b\n", 3, "hash: must be 64 lower-case hex digits"),
    (f"hash,id\n{HASH.upper()},a\n", 2, "hash: must be 64 lower-case hex digits"),
    (f"hash,id\n{HASH}\n", 2, "row: has 1 columns, the header 2"),
    (f"hash,id\n{HASH},\n", 2, "id: must have 1 to 128 characters"),
    (f"hash,id\n\n{HASH},a\n{HASH},b\n", 4, "hash: is entry a already"),
    (f"hash,id\n{HASH},a\n{HASH[::-1]},a\n", 3, "id: there are two entries a"),
    (
        "hash,id\nx,a\ny,b\n",
        2,
        "hash: must be 64 lower-case hex digits; line 3: hash: must be 64 lower-case hex digits",
    ),
    ('hash,id\n"x,a\n', 2, "not CSV: unexpected end of data"),
]


@pytest.mark.parametrize(("text", "line", "message"), BAD_CSV)
def test_a_wrong_row_is_reported_by_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_csv(text.encode(), "x.csv")
    assert str(error.value) == f"x.csv:{line}: {message}"


def test_many_wrong_rows_make_one_message() -> None:
    with pytest.raises(ConfigError, match=r"^x\.csv:2: .*; line 11: .*; and more$"):
        parse_csv(b"hash,id\n" + b"x,y\n" * 50, "x.csv")


def test_a_file_that_is_not_text_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^x\.csv: is not UTF-8$"):
        parse_csv(b"hash,id\n\xff\n", "x.csv")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("id: scams", "id: Scams", "banks.yaml:3: banks.0.id: String should match"),
        ("category: spam", 'category: ""', "banks.yaml:4: banks.0.category: is required for known"),
        ("severity: severe", "severity: bad", "banks.yaml:5: banks.0.severity: Input should be"),
        ("severity: severe", "file: x.json", "banks.yaml:5: banks.0.file: must be a .csv file"),
        (
            "severity: severe",
            "file: none.csv",
            "banks.yaml:5: banks.0.file: none.csv cannot be read: No such file or directory",
        ),
        ("version: 1", "version: 2", "banks.yaml:1: version: Input should be 1"),
        (
            "version: 1",
            "version: 1\nnormalisation: 7",
            "banks.yaml:2: normalisation: the texts were hashed with normalisation 7, this is 1:"
            " hash again",
        ),
    ],
)
def test_a_wrong_bank_file_is_refused_with_its_line(old: str, new: str, message: str) -> None:
    text = "version: 1\nbanks:\n" + bank()
    with pytest.raises(ConfigError) as error:
        ExactBanks.parse(text.replace(old, new, 1), "banks.yaml")
    assert str(error.value).startswith(message)


def test_two_banks_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"banks\.1\.id: there are two banks scams"):
        banks(bank(), bank())


# --- laws and the banks that come with Sluice -------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=12), max_size=8), st.text(max_size=12))
def test_a_bank_matches_exactly_the_texts_that_normalise_alike(
    texts: list[str], other: str
) -> None:
    entries = {hash_text(text): f"e{i}" for i, text in enumerate(texts)}
    listed = ", ".join(f"{{hash: {digest}, id: {entry}}}" for digest, entry in entries.items())
    known = ExactBanks.parse(
        f"version: 1\nbanks: [{{id: b, category: spam, entries: [{listed}]}}]\n"
    )
    for text in [*texts, other]:
        alike = normalise(text).text in {normalise(one).text for one in texts}
        assert bool(known.match(hash_text(text))) is alike


def test_default_banks_load_and_speak_of_the_policy() -> None:
    default = ExactBanks.load(CONF / "banks.yaml")
    assert {spec.polarity for spec in default.banks} == {"bad", "good"}
    categories = {spec.category for spec in default.banks if spec.category}
    assert categories <= set(Policy.load(POLICY_FILE).categories)
    # Written for the project, as every text behind the default banks.
    parcel = (
        "Your parcel could not be delivered because of an unpaid customs fee of 1.99. Pay it on "
        "our page within 24 hours or the parcel goes back to the sender."
    )
    reminder = (
        "Reminder from the moderators: no insults, no threats, no slurs, no spam and no sexual "
        'content. Posts that say things like "kill yourself" lead to a ban.'
    )
    assert [m.entry for m in default.match(hash_text(parcel.upper()))] == ["parcel-fee"]
    [vouched] = default.match(hash_text(reminder))
    assert (vouched.entry, vouched.polarity, vouched.category) == ("rules-reminder", "good", "")
