"""Conditions of the policy, compiled to closures.

A compiled condition costs about 0.2 us a leaf; `all` and `any` stop as early as they can.
Types and fields were checked when the document was read (`schemas.conditions`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from schemas.conditions import FIELDS, SCORE_PREFIX, WINDOW_MEASURES, All, Expression, Leaf, Not
from schemas.features import WINDOW_NAMES
from udfs.contracts import Signals

Fused = Mapping[str, float]
Test = Callable[[Signals, Fused], bool]
Getter = Callable[[Signals, Fused], Any]
"""Value of a field; None where the upload has none."""

DAY_MS: Final = 86_400_000.0


def compile_expression(expression: Expression) -> Test:
    """Turn a checked expression into a function of the signals and the fused probabilities."""
    if isinstance(expression, Leaf):
        return _leaf(expression)
    if isinstance(expression, Not):
        inner = compile_expression(expression.not_)
        return lambda signals, fused: not inner(signals, fused)
    if isinstance(expression, All):
        return _all(tuple(compile_expression(part) for part in expression.all))
    return _any(tuple(compile_expression(part) for part in expression.any))


def account_age_days(signals: Signals) -> float | None:
    """Age of the author's account at `signals.now_ms`, days; None where it is not known."""
    created = signals.upload.account.created_at
    return None if created is None else (signals.now_ms - created.timestamp() * 1000.0) / DAY_MS


def _leaf(leaf: Leaf) -> Test:
    get = getter(leaf.field)
    constant: Any = frozenset(leaf.value) if isinstance(leaf.value, tuple) else leaf.value
    if leaf.op in {"in", "not_in"}:
        wanted = leaf.op == "in"

        def belongs(signals: Signals, fused: Fused) -> bool:
            value = get(signals, fused)
            return value is not None and (value in constant) is wanted

        return belongs
    if leaf.op == "has":
        return lambda signals, fused: constant in get(signals, fused)
    compare: Callable[[Any, Any], bool] = getattr(operator, leaf.op)

    def holds(signals: Signals, fused: Fused) -> bool:
        value = get(signals, fused)
        return value is not None and compare(value, constant)

    return holds


def _all(parts: tuple[Test, ...]) -> Test:
    def every(signals: Signals, fused: Fused) -> bool:
        # A plain loop: all(...) over a generator takes twice as long here.
        for part in parts:  # noqa: SIM110 - see above
            if not part(signals, fused):
                return False
        return True

    return every


def _any(parts: tuple[Test, ...]) -> Test:
    def some(signals: Signals, fused: Fused) -> bool:
        for part in parts:  # noqa: SIM110 - as in _all
            if part(signals, fused):
                return True
        return False

    return some


def getter(field: str) -> Getter:
    """Reader of one field of `schemas.conditions.FIELDS`, or of `score.CATEGORY`."""
    if field.startswith(SCORE_PREFIX):
        column = field.removeprefix(SCORE_PREFIX)
        return lambda _, fused: fused.get(column)
    return _GETTERS[field]


def _window(index: int, measure: str) -> Getter:
    if measure == "repeats":

        def repeats(signals: Signals, _: Fused) -> int:
            window = signals.velocity.windows[index]
            return window.count - window.distinct_texts

        return repeats
    read = operator.attrgetter(measure)
    return lambda signals, _: read(signals.velocity.windows[index])


def _path(path: str) -> Getter:
    return partial(_read, operator.attrgetter(path))


def _read(read: Callable[[Signals], Any], signals: Signals, _: Fused) -> Any:
    return read(signals)


_GETTERS: Final[dict[str, Getter]] = {
    **{
        f"velocity.{name}.{measure}": _window(index, measure)
        for index, name in enumerate(WINDOW_NAMES)
        for measure in WINDOW_MEASURES
    },
    **{f: _path(f) for f in FIELDS if f.startswith(("user.", "context."))},
    "user.strikes": _path("user.strike_weight"),
    "user.labels": _path("user.label_names"),
    **{f: _path(f"upload.{f}") for f in FIELDS if f.startswith("engagement.")},
    "velocity.duplicate": _path("velocity.duplicate"),
    "account.age_days": lambda signals, _: account_age_days(signals),
    "account.verified": _path("upload.account.verified"),
    "account.followers": _path("upload.account.followers"),
    "text.length": lambda signals, _: len(signals.upload.text or ""),
    "text.evasion": _path("evasion"),
    "upload.content_type": _path("upload.content_type"),
    "upload.community_id": _path("upload.community_id"),
    "upload.language": _path("upload.language"),
    "upload.is_public": _path("upload.is_public"),
    "upload.is_comment": lambda signals, _: signals.upload.parent_content_id is not None,
    "upload.priority": _path("upload.priority"),
}
