"""Contents that were decided without a bank wait for it, and come again with what was seen."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from operators.rescan_logic import is_transient
from schemas.errors import InvalidUploadError
from schemas.rescan import BankWait, decode_bank_wait, waits_for_banks
from tests.away_kit import Rescan, Shelf, wait_for
from tests.fakes import payload


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_all_that_waited_comes_in_batches_under_ids_of_its_own(shelf: Shelf) -> None:
    shelf.bank_file()
    shelf.away()
    rescan = Rescan()
    for number in range(7):
        rescan.take(wait_for(shelf, number))
        rescan.take(wait_for(shelf, number))
    assert rescan.run(1000) == []
    shelf.back()
    found = rescan.run(1000)
    assert sorted(each.content_id for each in found) == [f"c{number}" for number in range(7)]
    assert not any(is_transient(each) for each in found)
    assert len({each.evidence_id for each in found}) == 7
    # Decided without a bank once more, it waits again, and comes under yet another id.
    rescan.take(wait_for(shelf, 3, found[3]))
    (again,) = rescan.run(1000)
    assert again.evidence_id not in {each.evidence_id for each in found}


def test_a_bank_that_stays_away_overrides_no_decision(shelf: Shelf) -> None:
    shelf.bank_file()
    rescan = Rescan()
    shelf.away()
    rescan.take(wait_for(shelf))
    assert rescan.run(20 * 3600) == []
    assert (rescan.due, rescan.state.waiting, rescan.state.keys) == (0, {}, set())
    assert rescan.metrics.value("media_rescans", fate="given_up") == 1


def test_an_upload_cannot_pass_for_what_was_found(shelf: Shelf) -> None:
    shelf.bank_file()
    sound = wait_for(shelf)
    assert waits_for_banks(sound)
    assert isinstance(decode_bank_wait(sound), BankWait)
    forged = msgspec.json.decode(sound) | msgspec.json.decode(payload("c1"))
    assert not waits_for_banks(msgspec.json.encode(forged))
    for raw in (b"", b"[]", b"\xff", payload("c1")):
        assert not waits_for_banks(raw)
    with pytest.raises(InvalidUploadError):
        decode_bank_wait(sound.replace(b'"image"', b'"song"', 1))
