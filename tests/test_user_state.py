from __future__ import annotations

import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.user_state import Arrived, UserValue, decode_state, encode_state
from schemas.features import SINGLE, Velocity, Window
from schemas.kept import StateError

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


@given(
    st.binary(min_size=1, max_size=300),
    st.binary(max_size=300),
    st.lists(arrivals, max_size=4),
)
def test_round_trip(velocity: bytes, trust: bytes, waiting: list[Arrived]) -> None:
    kept = decode_state(encode_state(velocity, trust, waiting))
    assert kept == UserValue(velocity, trust or None, waiting)


def test_a_new_user_has_nothing() -> None:
    assert decode_state(None) == UserValue()
    assert decode_state(b"") == UserValue()


@given(st.binary(min_size=1, max_size=100), st.lists(arrivals, max_size=2))
def test_a_value_of_the_release_before_trust_is_read(
    velocity: bytes, waiting: list[Arrived]
) -> None:
    value = struct.pack("<BI", 1, len(velocity)) + velocity
    if waiting:
        value += msgspec.msgpack.encode(waiting)
    assert decode_state(value) == UserValue(velocity, None, waiting)


@given(st.binary(min_size=1, max_size=100))
def test_damage_is_told_never_guessed(value: bytes) -> None:
    try:
        kept = decode_state(value)
    except StateError:
        return
    assert value[0] in {1, 2}
    if value[0] == 2:
        again = encode_state(kept.velocity or b"", kept.trust or b"", kept.waiting)
        assert again[:9] == value[:9]


def test_another_version_is_refused() -> None:
    value = encode_state(b"x", b"", [Arrived(b"r", "t", 0, 0, 0, SINGLE)])
    with pytest.raises(StateError, match="version 3"):
        decode_state(b"\x03" + value[1:])
