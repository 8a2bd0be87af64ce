"""Rules: keywords and RE2 patterns over a batch of normalised texts, with evidence.

`RuleSet.match` is linear in the text whatever the rules are: keywords go through
Aho-Corasick, patterns through RE2. What a rule's scope and dates say is looked at only where
the rule has matched.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from schemas.policy_parts import Part
from schemas.rules import UNDECLARED, KeywordRule, RegexRule, RulesDocument
from schemas.upload import Upload
from schemas.yaml_source import YamlSource
from udfs.contracts import Item, RuleMatch
from udfs.normalise import Normalised
from udfs.rules_keywords import Entry, KeywordIndex, Span, term_text
from udfs.rules_patterns import (
    MAX_INSTRUCTIONS,
    MAX_SPANS,
    TOO_LARGE,
    PatternFaultError,
    PatternIndex,
    compile_pattern,
)

DAY_MS: Final = 86_400_000.0

_NO_MATCHES: Final[Sequence[RuleMatch]] = ()


class RuleSet:
    """Compiled rules. Immutable; make one by `load`, `parse` or `compile`.

    Attributes:
        version: the author's name of this edition.
        hash: first 16 hex digits of the SHA-256 of the content.
        document: what was compiled.
    """

    def __init__(
        self,
        document: RulesDocument,
        entries: Sequence[tuple[int, bool, Entry]],
        patterns: Mapping[str, Sequence[tuple[int, Any]]],
    ) -> None:
        self.document = document
        self.version = document.version
        self.hash = document.digest()
        self._rules = document.rules
        self._keywords = KeywordIndex([entry for _, _, entry in entries])
        self._owners = [(rule, veto) for rule, veto, _ in entries]
        self._patterns = PatternIndex(patterns["normalised"])
        self._original_patterns = PatternIndex(patterns["original"])
        self._gates = [_Gate(rule, document.new_account_days) for rule in document.rules]

    @classmethod
    def load(cls, path: Path) -> RuleSet:
        """Read and compile a rule file.

        Raises:
            ConfigError: naming file, line and field.
        """
        return cls._from(YamlSource.read(path))

    @classmethod
    def parse(cls, text: str, file: str | None = None) -> RuleSet:
        """Compile the text of a rule file.

        Args:
            text: the YAML document.
            file: name for error messages.

        Raises:
            ConfigError: naming file, line and field.
        """
        return cls._from(YamlSource(text, file))

    @classmethod
    def compile(cls, document: RulesDocument) -> RuleSet:
        """Compile a document that did not come from a file.

        Raises:
            ConfigError: naming the field.
        """
        return cls._compile(document, YamlSource("{}"))

    @classmethod
    def _from(cls, source: YamlSource) -> RuleSet:
        return cls._compile(source.validate(RulesDocument), source)

    @classmethod
    def _compile(cls, document: RulesDocument, source: YamlSource) -> RuleSet:
        entries: list[tuple[int, bool, Entry]] = []
        instructions = 0
        patterns: dict[str, list[tuple[int, Any]]] = {"normalised": [], "original": []}
        for index, rule in enumerate(document.rules):
            lists: list[tuple[str, tuple[str, ...], bool]] = [("allow", rule.allow, True)]
            if isinstance(rule, KeywordRule):
                lists.append(("terms", rule.terms, rule.whole_word))
            else:
                compiled = _compiled(rule, source, index)
                patterns[rule.view] += [(index, pattern) for pattern in compiled]
                instructions += sum(pattern.programsize for pattern in compiled)
                if instructions > MAX_INSTRUCTIONS:
                    raise source.error(TOO_LARGE, ("rules", index, "patterns"))
            for field, terms, whole_word in lists:
                for place, term in enumerate(terms):
                    text = term_text(term)
                    if not text:
                        raise source.error(
                            f"rule {rule.id}: nothing is left of {term!r} after normalisation",
                            ("rules", index, field, place),
                        )
                    entries.append((index, field == "allow", Entry(text, whole_word)))
        try:
            return cls(document, entries, patterns)
        except PatternFaultError as fault:
            raise source.error(str(fault), ("rules",)) from None

    def match(self, items: Sequence[Item], now_ms: float) -> list[Sequence[RuleMatch]]:
        """Match a batch.

        Args:
            items: prepared uploads; one without a text matches nothing.
            now_ms: wall clock, ms since the epoch, for dated rules and new accounts.

        Returns:
            For each item the rules that matched, in the order of the file, each once, with its
            first `MAX_SPANS` places in the original text.
        """
        # Items carry what `udfs.normalise` made, seen through a narrower protocol.
        return [
            self._match(cast("Normalised", item.normalised), item.upload, now_ms)
            if item.normalised is not None
            else _NO_MATCHES
            for item in items
        ]

    def _match(self, text: Normalised, upload: Upload, now_ms: float) -> Sequence[RuleMatch]:
        found = self._find(text)
        if not found:
            return _NO_MATCHES
        matches = []
        for index in sorted(found):
            rule = self._rules[index]
            if self._gates[index].open(upload, now_ms):
                matches.append(
                    RuleMatch(
                        rule_id=rule.id,
                        category=rule.category,
                        severity=rule.severity,
                        weight=rule.weight,
                        definitive=rule.definitive,
                        observe_only=rule.mode == "observe",
                        spans=tuple(sorted(set(found[index]))[:MAX_SPANS]),
                    )
                )
        return matches or _NO_MATCHES

    def _find(self, text: Normalised) -> dict[int, list[Span]]:
        """Rules and their places in the original, before scope and dates."""
        mapped: list[tuple[int, Span]] = []
        vetoes: list[tuple[int, Span]] = []
        for number, start, end in self._keywords.find(text):
            rule, veto = self._owners[number]
            (vetoes if veto else mapped).append((rule, (start, end)))
        if self._patterns:
            mapped += [(rule, (s, e)) for rule, s, e in self._patterns.find(text.text)]
            if text.skeleton is not text.text:
                mapped += [(rule, (s, e)) for rule, s, e in self._patterns.find(text.skeleton)]
        found: dict[int, list[Span]] = {}
        if mapped:
            if vetoes:
                mapped = _without(mapped, vetoes)
            spans = text.original_spans(tuple(span for _, span in mapped))
            for (rule, _), span in zip(mapped, spans, strict=True):
                found.setdefault(rule, []).append(span)
        if self._original_patterns:
            hits = [(rule, (s, e)) for rule, s, e in self._original_patterns.find(text.original)]
            if hits and vetoes:
                spans = text.original_spans(tuple(span for _, span in vetoes))
                hits = _without(hits, [(v[0], s) for v, s in zip(vetoes, spans, strict=True)])
            for rule, span in hits:
                found.setdefault(rule, []).append(span)
        return found


def _without(
    hits: Sequence[tuple[int, Span]], vetoes: Sequence[tuple[int, Span]]
) -> list[tuple[int, Span]]:
    """Hits that no veto of the same rule touches."""
    by_rule: dict[int, list[Span]] = {}
    for rule, (start, end) in sorted(vetoes):
        merged = by_rule.setdefault(rule, [])
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return [(rule, span) for rule, span in hits if not _touches(span, by_rule.get(rule, ()))]


def _touches(span: Span, ranges: Sequence[Span]) -> bool:
    """Whether the span overlaps one of the sorted, disjoint ranges."""
    index = bisect.bisect_left(ranges, span[1], key=lambda r: r[0]) - 1
    return index >= 0 and span[0] < ranges[index][1]


def _compiled(rule: RegexRule, source: YamlSource, index: int) -> list[Any]:
    compiled = []
    for place, pattern in enumerate(rule.patterns):
        try:
            compiled.append(compile_pattern(pattern))
        except PatternFaultError as fault:
            raise source.error(
                f"rule {rule.id}: {fault}", ("rules", index, "patterns", place)
            ) from None
    return compiled


class _Gate:
    """Whether a rule applies to an upload now."""

    __slots__ = ("_from", "_new_ms", "_scope", "_until")

    def __init__(self, rule: KeywordRule | RegexRule, new_account_days: float) -> None:
        self._scope = rule.scope if rule.scope != _ANYWHERE else None
        self._from = rule.valid_from.timestamp() * 1000.0 if rule.valid_from else -float("inf")
        self._until = rule.valid_until.timestamp() * 1000.0 if rule.valid_until else float("inf")
        self._new_ms = new_account_days * DAY_MS

    def open(self, upload: Upload, now_ms: float) -> bool:
        if not self._from <= now_ms < self._until:
            return False
        scope = self._scope
        if scope is None:
            return True
        if scope.communities is not None and upload.community_id not in scope.communities:
            return False
        if scope.languages is not None and _language(upload) not in scope.languages:
            return False
        if scope.content_types is not None and upload.content_type not in scope.content_types:
            return False
        if scope.is_public is not None and upload.is_public is not scope.is_public:
            return False
        return scope.new_accounts is None or scope.new_accounts is self._is_new(upload, now_ms)

    def _is_new(self, upload: Upload, now_ms: float) -> bool:
        created = upload.account.created_at
        return created is None or now_ms - created.timestamp() * 1000.0 < self._new_ms


_ANYWHERE: Final[Part] = KeywordRule.model_fields["scope"].default


def _language(upload: Upload) -> str:
    if not upload.language:
        return UNDECLARED
    return upload.language.replace("_", "-").partition("-")[0].lower()
