"""What uploads say about their surroundings: their thread and their community.

Toxicity is what the models say about the text alone, before the fusion looks at surroundings:
else a heated thread would keep itself heated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from udfs.contracts import Item, Mark, Signals, Verdict
from udfs.stages import Work

HOSTILE: Final = ("toxicity", "hate_speech", "threat")
"""Categories of the models that count."""
_HOSTILE_FINDINGS: Final = frozenset({*HOSTILE, "harassment"})
"""Categories of rules and banks that count."""
_FIRST, _SECOND, _THIRD = HOSTILE


def marks_of(
    works: Iterable[Work], judged: Iterable[tuple[Signals, Mapping[str, float], Verdict]]
) -> list[Mark]:
    """What a batch says about its threads and communities.

    Nothing is said by what is decided for the time being (a picture whose evidence is to come,
    or never came) and by what is decided again because of reports.
    """
    return [
        Mark(
            upload.content_id,
            upload.revision,
            item.asked_ms,
            upload.community_id or "",
            upload.thread_id or upload.parent_content_id or "",
            toxicity_of(signals.scores, verdict),
        )
        for work, (signals, _, verdict) in zip(works, judged, strict=True)
        if _speaks(item := work.item, verdict) and (upload := item.upload)  # to name it
    ]


def toxicity_of(scores: Mapping[str, float], verdict: Verdict) -> int:
    """How hostile a content is, in thousandths.

    The highest calibrated probability of toxicity, hate speech and threat; of a content that a
    rule or a bank rejected for one of these or for harassment, at least the verdict's.
    """
    get = scores.get
    highest = max(get(_FIRST, 0.0), get(_SECOND, 0.0), get(_THIRD, 0.0))
    if (
        verdict.decided_by in {"rule", "bank"}
        and verdict.status == "rejected"
        and verdict.category in _HOSTILE_FINDINGS
    ):
        highest = max(highest, verdict.probability)
    if not 0.0 <= highest <= 1.0:
        # A model that has no answer says NaN, and says nothing here.
        known = [score for name in HOSTILE if (score := get(name, 0.0)) >= 0.0]
        highest = min(max(known, default=0.0), 1.0)
    return int(highest * 1000.0 + 0.5)


def _speaks(item: Item, verdict: Verdict) -> bool:
    if verdict.interim or item.reports is not None:
        return False
    return item.case is None or item.case.evidence is not None
