"""Personal data in tables: the patterns of the tables job find what `udfs.pii` finds, and more.

The engine's own run of them: test_tables_e2e.
"""

from __future__ import annotations

import json
import time
from typing import Any, get_args

import pytest
import regex  # type: ignore[import-untyped]  # ships no type information
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.table_pii import OBJECTS, PLAIN, Form, masked_sql, patterns
from operators.table_sql import insert_sql
from schemas.tables_records import ALL
from schemas.topics import topics
from tests.test_pii import ALL as PLANTED
from tests.test_pii import HARMLESS, NAMED
from udfs.pii import find_pii

COMPILED = {
    form: [(regex.compile(pattern.regex), pattern.mask) for pattern in patterns(form)]
    for form in ("text", "json")
}
AROUND = [
    *("{}", "call {} now", "it is: {}.", "({})", "{}, said äöü 😀", "\n{}\n", "a\\{}"),
    *("\x01{}\t", '"{}"', "1,{},2", "{}\\"),
]


def masked(text: str, form: Form = "text") -> str:
    """What the job makes of it, by an engine that reads the same patterns."""
    for pattern, mask in COMPILED[form]:
        text = pattern.sub(mask, text)
    return text


def compact(value: Any) -> str:
    """As the job gets JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize(("kind", "planted"), PLANTED)
@pytest.mark.parametrize("around", AROUND)
def test_what_is_planted_is_masked(kind: str, planted: str, around: str) -> None:
    text = around.format(planted)
    if not any(found.kind == kind for found in find_pii(text)):
        pytest.skip("no such data, written like this")
    assert planted not in masked(text)
    assert find_pii(masked(text)) == []
    # In JSON, where control characters are letters behind a backslash; it is JSON afterwards.
    record = json.loads(masked(compact({"text": text, "list": [text], text: 1}), "json"))
    assert planted not in str(record)
    assert find_pii(record["text"]) == []


@pytest.mark.parametrize(("text", "name"), NAMED.items())
@pytest.mark.parametrize("around", ["{}", "\n{}", "{}\n", '"{}"', "a\\ {}"])
def test_names_are_masked(text: str, name: str, around: str) -> None:
    text = around.format(text)
    if not find_pii(text):
        pytest.skip("no signature, written like this")
    assert name not in masked(text)
    record = json.loads(masked(compact({"text": text, "list": [text]}), "json"))
    assert name not in str(record)
    assert find_pii(record["text"]) == []


pieces = st.lists(
    st.sampled_from([*(text for _, text in PLANTED), *HARMLESS, *NAMED, *"@.:/\\\"'-+(0u\n"])
    | st.text(max_size=8),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(pieces, st.sampled_from(["", " ", "|"]))
def test_nothing_is_left_to_find(parts: list[str], between: str) -> None:
    text = between.join(parts)
    assert find_pii(masked(text)) == []
    try:
        record = json.loads(masked(compact({"text": text}), "json"))
    except json.JSONDecodeError:
        return  # the row has NULL then
    assert find_pii(record["text"]) == []


@pytest.mark.parametrize("text", HARMLESS)
def test_what_cannot_be_personal_data_stays(text: str) -> None:
    over = {"order 1234567890123", "4111-1111-1111-1112", "0000 0000 0000 0000"}
    assert (masked(text) == text) is (text not in over | {"999.999.999.999"})


def test_json_keeps_its_numbers() -> None:
    record = {"at": "2026-01-01T00:00:00Z", "x": 0.123456789, "v": [[1, 86400.0]], "views": 99}
    assert json.loads(masked(compact(record), "json")) == record
    # A long whole number may be a telephone's.
    assert json.loads(masked(compact({"ms": 1772409600000}), "json")) == {"ms": "[number]"}


@pytest.mark.parametrize(
    "text",
    [
        *("a", "1 ", "1", "@", "a.", "@a.", "u/", ":a", "[at]", "(1", "1-(((((", "\\", "+"),
        *("Mr. ", "Thanks\n", "Mr. Aa ", "I am A. ", "A'a-", "my name is "),
    ],
)
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    for form in get_args(Form):
        masked(text * (20_000 // len(text)) + "x", form)
    assert time.process_time() - began < 1.0


def test_every_column_that_can_hold_text_is_masked() -> None:
    for table in ALL.values():
        for column in table.all_columns[1:]:
            sql = masked_sql(table, column)
            if table.name == "control_history" or column.type not in {"STRING", "BYTES"}:
                assert sql is None
            elif column.type == "BYTES":
                assert sql == "CAST(NULL AS BYTES)"
            elif column.name in PLAIN:
                assert sql is None
            else:
                assert sql is not None
                assert sql.count("REGEXP_REPLACE(") == (10 if column.name in OBJECTS else 9)
    text = insert_sql(ALL["review_items"], "d", topics(), masked=True)
    assert text.count("[handle]") == 3  # reason, text, upload
    assert "[handle]" not in insert_sql(ALL["review_items"], "d", topics())
