"""The rule file: keyword and pattern rules as people write them (`conf/rules.yaml`)."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BeforeValidator, Field, model_validator

from schemas.categories import ContentType
from schemas.policy_parts import GradedSeverity, Name, Part, Probability
from schemas.yaml_source import FaultError

MAX_RULES: Final = 10_000
MAX_TERMS: Final = 100_000
MAX_PATTERN: Final = 1_000
UNDECLARED: Final = "und"
"""Language code (BCP 47) of uploads that declare no language."""


def _midnight(value: object) -> object:
    """A plain date means its first moment in UTC."""
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
    return value


RuleId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,95}$")]
Term = Annotated[str, Field(min_length=1, max_length=200)]
Pattern = Annotated[str, Field(min_length=1, max_length=MAX_PATTERN)]
Moment = Annotated[AwareDatetime, BeforeValidator(_midnight)]
LanguageCode = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]
Identifier = Annotated[str, Field(min_length=1, max_length=256)]


class RuleScope(Part):
    """Where a rule applies: each limit that is given must be met.

    A field that the upload lacks meets no limit.
    """

    communities: Annotated[tuple[Identifier, ...], Field(min_length=1)] | None = None
    languages: Annotated[tuple[LanguageCode, ...], Field(min_length=1)] | None = None
    """Primary language subtags that the upload declares; `und` for one that declares none."""
    content_types: Annotated[tuple[ContentType, ...], Field(min_length=1)] | None = None
    new_accounts: bool | None = None
    """true: only accounts younger than `new_account_days`, or of unknown age; false: only
    accounts known to be older."""
    is_public: bool | None = None


class RuleBase(Part):
    """What keyword and pattern rules have in common."""

    id: RuleId
    category: Name
    """A category of the policy."""
    severity: GradedSeverity = "moderate"
    weight: Probability = 0.5
    """How much a match says about the category: a probability that fusion reads."""
    definitive: bool = False
    """A match decides alone, without a model."""
    mode: Literal["act", "observe"] = "act"
    """observe: matches are recorded, not acted on."""
    allow: tuple[Term, ...] = ()
    """Benign words and phrases: a match that touches one of them does not count."""
    scope: RuleScope = RuleScope()
    valid_from: Moment | None = None
    """First moment of validity; a date or a date and time with an offset."""
    valid_until: Moment | None = None
    """First moment at which the rule is not valid any more."""
    note: Annotated[str, Field(max_length=1000)] = ""

    @model_validator(mode="after")
    def _dated(self) -> RuleBase:
        if self.valid_from and self.valid_until and self.valid_from >= self.valid_until:
            raise FaultError("must be after valid_from", "valid_until")
        return self


class KeywordRule(RuleBase):
    """Words and phrases, matched after normalisation of both sides."""

    kind: Literal["keywords"]
    terms: Annotated[tuple[Term, ...], Field(min_length=1)]
    whole_word: bool = True
    """Only where no letter, digit or vowel sign touches the term."""


class RegexRule(RuleBase):
    """RE2 patterns, case-insensitive. A match anywhere in the text counts."""

    kind: Literal["regex"]
    patterns: Annotated[tuple[Pattern, ...], Field(min_length=1)]
    view: Literal["normalised", "original"] = "normalised"
    """Which text is searched. The normalised one is lower case, single-spaced and without
    disguises."""


Rule = Annotated[KeywordRule | RegexRule, Field(discriminator="kind")]


class RulesDocument(Part):
    """The whole file."""

    version: Annotated[str, Field(min_length=1, max_length=64)]
    """The author's own name of this edition."""
    new_account_days: Annotated[float, Field(ge=0)] = 7.0
    """A younger account is new, for `scope.new_accounts`."""
    rules: Annotated[tuple[Rule, ...], Field(max_length=MAX_RULES)] = ()

    @model_validator(mode="after")
    def _sound(self) -> RulesDocument:
        seen: set[str] = set()
        terms = 0
        for index, rule in enumerate(self.rules):
            if rule.id in seen:
                raise FaultError(f"there are two rules {rule.id}", "rules", index, "id")
            seen.add(rule.id)
            terms += len(rule.allow) + (len(rule.terms) if isinstance(rule, KeywordRule) else 0)
            if terms > MAX_TERMS:
                raise FaultError(f"more than {MAX_TERMS} terms", "rules", index)
        return self

    def digest(self) -> str:
        """First 16 hex digits of the SHA-256 of the content: spelling of the YAML is no part."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def rules_json_schema() -> dict[str, Any]:
    """JSON schema of `conf/rules.yaml`, as kept in `conf/schemas/rules.schema.json`."""
    return RulesDocument.model_json_schema()
