from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.user_state import Arrived, StateError, decode_state, encode_state
from schemas.features import SINGLE, Velocity, Window

windows = st.builds(
    Window,
    st.integers(1, 65535),
    st.integers(0, 255),
    st.integers(0, 255),
    st.floats(0, 86400, allow_nan=False),
)
velocities = st.builds(Velocity, st.tuples(windows, windows, windows, windows), st.booleans())
arrivals = st.builds(
    Arrived,
    st.binary(max_size=200),
    st.text(max_size=20),
    st.integers(0, 1000),
    st.integers(0, 2**62),
    st.integers(0, 2**50),
    velocities,
)


@given(st.binary(min_size=1, max_size=300), st.lists(arrivals, max_size=4))
def test_round_trip(velocity: bytes, waiting: list[Arrived]) -> None:
    assert decode_state(encode_state(velocity, waiting)) == (velocity, waiting)


def test_a_new_user_has_nothing() -> None:
    assert decode_state(None) == (None, [])
    assert decode_state(b"") == (None, [])


@given(st.binary(min_size=1, max_size=100))
def test_damage_is_told_never_guessed(value: bytes) -> None:
    try:
        velocity, waiting = decode_state(value)
    except StateError:
        return
    assert value[0] == 1
    assert encode_state(velocity or b"", waiting)[:5] == value[:5]


def test_another_version_is_refused() -> None:
    value = encode_state(b"x", [Arrived(b"r", "t", 0, 0, 0, SINGLE)])
    with pytest.raises(StateError, match="version 2"):
        decode_state(b"\x02" + value[1:])
