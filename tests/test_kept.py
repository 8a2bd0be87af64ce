"""Values in state: they come back, and what cannot be read is said."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.kept import Kept, StateError


class Thing(msgspec.Struct, frozen=True, array_like=True):
    number: int
    text: str = ""


class Longer(msgspec.Struct, frozen=True, array_like=True):
    number: int
    text: str = ""
    since: int = 7


THINGS = Kept(Thing, 3, "thing")
things = st.builds(Thing, st.integers(-(2**63), 2**63 - 1), st.text())


@given(things)
def test_what_is_kept_comes_back(thing: Thing) -> None:
    assert THINGS.decode(THINGS.encode(thing)) == thing


@given(things)
def test_a_field_more_reads_what_was_kept_without_it(thing: Thing) -> None:
    found = Kept(Longer, 3, "thing").decode(THINGS.encode(thing))
    assert (found.number, found.text, found.since) == (thing.number, thing.text, 7)


@given(st.binary())
def test_anything_else_is_an_error_that_names_it(raw: bytes) -> None:
    try:
        found = THINGS.decode(raw)
    except StateError as error:
        assert str(error).startswith("thing ")
        assert THINGS.found(raw) is None
    else:
        assert THINGS.decode(THINGS.encode(found)) == found
        assert THINGS.found(raw) == found


def test_nothing_there_is_nothing_found() -> None:
    assert THINGS.found(None) is None


def test_another_version_is_told_from_damage() -> None:
    with pytest.raises(StateError, match="thing has version 4, this code reads 3"):
        THINGS.decode(b"\x04" + THINGS.encode(Thing(1))[1:])
    with pytest.raises(StateError, match="thing has version none"):
        THINGS.decode(b"")
    with pytest.raises(StateError, match="thing cannot be read"):
        THINGS.decode(THINGS.encode(Thing(1))[:-1])
