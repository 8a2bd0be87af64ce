"""The sample uploads: committed as built, varied, and each what its label says."""

from __future__ import annotations

import base64
import csv
import datetime as dt
import itertools
import json
from collections import Counter

import msgspec
import pytest

from schemas.categories import TEXT_CATEGORIES
from schemas.errors import InvalidUploadError
from schemas.settings import CONF
from schemas.upload import Upload, decode_upload
from scripts.cli.samples import UPLOADS, build, load_sentences, render
from scripts.cli.upload_lines import UploadLine, UploadLineError, parse_line, read_lines
from udfs.banks import hash_text

NOW = dt.datetime(2024, 5, 5, 12, 0, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def raw() -> list[bytes]:
    return list(read_lines(UPLOADS.read_bytes().splitlines()))


@pytest.fixture(scope="module")
def lines(raw: list[bytes]) -> list[UploadLine]:
    return [parse_line(line, base=NOW) for line in raw]


@pytest.fixture(scope="module")
def uploads(lines: list[UploadLine]) -> list[tuple[str, Upload]]:
    return [(line.kind, decode_upload(line.value)) for line in lines if line.valid]


def test_the_file_is_what_the_sentences_give() -> None:
    text = render(build(load_sentences()))
    assert text == render(build(load_sentences()))
    assert UPLOADS.read_text("utf-8") == text, "run scripts/_run scripts.cli.samples"


def test_there_are_many_of_every_kind(lines: list[UploadLine]) -> None:
    kinds = Counter(line.kind for line in lines)
    assert kinds.total() >= 400
    assert kinds["clean"] >= 150
    assert kinds["evasion"] >= 25
    assert kinds["flood"] >= 30
    assert kinds["malformed"] >= 30
    assert kinds["known_bad"] >= 4
    for category in TEXT_CATEGORIES:
        assert kinds[category] >= 8, category
    for kind in ("hard_clean", "media", "redelivered", "edit", "chatty", "odd_key"):
        assert kinds[kind] > 0, kind


def test_malformed_is_malformed_and_nothing_else_is(lines: list[UploadLine]) -> None:
    kinds = set()
    for line in lines:
        if line.kind == "malformed":
            with pytest.raises(InvalidUploadError) as caught:
                decode_upload(line.value)
            kinds.add(caught.value.kind)
        else:
            assert line.valid, line.value[:200]
    assert kinds == {
        "oversize",
        "encoding",
        "not_json",
        "nesting",
        "missing_field",
        "invalid_field",
        "unknown_content_type",
    }


def test_languages_and_communities(uploads: list[tuple[str, Upload]]) -> None:
    languages = {upload.language for _, upload in uploads}
    assert languages >= {"en", "es", "pt", "de", "fr", "ru", "ar", "hi", "tr", "ja"}
    assert len({upload.community_id for _, upload in uploads}) >= 20
    assert {upload.content_type for _, upload in uploads} == {"text", "image", "video"}
    assert any(upload.extra for _, upload in uploads)


def test_flood_is_one_user_within_a_minute(uploads: list[tuple[str, Upload]]) -> None:
    flood = [upload for kind, upload in uploads if kind == "flood"]
    assert len({upload.user_id for upload in flood}) == 1
    times = sorted(upload.created_at for upload in flood)
    # All but the few that are late or ahead on purpose.
    assert (times[-3] - times[2]).total_seconds() < 400
    median = times[len(times) // 2]
    near = [t for t in times if abs((t - median).total_seconds()) < 30]
    assert len(near) >= 0.8 * len(times)


def test_redelivered_uploads_equal_the_first(lines: list[UploadLine]) -> None:
    first: dict[str, bytes] = {}
    again = 0
    for line in lines:
        if line.content_id is None or line.kind == "edit":
            continue
        if line.kind == "redelivered":
            assert first[line.content_id] == line.value
            again += 1
        else:
            assert line.content_id not in first
            first[line.content_id] = line.value
    assert again >= 10


def test_edits_have_a_revision_of_their_own(uploads: list[tuple[str, Upload]]) -> None:
    edits = {upload.content_id: upload for kind, upload in uploads if kind == "edit"}
    originals = {u.content_id: u for kind, u in uploads if kind != "edit"}
    assert edits
    for content_id, edit in edits.items():
        assert edit.revision == originals[content_id].revision + 1
        assert edit.text != originals[content_id].text


def test_some_uploads_are_out_of_order(uploads: list[tuple[str, Upload]]) -> None:
    times = [upload.created_at for _, upload in uploads]
    late = sum(a > b for a, b in itertools.pairwise(times))
    assert late >= 10
    assert max(times) > NOW  # a clock that runs fast
    assert all(abs((time - NOW).total_seconds()) < 900 for time in times)


def test_a_second_loop_is_other_uploads_by_other_users(raw: list[bytes]) -> None:
    def ids(suffix: str) -> set[str]:
        made = [parse_line(line, base=NOW, suffix=suffix) for line in raw]
        users = {line.key.decode() for line in made if line.valid and line.key}
        return users | {line.content_id for line in made if line.content_id}

    assert not (ids("-1") - {"t-17"}) & (ids("-2") - {"t-17"})


def test_a_plain_line_is_published_byte_for_byte() -> None:
    line = (
        b'{ "user_id":"u",  "content_id":"c", "created_at":"2024-05-05T12:00:00Z",'
        b'"content_type":"text", "text":"costs 5 $", "unknown":1.50, "s":"seconds"}'
    )
    parsed = parse_line(line, base=NOW)
    assert (parsed.value, parsed.key, parsed.valid) == (line, b"u", True)


def test_time_offsets_count_from_one_moment() -> None:
    line = json.dumps(
        {
            "content_id": "c",
            "content_type": "text",
            "user_id": "u",
            "text": "x",
            "created_at": "-12.5s",
            "account": {"created_at": "-3600s"},
        }
    ).encode()
    upload = decode_upload(parse_line(line, base=NOW).value)
    assert upload.created_at == NOW - dt.timedelta(seconds=12.5)
    assert upload.account.created_at == NOW - dt.timedelta(hours=1)


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        (b'{"$raw": "//4="}', None, b"\xff\xfe"),
        (b'{"$raw": "eyJ1c2VyX2lkIjogInUifQ==", "$key": "k"}', b"k", b'{"user_id": "u"}'),
        (b'{"user_id": "u", "$key": null}', None, b'{"user_id":"u"}'),
        (b"not json", None, b"not json"),
        (b'{"user_id": "u"}', b"u", b'{"user_id": "u"}'),
        (b"[1]", None, b"[1]"),
    ],
)
def test_payloads_that_are_no_uploads_keep_their_bytes(
    line: bytes, key: bytes | None, value: bytes
) -> None:
    parsed = parse_line(line, base=NOW)
    assert (parsed.key, parsed.value) == (key, value)
    assert not parsed.valid


def test_padding_reaches_the_size() -> None:
    good = {"content_id": "c", "content_type": "text", "user_id": "u", "text": "ab"}
    good |= {"created_at": "2024-05-05T12:00:00Z"}
    line = msgspec.json.encode(good | {"$pad_bytes": 10_000})
    value = parse_line(line, base=NOW).value
    assert 10_000 < len(value) < 10_200


@pytest.mark.parametrize("line", [b'{"$raw": "?"}', b'{"$raw": 7}', b'{"$raw": "", "$key": 5}'])
def test_a_convenience_used_wrongly_is_an_error(line: bytes) -> None:
    with pytest.raises(UploadLineError):
        parse_line(line, base=NOW)


def test_raw_lines_are_base64(raw: list[bytes]) -> None:
    payloads = [json.loads(line)["$raw"] for line in raw if b'"$raw"' in line]
    assert len(payloads) >= 10
    for payload in payloads:
        base64.b64decode(payload, validate=True)


def test_known_bad_texts_are_in_the_default_bank() -> None:
    with (CONF / "banks/sample_copies.csv").open(encoding="utf-8") as file:
        bank = {row["id"]: row["hash"] for row in csv.DictReader(file)}
    assert bank == {name: hash_text(text) for name, text in load_sentences()["known_bad"].items()}
