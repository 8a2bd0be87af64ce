"""Policy as code: from signals and probabilities to one verdict, by `conf/policy.yaml`.

Every category looks at the upload by itself and may make a finding; the strictest finding
decides (`udfs.policy_tables.strictness`), and among equals a bank match before a rule, a rule
before a condition, a condition before a score, then the higher probability. Two laws follow,
and tests hold them: a higher probability never makes a result less strict, and a better
reputation never makes it stricter.

A known-good bank match vouches for the content: model scores, non-severe definitive rules, and
known-bad matches that are no closer than it do not count. It vouches for the category that its
entry names, or for all where it names none. It never outweighs a severe definitive rule, a
known-bad match in a fail-closed category, or a condition (a flood of a harmless text is a flood).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from schemas.policy import CommunitiesDocument, PolicyDocument
from schemas.policy_parts import Band
from schemas.yaml_source import FaultError, YamlSource
from udfs.contracts import BankMatch, RuleMatch, Signals, Verdict
from udfs.policy_conditions import DAY_MS, Fused
from udfs.policy_finding import Finding, strictest, to_verdict
from udfs.policy_switches import Switches
from udfs.policy_tables import CategoryTable, Table, Tables, compile_conditions
from udfs.review import Sampler

__all__ = ["NOTHING_FOUND", "Policy", "Switches"]

NOTHING_FOUND: Final = "Nothing found: every category is below its approval threshold."
_SEVERITY_INDEX: Final = {"none": 0, "mild": 0, "moderate": 1, "severe": 2}


class Policy:
    """A compiled policy. Make one by `Policy.load` or `Policy.parse`.

    Args:
        document: the checked document.
        switches: emergency brakes.
    """

    def __init__(self, document: PolicyDocument, switches: Switches | None = None) -> None:
        self.document = document
        self.switches = switches or Switches()
        self.version = document.version
        self.content_hash = _digest(document)
        brakes = self.switches.canonical()
        self.hash = (
            hashlib.sha256(f"{self.content_hash}{brakes}".encode()).hexdigest()[:16]
            if brakes
            else self.content_hash
        )
        """First 16 hex digits of the SHA-256 of the content, with the switches where any is on."""
        self._tables = Tables(document, self.switches.disabled_categories)
        self._sampling = Sampler(document.review.sampling.rate, document.review.sampling.salt)
        self._degraded = Sampler(
            document.degraded.review_rate, f"{document.review.sampling.salt}:degraded"
        )
        self._conditions = compile_conditions(document)
        self._needs = frozenset(n for c in document.categories.values() for n in c.needs)
        cold = document.cold_start
        self._new_account_s = cold.max_account_age_days * DAY_MS / 1000.0
        self._min_uploads = cold.min_uploads
        self._unknown_is_cold = cold.unknown_user == "cold"
        self._user_stores = frozenset(cold.user_stores)
        self._low_below = document.thresholds.low.below_reputation
        self._high_above = document.thresholds.high.above_reputation

    @classmethod
    def load(cls, path: Path, switches: Switches | None = None) -> Policy:
        """Read, check and compile a policy file.

        Raises:
            ConfigError: naming file, line and field of the first mistake.
        """
        return cls(YamlSource.read(path).validate(PolicyDocument), switches)

    @classmethod
    def parse(cls, text: str, file: str, switches: Switches | None = None) -> Policy:
        """As `load`, from YAML (or JSON) in memory; `file` names it in errors."""
        return cls(YamlSource(text, file).validate(PolicyDocument), switches)

    def with_switches(self, switches: Switches) -> Policy:
        """Give the same policy with other emergency brakes."""
        return Policy(self.document, switches)

    def with_communities(self, text: str, file: str) -> Policy:
        """Give the same policy with other community overrides, from YAML in memory.

        Raises:
            ConfigError: naming file, line and field of the first mistake.
        """
        source = YamlSource(text, file)
        communities = source.validate(CommunitiesDocument).communities
        try:
            self.document.check_communities(communities)
        except FaultError as fault:
            raise source.error(str(fault), fault.path) from None
        changed = self.document.model_copy(update={"communities": communities})
        return Policy(changed, self.switches)

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the policy's categories."""
        return tuple(self.document.categories)

    def band(self, signals: Signals) -> Band:
        """Band of users whose thresholds apply.

        New accounts are `cold`: by the account's age where it is known, by the number of
        uploads where the user is known, and by `unknown_user` where nothing is (unless the
        store that would know was away). All others go by reputation.
        """
        user = signals.user
        created = signals.upload.account.created_at
        if created is not None:
            if signals.now_ms / 1000.0 - created.timestamp() < self._new_account_s:
                return "cold"
        elif (
            self._unknown_is_cold
            and not user.known
            and (not signals.degraded or self._user_stores.isdisjoint(signals.degraded))
        ):
            return "cold"
        if user.known and user.uploads < self._min_uploads:
            return "cold"
        if user.reputation < self._low_below:
            return "low"
        return "high" if user.reputation > self._high_above else "normal"

    def decide(self, signals: Signals, fused: Mapping[str, float]) -> Verdict:
        """Decide one upload.

        Args:
            signals: all that is known about it.
            fused: probability by category or score column, as the fusion gave them. NaN counts
                as missing.
        """
        table = self._tables.find(self.band(signals), signals.upload)
        if self._by_scores_alone(signals):
            top = 0.0
            limits = table.limits
            for column, probability in fused.items():
                # Not `>=`: NaN must not pass.
                if not probability < limits.get(column, table.approve):
                    break
                if probability > top:  # noqa: PLR1730 - max() costs three times as much
                    top = probability
            else:
                for condition in self._conditions:
                    if condition.test(signals, fused):
                        break
                else:
                    return self._allowed(signals, table, top)
        verdict = self._weigh(signals, fused, table)
        return self._observed(verdict) if self.switches.observe_only else verdict

    def _by_scores_alone(self, signals: Signals) -> bool:
        """Whether nothing but scores and conditions can decide."""
        if signals.banks:
            return False
        for rule in signals.rules:
            if rule.definitive:
                return False
        return not signals.degraded or self._needs.isdisjoint(signals.degraded)

    def interim(self, signals: Signals, fused: Mapping[str, float]) -> Verdict:
        """Hold an image or video whose evidence is not there yet.

        The category and probability are those of its caption and its author; by the policy's
        `media` section a caption that is rejected may decide at once.
        """
        media = self.document.media
        table = self._tables.find(self.band(signals), signals.upload)
        found = self._weigh(signals, fused, table)
        if media.caption_may_reject and found.status == "rejected":
            return self._observed(found) if self.switches.observe_only else found
        graded = found.severity != "none"
        verdict = msgspec.structs.replace(
            found if graded else self._allowed(signals, table, 0.5),
            status="pending_review",
            action="review",
            reason="Held until its pictures or sound have been looked at.",
            review_why="interim" if media.without_evidence == "review" else "",
            tier=min(found.tier, media.tier) if graded else media.tier,
            notify_user=False,
            fail_default=False,
            decided_by="default",
            finding="",
            interim=True,
        )
        return self._observed(verdict) if self.switches.observe_only else verdict

    def _allowed(self, signals: Signals, table: Table, top: float) -> Verdict:
        """Allow what nothing was found in, and pick the sample."""
        if self._sampling.picks(signals.upload.content_id):
            tier = self.document.review.sampling.tier
            return Verdict(
                "approved", "allow", "", "none", 0.0, top, max(top, 1.0 - top), NOTHING_FOUND,
                table.approve, table.reject, "sample", tier,
            )  # fmt: skip
        # Positional: keywords would double the time of the common case.
        return Verdict(
            "approved", "allow", "", "none", 0.0, top, max(top, 1.0 - top), NOTHING_FOUND,
            table.approve, table.reject,
        )  # fmt: skip

    def _weigh(self, signals: Signals, fused: Fused, table: Table) -> Verdict:
        """Decide what is not plainly clean: all findings, then the strictest."""
        act_at = self.document.banks.act_at
        good = [b for b in signals.banks if b.polarity == "good" and b.acts(act_at)]
        degraded = signals.degraded
        findings: list[Finding] = []
        missing: list[tuple[CategoryTable, str]] = []
        top = 0.0
        tables = [*table.categories]
        if not fused.keys() <= table.limits.keys():
            known = table.limits.keys() | table.off
            tables += [table.unknown(column) for column in fused if column not in known]
        for category in tables:
            vouched = bool(good) and _vouched(good, category.name)
            probability, gap = _highest(fused, category.columns)
            top = max(top, probability)
            if not vouched and probability >= category.approve:
                findings.append(self._by_score(category, probability))
            if degraded and not gap:
                gap = next((name for name in degraded if name in category.needs), "")
            if gap and (not vouched or category.fail_closed):
                missing.append((category, gap))
        if signals.rules:
            findings.extend(self._by_rules(signals, fused, table, good))
        if signals.banks:
            findings.extend(self._by_banks(signals, fused, table, good))
        findings.extend(self._by_conditions(signals, fused, table))
        findings.extend(Finding.default(c, gap) for c, gap in missing if c.fail_closed)
        if findings:
            best = strictest([self._held_back(f, signals, fused) for f in findings])
            return to_verdict(best)
        if missing:
            return self._unjudged(signals, table, missing[0][1], top if fused else 0.5)
        if good:
            probability = min(top, 1.0 - good[0].confidence)
            return msgspec.structs.replace(
                self._allowed(signals, table, probability),
                reason=f"Allowed: the content is known to be good from bank {good[0].bank}.",
                decided_by="bank",
                finding=f"{good[0].bank}/{good[0].entry}",
            )
        return self._allowed(signals, table, top)

    def _by_score(self, category: CategoryTable, probability: float) -> Finding:
        index = category.severity_index(probability)
        if probability <= category.reject:
            outcome = category.uncertain[index]
            return Finding.score(category, outcome, probability, "uncertain")
        critical = probability > self.document.critical.above
        outcome = category.critical if critical else category.measures[index]
        return Finding.score(category, outcome, probability, "policy")

    def _by_rules(
        self, signals: Signals, fused: Fused, table: Table, good: list[BankMatch]
    ) -> Iterator[Finding]:
        for rule in signals.rules:
            category = _category(table, rule.category) if rule.definitive else None
            if category is None:
                continue
            index = _SEVERITY_INDEX[rule.severity]
            if index < 2 and _vouched(good, category.name):
                continue
            yield self._definitive(category, index, fused, rule)

    def _by_banks(
        self, signals: Signals, fused: Fused, table: Table, good: list[BankMatch]
    ) -> Iterator[Finding]:
        levels = self.document.banks
        for match in signals.banks:
            if match.polarity == "good" or match.confidence < levels.review_at:
                continue
            category = _category(table, match.category)
            if category is None:
                continue
            vouchers = [g for g in good if g.distance <= match.distance]
            if not category.fail_closed and _vouched(vouchers, category.name):
                continue
            index = _SEVERITY_INDEX[match.severity]
            finding = Finding.bank(category, category.uncertain[index], match, "uncertain")
            if match.confidence >= levels.act_at:
                finding = self._definitive(category, index, fused, match)
            yield finding.held(match.hold) if match.hold else finding

    def _definitive(
        self, category: CategoryTable, index: int, fused: Fused, match: RuleMatch | BankMatch
    ) -> Finding:
        scores = self.document.severity_scores
        score = (scores.mild, scores.moderate, scores.severe)[index]
        critical = score > self.document.critical.above and index == 2
        outcome = category.critical if critical else category.definitive[index]
        probability, _ = _highest(fused, category.columns)
        if isinstance(match, RuleMatch):
            return Finding.rule(category, outcome, match, score, probability)
        return Finding.bank(
            category, outcome, match, "policy", severity_score=score, probability=probability
        )

    def _by_conditions(self, signals: Signals, fused: Fused, table: Table) -> Iterator[Finding]:
        for condition in self._conditions:
            category = table.by_category.get(condition.category)
            if category is not None and condition.test(signals, fused):
                probability, _ = _highest(fused, category.columns)
                yield Finding(
                    rank=condition.consequence.rank,
                    source=2,
                    probability=max(probability, condition.probability),
                    category=category,
                    consequence=condition.consequence,
                    decided_by="condition",
                    finding=condition.id,
                    detail=condition.description,
                    severity_score=condition.severity_score,
                    why="policy",
                )

    def _held_back(self, finding: Finding, signals: Signals, fused: Fused) -> Finding:
        """Turn an automatic measure into review: where an exception holds, or a switch is on."""
        outcome = finding.consequence
        if outcome.status != "rejected":
            return finding
        certain = finding.decided_by in {"rule", "bank"} and outcome.severity == "severe"
        if not certain:
            for name, test in finding.category.exceptions:
                if test(signals, fused):
                    return finding.held(f"the exception {name} may apply")
        if outcome.action in self.switches.disabled_actions:
            return finding.held(f"the action {outcome.action} is switched off")
        return finding

    def _unjudged(self, signals: Signals, table: Table, gap: str, probability: float) -> Verdict:
        """Allow, by the fail-open rule, what could not be judged, and flag it for review."""
        flagged = self._degraded.picks(signals.upload.content_id)
        return msgspec.structs.replace(
            self._allowed(signals, table, probability),
            confidence=max(probability, 1.0 - probability) if signals.scores else 0.5,
            reason=f"Allowed and flagged for review: it could not be judged without {gap}.",
            review_why="degraded" if flagged else "",
            tier=self.document.degraded.tier,
            fail_default=True,
            decided_by="default",
        )

    def _observed(self, verdict: Verdict) -> Verdict:
        """Allow, and say what would have been done."""
        if verdict.action == "allow":
            return verdict
        return msgspec.structs.replace(
            verdict,
            status="approved",
            action="allow",
            reason=f"Observe-only, nothing was done. It would have been: {verdict.reason}",
            review_why="",
            notify_user=False,
        )


def _category(table: Table, name: str) -> CategoryTable | None:
    """Table of the category that a rule or bank names; None where it is switched off."""
    if name in table.off:
        return None
    return table.by_category.get(name) or table.unknown(name)


def _highest(fused: Fused, columns: tuple[str, ...]) -> tuple[float, str]:
    """Highest probability of the columns that are there, and a column that is NaN, if any."""
    highest = 0.0
    gap = ""
    for column in columns:
        value = fused.get(column, 0.0)
        if value > highest:
            highest = value
        elif value != value:  # noqa: PLR0124 - only NaN differs from itself
            gap = f"the score of {column}"
    return highest, gap


def _vouched(good: list[BankMatch], category: str) -> bool:
    """Whether a known-good match speaks for this category."""
    return any(match.category in {"", category} for match in good)


def _digest(document: PolicyDocument) -> str:
    # Fields in the model's order, categories in the document's: among equals the first decides.
    content = json.dumps(document.model_dump(mode="json", by_alias=True))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]
