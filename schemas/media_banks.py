"""Bank files for media: known pictures and videos by hash (`conf/media_banks.yaml` and deltas)."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import AwareDatetime, Field, model_validator

from schemas.banks import Digest, EntryId, Polarity
from schemas.policy_parts import GradedSeverity, Name, Part, Probability
from schemas.yaml_source import FaultError

HashKind = Literal["sha256", "md5", "phash64", "phash256", "pdq", "video_pdq"]
EntryStatus = Literal["confirmed", "disputed"]
Quality = Annotated[int, Field(ge=0, le=100)]
SnapshotPath = Annotated[str, Field(min_length=1, max_length=1000)]


class KindFacts(NamedTuple):
    """What is the same for all banks of a kind."""

    bits: int
    distance: int
    """Greatest distance that an index is exact to; the default of a bank."""
    graded: bool
    """Whether its hashes come with a quality."""


KINDS: Final[dict[HashKind, KindFacts]] = {
    "sha256": KindFacts(256, 0, graded=False),
    "md5": KindFacts(128, 0, graded=False),
    "phash64": KindFacts(64, 10, graded=False),
    "phash256": KindFacts(256, 31, graded=False),
    "pdq": KindFacts(256, 31, graded=True),
    "video_pdq": KindFacts(256, 31, graded=True),
}


class Flood(Part):
    """When an entry matches so far above its history that people should look before it acts."""

    window_minutes: Annotated[float, Field(gt=0, le=1440)] = 10.0
    at_least: Annotated[int, Field(ge=1)] = 100
    """Matches in one window that are never too many."""
    factor: Annotated[float, Field(ge=1)] = 10.0
    """How many times its mean window an entry may match."""


class MediaEntry(Part):
    """One known content, or one frame of a known video (frames share their id)."""

    hash: Annotated[str, Field(pattern=r"^([0-9a-f]{16}){1,4}$")]
    """Lower-case hex, as many digits as the kind has bits / 4."""
    id: EntryId
    quality: Quality = 100
    """Of a PDQ hash; entries below the bank's `min_quality` are left out."""
    status: EntryStatus = "confirmed"
    """A match of a disputed entry goes to review."""
    note: Annotated[str, Field(max_length=1000)] = ""


class MediaBankSpec(Part):
    """One bank."""

    id: Name
    kind: HashKind
    category: Name | Literal[""]
    """What a bad entry is; of what a good entry is known to be free, empty for everything."""
    severity: GradedSeverity = "severe"
    polarity: Polarity = "bad"
    distance: Annotated[int, Field(ge=0, le=31)] | None = None
    """Greatest number of differing bits. [default: 10 of 64, 31 of 256, 0 where exact]"""
    min_quality: Quality = 50
    """Least quality of a PDQ hash, in the bank and of what is looked up."""
    confidence: Probability = 1.0
    """Of an exact match; at distance d it is this times 1 - d / bits."""
    source: Annotated[str, Field(max_length=500)] = ""
    enabled: bool = True
    enabled_ratio: Probability = 1.0
    """Share of uploads that the bank is asked about: always the same ones."""
    seed: Annotated[str, Field(max_length=100)] = ""
    """Another seed is another share of the same size."""
    flood: Flood | None = Flood()
    """null: every match acts, however many there are."""
    query_share: Probability = 0.5
    """Of a video: share of its good frames that must be the entry's."""
    bank_share: Probability = 0.0
    """Of an entry: share of its frames that must be seen. 0 where only key frames are hashed."""
    snapshot: SnapshotPath | None = None
    """Folder that `scripts/banks import` wrote, from the bank file's or absolute."""
    snapshot_sha256: Digest | None = None
    """SHA-256 of its manifest.json, so that all workers load the same."""
    entries: tuple[MediaEntry, ...] = ()
    """More entries, in place."""
    expires_at: AwareDatetime | None = None
    """Uploads that the broker takes from then on do not match. A bank that expires is made for a
    flood, and is not quarantined by `flood`."""
    observe_only: bool = False
    """Matches are recorded as evidence and decide nothing."""

    @property
    def bits(self) -> int:
        """Bits of a hash."""
        return KINDS[self.kind].bits

    @property
    def reach(self) -> int:
        """Greatest number of differing bits that is a match."""
        return KINDS[self.kind].distance if self.distance is None else self.distance

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.polarity == "bad" and not self.category:
            raise FaultError("is required for known-bad content", "category")
        if self.reach > KINDS[self.kind].distance:
            most = KINDS[self.kind].distance
            raise FaultError(f"{self.kind} is exact up to {most} bits", "distance")
        if (self.snapshot is None) != (self.snapshot_sha256 is None):
            raise FaultError("goes with snapshot", "snapshot_sha256")
        _check_lengths(self.kind, self.entries, "entries")
        return self


class MediaBanksDocument(Part):
    """All banks of a file."""

    version: Literal[1]
    banks: tuple[MediaBankSpec, ...] = ()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        seen: set[str] = set()
        for index, bank in enumerate(self.banks):
            if bank.id in seen:
                raise FaultError(f"there are two banks {bank.id}", "banks", index, "id")
            seen.add(bank.id)
        return self


class MediaBankDelta(Part):
    """A change of one bank, while the job runs. What is not given stays as it is.

    A delta that comes twice changes nothing more: what is added may be there, and what is
    withdrawn may be gone. A bank that does not exist yet is made; it needs kind and category.
    """

    version: Literal[1]
    media_bank: Name
    kind: HashKind | None = None
    category: Name | Literal[""] | None = None
    severity: GradedSeverity | None = None
    polarity: Polarity | None = None
    distance: Annotated[int, Field(ge=0, le=31)] | None = None
    min_quality: Quality | None = None
    confidence: Probability | None = None
    source: Annotated[str, Field(max_length=500)] | None = None
    enabled: bool | None = None
    enabled_ratio: Probability | None = None
    seed: Annotated[str, Field(max_length=100)] | None = None
    query_share: Probability | None = None
    bank_share: Probability | None = None
    snapshot: SnapshotPath | None = None
    """Folder that replaces all entries first. Every worker must be able to read it."""
    snapshot_sha256: Digest | None = None
    add: tuple[MediaEntry, ...] = ()
    withdraw: tuple[EntryId, ...] = ()
    dispute: tuple[EntryId, ...] = ()
    """Ids of entries whose matches go to review."""
    confirm: tuple[EntryId, ...] = ()
    """Ids of entries that act again."""
    expires_at: AwareDatetime | None = None
    observe_only: bool | None = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if (self.snapshot is None) != (self.snapshot_sha256 is None):
            raise FaultError("goes with snapshot", "snapshot_sha256")
        return self

    def changed(self, spec: MediaBankSpec | None) -> MediaBankSpec:
        """What the bank says about itself after the delta.

        Raises:
            FaultError: what is missing of a new bank, or does not go together.
        """
        fields = set(MediaBankSpec.model_fields) & set(MediaBankDelta.model_fields)
        given = {name: value for name in fields if (value := getattr(self, name)) is not None}
        if spec is None:
            for name in ("kind", "category"):
                if name not in given and (name == "kind" or self.polarity != "good"):
                    raise FaultError(
                        f"bank {self.media_bank} does not exist yet, so it needs one", name
                    )
            known: dict[str, Any] = {"id": self.media_bank, "category": ""}
        else:
            known = spec.model_dump(exclude={"entries"})
            if self.kind not in {None, spec.kind}:
                raise FaultError(f"bank {spec.id} is of kind {spec.kind}", "kind")
        if self.snapshot is not None:
            known.pop("entries", None)
        after = MediaBankSpec.model_validate({**known, **given})
        _check_lengths(after.kind, self.add, "add")
        return after


def _check_lengths(kind: HashKind, entries: tuple[MediaEntry, ...], place: str) -> None:
    digits = KINDS[kind].bits // 4
    for index, entry in enumerate(entries):
        if len(entry.hash) != digits:
            raise FaultError(f"a {kind} hash has {digits} hex digits", place, index, "hash")


def media_banks_json_schema() -> dict[str, Any]:
    """JSON schema of `conf/media_banks.yaml`, as kept in `conf/schemas`."""
    return MediaBanksDocument.model_json_schema()
