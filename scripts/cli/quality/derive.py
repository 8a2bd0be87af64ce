"""Derived columns of rows: what no single value can say.

Columns that begin with `is_` hold 1 or 0, those with `of_` a number or a code; both are empty
where a row does not have the thing. Of every reader: `is_blank` (a text without a letter or
digit), `of_language` (as `udfs.language` finds it, without asking what was declared), `is_told`
(whether it can tell), `is_declared_right`.
"""

from __future__ import annotations

import functools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import msgspec

from schemas.categories import TEXT_CATEGORIES
from schemas.decision import Decision, Feedback
from schemas.errors import InvalidUploadError
from schemas.upload import decode_upload
from scripts.cli.quality.config import Reader
from udfs.language import LanguageGuesser
from udfs.language_tables import UNDETERMINED, primary
from udfs.normalise import normalise

Row = dict[str, Any]
Columns = dict[str, list[Any]]
Versions = Collection[tuple[str, str]]
"""Models that are known: name and version."""
_MARKER: Final = re.compile(
    r"__label__|\blabel\s*[=:]\s*(?:0|1|true|false)\b|\b(?:"
    + "|".join(TEXT_CATEGORIES)
    + r")\s*[=:]\s*(?:0|1|true|false)\b",
    re.IGNORECASE,
)
"""How exports write a label into the text itself."""
_JUDGED: Final = frozenset({"bank", "rule", "verdict", "appeal"})
_MAPS: Final = frozenset({"scores", "features", "model_versions"})
_BATCH: Final = 256
_DAY_S: Final = 86_400.0
_NO_OUTAGE: Final = frozenset({"language", "evidence"})
"""In `degraded`: of the content, and what may still come."""
_NEAR: Final = 1e-6
"""Confidence and probability are rounded apart."""


def columns_of(reader: Reader, rows: Sequence[Row], known: Versions | None = None) -> Columns:
    """All derived columns of some rows.

    Args:
        reader: what the rows are.
        rows: in order.
        known: models that decisions may name; None: nobody can say.
    """
    derived = decisions(rows, known) if reader == "decision" else _DERIVE[reader](rows)
    derived.update(languages(rows))
    return derived


def plain(value: Any) -> Any:
    """Something that can be compared and counted: structures as JSON."""
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True, default=str)
    return value


def uploads(rows: Sequence[Row]) -> Columns:
    """Of uploads as they were published."""
    valid: list[int] = []
    times: list[float | None] = []
    for row in rows:
        try:
            upload = decode_upload(msgspec.json.encode(row))
        except InvalidUploadError:
            valid.append(0)
            times.append(None)
        else:
            valid.append(1)
            times.append(upload.created_at.timestamp())
    newest = max((time for time in times if time is not None), default=0.0)
    keys = [(plain(row.get("content_id")), plain(row.get("revision"))) for row in rows]
    copies = Counter(keys)
    return {
        "is_valid": valid,
        "of_age_days": [None if t is None else (newest - t) / _DAY_S for t in times],
        # Public is what is said of no upload that is.
        "is_private": [int(row.get("is_public") is False) for row in rows],
        "of_copies": [copies[key] if key[0] is not None else None for key in keys],
        "of_length": [
            len(row.get("text") or "") if row.get("content_type") == "text" else None
            for row in rows
        ],
    }


def decisions(rows: Sequence[Row], known: Versions | None = None) -> Columns:
    """Of decisions.

    Args:
        rows: as the topic or the table has them.
        known: models that they may name; None: nobody can say.
    """
    scores = [_numbers(row.get("scores")) for row in rows]
    copies = Counter(plain(row.get("moderation_id")) for row in rows)
    return {
        "is_valid": [int(_is(row, Decision)) for row in rows],
        "of_copies": [copies[plain(row.get("moderation_id"))] for row in rows],
        "of_lowest_score": [min(own.values()) if own else None for own in scores],
        "of_highest_score": [max(own.values()) if own else None for own in scores],
        "is_confidence_wrong": [_confidence_wrong(row) for row in rows],
        "is_allowed_rejected": [
            int(row.get("action") == "allow" and row.get("status") == "rejected") for row in rows
        ],
        "is_removed_approved": [
            int(row.get("action") == "remove" and row.get("status") == "approved") for row in rows
        ],
        # What waits for evidence or people takes as long as it takes.
        "of_text_latency_ms": [
            row.get("latency_ms")
            if row.get("content_type") == "text" and row.get("revision") == 0
            else None
            for row in rows
        ],
        "is_degraded": [int(bool({*(row.get("degraded") or ())} - _NO_OUTAGE)) for row in rows],
        "is_without_evidence": [
            int("evidence" in (row.get("degraded") or ()) and row.get("interim") is False)
            for row in rows
        ],
        "is_unread": [int("language" in (row.get("degraded") or ())) for row in rows],
        "of_models": [len(row.get("model_versions") or ()) for row in rows],
        "is_model_known": [_models_known(row.get("model_versions"), known) for row in rows],
    }


def _confidence_wrong(row: Row) -> int | None:
    confidence, probability = row.get("confidence"), row.get("probability")
    if not isinstance(confidence, int | float) or not isinstance(probability, int | float):
        return None
    larger = max(probability, 1 - probability)
    # A coin's, where a text was not read.
    return int(min(abs(confidence - larger), abs(confidence - 0.5)) > _NEAR)


def _models_known(named: Any, known: Versions | None) -> int | None:
    if known is None or not named:
        return None
    return int(
        all(
            # A heavy model's version says in which precision it ran.
            (name, version) in known or (name, str(version).rpartition("-")[0]) in known
            for name, version in _pairs(named)
        )
    )


def feedback(rows: Sequence[Row]) -> Columns:
    """Of rows of feedback; `decision_features` are the named decision's, where they were asked."""
    said: dict[tuple[Any, ...], set[bool]] = defaultdict(set)
    for row in rows:
        if isinstance(row.get("label"), bool):
            said[_about(row)].add(row["label"])
    scores = [_numbers(row.get("scores")) for row in rows]
    by_id: dict[Any, set[Any]] = defaultdict(set)
    for row in rows:
        by_id[plain(row.get("feedback_id"))].add((*_about(row), row.get("label")))
    return {
        "is_valid": [int(_is(row, Feedback)) for row in rows],
        "is_with_features": [int(bool(row.get("features"))) for row in rows],
        "is_with_text": [int(bool(row.get("text"))) for row in rows],
        "is_features_of_decision": [_as_decided(row) for row in rows],
        "is_decided_after": [_decided_after(row) for row in rows],
        "of_delay_days": [
            row["delay_s"] / _DAY_S if isinstance(row.get("delay_s"), int | float) else None
            for row in rows
        ],
        "is_id_reused": [int(len(by_id[plain(row.get("feedback_id"))]) > 1) for row in rows],
        "of_lowest_score": [min(own.values()) if own else None for own in scores],
        "of_highest_score": [max(own.values()) if own else None for own in scores],
        "of_versions": [len(row.get("model_versions") or ()) for row in rows],
        "is_label_as_source": [_fits(row) for row in rows],
        "is_contradicted": [int(len(said.get(_about(row), ())) > 1) for row in rows],
        "is_score_the_label": [
            int(own.get(plain(row.get("category")), 0.5) == float(row["label"]))
            if isinstance(row.get("label"), bool)
            else None
            for row, own in zip(rows, scores, strict=True)
        ],
        "is_label_in_text": _marked(rows),
    }


def _about(row: Row) -> tuple[Any, ...]:
    return tuple(plain(row.get(name)) for name in ("content_id", "category", "source"))


def _numbers(scores: Any) -> dict[Any, float]:
    try:
        return {name: float(value) for name, value in _pairs(scores) if value is not None}
    except (TypeError, ValueError):
        return {"": float("nan")}


def _pairs(mapping: Any) -> Any:
    """Of a map; those of a Parquet file come as lists of pairs."""
    return mapping.items() if isinstance(mapping, dict) else mapping or ()


def _is(row: Row, kind: type[msgspec.Struct]) -> bool:
    """Whether a row is one of these records, in whichever form it came."""
    try:
        made = {name: _formed(name, value) for name, value in row.items()}
        msgspec.convert(made, kind, strict=False)
    except (msgspec.ValidationError, TypeError, ValueError):
        return False
    return True


def _formed(name: str, value: Any) -> Any:
    if name in _MAPS and value:
        return dict(value)
    if name == "evidence" and value:
        # A table has a NULL where the record left a field out.
        return [{k: v for k, v in piece.items() if v is not None} for piece in value]
    return value


def _as_decided(row: Row) -> int | None:
    """Whether the features are those of the decision, bit for bit."""
    decided = row.get("decision_features")
    if decided is None or row.get("features") is None:
        return None
    return int(dict(_pairs(decided)) == dict(_pairs(row["features"])))


def _decided_after(row: Row) -> int | None:
    """Whether the decision came after the word about it: it may follow from it then."""
    delay = row.get("delay_s")
    return int(delay < 0) if isinstance(delay, int | float) else None


def _fits(row: Row) -> int | None:
    source, label = row.get("source"), row.get("label")
    if source == "sample":
        return int(label is None)
    return int(label is not None) if source in _JUDGED else None


def training(rows: Sequence[Row]) -> Columns:
    """Of rows that models are trained on."""
    texts = [_canonical(row.get("text")) for row in rows]
    split_of = {row.get("id"): row.get("split") for row in rows}
    by_text = _splits(rows, texts)
    groups = [row.get("group") if row.get("group") not in {None, -1} else None for row in rows]
    by_group = _splits(rows, groups)
    labels = [[row.get(f"label_{category}") for category in TEXT_CATEGORIES] for row in rows]
    weights = [[row.get(f"weight_{category}") for category in TEXT_CATEGORIES] for row in rows]
    said: dict[tuple[str, int], set[Any]] = defaultdict(set)
    for row, text, own in zip(rows, texts, labels, strict=True):
        if row.get("kind") == "original" and text:
            for i, label in enumerate(own):
                if label is not None:
                    said[text, i].add(label)
    return {
        "is_weight_as_label": [
            int(all(map(_weighs_as_known, own, weighed)))
            for own, weighed in zip(labels, weights, strict=True)
        ],
        "of_labels": [sum(label is not None for label in own) for own in labels],
        "of_text_splits": [len(by_text[text]) if text else None for text in texts],
        "of_group_splits": [len(by_group[g]) if g is not None else None for g in groups],
        "is_parent_elsewhere": [
            int(split_of.get(row["parent"], row.get("split")) != row.get("split"))
            if row.get("parent") not in {None, -1}
            else None
            for row in rows
        ],
        "is_label_in_text": _marked(rows),
        "is_contradicted": [
            int(any(len(said[text, i]) > 1 for i in range(len(TEXT_CATEGORIES)))) if text else None
            for text in texts
        ],
        "is_held_out_made": [
            int(row.get("kind") != "original") if row.get("split") in {"dev", "test"} else None
            for row in rows
        ],
    }


def _weighs_as_known(label: Any, weight: Any) -> bool:
    return not weight if label is None else bool(weight and weight > 0)


def _splits(rows: Sequence[Row], keys: Sequence[Any]) -> dict[Any, set[Any]]:
    out: dict[Any, set[Any]] = defaultdict(set)
    for row, key in zip(rows, keys, strict=True):
        out[key].add(row.get("split"))
    return out


def _marked(rows: Sequence[Row]) -> list[int | None]:
    texts = (row.get("text") for row in rows)
    return [int(bool(_MARKER.search(t))) if isinstance(t, str) else None for t in texts]


def _canonical(text: Any) -> str:
    return normalise(text).text if isinstance(text, str) else ""


@functools.cache
def _guesser() -> LanguageGuesser:
    """One for the process: it takes a second to load."""
    return LanguageGuesser()


def languages(rows: Sequence[Row]) -> Columns:
    """Of whatever has a text."""
    guesser = _guesser()
    texts = [_canonical(row.get("text")) for row in rows]
    codes: list[str] = []
    for first in range(0, len(texts), _BATCH):
        part = texts[first : first + _BATCH]
        codes += [guess.code for guess in guesser.guess(part, [None] * len(part))]
    declared = [
        primary(row["language"]) if isinstance(row.get("language"), str) else UNDETERMINED
        for row in rows
    ]
    there = [isinstance(row.get("text"), str) for row in rows]
    return {
        "is_blank": [
            int(not any(map(str.isalnum, text))) if known else None
            for text, known in zip(texts, there, strict=True)
        ],
        "of_language": [code if code != UNDETERMINED else None for code in codes],
        "is_told": [
            int(code != UNDETERMINED) if known else None
            for code, known in zip(codes, there, strict=True)
        ],
        "is_declared_right": [
            int(code == said) if UNDETERMINED not in {code, said} else None
            for code, said in zip(codes, declared, strict=True)
        ],
    }


_DERIVE: Final[dict[Reader, Callable[[Sequence[Row]], Columns]]] = {
    "upload": uploads,
    "decision": decisions,
    "feedback": feedback,
    "training": training,
}
