from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from operators.tick_batch import TickBatch


class Scorer:
    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, batch: Sequence[int]) -> list[str]:
        self.batches.append(list(batch))
        return [f"s{item}" for item in batch]


def test_the_first_timer_scores_for_all_and_each_takes_its_own() -> None:
    scorer = Scorer()
    ticks = TickBatch(scorer, max_batch=100)
    for i, key in enumerate(["a", "b", "a", "c"]):
        ticks.add(key, i)
    assert ticks.take("b") == [(1, "s1")]
    assert scorer.batches == [[0, 1, 2, 3]]
    assert ticks.take("a") == [(0, "s0"), (2, "s2")]
    assert ticks.take("c") == [(3, "s3")]
    assert len(scorer.batches) == 1
    assert len(ticks) == 0


def test_a_key_that_waits_for_nothing_scores_nothing() -> None:
    scorer = Scorer()
    ticks = TickBatch(scorer, max_batch=100)
    ticks.add("a", 1)
    assert ticks.take("b") == []
    assert scorer.batches == []


def test_what_comes_between_two_timers_of_a_tick_is_scored_when_taken() -> None:
    scorer = Scorer()
    ticks = TickBatch(scorer, max_batch=100)
    ticks.add("a", 1)
    ticks.add("b", 2)
    assert ticks.take("a") == [(1, "s1")]
    ticks.add("b", 3)
    assert ticks.take("b") == [(2, "s2"), (3, "s3")]
    assert scorer.batches == [[1, 2], [3]]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.sampled_from("abcd")),
            st.tuples(st.just("take"), st.sampled_from("abcd")),
        ),
        max_size=80,
    ),
    st.integers(1, 6),
)
def test_every_item_is_scored_once_and_leaves_once_in_order(
    steps: list[tuple[str, str]], max_batch: int
) -> None:
    scorer = Scorer()
    ticks = TickBatch(scorer, max_batch)
    added: list[int] = []
    left: dict[str, list[int]] = {key: [] for key in "abcd"}
    expected: dict[str, list[int]] = {key: [] for key in "abcd"}
    for number, (what, key) in enumerate(steps):
        if what == "add":
            ticks.add(key, number)
            added.append(number)
            expected[key].append(number)
        else:
            for item, outcome in ticks.take(key):
                assert outcome == f"s{item}"
                left[key].append(item)
    for key in "abcd":
        left[key] += [item for item, _ in ticks.take(key)]
    assert left == expected
    scored = [item for batch in scorer.batches for item in batch]
    assert scored == added
    assert all(len(batch) <= max_batch for batch in scorer.batches)
