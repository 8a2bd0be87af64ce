"""What a rule file would do to uploads, compared with the rules in force: counts and examples.

The cascade of `scripts/moderate` does the work. Each upload is judged by itself (the author's
other uploads in the file are not counted), so that what changes, changes because of the rules.
"""

from __future__ import annotations

import dataclasses as dc
import datetime as dt
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from schemas.errors import InvalidUploadError
from scripts.cli.upload_lines import UploadLineError, parse_line
from udfs.cascade import Cascade
from udfs.contracts import Item, Outcome, RuleMatch
from udfs.rules import RuleSet

RuleStatus = Literal["added", "changed", "unchanged", "removed"]

_BATCH: Final = 256


@dc.dataclass(slots=True, frozen=True)
class Example:
    """One upload that a rule matches."""

    line: int
    """1-based line of the file."""
    content_id: str
    text: str
    """As it was uploaded."""
    spans: tuple[tuple[int, int], ...]
    """Half-open ranges of code points in `text`."""
    new: bool
    """The rules in force have no match by a rule of this id."""
    action: str
    """What would be done with the upload, all rules and models together."""
    action_in_force: str
    """What is done with it now."""

    @property
    def rank(self) -> int:
        """Lower is more worth seeing."""
        return 2 * (self.action == self.action_in_force) + (not self.new)


@dc.dataclass(slots=True)
class RuleReport:
    """What one rule would do."""

    id: str
    category: str
    severity: str
    mode: str
    definitive: bool
    status: RuleStatus
    """Compared with the rule of the same id in force."""
    matches: int = 0
    """Uploads that it matches, each once."""
    share: float = 0.0
    """Of all uploads that can be moderated, 0 to 1."""
    new: int = 0
    """Matches that a rule of this id in force does not have."""
    gone: int = 0
    """Matches of the rule in force that this one does not have."""
    changed: int = 0
    """Matches whose upload would be treated otherwise than now."""
    actions: Counter[str] = dc.field(default_factory=Counter)
    """What would be done with the uploads that it matches, whatever decides it."""
    examples: list[Example] = dc.field(default_factory=list)


@dc.dataclass(slots=True)
class TrialReport:
    """What a rule file would do."""

    rules_hash: str
    rules_hash_in_force: str
    uploads: int = 0
    """Those that can be moderated."""
    dead_letters: int = 0
    """Lines that are no valid upload."""
    matched: int = 0
    """Uploads with at least one match."""
    changes: Counter[str] = dc.field(default_factory=Counter)
    """Uploads that would be treated otherwise: "action now -> action then"."""
    rules: list[RuleReport] = dc.field(default_factory=list)
    """In the order of the file; rules of today that are not in it come last."""


class Trial:
    """A rule file tried out beside the rules in force.

    Args:
        cascade: everything else that decides, with any rules.
        candidate: the rules to try.
        in_force: the rules to compare with.
        limit: examples kept for each rule.
        at: the moment for which dated rules, ages and time offsets count.
    """

    def __init__(
        self,
        cascade: Cascade,
        candidate: RuleSet,
        in_force: RuleSet,
        *,
        limit: int,
        at: dt.datetime,
    ) -> None:
        self._candidate = candidate
        self._in_force = in_force
        self._then = cascade.with_parts(rules=candidate)
        self._now = cascade.with_parts(rules=in_force)
        self._limit = limit
        self._at = at
        self._at_ms = int(at.timestamp() * 1000)
        self._report = TrialReport(candidate.hash, in_force.hash)
        self._rules = _reports(candidate, in_force)

    def run(self, lines: Iterable[bytes]) -> TrialReport:
        """Judge every upload of a JSONL file.

        Raises:
            UploadLineError: a line uses a convenience of `scripts.cli.upload_lines` wrongly.
        """
        batch: list[tuple[int, Item]] = []
        for number, line in enumerate(lines, start=1):
            item = self._item(number, line)
            if item is not None:
                batch.append((number, item))
            if len(batch) == _BATCH:
                self._judge(batch)
                batch = []
        self._judge(batch)
        report = self._report
        report.rules = list(self._rules.values())
        for rule in report.rules:
            rule.share = rule.matches / report.uploads if report.uploads else 0.0
            rule.examples.sort(key=lambda example: (example.rank, example.line))
        return report

    def _item(self, number: int, line: bytes) -> Item | None:
        if not line.strip():
            return None
        try:
            payload = parse_line(line.strip(), base=self._at).value
            return self._then.prepare(payload, self._at_ms)
        except UploadLineError as error:
            raise UploadLineError(f"line {number}: {error}") from None
        except InvalidUploadError:
            self._report.dead_letters += 1
            return None

    def _judge(self, batch: Sequence[tuple[int, Item]]) -> None:
        items = [item for _, item in batch]
        self._report.uploads += len(items)
        then = self._candidate.match(items, self._at_ms)
        now = self._in_force.match(items, self._at_ms)
        # Whatever neither rule set matches, both treat alike.
        touched = [i for i in range(len(items)) if then[i] or now[i]]
        outcomes = self._moderate(self._then, [items[i] for i in touched])
        today = self._moderate(self._now, [items[i] for i in touched])
        for i, outcome, before in zip(touched, outcomes, today, strict=True):
            action, action_now = outcome.decision.action, before.decision.action
            if action != action_now:
                self._report.changes[f"{action_now} -> {action}"] += 1
            self._file(batch[i], then[i], now[i], (action, action_now))

    def _moderate(self, cascade: Cascade, items: Sequence[Item]) -> Sequence[Outcome]:
        return cascade.moderate(items, self._at_ms) if items else ()

    def _file(
        self,
        numbered: tuple[int, Item],
        then: Sequence[RuleMatch],
        now: Sequence[RuleMatch],
        actions: tuple[str, str],
    ) -> None:
        """Count one upload's matches, and keep it as an example where it is worth seeing."""
        number, item = numbered
        action, action_now = actions
        self._report.matched += bool(then)
        known = {match.rule_id for match in now}
        for rule_id in known - {match.rule_id for match in then}:
            self._rules[rule_id].gone += 1
        for match in then:
            rule = self._rules[match.rule_id]
            new = match.rule_id not in known
            rule.matches += 1
            rule.new += new
            rule.changed += action != action_now
            rule.actions[action] += 1
            upload = item.upload
            example = Example(
                number, upload.content_id, upload.text or "", match.spans, new, action, action_now
            )
            self._keep(rule.examples, example)

    def _keep(self, examples: list[Example], example: Example) -> None:
        examples.append(example)
        if len(examples) > self._limit:
            # Of the least telling, the one that came last goes.
            examples.remove(max(examples, key=lambda e: (e.rank, e.line)))


def _reports(candidate: RuleSet, in_force: RuleSet) -> dict[str, RuleReport]:
    today = {rule.id: rule for rule in in_force.document.rules}
    reports: dict[str, RuleReport] = {}
    for rule in [*candidate.document.rules, *in_force.document.rules]:
        if rule.id in reports:
            continue
        status: RuleStatus = "unchanged" if today.get(rule.id) == rule else "changed"
        if rule.id not in today:
            status = "added"
        reports[rule.id] = RuleReport(
            rule.id, rule.category, rule.severity, rule.mode, rule.definitive, status
        )
    for rule_id in today.keys() - {rule.id for rule in candidate.document.rules}:
        reports[rule_id].status = "removed"
    return reports
