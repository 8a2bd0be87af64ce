"""Emergency brakes on top of a policy: observe-only, and kill switches by category and action."""

from __future__ import annotations

import dataclasses as dc
import json

from schemas.categories import Action
from schemas.errors import ConfigError
from schemas.policy_parts import MEASURES
from schemas.switches import SwitchesDocument
from schemas.yaml_source import YamlSource


@dc.dataclass(slots=True, frozen=True)
class Switches:
    """Emergency brakes, set from outside the policy.

    With an action switched off the laws of `udfs.policy` hold only up to it: what would have
    taken it is held for review, which can be milder than what a lower probability leads to.

    Raises:
        ConfigError: for an action that is unknown or cannot be switched off.
    """

    observe_only: bool = False
    """Allow everything; the reason says what would have been done."""
    disabled_categories: frozenset[str] = frozenset()
    """These never act."""
    disabled_actions: frozenset[Action] = frozenset()
    """What would take one of these is held for review instead."""

    @classmethod
    def parse(cls, text: str, file: str) -> Switches:
        """Read switches from YAML in memory.

        Raises:
            ConfigError: naming file, line and field of the first mistake.
        """
        source = YamlSource(text, file)
        document = source.validate(SwitchesDocument)
        try:
            return cls(
                document.observe_only,
                frozenset(document.disabled_categories),
                frozenset(document.disabled_actions),
            )
        except ConfigError as error:
            raise source.error(error.message, ("disabled_actions",)) from None

    def __post_init__(self) -> None:
        for action in sorted(self.disabled_actions):
            if action not in MEASURES[1:]:
                known = ", ".join(MEASURES[1:])
                raise ConfigError(f"{action} cannot be switched off; these can: {known}")

    def canonical(self) -> str:
        """The switches as text; empty where all are off."""
        if self == Switches():
            return ""
        return json.dumps(
            [self.observe_only, sorted(self.disabled_categories), sorted(self.disabled_actions)]
        )
