"""Bank files: known content by hash, as people write them (`conf/banks.yaml` and deltas)."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, model_validator

from schemas.policy_parts import GradedSeverity, Name, Part, Probability
from schemas.yaml_source import FaultError

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
EntryId = Annotated[str, Field(min_length=1, max_length=128)]
Polarity = Literal["bad", "good"]
Similarity = Annotated[float, Field(ge=0.5, le=1)]


class BankEntry(Part):
    """One known content."""

    hash: Digest
    """SHA-256 of the normalised text (UTF-8), lower-case hex."""
    id: EntryId
    note: Annotated[str, Field(max_length=1000)] = ""


class NearEntry(Part):
    """One text that other texts may nearly be."""

    sketch: Annotated[str, Field(pattern=r"^1:[0-9a-f]{128}$")]
    """Of the normalised text, as `udfs.campaign_sketch` makes it: its version, and 64 bytes."""
    id: EntryId
    note: Annotated[str, Field(max_length=1000)] = ""


class BankSpec(Part):
    """One bank."""

    id: Name
    category: Name | Literal[""]
    """What a bad entry is; of what a good entry is known to be free, empty for everything."""
    severity: GradedSeverity = "moderate"
    polarity: Polarity = "bad"
    confidence: Probability = 1.0
    enabled: bool = True
    source: Annotated[str, Field(max_length=500)] = ""
    """Where the entries come from."""
    file: Annotated[str, Field(max_length=1000)] | None = None
    """CSV file of entries (columns hash, id and perhaps note), beside the bank file."""
    entries: tuple[BankEntry, ...] = ()
    """More entries, in place."""
    near: tuple[NearEntry, ...] = ()
    """Texts that are found in nearly equal copies as well. A known-good bank vouches for its
    `entries` alone: what nearly is a good text may be its abuse."""
    similarity: Similarity = 0.7
    """Share of its pieces that a copy has in common with an entry of `near` at least; a match's
    confidence is `confidence` times that share."""
    expires_at: AwareDatetime | None = None
    """Uploads that the broker takes from then on do not match."""
    observe_only: bool = False
    """Matches are recorded as evidence and decide nothing."""

    @model_validator(mode="after")
    def _sound(self) -> BankSpec:
        if self.polarity == "bad" and not self.category:
            raise FaultError("is required for known-bad content", "category")
        if self.file is not None and PurePosixPath(self.file).suffix != ".csv":
            raise FaultError("must be a .csv file", "file")
        return self


class BanksDocument(Part):
    """All banks of a file."""

    version: Literal[1]
    normalisation: int = 1
    """`udfs.normalise.VERSION` when the texts were hashed: hashes of another one fit nothing."""
    banks: tuple[BankSpec, ...] = ()

    @model_validator(mode="after")
    def _distinct(self) -> BanksDocument:
        seen: set[str] = set()
        for index, bank in enumerate(self.banks):
            if bank.id in seen:
                raise FaultError(f"there are two banks {bank.id}", "banks", index, "id")
            seen.add(bank.id)
        return self


class BankDelta(Part):
    """A change of one bank, while the job runs. What is not given stays as it is.

    A bank that does not exist yet is made; it needs a category (unless it is good) and starts
    without entries.
    """

    version: Literal[1]
    normalisation: int = 1
    """As in the bank file."""
    bank: Name
    category: Name | Literal[""] | None = None
    severity: GradedSeverity | None = None
    polarity: Polarity | None = None
    confidence: Probability | None = None
    enabled: bool | None = None
    source: Annotated[str, Field(max_length=500)] | None = None
    snapshot: Annotated[str, Field(max_length=1000)] | None = None
    """CSV file that replaces all entries first. Every worker must be able to read it."""
    snapshot_sha256: Digest | None = None
    """SHA-256 of the snapshot's bytes; required with it, so that all workers load the same."""
    remove: tuple[EntryId, ...] = ()
    """Ids of entries that go."""
    add: tuple[BankEntry, ...] = ()
    """Entries that come."""
    add_near: tuple[NearEntry, ...] = ()
    """Likewise, of `near`."""
    similarity: Similarity | None = None
    expires_at: AwareDatetime | None = None
    observe_only: bool | None = None

    @model_validator(mode="after")
    def _sound(self) -> BankDelta:
        if self.snapshot is not None and self.snapshot_sha256 is None:
            raise FaultError("is required with snapshot", "snapshot_sha256")
        return self


def banks_json_schema() -> dict[str, Any]:
    """JSON schema of `conf/banks.yaml`, as kept in `conf/schemas/banks.schema.json`."""
    return BanksDocument.model_json_schema()
