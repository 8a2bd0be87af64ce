"""Checks control messages with the code that the job runs, before they are published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from operators.compose import LiveCascade, compose_cascade
from schemas.control import ControlKind, ControlMessage
from schemas.errors import ConfigError
from schemas.settings import Settings

_BUILDS_ON_OTHERS: Final[frozenset[ControlKind]] = frozenset({"communities", "bank", "media_bank"})


class Checker:
    """A cascade as a job with these settings has it.

    Args:
        settings: name the files that the job is started with.

    Raises:
        ConfigError: one of those files is wrong.
    """

    def __init__(self, settings: Settings) -> None:
        offline = settings.redis.model_copy(update={"enabled": False})
        self._started = compose_cascade(settings.model_copy(update={"redis": offline})).cascade

    def check_alone(self, message: ControlMessage) -> None:
        """Compile a message over the job's own files, where nothing published can change that.

        Raises:
            ConfigError: naming file, line and field.
        """
        if message.kind not in _BUILDS_ON_OTHERS:
            LiveCascade(self._started).apply(message)

    def check(self, message: ControlMessage, published: Mapping[str, ControlMessage]) -> None:
        """Compile a message over everything that is published, as a subtask will.

        Raises:
            ConfigError: naming file, line and field.
        """
        self._live(published).apply(message)

    def check_category(self, category: str, published: Mapping[str, ControlMessage]) -> None:
        """See that the policy, a rule, a bank or the model can speak of the category at all.

        Raises:
            ConfigError: naming those that there are.
        """
        cascade = self._live(published).cascade
        known = {*cascade.policy.categories}
        known.update(rule.category for rule in cascade.rules.document.rules)
        known.update(bank.category for bank in cascade.banks.banks if bank.category)
        if cascade.fast_text is not None:
            known.update(cascade.fast_text.categories)
        if category not in known:
            raise ConfigError(f"no category {category}; there are: {', '.join(sorted(known))}")

    def _live(self, published: Mapping[str, ControlMessage]) -> LiveCascade:
        live = LiveCascade(self._started)
        waiting = [message for _, message in sorted(published.items())]
        # As in the job, what is refused is tried again once others are in force.
        while waiting:
            refused = []
            for message in waiting:
                try:
                    live.apply(message)
                except ConfigError:
                    refused.append(message)
            if len(refused) == len(waiting):
                break
            waiting = refused
        return live
