"""The cost of normalisation on hostile input."""

# ruff: noqa: RUF001 - look-alikes are what is tested

from __future__ import annotations

import time

import pytest

from udfs.normalise import normalise

PATHOLOGICAL = [
    "\u0301",
    "\u0301\u0323\u0338\u0327",
    "a\u0301\u0323\u0338\u0327\u0302",
    "\U0001d165\U0001d16e\u0323\u0301",
    "\u093c\u094d\u0951\u0952",
    " ",
    "k ",
    "h.",
    "b-",
    "@",
    "$",
    "a1",
    "a1-",
    "_a1",
    "a1 ",
    "a1@",
    "x1@y.",
    "a.1b.",
    "\u200d",
    "a\u200b",
    "\u0640",
    "www.",
    "#a1",
    "a",
    "f*ck ",
    "k y s ",
    "aа ",
    "aа",
    "🇺",
    "!",
    "h!t",
    "ﷺ",
    "㌀",
    "\u1100\u1161\u11a8",
    "a  b",
    "с у ",
    "\x00a",
    "\ud800",
    "kys ",
    "iiib",
    "ｈ４ｔ３ ",
    "👩\u200d",
    "$h1t ",
    "h.4.t.3 ",
    "a...b...",
    "\U0001f3f4\U000e0067\U000e007f",
]


@pytest.mark.parametrize("unit", PATHOLOGICAL)
def test_fifty_thousand_characters_of_anything_take_linear_time(unit: str) -> None:
    text = (unit * (50_000 // len(unit) + 1))[:50_000]
    normalise(text[:100])
    started = time.process_time()
    normalise(text)
    # Quadratic steps take many seconds here; the slowest of these takes a tenth of one.
    assert time.process_time() - started < 1.0


def test_long_runs_of_marks_are_cut_before_anything_sorts_them() -> None:
    text = "a" + "\u0301\u0323" * 25_000
    started = time.process_time()
    assert normalise(text).text == "a"
    assert time.process_time() - started < 0.25
