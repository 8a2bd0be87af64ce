"""Golden texts of what an operator reads when a rule file is wrong, and RE2's refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import ConfigError
from tests.rules_kit import found, patterns
from udfs.rules import RuleSet
from udfs.rules_patterns import PatternFaultError, compile_pattern

GOOD = """\
version: "1"
rules:
  - id: words
    kind: keywords
    category: toxicity
    terms:
      - bad
      - worse
  - id: shapes
    kind: regex
    category: spam
    weight: 0.5
    valid_from: 2026-01-01
    patterns:
      - free money
      - a.b
"""

# (what is replaced, by what, the message after the file's name)
AT_LEAST_ONE = "List should have at least 1 item after validation, not 0"
MISTAKES = [
    (
        "id: words",
        "id: Words",
        "3: rules.0.id: String should match pattern '^[a-z][a-z0-9_.-]{0,95}$'",
    ),
    ("id: shapes", "id: words", "9: rules.1.id: there are two rules words"),
    ("- id: words\n    kind", "- kind", "3: rules.0.id: id is required"),
    (
        "kind: keywords",
        "kind: words",
        "3: rules.0: Input tag 'words' found using 'kind' does not match any of the expected tags:"
        " 'keywords', 'regex'",
    ),
    ("category: toxicity", "categoy: toxicity", "3: rules.0.category: category is required"),
    ("weight: 0.5", "wieght: 0.5", "12: rules.1.wieght: unknown field wieght"),
    ("weight: 0.5", "weight: 1.5", "12: rules.1.weight: Input should be less than or equal to 1"),
    (
        "weight: 0.5",
        "severity: awful",
        "12: rules.1.severity: Input should be 'mild', 'moderate' or 'severe'",
    ),
    (
        "      - worse",
        '      - "\\u200b"',
        "8: rules.0.terms.1: rule words: nothing is left of '\\u200b' after normalisation",
    ),
    ("      - worse", "      - 42", "8: rules.0.terms.1: Input should be a valid string"),
    ("      - bad\n      - worse\n", "      []\n", f"6: rules.0.terms: {AT_LEAST_ONE}"),
    (
        "2026-01-01",
        "2026-01-01 10:00:00",
        "13: rules.1.valid_from: Input should have timezone info",
    ),
    (
        "valid_from: 2026-01-01",
        "valid_from: 2026-01-01\n    valid_until: 2025-12-31",
        "14: rules.1.valid_until: must be after valid_from",
    ),
    (
        "weight: 0.5",
        "scope: {comunities: [a]}",
        "12: rules.1.scope.comunities: unknown field comunities",
    ),
    (
        "weight: 0.5",
        "scope: {languages: [german]}",
        "12: rules.1.scope.languages.0: String should match pattern '^[a-z]{2,3}$'",
    ),
    (
        "weight: 0.5",
        "scope: {communities: []}",
        f"12: rules.1.scope.communities: {AT_LEAST_ONE}",
    ),
    (
        "      - a.b",
        "      - (a)\\1",
        "16: rules.1.patterns.1: rule shapes: RE2 does not take this pattern: invalid escape"
        " sequence: \\1 at position 4 (backreferences are not available)",
    ),
    (
        "      - a.b",
        "      - foo(?=bar)",
        "16: rules.1.patterns.1: rule shapes: RE2 does not take this pattern: invalid perl"
        " operator: (?= at position 4 (lookaround and other backtracking constructs are not"
        " available)",
    ),
    (
        "      - a.b",
        "      - a*",
        "16: rules.1.patterns.1: rule shapes: matches the empty text, so it would match everything",
    ),
    ("rules:\n", "rules: 3\nmore:\n", "2: rules: Input should be a valid list"),
    ('version: "1"\n', "", "1: version: version is required"),
    ("    terms:\n", "    terms: [\n", "7: not YAML: did not find expected node content"),
]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES)
def test_a_mistake_is_named_with_file_line_and_field(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in GOOD
    path = tmp_path / "rules.yaml"
    path.write_text(GOOD.replace(old, new, 1), "utf-8")
    with pytest.raises(ConfigError) as error:
        RuleSet.load(path)
    assert str(error.value).startswith(f"{path}:{message}")


def test_the_good_file_is_good(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(GOOD, "utf-8")
    assert RuleSet.load(path).version == "1"
    assert RuleSet.parse(GOOD, "named.yaml").hash == RuleSet.load(path).hash


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^nowhere\.yaml: cannot be read: No such file"):
        RuleSet.load(Path("nowhere.yaml"))


@pytest.mark.parametrize(
    ("pattern", "position"),
    [
        (r"(a)\1", 4),
        (r"\\(a)\1", 6),
        (r"\\1\1", 4),
        (r"x(?<=y)", 2),
        (r"(?<!x)y", 1),
        (r"aé(?!b)", 3),
        (r"(?>a)", 1),
        (r"ab[z-a]", 4),
        (r"ab{2000}", 3),
        (r"*a", 1),
        (r"xy\Z", 3),
        (r"a**", 2),
        (r"ab(cd", 5),
        (r"\p{Nothing}", 1),
    ],
)
def test_re2_refuses_with_the_position(pattern: str, position: int) -> None:
    with pytest.raises(PatternFaultError, match=f"at position {position}") as error:
        compile_pattern(pattern)
    assert error.value.position == position


@pytest.mark.parametrize("pattern", ["", "a?", "^", r"\b|x", "(x|)"])
def test_a_pattern_that_matches_everything_is_refused(pattern: str) -> None:
    with pytest.raises(PatternFaultError, match="matches the empty text"):
        compile_pattern(pattern)


def test_patterns_that_are_too_large_together_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repeated = "(?:[a-z]{1,200}[0-9]{1,200})"
    monkeypatch.setattr("udfs.rules.MAX_INSTRUCTIONS", 3_000)
    with pytest.raises(ConfigError, match=r"patterns: the patterns together are too large"):
        patterns(*(f"word{i}{repeated}" for i in range(8)))
    monkeypatch.undo()
    monkeypatch.setattr("udfs.rules_patterns.MAX_MEMORY", 1 << 19)
    with pytest.raises(ConfigError, match=r"rules: the patterns together are too large for RE2"):
        patterns(*(f"word{i}{repeated}" for i in range(8)))


def test_a_thousand_patterns_work_together() -> None:
    assert found(patterns(*(f"word{i}x+" for i in range(1000))), "so word777xx") == ["word777xx"]
