"""What `scripts/models` does: load a package as a worker will, publish it, move the pointer."""

from __future__ import annotations

import datetime as dt
import getpass
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from operators.model_store import Activation, ModelStore, PackageManifest
from schemas.categories import TEXT_CATEGORIES
from schemas.control import ControlMessage, control_key
from schemas.errors import ConfigError
from schemas.features import ThreadContext, UserFeatures, Velocity
from schemas.settings import CONF, ROOT, Settings
from schemas.upload import Upload
from scripts.cli.control_check import Checker
from scripts.cli.control_topic import ControlTopic, Replies, now
from udfs import text_deep
from udfs.contracts import Scorer, Signals
from udfs.fusion import LinearFusion
from udfs.fusion_lightgbm import LightGbmFusion
from udfs.text_fast import FastTextScorer

_PROBE: Final = ("hello there, how was the train ride?", "")
FUSION: Final = "fusion"
SCORERS: Final[Mapping[str, Callable[[Path], Scorer]]] = {
    "fast_text": FastTextScorer.load,
    "deep_text": text_deep.load,
}
"""Name of a model that scores texts to what loads its packages."""


class Lineage(NamedTuple):
    """Where a package comes from, as its manifest tells; `-` for what it does not."""

    date: str
    data: str
    code: str
    parent: str


class Published(NamedTuple):
    """What came of publishing a model."""

    replies: Replies
    taken_back: bool
    """A subtask refused it, so what was published before is published again."""

    @property
    def accepted(self) -> bool:
        """Every subtask runs it."""
        return self.replies.complete and all(ack.ok for ack in self.replies.acks)


def load(folder: Path, name: str) -> None:
    """Load a package with the code that the job runs, and let it give probabilities.

    Raises:
        ConfigError: it does not load, or what it says is no probability.
    """
    if name == FUSION:
        _load_fusion(folder)
        return
    loader = SCORERS.get(name)
    if loader is None:
        known = ", ".join((*SCORERS, FUSION))
        raise ConfigError(f"no stage loads a model {name}; there are: {known}", file=str(folder))
    scorer = loader(folder)
    scores = scorer.score(_PROBE)
    if (
        scores.shape != (len(_PROBE), len(scorer.categories))
        or not ((scores >= 0) & (scores <= 1)).all()
    ):
        raise ConfigError("gives scores that are no probabilities", file=str(folder))


def _load_fusion(folder: Path) -> None:
    fusion = LightGbmFusion.load(folder, LinearFusion.load(CONF / "fusion.yaml"))
    for score in (0.02, 0.98):
        signals = Signals(
            upload=Upload(
                content_id="probe",
                content_type="text",
                user_id="probe",
                created_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
                text=_PROBE[0],
            ),
            scores=dict.fromkeys(TEXT_CATEGORIES, score),
            rules=(),
            banks=(),
            evasion=0.0,
            velocity=Velocity(),
            user=UserFeatures(),
            context=ThreadContext(),
            now_ms=0,
        )
        (found,) = fusion.fuse([signals])
        if not all(0 <= value <= 1 for value in found.values()):
            raise ConfigError("gives what is no probability", file=str(folder))


def lineage(manifest: PackageManifest) -> Lineage:
    """What the manifest's `training` says about data, code and parent."""
    facts = manifest.training
    data = str(facts.get("data", ""))
    if not data and isinstance(rows := facts.get("rows"), dict):
        data = f"{sum(map(_rows, rows.values()))} rows of {len(rows)} sets"
    return Lineage(
        str(facts.get("date", "")) or "-",
        data or "-",
        str(facts.get("code", "")) or "-",
        str(facts.get("parent", "")) or "-",
    )


def _rows(own: Any) -> int:
    if isinstance(own, dict):
        return sum(count for count in own.values() if isinstance(count, int))
    return own if isinstance(own, int) else 0


def activation(version: str, comment: str, *, rollback: bool = False) -> Activation:
    """A move of the pointer by this user, now."""
    return Activation(
        version=version,
        at=dt.datetime.now(dt.UTC).replace(microsecond=0),
        author=getpass.getuser(),
        comment=comment,
        rollback=rollback,
    )


def publish(
    settings: Settings, store: ModelStore, name: str, version: str, comment: str, timeout_s: float
) -> Published:
    """Publish a model on the control topic and wait until every subtask has answered.

    Where a subtask refuses it, what was published before is published again (or the message
    withdrawn), so that all subtasks run the same.

    Raises:
        ConfigError: the job would refuse it; nothing is published.
        DependencyUnavailableError: no broker answers.
    """
    folder = store.where(name, version)
    message = ControlMessage(
        kind="model",
        name=name,
        text=yaml.safe_dump({"folder": _from_root(folder)}, sort_keys=False),
        file=f"{name}/{version}",
        author=getpass.getuser(),
        comment=comment,
        published_at=now(),
    )
    with ControlTopic(settings) as topic:
        published = topic.read()
        Checker(settings).check(message, published.current)
        topic.publish(message)
        replies = topic.wait(message.key, message.digest, timeout_s)
        refused = any(not ack.ok for ack in replies.acks)
        if refused:
            _take_back(topic, name, published.current.get(message.key), timeout_s)
    return Published(replies, refused)


def _take_back(
    topic: ControlTopic, name: str, before: ControlMessage | None, timeout_s: float
) -> None:
    key = control_key("model", name)
    if before is None:
        topic.withdraw(key)
        topic.wait(key, "", timeout_s)
    else:
        topic.publish(before)
        topic.wait(key, before.digest, timeout_s)


def _from_root(folder: str) -> str:
    """The folder as a control message names it: from the project's root where it lies in it."""
    path = Path(folder)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else folder
