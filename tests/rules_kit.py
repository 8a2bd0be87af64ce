"""Rule sets and items for the tests of rules."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schemas.settings import CONF
from schemas.upload import Account, Upload
from udfs.banks import content_hash
from udfs.contracts import Item, RuleMatch
from udfs.normalise import normalise
from udfs.rules import RuleSet

RULES_FILE: Path = CONF / "rules.yaml"
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
NOW_MS = NOW.timestamp() * 1000.0


def item(text: str | None, *, created: dt.datetime | None = None, **fields: Any) -> Item:
    """A prepared upload. `created`: when its account was made."""
    upload = Upload(
        content_id="c",
        content_type=fields.pop("content_type", "text"),
        user_id="u",
        created_at=NOW,
        text=text,
        account=Account(created_at=created),
        **fields,
    )
    if text is None:
        return Item(upload, b"", 0)
    normalised = normalise(text)
    return Item(upload, b"", 0, normalised=normalised, content_hash=content_hash(normalised))


def keywords(*terms: str, more: str = "") -> RuleSet:
    """One keyword rule `r` with these terms; `more` is further YAML of the rule."""
    listed = "".join(f"      - {term!r}\n" for term in terms)
    text = 'version: "1"\nrules:\n  - id: r\n    kind: keywords\n    category: toxicity\n'
    return RuleSet.parse(f"{text}    terms:\n{listed}{more}")


def patterns(*wanted: str, more: str = "") -> RuleSet:
    """One pattern rule `r`."""
    listed = "".join(f"      - '{pattern}'\n" for pattern in wanted)
    text = 'version: "1"\nrules:\n  - id: r\n    kind: regex\n    category: spam\n'
    return RuleSet.parse(f"{text}    patterns:\n{listed}{more}")


def matches(
    rules: RuleSet, text: str, now_ms: float = NOW_MS, **fields: Any
) -> Sequence[RuleMatch]:
    """What one text matches."""
    return rules.match([item(text, **fields)], now_ms)[0]


def found(rules: RuleSet, text: str, **fields: Any) -> list[str]:
    """The places of all matches, as they stand in the original."""
    return [text[a:b] for match in matches(rules, text, **fields) for a, b in match.spans]


def ids(rules: RuleSet, text: str, **fields: Any) -> list[str]:
    """Ids of the rules that match."""
    return [match.rule_id for match in matches(rules, text, **fields)]
