"""Composes the cascade from settings, and swaps its parts when control messages come."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from operators.logs import get_logger
from operators.metrics import Metrics
from operators.model_store import package_folder
from operators.redis_store import NoLookups, RedisLookups
from schemas.control import ControlMessage
from schemas.errors import ConfigError, UnreadableError
from schemas.evidence import MediaEvidence
from schemas.report_evidence import ReportEvidence
from schemas.rescan import BANKS, AwayBank, BankWait
from schemas.settings import ROOT, CascadeSettings, DeepSettings, Settings
from schemas.switches import ModelPointer
from schemas.trust import UserRow
from schemas.upload import Upload
from schemas.user_events import erased_until_ms, user_sha256
from schemas.yaml_source import YamlSource
from udfs import text_deep
from udfs.banks import ExactBanks
from udfs.cascade import Cascade
from udfs.contracts import Fusion, Item, Lookups, Outcome
from udfs.decision_cache import LocalCache
from udfs.fusion import LinearFusion
from udfs.fusion_lightgbm import LightGbmFusion
from udfs.language import LanguageGuesser
from udfs.language_support import Remembering
from udfs.media_banks import MediaBanks
from udfs.policy import Policy, Switches
from udfs.rules import RuleSet
from udfs.stage_deep import DeepLimits
from udfs.text_deep import DeepTextOptions, DeepTextScorer
from udfs.text_fast import FastTextScorer

_POLICY_PARTS: Final = frozenset({"policy", "communities", "switches"})
_FAST_MODEL: Final = "model/fast_text"
_DEEP_MODEL: Final = "model/deep_text"
_FUSION: Final = "model/fusion"
_MODELS: Final = frozenset({_FAST_MODEL, _DEEP_MODEL, _FUSION})
_GPU_TOGETHER: Final = 64
AGAIN_S: Final = 5.0
"""Between two looks whether a bank that is away is back, seconds."""
_log = get_logger("sluice.banks", keep=("bank", "snapshot"))
_FETCHED: Final = Path(os.environ.get("SLUICE_RUN_DIR", ROOT / ".run")) / "models-fetched"
"""Where packages out of an object store are kept on this machine."""


def compose_cascade(settings: Settings, metrics: Metrics | None = None) -> LiveCascade:
    """Load every file that the settings name.

    Raises:
        ConfigError: naming file, line and field of the first mistake.
    """
    files = settings.cascade
    store: Lookups = NoLookups()
    if settings.redis.enabled:
        store = RedisLookups(settings.redis, settings.context)
    counts = metrics or Metrics()
    cascade = Cascade(
        policy=Policy.load(_path(files.policy)),
        rules=RuleSet.load(_path(files.rules)),
        banks=ExactBanks.load(_path(files.banks)),
        media_banks=_media_banks(files),
        fusion=_fusion(files),
        fast_text=None if files.fast_text is None else _fast(files.fast_text),
        deep_text=None if files.deep_text is None else _deep(settings.deep, files.deep_text),
        deep_limits=_limits(settings.deep),
        remember=settings.redis.remember,
        store=store,
        cache=LocalCache(settings.redis.local_entries),
        audit=files.audit,
        max_bytes=settings.limits.max_bytes,
        max_text_chars=settings.limits.max_text_chars,
        languages=Remembering(LanguageGuesser()),
        on_deep=counts.counter("deep_scored").add,
        on_stage=lambda stage, us: counts.histogram("stage_time_us", stage=stage).observe(us),
    )
    return LiveCascade(cascade, settings.deep)


def _fusion(files: CascadeSettings) -> Fusion:
    linear = LinearFusion.load(_path(files.fusion))
    if files.fusion_model is None:
        return linear
    # What no model has scored stays with the coefficients.
    return LightGbmFusion.load(_package(files.fusion_model), linear)


def _media_banks(files: CascadeSettings) -> MediaBanks:
    banks = MediaBanks.load(_path(files.media_banks), patient=True)
    for each in banks.away:
        _log.warning("bank_snapshot_away", bank=each.bank, snapshot=each.snapshot)
    return banks


def _linear(fusion: Fusion) -> Fusion:
    """What fuses that no model has scored: the coefficients that the job was started with."""
    return fusion.fallback if isinstance(fusion, LightGbmFusion) else fusion


def _fast(folder: str | Path) -> FastTextScorer:
    return FastTextScorer.load(_package(folder))


def _deep(settings: DeepSettings, folder: str | Path) -> DeepTextScorer:
    options = DeepTextOptions(
        provider=settings.provider, precision=settings.precision, threads=settings.threads
    )
    return text_deep.load(_package(folder), options)


def _limits(settings: DeepSettings) -> DeepLimits:
    return DeepLimits(
        low=settings.low,
        high=settings.high,
        budget_ms=settings.budget_ms,
        late_after_ms=settings.late_after_ms,
        busy_most=settings.busy_most if settings.provider == "cpu" else 0.0,
        # On a processor texts gain nothing by running together; a GPU wants many.
        together=1 if settings.provider == "cpu" else _GPU_TOGETHER,
    )


def _path(path: Path) -> Path:
    return path if path.is_absolute() else ROOT / path


def _package(location: str | Path) -> Path:
    """Folder of a package, by its own, its model's in a store (the active one), or an address."""
    remote = "://" in str(location)
    return package_folder(location if remote else _path(Path(location)), _FETCHED)


def _to_be_rescanned(item: Item, outcome: Outcome, away: tuple[AwayBank, ...]) -> Outcome:
    """An outcome that says it if banks were not there for it."""
    case, upload = item.case, item.upload
    if case is None or not case.raw or BANKS not in outcome.decision.degraded:
        return outcome
    wait = BankWait(
        content_id=upload.content_id,
        user_id=upload.user_id,
        revision=upload.revision,
        content_type=upload.content_type,
        banks=away,
        evidence=msgspec.Raw(case.raw),
    )
    return msgspec.structs.replace(outcome, rescan=wait)


class LiveCascade:
    """A cascade whose parts can be replaced between two batches.

    Args:
        cascade: as the job was started.
        deep: how a heavy tier that a message names is run.
    """

    def __init__(self, cascade: Cascade, deep: DeepSettings | None = None) -> None:
        self._started = cascade
        self._deep = deep or DeepSettings()
        self.cascade = cascade
        self._digests: dict[str, str] = {}
        # Communities and switches are laid over whichever policy is in force.
        self._policy_messages: dict[str, ControlMessage] = {}
        # Banks come as deltas: each is laid over the files, in the order of their keys.
        self._bank_messages: dict[str, ControlMessage] = {}
        self._media_messages: dict[str, ControlMessage] = {}
        self._erased: dict[str, int] = {}
        """Hash of an erased user's id to the broker time up to which nothing is remembered."""
        self._banks_back: Future[bool] | None = None
        self._look_at = time.monotonic() + AGAIN_S

    def prepare(self, raw: bytes, broker_ms: int) -> Item:
        """See `Cascade.prepare`."""
        return self.cascade.prepare(raw, broker_ms)

    def with_evidence(
        self,
        item: Item,
        evidence: MediaEvidence | None,
        *,
        raw: bytes = b"",
        revision: int,
        asked_ms: int,
    ) -> Item:
        """See `Cascade.with_evidence`."""
        return self.cascade.with_evidence(
            item, evidence, raw=raw, revision=revision, asked_ms=asked_ms
        )

    def reported(self, reports: ReportEvidence, broker_ms: int) -> Item:
        """See `Cascade.reported`."""
        return self.cascade.reported(reports, broker_ms)

    def patience_s(self, upload: Upload) -> float:
        """See `Cascade.patience_s`."""
        return self.cascade.patience_s(upload)

    def remember_user(self, user_id: str, row: UserRow) -> None:
        """See `Cascade.remember_user`."""
        self.cascade.remember_user(user_id, row)

    def flush(self) -> None:
        """See `Cascade.flush`."""
        self.cascade.flush()

    def erased_until_ms(self, user_id: str) -> int:
        """See `operators.brain.Brain.erased_until_ms`."""
        erased = self._erased
        # Nearly always empty: a hash of every id would cost more than the rest of this.
        return erased.get(user_sha256(user_id), 0) if erased else 0

    def moderate(self, batch: Sequence[Item], now_ms: float) -> list[Outcome]:
        """See `Cascade.moderate`; what was decided without a bank says so in `rescan`."""
        away = self._away()
        if not away:
            return self.cascade.moderate(batch, now_ms)
        self._look_for_banks(away)
        outcomes = self.cascade.moderate(batch, now_ms)
        return [
            _to_be_rescanned(item, outcome, away)
            for item, outcome in zip(batch, outcomes, strict=True)
        ]

    def apply(self, message: ControlMessage) -> None:
        """Compile one message and put it in force.

        Raises:
            ConfigError: naming file, line and field; nothing has changed.
            UnreadableError: a bank's snapshot cannot be read; it is taken when it can be.
        """
        now, file = self.cascade, message.file or message.key
        if message.kind in _POLICY_PARTS:
            self._put_policy({**self._policy_messages, message.kind: message})
        elif message.kind == "rules":
            self.cascade = now.with_parts(rules=RuleSet.parse(message.text, file))
        elif message.kind == "bank":
            self._put_banks({**self._bank_messages, message.key: message})
        elif message.kind == "media_bank":
            self._put_media_banks({**self._media_messages, message.key: message})
            self._check_in_force(message.key, file)
        elif message.kind == "model":
            self._put_model(message, file)
        elif message.kind == "erase":
            self._erased[message.name] = erased_until_ms(message.text, file)
            return  # its hash is no part of what is in force
        self._digests[message.key] = message.digest

    def withdraw(self, key: str) -> None:
        """Return one part to what the job was started with."""
        kind = key.partition("/")[0]
        if kind in _POLICY_PARTS:
            self._put_policy({k: m for k, m in self._policy_messages.items() if k != kind})
        elif kind == "rules":
            self.cascade = self.cascade.with_parts(rules=self._started.rules)
        elif kind == "bank":
            self._put_banks({k: m for k, m in self._bank_messages.items() if k != key})
        elif kind == "media_bank":
            self._put_media_banks({k: m for k, m in self._media_messages.items() if k != key})
        elif key == _FAST_MODEL:
            self.cascade = self.cascade.with_parts(fast_text=self._started.fast_text)
        elif key == _DEEP_MODEL:
            self.cascade = self.cascade.with_parts(deep_text=self._started.deep_text)
        elif key == _FUSION:
            self.cascade = self.cascade.with_parts(fusion=self._started.fusion)
        elif kind == "erase":
            self._erased.pop(key.partition("/")[2], None)
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

    def _put_policy(self, messages: dict[str, ControlMessage]) -> None:
        """Lay communities and switches over the policy, whichever of them came last."""
        policy = self._started.policy
        if (message := messages.get("policy")) is not None:
            policy = Policy.parse(message.text, message.file or message.key, policy.switches)
        if (message := messages.get("communities")) is not None:
            policy = policy.with_communities(message.text, message.file or message.key)
        if (message := messages.get("switches")) is not None:
            policy = policy.with_switches(Switches.parse(message.text, message.file or message.key))
        self.cascade = self.cascade.with_parts(policy=policy)
        self._policy_messages = messages

    def _put_banks(self, messages: dict[str, ControlMessage]) -> None:
        banks = self._started.banks
        for key in sorted(messages):
            message = messages[key]
            banks = banks.with_delta(message.text, message.file or key)
        self.cascade = self.cascade.with_parts(banks=banks)
        self._bank_messages = messages

    def _put_media_banks(self, messages: dict[str, ControlMessage]) -> None:
        """Lay the deltas over the file's banks; these change in place, however large they are."""
        banks = self.cascade.media_banks
        if not isinstance(banks, MediaBanks):
            raise ConfigError("this job was started without media banks")
        before = banks.waiting
        banks.put({key: message.text for key, message in messages.items()}, patient=True)
        self.cascade = self.cascade.with_parts(media_banks=banks)
        self._media_messages = messages
        for key in before - banks.waiting & messages.keys():
            self._digests[key] = messages[key].digest
        for key in banks.waiting:
            self._digests.pop(key, None)

    def _check_in_force(self, key: str, file: str) -> None:
        banks = self.cascade.media_banks
        if isinstance(banks, MediaBanks) and key in banks.waiting:
            said = "its snapshot cannot be read; the bank before stays until it can be"
            raise UnreadableError(said, file=file, field="snapshot")

    def _away(self) -> tuple[AwayBank, ...]:
        banks = self.cascade.media_banks
        return banks.away if isinstance(banks, MediaBanks) else ()

    def _look_for_banks(self, away: tuple[AwayBank, ...]) -> None:
        """Put banks in force that are back. Another thread looks: no batch waits for a store."""
        banks = self.cascade.media_banks
        if self._banks_back is None:
            if isinstance(banks, MediaBanks) and time.monotonic() >= self._look_at:
                looker = ThreadPoolExecutor(1, "banks-back")
                self._banks_back = looker.submit(banks.any_back, away)
                looker.shutdown(wait=False)
        elif self._banks_back.done():
            back, self._banks_back = self._banks_back.result(), None
            self._look_at = time.monotonic() + AGAIN_S
            if back:
                self._put_media_banks(self._media_messages)
                for each in set(away) - set(self._away()):
                    _log.warning("bank_snapshot_back", bank=each.bank, snapshot=each.snapshot)

    def _put_model(self, message: ControlMessage, file: str) -> None:
        if message.key not in _MODELS:
            known = ", ".join(sorted(key.partition("/")[2] for key in _MODELS))
            raise ConfigError(f"no model {message.name}; there are {known}", file=file)
        if self._started.fast_text is None:
            raise ConfigError("this job was started without a model", file=file)
        folder = YamlSource(message.text, file).validate(ModelPointer).folder
        if message.key == _FUSION:
            fusion = LightGbmFusion.load(_package(folder), _linear(self._started.fusion))
            self.cascade = self.cascade.with_parts(fusion=fusion)
        elif message.key == _DEEP_MODEL:
            self.cascade = self.cascade.with_parts(deep_text=_deep(self._deep, folder))
        else:
            self.cascade = self.cascade.with_parts(fast_text=_fast(folder))
