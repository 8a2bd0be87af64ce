"""The switches that stop measures at once, as a control message carries them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from schemas.categories import Action


class SwitchesDocument(BaseModel):
    """Kill switches and the global observe-only mode. An absent field is off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    observe_only: bool = False
    disabled_categories: tuple[str, ...] = ()
    disabled_actions: tuple[Action, ...] = ()
