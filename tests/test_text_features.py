from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.text_features import BUCKETS, features, occurrences

texts = st.text(st.sampled_from("ab é!'1\n\t_да😀\u0301"), max_size=40)


def buckets(text: str) -> set[int]:
    return set(features([text]).buckets.tolist())


@given(st.lists(texts, max_size=8))
def test_a_batch_gives_each_text_what_it_has_alone(batch: list[str]) -> None:
    found = features(batch)
    assert found.bounds[0] == 0
    assert found.bounds[-1] == len(found.buckets)
    for i, text in enumerate(batch):
        own = found.buckets[found.bounds[i] : found.bounds[i + 1]]
        assert own.tolist() == features([text]).buckets.tolist()


@given(texts)
def test_buckets_are_a_set_in_range(text: str) -> None:
    found = features([text]).buckets
    assert len(set(found.tolist())) == len(found)
    assert ((found >= 0) & (found < BUCKETS)).all()


@given(texts)
def test_occurrences_are_the_same_features_with_places(text: str) -> None:
    found = occurrences(text)
    assert set(found.buckets.tolist()) == buckets(text)
    for start, end in zip(found.starts.tolist(), found.ends.tolist(), strict=True):
        assert 0 <= start < end <= len(text)
        assert text[start] > " "
        assert text[end - 1] > " "


def test_a_word_has_the_same_features_wherever_it_stands() -> None:
    assert buckets("idiot") <= buckets("what an idiot you are")
    assert buckets("idiot") <= buckets("😀 " * 30 + "idiot")


def test_repeats_add_nothing_new() -> None:
    once, often = buckets("bad dog"), buckets("bad dog " * 20)
    # Only the pair across the seam is new.
    assert once <= often
    assert len(often - once) <= 1


def test_order_counts_through_pairs() -> None:
    assert buckets("dog bites man") != buckets("man bites dog")


def test_pieces_stay_within_a_word() -> None:
    alone = buckets("abcd") | buckets("efgh")
    pair = buckets("abcd efgh") - alone
    assert len(pair) == 1


def test_line_ends_and_tabs_are_spaces() -> None:
    assert buckets("one two") == buckets("one\ntwo") == buckets("one\ttwo")


def test_misspelling_keeps_most_pieces() -> None:
    word, slip = buckets("disgusting"), buckets("disguting")
    assert len(word & slip) / len(word) > 0.4


@pytest.mark.parametrize("batch", [[], [""], ["", "", ""], [" "], ["\n"]])
def test_nothing_gives_nothing(batch: list[str]) -> None:
    found = features(batch)
    assert len(found.buckets) == 0
    assert found.bounds.tolist() == [0] * (len(batch) + 1)


def test_hashes_do_not_change() -> None:
    # Trained weights are tied to these very numbers; another scheme needs another name.
    assert np.sort(features(["ab c"]).buckets).tolist() == [
        6054,
        48592,
        52707,
        109689,
        182063,
        247387,
        253376,
    ]
