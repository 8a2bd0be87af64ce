"""Planted personal data: none comes through, and what is none stays."""

from __future__ import annotations

import datetime as dt
import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.decision import Feedback
from scripts.cli.dataset import feedback
from udfs.pii import KINDS, MaskLogs, find_pii, luhn, mask
from udfs.pii_names import mask_told, told_names

PLANTED = {
    "email": [
        "bob.smith+x@example.co.uk",
        "BOB@EXAMPLE.ORG",
        "jo [at] mail (dot) org",
        "müller@beispiel.de",
        # In full-width forms, as the number below.
        "bob\uff20example\uff0eorg",
    ],
    "card": ["4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005"],
    "ip": ["192.168.0.17", "2001:db8::8a2e:370:7334", "fe80:0:0:0:204:61ff:fe9d:f156"],
    "phone": [
        "+49 30 901820",
        "(212) 555-0187",
        "212-555-0187",
        "+1 212 555 0187",
        "020 7946 0958",
        "\uff0b\uff11 \uff12\uff11\uff12 \uff15\uff15\uff15 \uff10\uff11\uff18\uff17",
        "+٤٩ ٣٠ ٩٠١٨٢٠",
    ],
    "handle": ["@bob_1", "u/some_one", "/u/some-one"],
}
"""What is found wherever it stands; names need a sign, see below."""
ALL = [(kind, text) for kind, texts in PLANTED.items() for text in texts]
NAMED = {
    "My name is Priya Raman, hello": "Priya Raman",
    "hi, my real name's O'Neill": "O'Neill",
    "I\u2019m Tyrone Washington and I live here": "Tyrone Washington",
    "I am Juan Carlos de la Vega Ortega": "Juan Carlos de la Vega Ortega",
    "ask Mr. Sato about it": "Sato",
    "Dear Dr. K. Nguyen-Smith!": "K. Nguyen-Smith",
    "my name is Dr. Fatima al-Sayed.": "Fatima al-Sayed",
    "Meu nome é João da Silva e moro aqui": "João da Silva",
    "Eu me chamo Ana Beatriz.": "Ana Beatriz",
    "eu sou Carlos Lima": "Carlos Lima",
    "fale com a Sra. Souza": "Souza",
    "I wrote it.\n\nBest regards,\nSvetlana Petrova": "Svetlana Petrova",
    "thanks!\r\n-- Bob\r\nsent from my phone": "Bob",
    "Até logo.\nAbraços,\nJoão Pereira.": "João Pereira",
    "Меня не слышат. Dr. Дмитрий Волков": "Дмитрий Волков",
}
"""A text, and the name that it says is one."""
HARMLESS = [
    "my name is on the list",
    "I'm Dutch, and I am Sorry",
    "Regards,\nwe all know what that means",
    "Thanks\nI will do it",
    "THE DRUMR. Smith",
    "sr. engineer",
    "Paris in the Spring",
    "on 2026-01-02 at 10:30:45",
    "2026-01-02T10:30:00Z",
    "it costs 1,299.99 for 12 of them",
    "order 1234567890123",
    "meet @ 5pm, 3 at 5 (at) home.",
    "a :: b",
    "version 1.22.3",
    "4111-1111-1111-1112",
    "0000 0000 0000 0000",
    "999.999.999.999",
    "100% of 3/4",
    "https://example.org/about",
    "",
]


@pytest.mark.parametrize(("kind", "planted"), ALL)
@pytest.mark.parametrize("around", ["{}", "call {} now", "it is: {}.", "({})", "{}, said äöü 😀"])
def test_what_is_planted_is_found_and_masked(kind: str, planted: str, around: str) -> None:
    text = around.format(planted)
    assert mask(text) == around.format(f"[{kind}]")
    (found,) = find_pii(text)
    assert (found.kind, text[found.start : found.end]) == (kind, planted)


@pytest.mark.parametrize(("text", "name"), NAMED.items())
def test_names_that_a_text_says_are_some_are_masked(text: str, name: str) -> None:
    (found,) = find_pii(text)
    assert (found.kind, text[found.start : found.end]) == ("name", name)
    assert mask(text) == text.replace(name, "[name]")
    assert name not in mask(f"so: {text}")
    # In small letters nothing tells it from other words.
    assert "[name]" not in mask(text.lower())


def test_names_that_a_record_tells_are_found_wherever_they_stand() -> None:
    fields = ("display_name", "author", "mentions")
    record = {
        "display_name": "  Ana   Souza ",
        "author": {"display_name": "ana.s", "id": "Nobody Knows"},
        "mentions": [{"display_name": "Bob"}, "Li Wei", 7, ["Deep"], {"name": "Carl"}],
        "text": "display_name",
        "name": "Dora",
    }
    names = told_names(record, fields)
    assert names == ("Ana Souza", "Li Wei", "ana.s", "Bob")
    text = "ANA SOUZA (ana.s) and Bob told Bobby, Li Weiss and Li Wei."
    assert mask_told(text, names) == "[name] ([name]) and [name] told Bobby, Li Weiss and [name]."
    assert told_names(["Ana Souza"], fields) == told_names({"author": None}, fields) == ()
    # What could be any word, or is none.
    assert told_names({"author": "Jo", "mentions": ["123", "x" * 81]}, fields) == ()


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_personal_data_stays(text: str) -> None:
    assert mask(text) == text


def test_national_numbers_need_their_region() -> None:
    text = "ring 030 901820"
    assert mask(text) == text
    assert mask(text, ["DE"]) == "ring [phone]"
    assert mask("+49 30 901820", []) == "[phone]"


def test_every_kind_is_tested() -> None:
    assert {*PLANTED, "name"} == set(KINDS)


pieces = st.lists(
    st.sampled_from([*(text for _, text in ALL), *HARMLESS, *NAMED]) | st.text(max_size=12),
    max_size=6,
)


@settings(max_examples=80, deadline=None)
@given(pieces)
def test_masking_twice_changes_nothing_more(parts: list[str]) -> None:
    text = " | ".join(parts)
    once = mask(text)
    assert mask(once) == once
    spans = find_pii(text)
    assert all(a.end <= b.start for a, b in itertools.pairwise(spans))
    assert all(0 <= each.start < each.end <= len(text) for each in spans)


@settings(max_examples=80, deadline=None)
@given(st.integers(10**11, 10**18 - 1))
def test_each_number_has_one_check_digit(number: int) -> None:
    assert sum(luhn(f"{number}{digit}") for digit in range(10)) == 1 or len(set(str(number))) == 1


def test_logs_show_none(capsys: pytest.CaptureFixture[str]) -> None:
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            MaskLogs(),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    try:
        log = structlog.get_logger()
        for _, planted in ALL:
            log.info(
                f"text {planted} here", nested={"a": [planted, (planted,)]}, raw=planted.encode()
            )
            try:
                raise ValueError(f"cannot send to {planted}")
            except ValueError as error:
                log.exception("failed", cause=error, count=3, ok=True)
    finally:
        structlog.reset_defaults()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * len(ALL)
    for (kind, planted), shown in zip(ALL, zip(lines[::2], lines[1::2], strict=True), strict=True):
        for line in shown:
            said = msgspec.json.decode(line)
            assert planted not in str({**said, "timestamp": ""})
            assert f"[{kind}]" in line
            assert dt.datetime.fromisoformat(said["timestamp"])
        assert (said["count"], said["ok"]) == (3, True)


def row(number: int, text: str, **more: Any) -> bytes:
    fields: dict[str, Any] = {
        "feedback_id": f"f{number}",
        "moderation_id": f"m{number}",
        "content_id": f"c{number}",
        "source": "verdict",
        "category": "threat",
        "label": True,
        "weight": 0.8,
        "text": text,
        "language": "en",
        "scores": {},
        "features": {},
        "model_versions": {},
        "timestamp": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        **more,
    }
    return msgspec.json.encode(Feedback(**fields))


def test_training_rows_made_of_feedback_have_none(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    lines = [row(i, f"I know where you live, {text}!") for i, (_, text) in enumerate(ALL)]
    path.write_bytes(b"\n".join(lines))
    examples = list(feedback.read(path, 1.0))
    assert len(examples) == len(ALL)
    for (kind, planted), example in zip(ALL, examples, strict=True):
        assert example.text == f"I know where you live, [{kind}]!"
        assert planted not in example.text


def test_verdicts_outrank_any_number_of_reports(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    reports = [row(0, "x y", source="report", weight=0.2, feedback_id=f"r{i}") for i in range(50)]
    verdict = row(0, "x y", label=False)
    path.write_bytes(b"\n".join([*reports, verdict]))
    (example,) = feedback.read(path, 1.0)
    assert (example.labels, example.votes) == ({"threat": 0}, {"threat": (0, 1)})
    # Rows that say their rank are taken at their word.
    senior = verdict.replace(b'"label":false', b'"label":true')[:-1] + b',"rank":2}'
    path.write_bytes(b"\n".join([*reports, verdict, senior]))
    (example,) = feedback.read(path, 1.0)
    assert example.labels == {"threat": 1}
