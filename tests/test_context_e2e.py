"""Surroundings by the real job: real clocks, a real broker's times, a real Redis."""

from __future__ import annotations

from pathlib import Path

import pytest

from operators.context_store import ContextStore
from schemas.decision import Decision
from schemas.settings import Settings
from tests.fakes import payload
from tests.running_job import Answers, RunningJob, line, publish

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

HOSTILE = "you are a stupid idiot and everybody hates you"


def test_an_answer_is_told_of_its_parent_and_thread(
    stack_settings: Settings, tmp_path: Path
) -> None:
    def post(content_id: str, text: str, thread: str = "e2e heated") -> bytes:
        return payload(
            content_id,
            f"user of {content_id}",
            text=text,
            thread_id=thread,
            parent_content_id="e2e root",
        )

    answers = Answers(stack_settings)
    # Long enough not to take a busy test machine for a slow Redis.
    with RunningJob(stack_settings, tmp_path, SLUICE_REDIS__TIMEOUT_MS="1000") as job:
        job.wait_ready()
        first = [post("e2e root", HOSTILE), *(post(f"e2e {n}", HOSTILE) for n in range(3))]
        publish(stack_settings, [line(value, None) for value in first])
        answers.until(lambda a: a.count() == 4)
        store = ContextStore(stack_settings.redis, stack_settings.context)
        # Nothing follows, and yet what they say has arrived.
        assert [kept.entries for kept in store.thread("e2e heated").kept] == [4]
        answers.settle(stack_settings.context.settle_ms / 1000 + 1)
        later = [post("e2e answer", "thank you"), post("e2e other", "thank you", "e2e calm")]
        publish(stack_settings, [line(value, None) for value in later])
        answers.until(lambda a: a.count() == 6)
        answers.settle(3)
        publish(stack_settings, [line(later[0], None)])
        answers.until(lambda a: a.count() == 7)
        assert job.stop() == 0
    by_content: dict[str, list[Decision]] = {}
    for decision in answers.decisions():
        by_content.setdefault(decision.content_id, []).append(decision)
    told, again = (decision.features for decision in by_content["e2e answer"])
    toxicity = max(by_content["e2e root"][0].scores.values())
    assert toxicity > 0.5
    assert told["parent_toxicity"] == pytest.approx(toxicity, abs=0.001)
    assert told["thread_posts"] == 4
    assert 2 < told["thread_heat"] < 4
    assert again == told
    (other,) = by_content["e2e other"]
    assert other.features["parent_toxicity"] == told["parent_toxicity"]
    assert "thread_heat" not in other.features
    answers.close()
