"""Composes the cascade from settings, and swaps its parts when control messages come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from operators.metrics import Metrics
from operators.redis_store import NoLookups, RedisLookups
from schemas.control import ControlMessage
from schemas.errors import ConfigError
from schemas.settings import ROOT, Settings
from schemas.switches import ModelPointer, SwitchesDocument
from schemas.yaml_source import YamlSource
from udfs.banks import ExactBanks
from udfs.cascade import Cascade
from udfs.contracts import Item, Lookups, Outcome
from udfs.decision_cache import LocalCache
from udfs.fusion import LinearFusion
from udfs.policy import Policy, Switches
from udfs.rules import RuleSet
from udfs.text_fast import FastTextScorer

CONFIGURABLE: Final = ("policy", "rules", "bank", "switches", "model")
"""Kinds of control messages that the cascade takes."""


def compose_cascade(settings: Settings, metrics: Metrics | None = None) -> LiveCascade:
    """Load every file that the settings name.

    Raises:
        ConfigError: naming file, line and field of the first mistake.
    """
    files = settings.cascade
    store: Lookups = RedisLookups(settings.redis) if settings.redis.enabled else NoLookups()
    counts = metrics or Metrics()
    cascade = Cascade(
        policy=Policy.load(_path(files.policy)),
        rules=RuleSet.load(_path(files.rules)),
        banks=ExactBanks.load(_path(files.banks)),
        fusion=LinearFusion.load(_path(files.fusion)),
        fast_text=FastTextScorer.load(_path(files.fast_text)),
        store=store,
        cache=LocalCache(settings.redis.local_entries),
        audit=files.audit,
        max_bytes=settings.limits.max_bytes,
        max_text_chars=settings.limits.max_text_chars,
        on_stage=lambda stage, us: counts.observe("stage_time_us", us, stage=stage),
    )
    return LiveCascade(cascade)


def _path(path: Path) -> Path:
    return path if path.is_absolute() else ROOT / path


class LiveCascade:
    """A cascade whose parts can be replaced between two batches.

    Args:
        cascade: as the job was started.
    """

    def __init__(self, cascade: Cascade) -> None:
        self._started = cascade
        self.cascade = cascade
        self._digests: dict[str, str] = {}
        # Banks come as deltas: each is laid over the files, in the order of their keys.
        self._bank_messages: dict[str, ControlMessage] = {}

    def prepare(self, raw: bytes, broker_ms: int) -> Item:
        """See `Cascade.prepare`."""
        return self.cascade.prepare(raw, broker_ms)

    def moderate(self, batch: Sequence[Item], now_ms: float) -> list[Outcome]:
        """See `Cascade.moderate`."""
        return self.cascade.moderate(batch, now_ms)

    def apply(self, message: ControlMessage) -> None:
        """Compile one message and put it in force.

        Raises:
            ConfigError: naming file, line and field; nothing has changed.
        """
        now, file = self.cascade, message.file or message.key
        if message.kind == "policy":
            policy = Policy.parse(message.text, file, now.policy.switches)
            self.cascade = now.with_parts(policy=policy)
        elif message.kind == "switches":
            document = YamlSource(message.text, file).validate(SwitchesDocument)
            self.cascade = now.with_parts(policy=now.policy.with_switches(_switches(document)))
        elif message.kind == "rules":
            self.cascade = now.with_parts(rules=RuleSet.parse(message.text, file))
        elif message.kind == "bank":
            messages = {**self._bank_messages, message.key: message}
            self.cascade = now.with_parts(banks=self._banks(messages))
            self._bank_messages = messages
        elif message.kind == "model":
            self._apply_model(message, file)
        else:
            known = ", ".join(CONFIGURABLE)
            raise ConfigError(f"kind {message.kind} is not known; known are {known}", field="kind")
        self._digests[message.key] = message.digest

    def withdraw(self, key: str) -> None:
        """Return one part to what the job was started with."""
        now, first = self.cascade, self._started
        kind = key.partition("/")[0]
        if kind == "policy":
            policy = first.policy.with_switches(now.policy.switches)
            self.cascade = now.with_parts(policy=policy)
        elif kind == "switches":
            self.cascade = now.with_parts(policy=now.policy.with_switches(Switches()))
        elif kind == "rules":
            self.cascade = now.with_parts(rules=first.rules)
        elif kind == "bank":
            self._bank_messages.pop(key, None)
            self.cascade = now.with_parts(banks=self._banks(self._bank_messages))
        elif kind == "model":
            self.cascade = now.with_parts(fast_text=first.fast_text)
        self._digests.pop(key, None)

    def applied(self) -> dict[str, str]:
        """Hashes of the parts in force, and digests of the messages behind them."""
        applied = self.cascade.applied
        return {
            "policy_hash": self.cascade.policy.hash,
            "rules_hash": applied.rules_hash,
            "banks_hash": applied.banks_hash,
            **{f"model:{name}": version for name, version in applied.model_versions.items()},
            **{f"message:{key}": digest for key, digest in sorted(self._digests.items())},
        }

    def _apply_model(self, message: ControlMessage, file: str) -> None:
        if message.name != "fast_text":
            raise ConfigError(f"no model {message.name}; there is fast_text", file=file)
        pointer = YamlSource(message.text, file).validate(ModelPointer)
        scorer = FastTextScorer.load(_path(Path(pointer.folder)))
        self.cascade = self.cascade.with_parts(fast_text=scorer)

    def _banks(self, messages: dict[str, ControlMessage]) -> ExactBanks:
        banks = self._started.banks
        for key in sorted(messages):
            message = messages[key]
            banks = banks.with_delta(message.text, message.file or key)
        return banks


def _switches(document: SwitchesDocument) -> Switches:
    return Switches(
        observe_only=document.observe_only,
        disabled_categories=frozenset(document.disabled_categories),
        disabled_actions=frozenset(document.disabled_actions),
    )
