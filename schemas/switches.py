"""Small documents of control messages: emergency switches, the pointer to a model."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from schemas.categories import Action


class SwitchesDocument(BaseModel):
    """Kill switches and the global observe-only mode. An absent field is off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    observe_only: bool = False
    disabled_categories: tuple[str, ...] = ()
    disabled_actions: tuple[Action, ...] = ()


class ModelPointer(BaseModel):
    """Which package of a model to run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str
    """Folder of the package, absolute or from the project's root, readable by every worker."""
