"""A campaign as the registry keeps it, and how it takes in what another group of copies tells."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from operators.campaign_count import Crossing
from operators.campaign_state import Copy
from schemas.campaign import Campaign, CampaignKind, campaign_id, time_of
from schemas.campaign_job import CampaignsDocument
from schemas.kept import Kept
from udfs.campaign_sketch import similarity
from udfs.image_hashes import distance

_PDQ_BITS: Final = 256
_MOST: Final = 32
"""Hashes and examples of one campaign."""
_RANK: Final[dict[CampaignKind, int]] = {"exact": 0, "near": 1, "picture": 1}


class Live(msgspec.Struct, frozen=True, array_like=True):
    """A campaign that has not ended."""

    record: Campaign
    """At its newest revision."""
    published: bool = False
    """Whether its bank is on the control topic."""
    withdrawn: bool = False
    """A person has taken its bank back: it is not published again."""
    observe_only: bool | None = None
    """As its bank was published last, by whomever; None: not yet."""


LIVES: Final = Kept(Live, 1, "kept campaign")


class Representative(NamedTuple):
    """The copy among the examples that most of them are nearest to, and how near they are."""

    copy: Copy
    members: list[Copy]
    """Examples that are near enough to be copies of it; it comes first."""
    similarity: float
    """Of the members to it, on average."""

    def campaign(self, crossing: Crossing, config: CampaignsDocument) -> Campaign:
        """The campaign that a group would be by itself."""
        text = crossing.family == "text"
        hashes = list(dict.fromkeys(copy.digest.hex() for copy in self.members)) if text else []
        kind: CampaignKind = "picture"
        if text:
            kind = "exact" if len(hashes) == 1 else "near"
        expires_ms = crossing.last_ms + int(config.bank.expires_hours * 3_600_000)
        return Campaign(
            campaign_id=campaign_id(crossing.family, self.copy.digest or self.copy.print),
            revision=0,
            status="live",
            kind=kind,
            why=crossing.why,
            mode=config.bank.mode,
            category=config.bank.category,
            severity=config.bank.severity,
            users=crossing.users,
            communities=crossing.communities,
            uploads=crossing.uploads,
            estimated=crossing.estimated,
            mean_weight=round(crossing.weight / 1000 / max(crossing.users, 1), 4),
            similarity=round(self.similarity, 4),
            hashes=hashes,
            sketch=self.copy.print.hex() if text else "",
            pdq="" if text else self.copy.print.hex(),
            examples=[copy.content_id for copy in self.members],
            excerpt=self.copy.excerpt,
            first_seen=time_of(crossing.first_ms),
            last_seen=time_of(crossing.last_ms),
            expires_at=time_of(expires_ms),
        )

    def joins(self, live: Live, config: CampaignsDocument) -> bool:
        """Whether it is one more copy of what a campaign has."""
        record = live.record
        if (record.kind == "picture") == bool(self.copy.digest):
            return False
        if self.copy.digest.hex() in record.hashes:
            return True
        known = bytes.fromhex(record.pdq or record.sketch)
        return _near(self.copy, known, config) is not None


def representative(crossing: Crossing, config: CampaignsDocument) -> Representative | None:
    """Find the example that most others are copies of.

    Args:
        crossing: a group of copies.
        config: says how near copies are to each other.

    Returns:
        None where it stands for less than half of them: the group is one by chance.
    """
    best: Representative | None = None
    for one in crossing.examples:
        found = [(_nearness(one, other, config), other) for other in crossing.examples]
        near = [(share, other) for share, other in found if share is not None and other is not one]
        mean = (1.0 + sum(share for share, _ in near)) / (1 + len(near))
        candidate = Representative(one, [one, *(other for _, other in near)], mean)
        # Of equals the first: examples come in the order of their hashes.
        if best is None or (len(near), mean) > (len(best.members) - 1, best.similarity):
            best = candidate
    if best is None or 2 * len(best.members) < len(crossing.examples):
        return None
    return best


def _nearness(one: Copy, other: Copy, config: CampaignsDocument) -> float | None:
    if one.digest and one.digest == other.digest:
        return 1.0
    return _near(one, other.print, config)


def _near(copy: Copy, known: bytes, config: CampaignsDocument) -> float | None:
    """How much of another content a copy is, 0 to 1; None where it is none of it."""
    if len(copy.print) != len(known) or not known:
        return None
    if copy.digest:
        share = similarity(copy.print, known)
        return share if share >= config.texts.similarity else None
    bits = distance(copy.print, known)
    return 1.0 - bits / _PDQ_BITS if bits <= config.pictures.distance else None


def joined(live: Live, fresh: Campaign, config: CampaignsDocument) -> Live:
    """A campaign after one more group of its copies has told of itself.

    Its numbers are the largest that any group has told: groups overlap. It is told anew, at the
    next revision, where its users (or the communities that it was told by) have doubled, its
    copies are found to differ, or its bank would hold half its time longer.

    Args:
        live: as it is kept.
        fresh: the same, as the group alone makes it.
        config: for how long banks hold.
    """
    old = live.record
    doubled = fresh.users >= 2 * old.users
    if fresh.why == "communities":
        doubled |= fresh.communities >= 2 * old.communities
    differs = _RANK[fresh.kind] > _RANK[old.kind] or (
        old.kind == "exact" and not set(fresh.hashes) <= set(old.hashes)
    )
    longer_s = (fresh.expires_at - old.expires_at).total_seconds()
    if not (doubled or differs or longer_s >= config.bank.expires_hours * 1800):
        return live
    larger = fresh.users >= old.users
    hashes = list(dict.fromkeys([*old.hashes, *fresh.hashes]))[:_MOST]
    kind = old.kind
    if kind == "exact" and len(hashes) > 1:
        kind = "near"
    record = msgspec.structs.replace(
        old,
        revision=old.revision + 1,
        kind=kind,
        users=max(old.users, fresh.users),
        communities=max(old.communities, fresh.communities),
        uploads=max(old.uploads, fresh.uploads),
        estimated=old.estimated or fresh.estimated,
        mean_weight=fresh.mean_weight if larger else old.mean_weight,
        similarity=min(old.similarity, fresh.similarity),
        hashes=hashes,
        examples=list(dict.fromkeys([*old.examples, *fresh.examples]))[:_MOST],
        first_seen=min(old.first_seen, fresh.first_seen),
        last_seen=max(old.last_seen, fresh.last_seen),
        expires_at=max(old.expires_at, fresh.expires_at),
    )
    return msgspec.structs.replace(live, record=record)
