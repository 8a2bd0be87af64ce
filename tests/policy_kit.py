"""What the tests of policy, fusion and records share: the shipped files, and short makers."""

from __future__ import annotations

import copy
import datetime as dt
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from schemas.categories import TEXT_CATEGORIES, Severity
from schemas.features import SINGLE, ThreadContext, UserFeatures, Velocity, Window
from schemas.policy import PolicyDocument
from schemas.upload import Account, Upload
from udfs.contracts import BankMatch, RuleMatch, Signals
from udfs.fusion import LinearFusion
from udfs.policy import Policy

ROOT = Path(__file__).resolve().parent.parent
POLICY_FILE = ROOT / "conf" / "policy.yaml"
FUSION_FILE = ROOT / "conf" / "fusion.yaml"
NOW_MS = 1_767_225_600_000
NOW = dt.datetime.fromtimestamp(NOW_MS / 1000, dt.UTC)
OLD_ACCOUNT = Account(created_at=NOW - dt.timedelta(days=900))
CLEAN: dict[str, float] = dict.fromkeys(TEXT_CATEGORIES, 0.01)
REGULAR = UserFeatures(known=True, uploads=100)


@cache
def policy() -> Policy:
    """The shipped policy, without samples (they are tested by themselves)."""
    return changed_policy(("review.sampling.rate", 0.0))


@cache
def fusion() -> LinearFusion:
    return LinearFusion.load(FUSION_FILE)


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(POLICY_FILE.read_text("utf-8"))
    return document


def document() -> dict[str, Any]:
    """The shipped policy as plain data, to be changed at will."""
    return copy.deepcopy(_document())


def changed_policy(*changes: tuple[str, Any]) -> Policy:
    """The shipped policy with some dotted fields set to other values."""
    data = document()
    for path, value in changes:
        *parents, last = path.split(".")
        place: Any = data
        for part in parents:
            place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
        place[int(last) if isinstance(place, list) else last] = value
    return Policy(PolicyDocument.model_validate(data))


def upload(**fields: Any) -> Upload:
    defaults: dict[str, Any] = {
        "content_id": "c-1",
        "content_type": "text",
        "user_id": "u-1",
        "created_at": NOW,
        "text": "some words",
        "account": OLD_ACCOUNT,
    }
    return Upload(**{**defaults, **fields})


def signals(**fields: Any) -> Signals:
    """Signals of a regular user's clean text; `on` takes fields of the upload."""
    defaults: dict[str, Any] = {
        "upload": upload(**fields.pop("on", {})),
        "scores": CLEAN,
        "rules": (),
        "banks": (),
        "evasion": 0.0,
        "velocity": SINGLE,
        "user": REGULAR,
        "context": ThreadContext(),
        "now_ms": NOW_MS,
    }
    return Signals(**{**defaults, **fields})


def scored(**scores: float) -> dict[str, float]:
    return {**CLEAN, **scores}


def rule(
    category: str = "threat",
    severity: Severity = "severe",
    *,
    weight: float = 0.9,
    definitive: bool = True,
    rule_id: str = "r.one",
) -> RuleMatch:
    return RuleMatch(rule_id, category, severity, weight, definitive, False, ((0, 4),))


def bad(
    category: str = "spam",
    severity: Severity = "severe",
    confidence: float = 1.0,
    distance: int = 0,
) -> BankMatch:
    return BankMatch("scams", "e-1", category, severity, "bad", confidence, distance)


def good(category: str = "", confidence: float = 1.0, distance: int = 0) -> BankMatch:
    return BankMatch("quotes", "e-2", category, "none", "good", confidence, distance)


def velocity(ten_seconds: tuple[int, int], hour: tuple[int, int, int] = (0, 0, 0)) -> Velocity:
    """Velocity from (count, distinct texts) in 10 s and (count, texts, communities) in 1 h."""
    count, texts = ten_seconds
    hours = (max(hour[0], count), max(hour[1], texts), max(hour[2], 1))
    return Velocity(
        windows=(
            Window(count, texts, 1, 1.0),
            Window(count, texts, 1, 6.0),
            Window(*hours, 60.0),
            Window(*hours, 600.0),
        )
    )
