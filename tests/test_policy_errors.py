"""Golden texts of what an operator reads when a policy or fusion file is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import ConfigError
from tests.policy_kit import FUSION_FILE, POLICY_FILE
from udfs.fusion import LinearFusion
from udfs.policy import Policy

POLICY = POLICY_FILE.read_text("utf-8")
FUSION = FUSION_FILE.read_text("utf-8")


def line_of(text: str, fragment: str) -> int:
    return text[: text.index(fragment)].count("\n") + 1


# (what is replaced, by what, the message after file and line, a fragment of the line named)
POLICY_MISTAKES = [
    (
        'version: "1"',
        'version: "one two"',
        "version: String should match pattern '^[A-Za-z0-9._-]{1,64}$'",
        "version:",
    ),
    (
        "normal: {approve_below: 0.2, reject_above: 0.8}",
        "normal: {approve_below: 0.9, reject_above: 0.8}",
        "thresholds.normal.approve_below: must not be above reject_above",
        "normal: {",
    ),
    (
        "high: {above_reputation: 80, approve_below: 0.3",
        "high: {above_reputation: 80, approve_below: 0.1",
        "thresholds.high: high: a better reputation may not be judged more strictly (the band"
        " below has 0.2 and 0.8, this 0.1 and 0.9)",
        "high: {",
    ),
    (
        "below_reputation: 20",
        "below_reputation: 90",
        "thresholds.low.below_reputation: must not be above high.above_reputation",
        "low: {",
    ),
    (
        "  min_uploads: 5\n",
        "",
        "cold_start.min_uploads: min_uploads is required",
        "cold_start:",
    ),
    (
        "  min_uploads: 5\n",
        "  min_uploads: 5\n  min_upload: 5\n",
        "cold_start.min_upload: unknown field min_upload",
        "min_upload: 5",
    ),
    (
        "  min_uploads: 5\n",
        "  min_uploads: 5\n  min_uploads: 6\n",
        "cold_start.min_uploads: is given twice",
        "min_uploads: 6",
    ),
    (
        "severe: {meaning: Scams and phishing., action: remove",
        "severe: {meaning: Scams and phishing., action: label",
        "categories.spam.severities.severe.action: severe acts more mildly (label) than moderate"
        " (shadowban); from mild to strict: review, label, age_gate, warn, restrict, shadowban,"
        " remove",
        "severe: {meaning: Scams",
    ),
    (
        "severe: {meaning: Scams and phishing., action: remove",
        "severe: {meaning: Scams and phishing., action: burn",
        "categories.spam.severities.severe.action: Input should be 'review', 'label', 'age_gate',"
        " 'warn', 'restrict', 'shadowban' or 'remove'",
        "severe: {meaning: Scams",
    ),
    (
        "mild: {meaning: Suggestive., action",
        "mild: {meaning: Suggestive., at: 0.1, action",
        "categories.sexual.severities.mild.at: mild has no `at`: it is all that is below moderate",
        "mild: {meaning: Suggestive",
    ),
    (
        "moderate: {meaning: Explicit.,",
        "moderate: {meaning: Explicit., at: 0.99,",
        "categories.sexual.severities: moderate begins at 0.99, after severe at 0.95",
        "severities:\n      mild: {meaning: Suggestive",
    ),
    (
        "critical: {above: 0.95}",
        "critical: {above: 0.85}",
        "critical.above: must not be below severity_scores.severe (0.9): no score makes self_harm"
        " severe, so a score may not bring its critical action either",
        "critical: {above",
    ),
    (
        "field: velocity.10s.repeats",
        "field: velocity.10s.repeat",
        "conditions.0.when.all.0.field: no such field 'velocity.10s.repeat'; velocity has"
        " 10s.count, 10s.distinct_communities, 10s.distinct_texts, 10s.mean_gap_s, 10s.repeats,"
        " 1d.count, 1d.distinct_communities, 1d.distinct_texts, 1d.mean_gap_s, 1d.repeats,"
        " 1h.count, 1h.distinct_communities, 1h.distinct_texts, 1h.mean_gap_s, 1h.repeats,"
        " 1m.count, 1m.distinct_communities, 1m.distinct_texts, 1m.mean_gap_s, 1m.repeats,"
        " duplicate",
        "field: velocity.10s.repeat",
    ),
    (
        "{field: velocity.10s.repeats, op: ge, value: 5}",
        "{field: score.spam, op: lt, value: 0.5}",
        "conditions.0.when.all.0.op: score.spam may only be compared by gt or ge here: what makes"
        " a result stricter must not turn round when the value rises",
        "{field: score.spam",
    ),
    (
        "action: shadowban\n    probability: 0.9",
        "action: remove\n    probability: 0.9",
        "conditions.0.action: a condition may not remove: removal needs a definitive severe rule"
        " or bank match, or a probability above reject_above; shadowban is the strictest here",
        "action: remove\n    probability",
    ),
    (
        "id: flood_any_text",
        "id: flood_same_text",
        "conditions.1.id: is the id of two conditions",
        "id: flood_same_text\n    description: more",
    ),
    (
        "category: harassment\n    severity: mild",
        "category: harassments\n    severity: mild",
        "conditions.3.category: no category 'harassments' in this policy",
        "category: harassments",
    ),
    (
        "lowest: 0.02",
        "lowest: .nan",
        "shifts.lowest: Input should be a finite number",
        "lowest:",
    ),
    ("languages: {}", "languages: {]", "not YAML: expected the node content", "languages"),
]


@pytest.mark.parametrize(("old", "new", "message", "at"), POLICY_MISTAKES)
def test_policy_mistakes(old: str, new: str, message: str, at: str) -> None:
    assert old in POLICY
    text = POLICY.replace(old, new, 1)
    line = line_of(text, at)
    with pytest.raises(ConfigError) as caught:
        Policy.parse(text, "policy.yaml")
    assert caught.value.file == "policy.yaml"
    if message.startswith("not YAML"):
        assert str(caught.value).startswith(f"policy.yaml:{line}: not YAML: ")
    else:
        assert str(caught.value) == f"policy.yaml:{line}: {message}"


FUSION_MISTAKES = [
    (
        "rules: {log_odds: 4.0",
        "rules: {log_odds: -4.0",
        "rules.log_odds: Input should be greater than or equal to 0",
        "rules: {",
    ),
    (
        "clip: {low: 0.0005",
        "clip: {low: 0.9999",
        "clip.low: must be below high",
        "clip: {",
    ),
    (
        "    10s: {free_count: 6",
        "    10m: {free_count: 6",
        "velocity.windows.10m.[key]: Input should be '10s', '1m', '1h' or '1d'",
        "    10m: {",
    ),
]


@pytest.mark.parametrize(("old", "new", "message", "at"), FUSION_MISTAKES)
def test_fusion_mistakes(old: str, new: str, message: str, at: str) -> None:
    assert old in FUSION
    text = FUSION.replace(old, new, 1)
    with pytest.raises(ConfigError) as caught:
        LinearFusion.parse(text, "fusion.yaml")
    assert str(caught.value) == f"fusion.yaml:{line_of(text, at)}: {message}"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "policy.yaml"
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        Policy.load(missing)
    missing.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        LinearFusion.load(missing)


@pytest.mark.parametrize("text", ["[1, 2]", "", "just words"])
def test_a_policy_is_a_mapping(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^p\.yaml:1: "):
        Policy.parse(text, "p.yaml")


@pytest.mark.parametrize("text", ["[" * 5000, "a: " + "{a: " * 3000, "x: &x [*x]"])
def test_hostile_nesting_is_an_error_like_any_other(text: str) -> None:
    with pytest.raises(ConfigError):
        Policy.parse(text, "p.yaml")
