"""Jobs beside the moderation job: groups, checkpoints and guarantees of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import campaigns, feedback, media, rescan, tables
from schemas.settings import Settings

JOBS: dict[str, Callable[..., Settings]] = {
    "media": media.job_settings,
    "rescan": rescan.job_settings,
    "feedback": feedback.job_settings,
    "campaigns": campaigns.job_settings,
    "tables": tables.job_settings,
}


def test_each_has_a_consumer_group_and_local_checkpoints_of_its_own() -> None:
    found = {name: made(Settings(), local=True) for name, made in JOBS.items()}
    groups = {own.kafka.group_id for own in found.values()}
    folders = {own.flink.checkpoint_dir for own in found.values()}
    assert len(groups | {Settings().kafka.group_id}) == len(JOBS) + 1
    assert len(folders) == len(JOBS)
    # Wherever the command is called from.
    assert all(Path(folder).is_absolute() for folder in folders)


@pytest.mark.parametrize("name", JOBS)
def test_a_folder_that_is_set_has_one_for_each_job(name: str) -> None:
    settings = Settings()
    flink = settings.flink.model_copy(update={"checkpoint_dir": "s3://bucket/checkpoints/"})
    settings = settings.model_copy(update={"flink": flink})
    local = JOBS[name](settings, local=True).flink
    assert local.checkpoint_dir == f"s3://bucket/checkpoints/{name}"
    submitted = JOBS[name](settings, local=False).flink
    assert submitted.checkpoint_dir == "s3://bucket/checkpoints/"


def test_a_job_takes_its_own_checkpoint_interval() -> None:
    settings = Settings()
    assert JOBS["tables"](settings, local=True).flink.checkpoint_interval_ms == (
        settings.tables.checkpoint_interval_ms
    )


def test_tables_are_written_exactly_once_and_from_the_start_unless_options_say_otherwise() -> None:
    own = JOBS["tables"](Settings(), local=True)
    assert own.flink.options["execution.checkpointing.mode"] == "EXACTLY_ONCE"
    assert own.kafka.start == "earliest-offset"
    flink = Settings().flink.model_copy(update={"options": {"table.local-time-zone": "CET"}})
    other = JOBS["tables"](Settings().model_copy(update={"flink": flink}), local=True)
    assert other.flink.options["table.local-time-zone"] == "CET"
