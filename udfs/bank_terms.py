"""What banks of texts and of media have in common: until when they hold, and what names them."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any, Final

from pydantic import BaseModel

_LATER: Final = ("near", "similarity", "expires_at", "observe_only")
"""Fields that a bank had not from the beginning: what leaves them alone keeps its hash."""


def ends_ms(expires_at: dt.datetime | None) -> float:
    """When a bank ends, ms since the epoch; infinity where it does not."""
    return math.inf if expires_at is None else expires_at.timestamp() * 1000


def about(spec: BaseModel, exclude: set[str]) -> dict[str, Any]:
    """What a bank says about itself, as plain data to be hashed.

    Args:
        spec: the bank.
        exclude: fields that are hashed otherwise, or not at all.
    """
    said = spec.model_dump(mode="json", exclude=exclude)
    fields = type(spec).model_fields
    for name in _LATER:
        if name in said and getattr(spec, name) == fields[name].default:
            del said[name]
    return said
