"""Conditions of a policy: a small typed expression tree, checked at load.

    all:
      - {field: velocity.10s.count, op: ge, value: 8}
      - not: {field: upload.language, op: in, value: [de, fr]}

    - {field: user.labels, op: has, value: watched}

A leaf whose field has no value for an upload (an unknown parent, no language) is false.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from schemas.features import WINDOW_NAMES
from schemas.yaml_source import FaultError, PathPart

Kind = Literal["number", "boolean", "string", "set of strings"]
Op = Literal["lt", "le", "gt", "ge", "eq", "ne", "in", "not_in", "has"]

WINDOW_MEASURES: Final = (
    "count",
    "distinct_texts",
    "distinct_communities",
    "repeats",
    "mean_gap_s",
)
"""`repeats` is count minus distinct_texts."""

FIELDS: Final[dict[str, Kind]] = {
    **{f"velocity.{w}.{m}": "number" for w in WINDOW_NAMES for m in WINDOW_MEASURES},
    "velocity.duplicate": "boolean",
    "user.known": "boolean",
    "user.reputation": "number",
    "user.violations": "number",
    "user.toxicity_rate": "number",
    "user.report_rate": "number",
    "user.uploads": "number",
    "user.strikes": "number",
    "user.labels": "set of strings",
    "account.age_days": "number",
    "account.verified": "boolean",
    "account.followers": "number",
    "context.parent_toxicity": "number",
    "context.thread_heat": "number",
    "context.thread_posts": "number",
    "context.community_baseline": "number",
    "context.community_uploads": "number",
    "engagement.views": "number",
    "engagement.shares": "number",
    "engagement.reports": "number",
    "text.length": "number",
    "text.evasion": "number",
    "upload.content_type": "string",
    "upload.community_id": "string",
    "upload.language": "string",
    "upload.is_public": "boolean",
    "upload.is_comment": "boolean",
    "upload.priority": "number",
}
"""Every field that a leaf may name, besides `score.CATEGORY` (a fused probability)."""

HARMFUL: Final = frozenset(
    {
        "user.strikes",
        "context.parent_toxicity",
        "context.thread_heat",
        "context.community_baseline",
    }
)
"""Fields that may make a result stricter where they are high, as scores may."""
HARMLESS: Final = frozenset({"user.reputation"})
"""Fields that may make a result stricter where they are low."""

SCORE_PREFIX: Final = "score."
MAX_DEPTH: Final = 8

_OPS: Final[dict[Kind, tuple[Op, ...]]] = {
    "number": ("lt", "le", "gt", "ge", "eq", "ne"),
    "boolean": ("eq", "ne"),
    "string": ("eq", "ne", "in", "not_in"),
    "set of strings": ("has",),
}


class _Node(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Leaf(_Node):
    """One comparison of a field with a constant."""

    field: str
    op: Op
    value: bool | float | str | tuple[str, ...]

    @model_validator(mode="after")
    def _typed(self) -> Leaf:
        kind = kind_of(self.field)
        if kind is None:
            raise FaultError(f"no such field {self.field!r}; {_nearest(self.field)}", "field")
        if self.op not in _OPS[kind]:
            raise FaultError(
                f"{self.field} is a {kind}, which knows {', '.join(_OPS[kind])}; not {self.op}",
                "op",
            )
        wanted: str = kind
        if self.op == "has":
            wanted = "string"
        elif self.op in {"in", "not_in"}:
            wanted = "list of strings"
        if wanted != _kind_of_value(self.value):
            raise FaultError(f"{self.field} {self.op} needs a {wanted}", "value")
        return self


class All(_Node):
    """True where every part is."""

    all: Annotated[tuple[Expression, ...], Field(min_length=1)]


class Any_(_Node):  # noqa: N801 - `Any` is taken by typing
    """True where at least one part is."""

    any: Annotated[tuple[Expression, ...], Field(min_length=1)]


class Not(_Node):
    """True where its part is false (a leaf without a value is false too)."""

    not_: Annotated[Expression, Field(alias="not")]


def _tag(value: Any) -> str | None:
    if isinstance(value, BaseModel):
        return f"<{type(value).__name__.rstrip('_').lower()}>"
    if isinstance(value, dict):
        for key in ("all", "any", "not"):
            if key in value:
                return f"<{key}>"
        return "<leaf>"
    return None


Expression: TypeAlias = Annotated[
    Annotated[All, Tag("<all>")]
    | Annotated[Any_, Tag("<any>")]
    | Annotated[Not, Tag("<not>")]
    | Annotated[Leaf, Tag("<leaf>")],
    Discriminator(
        _tag,
        custom_error_type="expression",
        custom_error_message="must be one of all, any, not, or a comparison (field, op, value)",
    ),
]

for _model in (All, Any_, Not):
    _model.model_rebuild()


def kind_of(field: str) -> Kind | None:
    """Type of a field; None where there is no such field."""
    if field.startswith(SCORE_PREFIX) and len(field) > len(SCORE_PREFIX):
        return "number"
    return FIELDS.get(field)


def check_expression(expression: Expression, *, stricter: bool) -> None:
    """Check depth and direction.

    A condition that makes a result stricter may ask for HIGH scores, strikes and hostility of
    others, and LOW reputation only, and one that makes it milder for the opposite. So a higher
    score and a heated thread can never help an upload, and a better reputation can never harm it.

    Args:
        expression: the tree.
        stricter: True where the condition makes results stricter.

    Raises:
        FaultError: with the path of the leaf at fault.
    """
    for leaf, positive, path in _leaves(expression, positive=True, path=()):
        if len(path) > 2 * MAX_DEPTH:
            raise FaultError(f"nested deeper than {MAX_DEPTH} levels", *path)
        if leaf.field.startswith(SCORE_PREFIX) or leaf.field in HARMFUL:
            wants_high = stricter
        elif leaf.field in HARMLESS:
            wants_high = not stricter
        else:
            continue
        allowed = ("gt", "ge") if wants_high == positive else ("lt", "le")
        if leaf.op not in allowed:
            effect = "stricter" if stricter else "milder"
            raise FaultError(
                f"{leaf.field} may only be compared by {' or '.join(allowed)} here: what makes"
                f" a result {effect} must not turn round when the value rises",
                *path,
                "op",
            )


def _leaves(
    expression: Expression, *, positive: bool, path: tuple[PathPart, ...]
) -> Iterator[tuple[Leaf, bool, tuple[PathPart, ...]]]:
    """Each leaf, whether an even number of `not` is above it, and its path."""
    if isinstance(expression, Leaf):
        yield expression, positive, path
    elif isinstance(expression, Not):
        yield from _leaves(expression.not_, positive=not positive, path=(*path, "not"))
    else:
        name, parts = (
            ("all", expression.all) if isinstance(expression, All) else ("any", expression.any)
        )
        for index, part in enumerate(parts):
            yield from _leaves(part, positive=positive, path=(*path, name, index))


def _kind_of_value(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return "string" if isinstance(value, str) else "list of strings"


def _nearest(field: str) -> str:
    group = field.split(".", maxsplit=1)[0]
    known = sorted({name for name in FIELDS if name.startswith(f"{group}.")})
    if known:
        return f"{group} has {', '.join(name.removeprefix(f'{group}.') for name in known)}"
    groups = sorted({name.split(".", maxsplit=1)[0] for name in FIELDS} | {"score"})
    return f"fields begin with {', '.join(groups)}"
