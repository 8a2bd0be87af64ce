"""Conditions mean what they say, and mistakes in them are found at load."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from schemas.conditions import FIELDS, Expression, check_expression
from schemas.features import ThreadContext, UserFeatures
from schemas.upload import Account, Engagement
from schemas.yaml_source import FaultError
from tests.policy_kit import CLEAN, OLD_ACCOUNT, scored, signals, velocity
from udfs.policy_conditions import compile_expression, getter

ADAPTER: TypeAdapter[Any] = TypeAdapter(Expression)
FULL = signals(
    velocity=velocity((9, 2), (40, 30, 5)),
    user=UserFeatures(
        known=True,
        uploads=12,
        reputation=33.0,
        violations=2,
        toxicity_rate=0.25,
        strike_weight=1.5,
        label_names=("new_here", "watched"),
    ),
    context=ThreadContext(
        parent_toxicity=0.7,
        thread_heat=2.5,
        thread_posts=14,
        community_baseline=0.1,
        community_uploads=900,
    ),
    evasion=0.4,
    on={
        "community_id": "chess",
        "language": "de",
        "parent_content_id": "c-0",
        "engagement": Engagement(views=10, shares=3, reports=1),
        "account": Account(created_at=OLD_ACCOUNT.created_at, verified=True, followers=7),
    },
)


def holds(expression: dict[str, Any], fused: dict[str, float] | None = None) -> bool:
    return compile_expression(ADAPTER.validate_python(expression))(FULL, fused or CLEAN)


def leaf(field: str, op: str, value: object) -> dict[str, Any]:
    return {"field": field, "op": op, "value": value}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("velocity.10s.count", 9),
        ("velocity.10s.distinct_texts", 2),
        ("velocity.10s.repeats", 7),
        ("velocity.1h.distinct_communities", 5),
        ("velocity.1m.mean_gap_s", 6.0),
        ("velocity.duplicate", False),
        ("user.known", True),
        ("user.reputation", 33.0),
        ("user.violations", 2),
        ("user.toxicity_rate", 0.25),
        ("user.uploads", 12),
        ("account.age_days", 900.0),
        ("account.verified", True),
        ("account.followers", 7),
        ("context.parent_toxicity", 0.7),
        ("user.strikes", 1.5),
        ("user.labels", ("new_here", "watched")),
        ("context.thread_heat", 2.5),
        ("context.thread_posts", 14),
        ("context.community_baseline", 0.1),
        ("context.community_uploads", 900),
        ("engagement.views", 10),
        ("engagement.shares", 3),
        ("engagement.reports", 1),
        ("text.length", 10),
        ("text.evasion", 0.4),
        ("upload.content_type", "text"),
        ("upload.community_id", "chess"),
        ("upload.language", "de"),
        ("upload.is_public", True),
        ("upload.is_comment", True),
        ("upload.priority", 0),
        ("score.spam", 0.01),
    ],
)
def test_fields(field: str, value: object) -> None:
    assert getter(field)(FULL, CLEAN) == value


def test_every_field_can_be_read() -> None:
    for field, kind in FIELDS.items():
        value = getter(field)(FULL, CLEAN)
        types: dict[str, set[type]] = {
            "number": {int, float},
            "boolean": {bool},
            "string": {str},
            "set of strings": {tuple},
        }
        assert type(value) in types[kind], field


@pytest.mark.parametrize(
    ("op", "value", "expected"),
    [
        ("lt", 9, False),
        ("lt", 10, True),
        ("le", 9, True),
        ("gt", 9, False),
        ("ge", 9, True),
        ("eq", 9, True),
        ("ne", 9, False),
    ],
)
def test_comparisons(op: str, value: int, expected: bool) -> None:
    assert holds(leaf("velocity.10s.count", op, value)) is expected


def test_trees() -> None:
    yes, no = leaf("user.known", "eq", True), leaf("user.known", "eq", False)
    assert holds({"all": [yes, yes]})
    assert not holds({"all": [yes, no]})
    assert holds({"any": [no, yes]})
    assert not holds({"any": [no, no]})
    assert holds({"not": no})
    assert holds({"all": [{"any": [no, {"not": {"all": [yes, no]}}]}, yes]})
    assert holds(leaf("upload.language", "in", ["fr", "de"]))
    assert not holds(leaf("upload.language", "not_in", ["fr", "de"]))
    assert holds(leaf("score.spam", "ge", 0.5), scored(spam=0.6))
    assert holds(leaf("user.labels", "has", "watched"))
    assert not holds(leaf("user.labels", "has", "watch"))
    assert holds({"not": leaf("user.labels", "has", "trusted")})


@pytest.mark.parametrize("op", ["eq", "ne", "in", "not_in"])
def test_a_leaf_without_a_value_is_false(op: str) -> None:
    value: object = ["de"] if op.endswith("in") else "de"
    test = compile_expression(ADAPTER.validate_python(leaf("upload.language", op, value)))
    assert not test(signals(), CLEAN)
    assert not holds(leaf("score.unscored", "ge", 0))


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (leaf("user.karma", "gt", 1), "no such field 'user.karma'; user has known, labels, report"),
        (leaf("karma", "gt", 1), "fields begin with account, context, engagement, score, text"),
        (leaf("user.known", "gt", True), "user.known is a boolean, which knows eq, ne; not gt"),
        (leaf("user.uploads", "gt", "x"), "user.uploads gt needs a number"),
        (leaf("user.uploads", "gt", True), "user.uploads gt needs a number"),
        (leaf("upload.language", "in", "de"), "upload.language in needs a list of strings"),
        (leaf("upload.language", "eq", ["de"]), "upload.language eq needs a string"),
        (leaf("user.uploads", "gt", float("nan")), "finite number"),
        (leaf("user.labels", "eq", "x"), "user.labels is a set of strings, which knows has; not"),
        (leaf("user.labels", "has", ["x"]), "user.labels has needs a string"),
        (leaf("upload.language", "has", "de"), "upload.language is a string, which knows eq, ne"),
        ({"all": []}, "at least 1 item"),
        ([1], "must be one of all, any, not, or a comparison"),
        ({"all": [leaf("user.known", "eq", True)], "any": []}, "Extra inputs"),
    ],
)
def test_mistakes(expression: object, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ADAPTER.validate_python(expression)
    assert any(message in error["msg"] for error in caught.value.errors())


@pytest.mark.parametrize(
    ("expression", "stricter", "milder"),
    [
        (leaf("score.spam", "ge", 0.5), True, False),
        (leaf("score.spam", "lt", 0.5), False, True),
        (leaf("score.spam", "eq", 0.5), False, False),
        ({"not": leaf("score.spam", "lt", 0.5)}, True, False),
        ({"any": [{"not": {"not": leaf("score.spam", "gt", 0.5)}}]}, True, False),
        (leaf("user.reputation", "lt", 20), True, False),
        (leaf("user.reputation", "gt", 80), False, True),
        (leaf("user.strikes", "ge", 2), True, False),
        (leaf("user.strikes", "lt", 2), False, True),
        *(
            (leaf(f"context.{name}", op, 0.5), op == "gt", op == "lt")
            for name in ("parent_toxicity", "thread_heat", "community_baseline")
            for op in ("gt", "lt", "ne")
        ),
        (leaf("context.thread_posts", "lt", 20), True, True),
        (leaf("context.community_uploads", "lt", 20), True, True),
        (leaf("user.labels", "has", "watched"), True, True),
        (leaf("velocity.10s.count", "lt", 20), True, True),
    ],
)
def test_direction(expression: dict[str, Any], stricter: bool, milder: bool) -> None:
    parsed = ADAPTER.validate_python(expression)
    for direction, allowed in ((True, stricter), (False, milder)):
        if allowed:
            check_expression(parsed, stricter=direction)
        else:
            with pytest.raises(FaultError, match="must not turn round"):
                check_expression(parsed, stricter=direction)


def test_depth_is_limited() -> None:
    expression = leaf("user.known", "eq", True)
    for _ in range(40):
        expression = {"not": expression}
    with pytest.raises(FaultError, match="nested deeper than 8 levels"):
        check_expression(ADAPTER.validate_python(expression), stricter=True)
