"""What the operators need of a cascade: `udfs.cascade.Cascade`, with parts that can be swapped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from schemas.control import ControlMessage
from schemas.evidence import MediaEvidence
from schemas.report_evidence import ReportEvidence
from schemas.trust import UserRow
from schemas.upload import Upload
from udfs.contracts import Item, Outcome


class Brain(Protocol):
    """The cascade, as the operator sees it."""

    def prepare(self, raw: bytes, broker_ms: int) -> Item:
        """Decode and normalise one payload; raises InvalidUploadError."""
        ...

    def with_evidence(
        self,
        item: Item,
        evidence: MediaEvidence | None,
        *,
        raw: bytes = b"",
        revision: int,
        asked_ms: int,
    ) -> Item:
        """Give a prepared picture or video again, with its evidence or for want of it."""
        ...

    def reported(self, reports: ReportEvidence, broker_ms: int) -> Item:
        """Give a content that was reported to be decided again."""
        ...

    def patience_s(self, upload: Upload) -> float:
        """How long a picture or video may wait for its evidence, seconds."""
        ...

    def remember_user(self, user_id: str, row: UserRow) -> None:
        """Hand a user's row on to those who read it outside."""
        ...

    def flush(self) -> None:
        """Have written what the stores shall know; nobody waits for it."""
        ...

    def erased_until_ms(self, user_id: str) -> int:
        """Until when what the user sent leaves no trace; 0 where nobody erased them."""
        ...

    def moderate(self, batch: Sequence[Item], now_ms: float) -> list[Outcome]:
        """Decide a batch; one outcome an item, in order."""
        ...


class Configurable(Protocol):
    """What control messages configure: the cascade's parts."""

    def apply(self, message: ControlMessage) -> None:
        """Compile and put in force; on ConfigError nothing has changed."""
        ...

    def withdraw(self, key: str) -> None:
        """Return to what the job was started with."""
        ...

    def applied(self) -> dict[str, str]:
        """Hash of each part in force."""
        ...


class ConfigurableBrain(Brain, Configurable, Protocol):
    """A cascade whose parts can be swapped while it works."""
