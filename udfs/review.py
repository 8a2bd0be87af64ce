"""The review queue: who is looked at first, by when, and which uploads are picked for labels.

All weights come from the policy (`schemas.policy_parts.ReviewPolicy`, `Labelling`). Picking is
by hash of the content id: the same upload is picked on every run and every machine.
"""

from __future__ import annotations

import datetime as dt
import math
from hashlib import blake2b

from schemas.policy_parts import Labelling, PriorityWeights, TierPolicy


def priority(
    weights: PriorityWeights,
    *,
    reported: bool,
    probability: float,
    reputation: float,
    engagement: int,
    hours_waiting: float = 0.0,
    degraded: bool = False,
) -> float:
    """Priority of a review item; higher is looked at earlier.

    With the default weights this is the queue's published formula

        100 if reported + 50 (1 - 2 |p - 0.5|) + 30 (100 - reputation) / 100
        + 20 log10(engagement + 1) / 6 + 30 min(hours waiting / 24, 1)

    plus `weights.degraded` for what was allowed without having been judged: a stage timed out
    or was down, so the upload is flagged for a high-priority review.

    Args:
        weights: the policy's weights.
        reported: someone reported the content.
        probability: that the content breaks the policy, 0 to 1.
        reputation: of the author, 0 to 100 (clipped).
        engagement: views and shares.
        hours_waiting: in the queue; 0 when the item is made. The queue adds it as time goes by.
        degraded: allowed by the fail-open rule.
    """
    total = weights.uncertainty * (1.0 - 2.0 * abs(min(max(probability, 0.0), 1.0) - 0.5))
    total += weights.reputation * (100.0 - min(max(reputation, 0.0), 100.0)) / 100.0
    total += weights.engagement * math.log10(engagement + 1) / weights.engagement_decades
    total += weights.waiting * min(max(hours_waiting, 0.0) / weights.waiting_hours, 1.0)
    if reported:
        total += weights.reported
    if degraded:
        total += weights.degraded
    return total


def due_at(tiers: tuple[TierPolicy, ...], tier: int, arrived: dt.datetime) -> dt.datetime:
    """Time by which a person has to answer: the tier's minutes after the upload's arrival.

    Args:
        tiers: the policy's four tiers.
        tier: 0 (child safety, imminent threat) to 3 (spam, mild).
        arrived: broker time of the upload, not the time of the decision: the same under
            redelivery, and honest about a backlog.
    """
    return arrived + dt.timedelta(minutes=tiers[tier].minutes)


class Sampler:
    """Picks a share of uploads by a hash of their content id.

    Args:
        rate: share that is picked, 0 to 1.
        salt: different salts pick independently of each other.
    """

    __slots__ = ("_bound", "_salt", "rate")

    def __init__(self, rate: float, salt: str) -> None:
        self.rate = rate
        self._salt = salt.encode() + b"\x00"
        # Digests compare as big-endian numbers. 9 bytes of 0xff are above each of 8 bytes.
        whole = int(rate * 2.0**64)
        self._bound = whole.to_bytes(8, "big") if whole < 1 << 64 else b"\xff" * 9

    def picks(self, content_id: str) -> bool:
        """Tell whether this upload is picked."""
        if not self.rate:
            return False
        material = self._salt + content_id.encode("utf-8", "surrogatepass")
        return blake2b(material, digest_size=8).digest() < self._bound


class LabelPicker:
    """Active learning: picks uploads whose label would teach the models most.

    Picked are shares of the scores in the policy's bands (around 0.5, where the model does not
    know, and near the thresholds, where a small change of the score changes the decision), and
    of the uploads about which two tiers disagree.

    Args:
        labelling: the policy's section.
    """

    __slots__ = ("_bands", "_disagreement", "_disagreement_above")

    def __init__(self, labelling: Labelling) -> None:
        self._bands = tuple(
            (band.low, band.high, band.name, Sampler(band.rate, f"{labelling.salt}:{band.name}"))
            for band in labelling.bands
        )
        self._disagreement_above = labelling.disagreement_above
        self._disagreement = Sampler(labelling.disagreement_rate, f"{labelling.salt}:disagreement")

    def pick(self, content_id: str, probability: float, disagreement: float = 0.0) -> str:
        """Name of the band that picked the upload, `disagreement`, or empty.

        Args:
            content_id: the upload.
            probability: of its decision, 0 to 1.
            disagreement: largest difference between two tiers' scores of one category, 0 to 1.
        """
        if disagreement > self._disagreement_above and self._disagreement.picks(content_id):
            return "disagreement"
        for low, high, name, sampler in self._bands:
            if low <= probability <= high and sampler.picks(content_id):
                return name
        return ""
