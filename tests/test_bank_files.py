"""Lists of hashes in the formats that teams trade: what is read, and what is said of wrong rows."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.media_banks import HashKind
from schemas.settings import ROOT
from scripts.cli.bank_files import (
    FORMATS,
    Format,
    Row,
    WrongError,
    read_rows,
    tell_format,
    write_rows,
)
from scripts.cli.bank_store import sort_rows

PDQ, MD5, SHA256 = "ab" * 32, "cd" * 16, "ef" * 32
VIDEOS = ROOT.parent / "shared" / "data" / "vpdq_videos" / "sample-hashes"


def rows(text: str, kind: HashKind = "pdq", form: Format | None = None) -> list[Row]:
    return list(read_rows(text, kind, form or tell_format("list", text), "stem"))


def short(text: str, kind: HashKind = "pdq") -> list[tuple[int, str, str, str]]:
    """Line, id, hash or fault, and status of each row."""
    return [(r.line, r.id, r.fault or r.hash, r.status) for r in rows(text, kind)]


def test_csv_rows_are_read_whatever_the_order_of_their_columns() -> None:
    text = f"\ufeffnote,ID,quality,hash,status\n,a,70,{PDQ.upper()},\n\n,b,,{PDQ},disputed\n"
    found = rows(text)
    assert [(r.line, r.id, r.hash, r.quality, r.status) for r in found] == [
        (2, "a", PDQ, 70, "confirmed"),
        (4, "b", PDQ, 100, "disputed"),
    ]


def test_wrong_rows_are_named_by_line_and_the_rest_is_read() -> None:
    text = (
        "id,hash,quality\n"
        f"a,{PDQ},90\n"
        "b,xyz,90\n"
        f"c,{PDQ}\n"
        f"d,{PDQ},101\n"
        f'e,"{PDQ},90\n'
        f"{'f' * 129},{PDQ},90\n"
        "g,,90\n"
        f"h,{PDQ},90\n"
    )
    assert [(r.line, r.fault or r.id) for r in rows(text)] == [
        (2, "a"),
        (3, "hash: must be 64 hex digits"),
        (4, "row: has 2 columns, the header 3"),
        (5, "quality: must be a whole number from 0 to 100"),
        (6, "not CSV: unexpected end of data"),
        (7, "id: must have 1 to 128 characters"),
        (8, "hash: is missing"),
        (9, "h"),
    ]


def test_json_lists_lines_and_wrapped_lists() -> None:
    one, two = ({"id": each, "hash": PDQ} for each in "ab")
    wanted = ["a", "b"]
    for text in (
        json.dumps([one, two]),
        f"{json.dumps(one)}\n{json.dumps(two)}\n",
        json.dumps({"entries": [one, two], "more": 1}),
        json.dumps({"a": {"hash": PDQ}, "b": {"hash": PDQ}}),
    ):
        assert [r.id for r in rows(text)] == wanted
    broken = f'[\n{json.dumps(one)},\n{{"id": "x", "hash": }},\n"text",\n{json.dumps(two)}\n]\n'
    assert [(r.line, r.fault[:20] or r.id) for r in rows(broken)] == [
        (2, "a"),
        (3, "not JSON: Expecting "),
        (4, "is not an entry"),
        (5, "b"),
    ]
    assert rows("[1")[-1].fault == "not JSON: the list does not end"
    assert rows("5", form="json")[-1].fault == "is not an entry"
    for deep in ('{"a":' * 99_999, "[" * 99_999, '{"a": 1}\n' + '{"a":' * 99_999):
        assert rows(deep, form="json")[-1].fault.startswith("not JSON")
    assert rows("{").pop().fault.startswith("not JSON")


def test_threatexchange_descriptors_and_updates() -> None:
    text = json.dumps(
        {
            "data": [
                {"id": "1", "raw_indicator": PDQ, "type": "HASH_PDQ", "status": "MALICIOUS"},
                {"id": "2", "raw_indicator": MD5, "type": "HASH_MD5", "status": "MALICIOUS"},
                {"id": "3", "raw_indicator": PDQ, "type": "HASH_PDQ", "status": "NON_MALICIOUS"},
                {
                    "id": "4", "raw_indicator": PDQ, "type": "HASH_PDQ", "status": "MALICIOUS",
                    "reactions": [{"key": "DISAGREE_WITH_TAGS", "value": "12"}],
                },
                {
                    "id": "5", "indicator": PDQ, "type": "HASH_PDQ", "should_delete": False,
                    "descriptors": {"data": [{"status": "MALICIOUS"}]},
                },
                {"id": "6", "indicator": PDQ, "type": "HASH_PDQ", "should_delete": True},
                {"id": "7", "indicator": {"indicator": PDQ, "type": "HASH_PDQ"}},
                {"id": "8", "type": "HASH_PDQ"},
            ],
            "paging": {"cursors": {}},
        }
    )  # fmt: skip
    assert tell_format("x.json", text) == "threatexchange"
    found = rows(text)
    assert [r.id for r in found if r.hash and not r.deleted and r.status == "confirmed"] == [
        "1", "5", "7",
    ]  # fmt: skip
    assert [r.id for r in found if r.status == "disputed"] == ["3", "4"]
    assert [r.id for r in found if r.deleted] == ["6"]
    assert found[-1].fault == "has no type or no raw_indicator"
    assert [r.id for r in rows(text, "md5") if r.hash and not r.deleted] == ["2"]


def test_hma_contents() -> None:
    contents = [
        {"id": 7, "signals": {"pdq": PDQ, "video_md5": MD5}},
        {"bank_content_id": 8, "signals": [{"signal_type": "pdq", "signal_value": PDQ}]},
        {"id": 9},
    ]
    text = json.dumps(contents)
    assert tell_format("x.json", text) == "hma"
    assert [(r.id, r.hash or r.fault) for r in rows(text)] == [
        ("7", PDQ), ("8", PDQ), ("", "has no signals"),
    ]  # fmt: skip
    assert [(r.id, r.hash) for r in rows(text, "md5")][:2] == [("7", MD5), ("8", "")]


def test_ncmec_rows_have_a_column_for_each_kind() -> None:
    text = (
        "id,type,classification,md5,sha1,pdq,deleted\n"
        f"4,image,A1,{MD5},{'0' * 40},{PDQ},false\n"
        f"5,image,B2,{MD5},{'0' * 40},,\n"
        f"6,image,A1,{MD5},{'0' * 40},{PDQ},true\n"
    )
    assert tell_format("x.csv", text) == "ncmec"
    assert [(r.id, bool(r.hash), r.deleted) for r in rows(text)] == [
        ("4", True, False), ("5", False, False), ("6", True, True),
    ]  # fmt: skip
    assert [r.hash for r in rows(text, "md5")] == [MD5] * 3
    entry = json.dumps([{"id": "9", "fingerprints": {"md5": MD5, "sha1": "00"}}])
    assert rows(entry, "md5", "json")[0].hash == MD5


def test_vpdq_frames_share_the_name_of_their_file() -> None:
    text = f"0,100,{PDQ},0.000\n1,30,{PDQ},0.033\n2,x,{PDQ},0.067\n"
    assert tell_format("clip.txt", text) == "vpdq"
    assert [(r.line, r.id, r.quality, r.fault) for r in rows(text, "video_pdq")] == [
        (1, "stem", 100, ""),
        (2, "stem", 30, ""),
        (3, "", 100, "quality: must be a whole number from 0 to 100"),
    ]
    frames = json.dumps([{"frame_number": 0, "quality": 90, "hash": PDQ, "timestamp": 0.0}])
    assert [(r.id, r.hash) for r in rows(frames, "video_pdq")] == [("stem", PDQ)]


def test_real_frame_hashes_are_read() -> None:
    if not VIDEOS.is_dir():
        pytest.skip("the vPDQ sample hashes are not on this machine")
    for path in sorted(VIDEOS.glob("*.txt")):
        text = path.read_text()
        assert tell_format(path.name, text) == "vpdq"
        found = rows(text, "video_pdq")
        assert len(found) == len(text.splitlines())
        assert not [row for row in found if row.fault]


def test_a_bank_takes_each_hash_once() -> None:
    a, b = "aa" * 32, "bb" * 32
    given = [
        Row(1, "x", a), Row(2, "y", a), Row(3, "x", b), Row(4, "x", a), Row(5, "z", b, 49),
        Row(6, "w", b, status="disputed"), Row(7, "v", ""), Row(8, "u", b, deleted=True),
    ]  # fmt: skip
    found = sort_rows(given, "pdq", 50)
    assert (found.names, found.disputed) == (["x", "w"], ["w"])
    assert found.hashes.hex() == a + b
    assert [(f.line, f.message) for f in found.faults] == [(3, "id: there are two entries x")]
    assert found.skipped == {
        "the same hash again": 2,
        "quality below 50": 1,
        "other kinds of hash": 1,
        "withdrawn in the list": 1,
    }
    video = sort_rows(given[:4], "video_pdq", 50)
    assert (video.names, len(video.hashes)) == (["x", "y", "x"], 96)


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=9),
            st.binary(min_size=16, max_size=16),
            st.sampled_from(["confirmed", "disputed"]),
        ),
        max_size=12,
    ),
    st.sampled_from([form for form in FORMATS if form != "vpdq"]),
)
def test_what_is_written_is_read_again(entries: list[tuple[str, bytes, str]], form: Format) -> None:
    given_ = [Row(0, name, raw.hex(), status=s) for name, raw, s in entries]  # type: ignore[arg-type]
    out = io.StringIO()
    assert write_rows(out, given_, "md5", form) == len(entries)
    found = [row._replace(line=0) for row in read_rows(out.getvalue(), "md5", form, "stem")]
    assert found == given_


@given(st.text(max_size=200), st.sampled_from(FORMATS))
def test_no_text_breaks_a_reader(text: str, form: Format) -> None:
    for row in read_rows(text, "pdq", form, "stem"):
        assert row.line >= 0


def test_a_format_that_has_no_place_for_a_kind_says_so() -> None:
    with pytest.raises(WrongError, match="threatexchange has no place for phash64"):
        write_rows(io.StringIO(), [], "phash64", "threatexchange")
