"""The banks that campaigns become, as the text of control messages."""

from __future__ import annotations

from typing import Any, Final

import yaml

from schemas.campaign import Campaign
from udfs.campaign_sketch import VERSION as SKETCH_VERSION
from udfs.normalise import VERSION

GOOD_BANK: Final = "campaigns_known_good"
"""Where texts go that a person has dismissed, and with `_media` behind it, pictures."""


def bank_text(
    campaign: Campaign, *, confidence: float, similarity: float, distance: int, observe_only: bool
) -> str:
    """The delta that makes a campaign's bank, whole: it replaces one that was published before.

    Args:
        campaign: at its newest revision.
        confidence: of an exact copy.
        similarity: of nearly equal texts, at least.
        distance: of pictures that look alike, at most.
        observe_only: whether matches decide nothing.
    """
    about: dict[str, Any] = {
        "category": campaign.category,
        "severity": campaign.severity,
        "polarity": "bad",
        "confidence": confidence,
        "source": f"campaign {campaign.campaign_id}: {campaign.kind} copies, by {campaign.why}",
        "expires_at": campaign.expires_at,
        "observe_only": observe_only,
    }
    if campaign.kind == "picture":
        body = {
            "media_bank": campaign.bank, "kind": "pdq", **about, "distance": distance,
            "add": [{"hash": campaign.pdq, "id": _entry(campaign.pdq)}],
        }  # fmt: skip
        return _yaml(body)
    body = {"normalisation": VERSION, "bank": campaign.bank, **about}
    if campaign.kind == "near" and campaign.sketch:
        body |= {"similarity": similarity, "add_near": [_near(campaign)]}
    body["add"] = [{"hash": digest, "id": _entry(digest)} for digest in campaign.hashes]
    return _yaml(body)


def good_text(campaign: Campaign, *, note: str, distance: int) -> str:
    """The delta that puts a campaign's content into the bank of what people have dismissed.

    It vouches for the campaign's category alone.

    Args:
        campaign: any revision.
        note: by whom, and why.
        distance: of pictures that look alike, at most.
    """
    about = {"category": campaign.category, "polarity": "good"}
    if campaign.kind == "picture":
        entry = {"hash": campaign.pdq, "id": _entry(campaign.pdq), "note": note}
        return _yaml(
            {"media_bank": f"{GOOD_BANK}_media", "kind": "pdq", **about, "distance": distance,
             "add": [entry]}
        )  # fmt: skip
    body: dict[str, Any] = {"normalisation": VERSION, "bank": GOOD_BANK, **about}
    body["add"] = [
        {"hash": digest, "id": _entry(digest), "note": note} for digest in campaign.hashes
    ]
    if campaign.sketch:
        body["add_near"] = [_near(campaign)]
    return _yaml(body)


def _near(campaign: Campaign) -> dict[str, str]:
    return {
        "sketch": f"{SKETCH_VERSION}:{campaign.sketch}",
        "id": f"near_{campaign.campaign_id}",
    }


def _entry(digest: str) -> str:
    # The same content has the same id, whichever campaign brings it.
    return f"h_{digest[:24]}"


def _yaml(body: dict[str, Any]) -> str:
    return yaml.safe_dump({"version": 1, **body}, sort_keys=False, width=100)
