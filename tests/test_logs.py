"""What jobs log: events with fields, through the standard library, without personal data."""

from __future__ import annotations

import logging

import pytest

from operators.logs import get_logger
from operators.media_udf import encoded
from schemas.evidence import Failure
from tests.test_media_case import evidence


def test_fields_are_masked_but_for_what_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    log = get_logger("sluice.test", keep=("content_id",))
    with caplog.at_level(logging.INFO, "sluice.test"):
        log.info(
            "failed", content_id="4111111111111111", url="https://x.example/?to=jo@mail.example"
        )
        log.debug("unheard", text="x")
        try:
            raise ValueError("cannot send to jo@mail.example")
        except ValueError:
            log.exception("broken")
    first, second = caplog.messages
    assert first == "event='failed' content_id='4111111111111111' url='https://x.example/[email]'"
    assert "ValueError: cannot send to [email]" in second
    assert "jo@mail" not in caplog.text


def test_a_failed_picture_is_logged_without_what_its_address_tells(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = Failure(kind="internal", step="fetch", message="no answer for jo@mail.example")
    with caplog.at_level(logging.WARNING, "sluice.media"):
        encoded(evidence(errors=[error]))
    (line,) = caplog.messages
    assert line.startswith("event='media_failed' content_id='c1' kind='internal' step='fetch'")
    assert "[email]" in line and "jo@" not in line
