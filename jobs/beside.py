"""Settings of a job beside the moderation job: a consumer group and checkpoints of its own."""

from __future__ import annotations

from typing import Protocol

from schemas.settings import ROOT, Settings


class Section(Protocol):
    """What the settings say about such a job."""

    @property
    def group_id(self) -> str: ...
    @property
    def checkpoint_interval_ms(self) -> int: ...


def settings_beside(settings: Settings, name: str, section: Section, *, local: bool) -> Settings:
    """The settings as the job needs them.

    Args:
        settings: of the moderation job.
        name: of the job.
        section: its own.
        local: a mini-cluster; its checkpoints must not lie among the moderation job's. Where a
            job is submitted, who submits it sees to that.
    """
    flink = settings.flink
    folder = flink.checkpoint_dir
    if local:
        own = ROOT / ".run" / f"{name}-checkpoints"
        folder = f"{folder.rstrip('/')}/{name}" if folder else str(own)
    changes = {
        "checkpoint_dir": folder,
        "checkpoint_interval_ms": section.checkpoint_interval_ms,
    }
    return settings.model_copy(
        update={
            "flink": flink.model_copy(update=changes),
            "kafka": settings.kafka.model_copy(update={"group_id": section.group_id}),
        }
    )
