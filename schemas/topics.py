"""Names of the topics, under a prefix that is a setting."""

from __future__ import annotations

from typing import Final, NamedTuple

CONTENT_TYPES: Final[tuple[str, ...]] = ("text", "image", "video")


class Topics(NamedTuple):
    """Full topic names. Make one by `topics(prefix)`."""

    content_text: str
    content_image: str
    content_video: str
    evidence: str
    reports: str
    verdicts: str
    appeals: str
    user_events: str
    control: str
    decisions: str
    review: str
    feedback: str
    enforcement: str
    audit: str
    shadow: str
    control_acks: str
    dead_letters: str
    rescan: str
    campaigns: str
    quality: str

    @property
    def content(self) -> tuple[str, str, str]:
        """The three topics that uploads arrive on."""
        return (self.content_text, self.content_image, self.content_video)

    def for_content_type(self, content_type: str) -> str:
        """Topic for an upload of this type; text for any other, where it becomes a dead letter."""
        by_type = {"image": self.content_image, "video": self.content_video}
        return by_type.get(content_type, self.content_text)


COMPACTED: Final = frozenset({"control"})
"""Short names of topics that Kafka compacts by key."""


def topics(prefix: str = "moderation") -> Topics:
    """All topic names under `prefix`, for example `moderation.content.text`."""
    return Topics(
        *(
            f"{prefix}.{field.replace('content_', 'content.').replace('_', '-')}"
            for field in Topics._fields
        )
    )
