"""`conf/tables.yaml`: how the analyst tables are kept, and for how long.

`conf/legal_holds.yaml` beside it: what must not be deleted whatever its age and whoever asks.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from schemas.policy_parts import Part
from schemas.settings import ROOT, Settings
from schemas.tables_records import ALL
from schemas.yaml_source import FaultError, YamlSource

Days = Annotated[int, Field(ge=1, le=36_500)]

_OPTIONS: Final = {
    # The file of a day is small at first: rows wait for their checkpoint in little memory.
    "write-buffer-size": "32 mb",
    "num-sorted-run.compaction-trigger": "5",
    "snapshot.time-retained": "1 h",
    "snapshot.num-retained.min": "1",
    "snapshot.num-retained.max": "50",
}


class Keep(Part):
    """How long the rows of a table are kept, days since the row's day; null: without limit."""

    safe_days: Days | None = None
    """Rows about contents that were allowed, every time they were decided."""
    violation_days: Days | None = None
    """All others."""

    @model_validator(mode="after")
    def _violations_longer(self) -> Self:
        if self.violation_days is not None and self.violation_days < (self.safe_days or 36_500):
            raise FaultError("must not be below safe_days", "violation_days")
        return self


class Prices(Part):
    """What things cost, for the view `cost`; US dollars."""

    machine_hour: Annotated[float, Field(ge=0)] = 0.1
    """One machine for an hour."""
    machines: Annotated[int, Field(ge=1)] = 1
    """That run at once, not dollars."""
    review_hour: Annotated[float, Field(ge=0)] = 20.0
    """One reviewer for an hour."""


class TablesDocument(Part):
    """The whole file."""

    version: Literal[1]
    buckets: Annotated[int, Field(ge=1, le=1024)] = 1
    """Of each day of a table: as many subtasks can write it. Fixed when a table is made."""
    options: dict[str, str] = Field(default_factory=dict)
    """More of Paimon's table options; they count for tables that are made from now on."""
    mask_personal_data: bool = False
    """Write e-mail addresses, telephone and card numbers, IP addresses and handles as what they are
    (`[email]`), and no bytes of records that could not be read. Ids stay. It counts for rows that
    are written from then on."""
    retention: dict[str, Keep] = Field(default_factory=dict)
    """By table; one that is not named is kept without limit."""
    prices: Prices = Prices()

    @model_validator(mode="after")
    def _tables_are_known(self) -> Self:
        for name in self.retention:
            if name not in ALL:
                raise FaultError(
                    f"there is no such table; there are: {', '.join(ALL)}", "retention", name
                )
        return self

    def paimon_options(self) -> dict[str, str]:
        """Options of a table that is made."""
        return {"bucket": str(self.buckets), **_OPTIONS, **self.options}


class Hold(Part):
    """Somebody or something whose rows stay."""

    user_id: Annotated[str, Field(max_length=256)] = ""
    content_id: Annotated[str, Field(max_length=256)] = ""
    reason: Annotated[str, Field(min_length=1)]
    """For the report of an erasure: a case number, not its story."""
    until: dt.date | None = None
    """The last day that it counts; null: until it is taken out."""

    @model_validator(mode="after")
    def _of_one_thing(self) -> Self:
        if bool(self.user_id) == bool(self.content_id):
            raise FaultError("give one of user_id and content_id", "user_id")
        return self


class HoldsDocument(Part):
    """The whole file."""

    version: Literal[1]
    holds: tuple[Hold, ...] = ()

    def on(self, day: dt.date) -> HoldsDocument:
        """The holds that count on a day."""
        kept = tuple(hold for hold in self.holds if hold.until is None or hold.until >= day)
        return self.model_copy(update={"holds": kept})

    @property
    def users(self) -> tuple[str, ...]:
        """Ids of users that are held."""
        return tuple(hold.user_id for hold in self.holds if hold.user_id)

    @property
    def contents(self) -> tuple[str, ...]:
        """Ids of contents that are held."""
        return tuple(hold.content_id for hold in self.holds if hold.content_id)


def load_tables(path: Path) -> TablesDocument:
    """Read `conf/tables.yaml`.

    Raises:
        ConfigError: with the line of the mistake.
    """
    return YamlSource.read(path).validate(TablesDocument)


def load_holds(path: Path) -> HoldsDocument:
    """Read `conf/legal_holds.yaml`.

    Raises:
        ConfigError: with the line of the mistake.
    """
    return YamlSource.read(path).validate(HoldsDocument)


def warehouse_uri(settings: Settings) -> str:
    """Where the tables are, as a URI."""
    configured = settings.tables.warehouse
    if "://" in configured:
        return configured.rstrip("/")
    return (ROOT / (configured or ".run/warehouse")).resolve().as_uri()


def tables_json_schema() -> dict[str, Any]:
    """JSON schema of `conf/tables.yaml`, as kept in `conf/schemas`."""
    return TablesDocument.model_json_schema()


def holds_json_schema() -> dict[str, Any]:
    """JSON schema of `conf/legal_holds.yaml`, as kept in `conf/schemas`."""
    return HoldsDocument.model_json_schema()
