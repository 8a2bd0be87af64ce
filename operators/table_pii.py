"""Personal data masked where it becomes a row: the detector of `udfs.pii` as SQL of the JVM.

The tables job enters no Python, so that what Python checks is left out here, on the side of
masking: every number of a payment card's length counts as one (Luhn's sum is no regular
expression), and every number of seven digits or more as a telephone number, written however. What
`udfs.pii` finds in a text, these patterns mask; the reverse is not so.

A pattern takes time linear in the text and no more stack than a short one: repetitions of groups
are bounded, those of classes are possessive where they could be tried again.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Final, Literal, NamedTuple

from schemas.tables import Column, Table
from schemas.tables_records import CONTROL_HISTORY
from udfs.pii_names import (
    BEFORE_ONE,
    BEFORE_TWO,
    BOUNDARY,
    ONE_WORD,
    TITLE,
    TWO_WORDS,
    UPPER,
    before_signature,
)

Form = Literal["text", "json"]

PLAIN: Final = frozenset(
    {
        # Ids and hashes: rows are joined by them, and some look like telephone numbers.
        *("moderation_id", "content_id", "user_id", "community_id", "report_id", "reporter_id"),
        *("verdict_id", "rater_id", "rater", "appeal_id", "feedback_id", "event_id", "topic"),
        *("label_id", "campaign_id", "sketch", "pdq"),
        *("policy_hash", "rules_hash", "banks_hash", "text_sha256", "policy_version"),
        # One of a few words.
        *("content_type", "category", "decided_category", "severity", "status", "action"),
        *("ordered", "stage", "cache", "why", "role", "outcome", "source", "language"),
        *("error_kind", "kind", "mode", "name", "given_by", "suite", "day"),
    }
)
"""Columns of strings that hold no free text."""
OBJECTS: Final = frozenset({"upload", "velocity", "user_features", "context", "evidence"})
"""Columns of strings that hold JSON."""


class Pattern(NamedTuple):
    """What is replaced, and by what."""

    regex: str
    """For engines with possessive repetition, lookbehind of bounded length and Unicode classes."""
    mask: str


def masked_sql(table: Table, column: Column) -> str | None:
    """SQL of a column without personal data; None where it can hold none.

    JSON that is none any more once it is masked becomes NULL, as bytes do: nobody knows how to
    read them, so that nobody knows what is in them.
    """
    if table is CONTROL_HISTORY:  # what moderators publish, patterns for telephone numbers too
        return None
    if column.type == "BYTES":
        return "CAST(NULL AS BYTES)"
    if column.type != "STRING" or column.name in PLAIN:
        return None
    value = column.value or f"`{column.name}`"
    if column.name in OBJECTS:
        return f"JSON_QUERY({_replaced(value, 'json')}, 'lax $' NULL ON EMPTY NULL ON ERROR)"
    return _replaced(value, "text")


def _replaced(value: str, form: Form) -> str:
    for pattern in patterns(form):
        # (?U): classes mean all of Unicode, as Python's do.
        regex = pattern.regex.replace("'", "''")
        value = f"REGEXP_REPLACE({value}, '(?U){regex}', '{pattern.mask}')"
    return value


@functools.cache
def patterns(form: Form) -> tuple[Pattern, ...]:
    """What is replaced one after the other, in a text or in JSON without spaces."""
    at, dot, colon, slash = _like("@"), _like("."), _like(":"), _like("/")
    begin, end = _like("([{"), _like(")]}")
    # RE2's whitespace: what engines take for it beyond these differs.
    space = r"[\t\n\f\r ]"
    part = f"[^\\x00-\\x20{_like('@<>()[]{},;:' + chr(34) + chr(39) + '/' + chr(92) + '|')}]"
    label = f"[^\\x00-\\x20{_like('@<>()[]{},;:' + chr(34) + chr(39) + '/' + chr(92) + '|.!?*#')}]"
    word = r"[\p{L}\p{N}_]"
    hexadecimal = f"[{_like('0123456789abcdefABCDEF')}]"
    between = f"{_like('()./')}{_like('-')}\\p{{Zs}}"
    # What stands alone after a name is a number of JSON, not of a text; whole ones come first.
    token = r'(?<!(?<!\\)":[-+\d.eE]{0,25})' if form == "json" else ""
    date = r"(?!\d{4}-\d\d-\d\d(?![\d]|[-/. ]\d))"
    texts = (
        Pattern(
            # Or where the one before ended: an address can begin by what no domain has.
            rf"(?:{_start(part, form)}|\G){part}++"
            rf"(?:[{at}]|{space}?[{begin}]{space}?[{_like('aA')}][{_like('tT')}]{space}?[{end}]"
            rf"{space}?){label}++(?:(?:[{dot}]|{space}?[{begin}]{space}?[{_like('dD')}]"
            rf"[{_like('oO')}][{_like('tT')}]{space}?[{end}]{space}?){label}++){{1,32}}",
            "[email]",
        ),
        Pattern(
            rf"{_start(word, form)}{token}\p{{N}}(?:[{_like('- ')}]?\p{{N}}){{12,18}}(?!{word})",
            "[card]",
        ),
        Pattern(
            rf"{_start(word, form)}{token}\p{{N}}{{1,3}}(?:[{dot}]\p{{N}}{{1,3}}){{3}}(?!{word})",
            "[ip]",
        ),
        Pattern(
            rf"{_start(word, form)}(?=(?:[{colon}]{{0,7}}{hexadecimal}){{4}})"
            rf"(?={hexadecimal}{{0,4}}(?:[{colon}]{hexadecimal}{{1,4}}){{0,6}}[{colon}][{colon}]"
            rf"|{hexadecimal}{{1,4}}(?:[{colon}]{hexadecimal}{{1,4}}){{7}})"
            rf"{hexadecimal}{{0,4}}(?:[{colon}]{hexadecimal}{{0,4}}){{2,7}}"
            rf"(?:\p{{N}}{{0,3}}(?:[{dot}]\p{{N}}{{1,3}}){{3}})?(?!{word})",
            "[ip]",
        ),
        Pattern(
            rf"{_start(word, form)}{token}{date}[{_like('+(')}]{{0,2}}"
            rf"\p{{N}}(?=(?:[{between}]{{0,5}}\p{{N}}){{6}})[\p{{N}}{between}]{{5,}}\p{{N}}(?!{word})",
            "[phone]",
        ),
        Pattern(
            rf"{_start('[A-Za-z0-9_@./]', form)}"
            rf"(?:[{at}][\p{{L}}\p{{N}}_][\p{{L}}\p{{N}}_.\-]*+"
            rf"|[{slash}]?[{_like('uU')}][{slash}][\p{{L}}\p{{N}}_\-]++)",
            "[handle]",
        ),
        *_names(form),
    )
    if form == "text":
        return texts
    return (Pattern(r'(?<=(?<!\\)":)-?\d{7,}(?=[,}])', '"[number]"'), *texts)


def _names(form: Form) -> tuple[Pattern, ...]:
    """As `udfs.pii_names` finds them; a line of JSON ends by an escape, or its text by a quote."""
    if form == "text":
        start, line_break, end = BOUNDARY, r"\r?\n", "$"
    else:
        start = rf"(?:{BOUNDARY}|\\[bfnrt]|\\u[0-9a-fA-F]{{4}})"
        line_break, end = r"(?:\\r)?\\n", '"'
    closed = rf"(?= *\.? *(?:{line_break}|{end}))"
    before = (BEFORE_ONE, BEFORE_TWO, before_signature(line_break))
    # What stands before stays: Flink takes a replacement as it is, so that it cannot name a group.
    # An upper-case letter comes first, for few places have one.
    one, two, signed = (f"(?=[{UPPER}])(?!{TITLE})(?<={start}{each})" for each in before)
    return (
        Pattern(f"{one}{ONE_WORD}", "[name]"),
        Pattern(f"{two}{TWO_WORDS}", "[name]"),
        Pattern(f"{signed}{ONE_WORD}{closed}", "[name]"),
    )


def _start(before: str, form: Form) -> str:
    """Where something can begin: not within a word; in JSON, not within an escape but after one."""
    if form == "text":
        return f"(?<!{before})"
    return rf"(?:(?<!{before})(?<!(?<!\\)\\)|(?<=(?<!\\)\\[bfnrt])|(?<=\\u[0-9a-fA-F]{{4}}))"


def _like(characters: str) -> str:
    """Inside of a class: these, and what is the same in its compatibility form, in full width."""
    same = [*characters, *(other for one in characters for other in _compatible().get(one, ""))]
    return "".join(
        re.escape(one) if one.isascii() else f"\\u{ord(one):04x}" for one in dict.fromkeys(same)
    )


@functools.cache
def _compatible() -> dict[str, str]:
    """By ASCII character: others (of the basic plane) whose NFKC form it is.

    Those beyond are letters and digits in mathematical fonts, which classes know.
    """
    found: dict[str, str] = {}
    for point in range(0x80, 0x10000):
        folded = unicodedata.normalize("NFKC", chr(point))
        if len(folded) == 1 and folded.isascii() and not 0xD800 <= point < 0xE000:
            found[folded] = found.get(folded, "") + chr(point)
    return found
