"""A policy document, compiled to tables: one for each kind of user, place and upload.

A table holds, for each category, its thresholds and what follows from each severity. Tables
are made on first use and kept, so an upload costs one dictionary lookup.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from schemas.categories import Action, Severity, Status
from schemas.policy import CategoryPolicy, CommunityCategory, CommunityOverride, PolicyDocument
from schemas.policy_parts import MEASURES, SEVERITIES, Band, GradedSeverity, Measure, Shift
from schemas.upload import Upload
from udfs.policy_conditions import Test, compile_expression

MAX_TABLES: Final = 1024
"""Tables that are kept; a policy with very many communities starts over beyond."""

_NO_SHIFT: Final = Shift()
_UNCHANGED: Final = CommunityCategory()
_UNCHANGED_COMMUNITY: Final = CommunityOverride()


def strictness(status: Status, action: Action) -> int:
    """Order of results, from approved (0) over pending review to rejected and removed.

    Approved and allowed is 0, held for a person is 1, and a rejected upload counts by its
    action: label 2, age_gate 3, warn 4, restrict 5, shadowban 6, remove 7.
    """
    if status == "approved":
        return 0
    if status == "pending_review" or action in {"review", "allow"}:
        return 1
    return 1 + MEASURES.index(action)


class Consequence(msgspec.Struct, frozen=True):
    """What follows from a finding."""

    severity: Severity
    status: Status
    action: Action
    rank: int
    """`strictness` of status and action."""
    tier: int
    review: bool
    """A person looks although the action is taken."""
    notify: bool


class CategoryTable(msgspec.Struct, frozen=True):
    """One category for one kind of user, place and upload."""

    name: str
    columns: tuple[str, ...]
    approve: float
    reject: float
    moderate_from: float
    severe_from: float
    uncertain: tuple[Consequence, Consequence, Consequence]
    """Between the thresholds, by severity."""
    measures: tuple[Consequence, Consequence, Consequence]
    """Above reject, by severity."""
    definitive: tuple[Consequence, Consequence, Consequence]
    """Of a definitive rule or bank match, by severity."""
    critical: Consequence
    """Of a score above the critical one, and of a match whose severity score is above it."""
    appealable: bool
    fail_closed: bool
    needs: frozenset[str]
    exceptions: tuple[tuple[str, Test], ...]
    order: int
    """Position in the policy; the first of equals decides."""

    def severity_index(self, probability: float) -> int:
        """0 mild, 1 moderate, 2 severe."""
        if probability >= self.severe_from:
            return 2
        return 1 if probability >= self.moderate_from else 0


class ConditionTable(msgspec.Struct, frozen=True):
    """One condition of the policy, compiled."""

    id: str
    description: str
    test: Test
    category: str
    consequence: Consequence
    probability: float
    severity_score: float


class Table(msgspec.Struct, frozen=True):
    """Everything that decides about one kind of user, place and upload."""

    approve: float
    """Of a category that has no thresholds of its own."""
    reject: float
    limits: dict[str, float]
    """Below this a score column says nothing, whichever category reads it; -1 where a category
    that reads it is switched off."""
    categories: tuple[CategoryTable, ...]
    by_category: dict[str, CategoryTable]
    """By category name, and by score column where no category has that name."""
    off: frozenset[str]
    """Categories that are switched off, and columns that only such categories read."""
    unknown: Callable[[str], CategoryTable]
    """Table of a category that the policy does not know: a person decides."""


class Tables:
    """All tables of a policy.

    Args:
        document: the checked policy.
        disabled: categories that never act (kill switches).
    """

    def __init__(self, document: PolicyDocument, disabled: Iterable[str] = ()) -> None:
        self._document = document
        self._disabled = frozenset(disabled)
        self._tables: dict[tuple[Band, str | None, bool, bool, str | None], Table] = {}
        self._communities = frozenset(document.communities)
        self._languages = frozenset(document.languages)
        self._exceptions = {
            name: tuple(
                (item.id, compile_expression(item.when))
                for item in category.exceptions
                if item.when is not None
            )
            for name, category in document.categories.items()
        }

    def find(self, band: Band, upload: Upload) -> Table:
        """Table for an upload whose author is in `band`."""
        community = upload.community_id
        if community not in self._communities:
            community = None
        language = upload.language
        if language not in self._languages:
            language = None
        is_comment = upload.parent_content_id is not None
        key = (band, community, upload.is_public, is_comment, language)
        table = self._tables.get(key)
        if table is None:
            if len(self._tables) >= MAX_TABLES:
                self._tables.clear()
            table = self._tables[key] = self._build(*key)
        return table

    def _build(
        self, band: Band, community: str | None, public: bool, comment: bool, language: str | None
    ) -> Table:
        document = self._document
        override = document.communities.get(community or "", _UNCHANGED_COMMUNITY)
        shifts = [
            document.shifts.public if public else document.shifts.private,
            document.shifts.comment if comment else document.shifts.post,
            document.languages[language].shift if language else _NO_SHIFT,
            override.shift,
        ]
        categories: list[CategoryTable] = []
        off = set(self._disabled)
        for order, (name, category) in enumerate(document.categories.items()):
            change = override.categories.get(name, _UNCHANGED)
            if not change.enabled or name in self._disabled:
                off.add(name)
                continue
            thresholds = self._thresholds(category, band, [*shifts, change.shift])
            actions: dict[GradedSeverity, Measure] = {
                s: getattr(category.severities, s).action for s in SEVERITIES
            }
            actions.update(change.actions)
            categories.append(self._category(order, name, actions, thresholds))
        limits: dict[str, float] = {}
        by_category = {table.name: table for table in categories}
        for table in categories:
            for column in table.columns:
                limits[column] = min(limits.get(column, math.inf), table.approve)
                by_category.setdefault(column, table)
        for name, category in document.categories.items():
            if name in off:
                columns = _columns(name, category)
                off.update(column for column in columns if column not in limits)
                limits.update(dict.fromkeys(columns, -1.0))
        base = self._thresholds(None, band, shifts)
        return Table(
            approve=base[0],
            reject=base[1],
            limits=limits,
            categories=tuple(categories),
            by_category=by_category,
            off=frozenset(off),
            unknown=lambda name: self._unknown(name, *base),
        )

    def _thresholds(
        self, category: CategoryPolicy | None, band: Band, shifts: list[Shift]
    ) -> tuple[float, float]:
        approve, reject = self._document.thresholds_of(category, band)
        protected = category is not None and category.protected
        by_approve = sum(min(s.approve, 0.0) if protected else s.approve for s in shifts)
        by_reject = sum(min(s.reject, 0.0) if protected else s.reject for s in shifts)
        reject = self._shifted(reject, by_reject)
        return min(self._shifted(approve, by_approve), reject), reject

    def _shifted(self, threshold: float, shift: float) -> float:
        if not shift:
            return threshold
        bounds = self._document.shifts
        # Rounded: 0.2 + 0.1 must be 0.3 for whoever reads the decision.
        return round(min(max(threshold + shift, bounds.lowest), bounds.highest), 6)

    def _category(
        self,
        order: int,
        name: str,
        actions: dict[GradedSeverity, Measure],
        thresholds: tuple[float, float],
    ) -> CategoryTable:
        category = self._document.categories[name]
        rules = [getattr(category.severities, severity) for severity in SEVERITIES]
        measures = [
            consequence(severity, actions[severity], rule.tier, rule.review, rule.notify)
            for severity, rule in zip(SEVERITIES, rules, strict=True)
        ]
        severe = rules[2]
        moderate_from, severe_from = map(_begin, self._document.severity_from_of(category))
        critical = consequence(
            "severe", category.critical_action, severe.tier, severe.review, severe.notify
        )
        if severe_from > 1:
            # The strictest that a score can bring. Of matches none is critical in such a policy.
            critical = measures[1] if moderate_from <= 1 else measures[0]
        return CategoryTable(
            name=name,
            columns=_columns(name, category),
            approve=thresholds[0],
            reject=thresholds[1],
            moderate_from=moderate_from,
            severe_from=severe_from,
            uncertain=_three([consequence(m.severity, "review", m.tier) for m in measures]),
            measures=_three(measures),
            definitive=_three(_without_removal(measures)),
            critical=critical,
            appealable=category.appealable,
            fail_closed=category.on_missing == "fail_closed",
            needs=frozenset(category.needs),
            exceptions=self._exceptions[name],
            order=order,
        )

    def _unknown(self, name: str, approve: float, reject: float) -> CategoryTable:
        document = self._document
        held = [consequence(s, "review", document.unknown_category.tier) for s in SEVERITIES]
        return CategoryTable(
            name=name,
            columns=(name,),
            approve=approve,
            reject=reject,
            moderate_from=_begin(document.severity_from.moderate),
            severe_from=_begin(document.severity_from.severe),
            uncertain=_three(held),
            measures=_three(held),
            definitive=_three(held),
            critical=held[2],
            appealable=True,
            fail_closed=False,
            needs=frozenset(),
            exceptions=(),
            order=len(document.categories),
        )


def compile_conditions(document: PolicyDocument) -> tuple[ConditionTable, ...]:
    """Compile the policy's conditions, in their order."""
    compiled: list[ConditionTable] = []
    for item in document.conditions:
        rule = getattr(document.categories[item.category].severities, item.severity)
        compiled.append(
            ConditionTable(
                id=item.id,
                description=item.description,
                test=compile_expression(item.when),
                category=item.category,
                consequence=consequence(item.severity, item.action, rule.tier, False, rule.notify),
                probability=item.probability,
                severity_score=getattr(document.severity_scores, item.severity),
            )
        )
    return tuple(compiled)


def consequence(
    severity: Severity, measure: Measure, tier: int, review: bool = False, notify: bool = False
) -> Consequence:
    """What follows when a policy asks for a measure: `review` holds, all else rejects."""
    status: Status = "pending_review" if measure == "review" else "rejected"
    rank = strictness(status, measure)
    return Consequence(severity, status, measure, rank, tier, review, notify)


def _without_removal(measures: list[Consequence]) -> list[Consequence]:
    """Definitive matches: below severe, removal gives way to the next milder measure.

    Removal needs a severe match or a probability above the threshold. A person looks at what
    gave way, whether a lesser severity of the category has a measure to take or not.
    """
    result: list[Consequence] = []
    for index, measure in enumerate(measures):
        if measure.action != "remove" or index == len(measures) - 1:
            result.append(measure)
            continue
        lesser = [m for m in measures[:index] if m.action not in {"remove", "review"}]
        instead = lesser[-1].action if lesser else "review"
        status: Status = "rejected" if lesser else "pending_review"
        result.append(
            msgspec.structs.replace(
                measure,
                status=status,
                action=instead,
                rank=strictness(status, instead),
                review=True,
            )
        )
    return result


def _begin(probability: float) -> float:
    """Where a severity begins for scores: 1 means never, even for a score of exactly 1."""
    return math.inf if probability >= 1 else probability


def _columns(name: str, category: CategoryPolicy) -> tuple[str, ...]:
    """Score columns of a category. Rules may name the category, so its own is among them."""
    if category.model is None:
        return (name,)
    return (name, *(column for column in category.model if column != name))


def _three(items: list[Consequence]) -> tuple[Consequence, Consequence, Consequence]:
    mild, moderate, severe = items
    return mild, moderate, severe
