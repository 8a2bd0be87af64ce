"""`scripts/models`: packages in a store, the pointer, and its way to a running job."""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import pytest
from kafka import KafkaProducer

from operators.compose import LiveCascade, compose_cascade
from operators.control import ControlLogic
from operators.model_store import ACTIVE, ModelStore, package_folder
from schemas.errors import ConfigError, DependencyUnavailableError
from schemas.settings import CONF, Settings
from scripts.cli import model_registry, models
from scripts.cli.code_version import code_version
from scripts.cli.consume import open_consumer, poll
from scripts.cli.control_topic import ControlTopic
from scripts.cli.kafka_topics import client_options
from scripts.cli.model_registry import lineage
from tests.deep_kit import write_package
from tests.model_kit import write_model
from udfs.fusion import LinearFusion
from udfs.fusion_lightgbm import LightGbmFusion
from udfs.text_fast import FastTextScorer

SHIPPED = CONF / "models/fast_text"
HARMLESS = "hello there, how was the train ride?"


class Store:
    """A store with the shipped package and a tiny one, and the command over it."""

    def __init__(
        self, folder: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.folder = folder
        self._patch = patch
        self._capsys = capsys
        self.tiny = write_model(folder / "made/tiny")
        self.other = write_model(folder / "made/other", probability=0.25)
        self.path = folder / "store"
        self.models = ModelStore(self.path)

    def run(self, command: str, *arguments: object) -> tuple[Any, str, str]:
        """Exit status (a sentence where it refused), what was printed, and what was warned."""
        line = ["models", command, *map(str, arguments), "--store", str(self.path)]
        self._patch.setattr(sys, "argv", line)
        with pytest.raises(SystemExit) as leave:
            models.main()
        said = self._capsys.readouterr()
        return leave.value.code, said.out, said.err

    def added(self, *folders: Path) -> list[str]:
        """Add packages; gives their versions."""
        found = []
        for folder in folders:
            status, out, _ = self.run("add", folder)
            assert status == 0, status
            found.append(out.split()[1].rstrip(":"))
        return found

    def active(self) -> str:
        pointer = self.models.active("fast_text")
        return pointer.version if pointer else ""


@pytest.fixture
def store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Store:
    return Store(tmp_path, monkeypatch, capsys)


def test_packages_are_added_once_and_listed_with_their_lineage(store: Store) -> None:
    shipped, tiny = store.added(SHIPPED, store.tiny)
    assert shipped == FastTextScorer.load(SHIPPED).version
    assert store.run("add", SHIPPED)[1].endswith("was there already\n")
    status, out, _ = store.run("list", "--json")
    rows = {row["version"]: row for row in map(json.loads, out.splitlines())}
    assert (status, set(rows)) == (0, {shipped, tiny})
    training = json.loads((SHIPPED / "manifest.json").read_bytes())["training"]
    assert rows[shipped]["date"] == training["date"]
    assert rows[shipped]["data"].endswith(f"of {len(training['rows'])} sets")
    assert rows[tiny]["data"] == rows[tiny]["parent"] == "-"
    assert (store.path / f"fast_text/{shipped}/MODEL_CARD.md").is_file()
    assert shipped in store.run("list", "fast_text")[1]
    assert "nothing in" in store.run("list", "deep_text")[1]


def test_a_fusion_is_a_package_like_any_other(store: Store, tmp_path: Path) -> None:
    folder = CONF / "models/fusion"
    (version,) = store.added(folder)
    assert store.run("verify", "fusion")[1] == f"fusion {version}: sound\n"
    assert store.run("activate", "fusion", version, "--offline")[0] == 0
    # The job reads the store's pointer where `cascade.fusion_model` names the model.
    linear = LinearFusion.load(CONF / "fusion.yaml")
    active = package_folder(store.path / "fusion", store.folder)
    assert LightGbmFusion.load(active, linear).version.startswith(f"lightgbm-{version}")
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "forest.npz").write_bytes(b"no forest")
    assert "sha256" in store.run("add", broken)[0]
    (broken / "manifest.json").write_text('{"name": "taste"}')
    assert "there are: fast_text, deep_text, fusion" in store.run("add", broken)[0]


def test_lineage_is_what_the_manifest_tells(store: Store) -> None:
    (tiny,) = store.added(store.tiny)
    found = store.models.manifest("fast_text", tiny)
    full = type(found)(
        name="x",
        version="1",
        files={},
        training={"data": "sha256 00ff", "code": "abc+", "parent": "p1", "date": "2026-01-01"},
    )
    assert lineage(full) == ("2026-01-01", "sha256 00ff", "abc+", "p1")
    assert code_version()


def test_the_pointer_moves_and_goes_back(store: Store) -> None:
    one, two, three = store.added(store.tiny, store.other, SHIPPED)
    for version in (one, two, three):
        status, out, _ = store.run("activate", "fast_text", version[:6], "--offline")
        assert (status, out) == (0, f"fast_text: {version} is active (pointer only)\n")
        assert store.active() == version
    pointer = json.loads((store.path / f"fast_text/{ACTIVE}").read_bytes())
    assert [move["version"] for move in pointer["history"]] == [one, two, three]
    for version in (two, one):
        assert store.run("rollback", "fast_text", "--offline", "--comment", "worse")[0] == 0
        assert store.active() == version
    assert "no version of fast_text was active before" in store.run("rollback", "fast_text")[0]
    out = store.run("list", "--history", "--json")[1]
    moves = [json.loads(line) for line in out.splitlines()]
    assert [move["move"] for move in moves] == ["activate"] * 3 + ["rollback"] * 2
    assert moves[-1]["comment"] == "worse"
    assert moves[0]["author"]
    assert package_folder(store.path / "fast_text", store.folder).name == one


def test_a_changed_file_is_found_and_not_activated(store: Store) -> None:
    one, two = store.added(store.tiny, store.other)
    assert store.run("verify")[0] == 0
    weights = store.path / f"fast_text/{two}/weights.npy"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    status, out, _ = store.run("verify", "fast_text")
    assert status == 1
    assert f"fast_text {one}: sound" in out
    assert f"fast_text {two}: FAULT: {weights}: sha256 is " in out
    assert "sha256 is " in store.run("activate", "fast_text", two, "--offline")[0]
    assert store.active() == ""


def test_what_does_not_load_is_not_taken(store: Store) -> None:
    manifest = store.tiny / "manifest.json"
    sound = json.loads(manifest.read_bytes())
    for change, said in (
        ({"biases": [9.0] * 6}, "the manifest was edited"),
        ({"name": "slow_text"}, "no stage loads a model slow_text; there are: fast_text, "),
        ({"scheme": "other/1"}, "was trained under feature scheme other/1"),
    ):
        manifest.write_text(json.dumps({**sound, **change}))
        assert said in store.run("add", store.tiny)[0]
    manifest.write_text(json.dumps({**sound, "version": "../../out"}))
    with pytest.raises(ConfigError, match="cannot name a folder"):
        store.models.add(store.tiny)
    assert not store.path.exists()
    assert "cannot be read" in store.run("add", store.folder / "absent")[0]
    assert "nothing to verify" in store.run("verify")[0]


def test_a_version_never_changes(store: Store) -> None:
    store.added(store.tiny)
    manifest = store.tiny / "manifest.json"
    changed = {**json.loads(manifest.read_bytes()), "metrics": {"better": True}}
    manifest.write_text(json.dumps(changed))
    assert "packages never change" in store.run("add", store.tiny)[0]


def test_what_is_not_there_is_named(store: Store) -> None:
    one, _ = store.added(store.tiny, store.other)
    assert (
        "no version of fast_text begins with zz; there are: "
        in (store.run("activate", "fast_text", "zz", "--offline")[0])
    )
    assert "more than one version" in store.run("activate", "fast_text", "", "--offline")[0]
    store.run("activate", "fast_text", one, "--offline")
    shutil.rmtree(store.path / f"fast_text/{one}")
    status, out, _ = store.run("verify")
    assert (status, f"the active version {one} is not there" in out) == (1, True)
    (store.path / f"fast_text/{ACTIVE}").write_text("{}")
    assert "is no pointer" in store.run("list")[0]


def test_a_heavy_package_is_kept_like_a_fast_one(store: Store) -> None:
    (version,) = store.added(write_package(store.folder / "made/deep"))
    assert store.models.names() == ["deep_text"]
    assert store.run("verify", "deep_text", version)[1] == f"deep_text {version}: sound\n"


class Job:
    """What a job does about the control topic, over a real broker and without Flink.

    Args:
        settings: name broker and topics.
        subtasks: that answer, each with a cascade of its own.
        refusing: those that cannot see the store.
    """

    def __init__(self, settings: Settings, subtasks: int, refusing: Sequence[int] = ()) -> None:
        self._settings = settings
        self.cascades = [compose_cascade(settings) for _ in range(subtasks)]
        self._logics = [
            ControlLogic(
                Blind(live) if number in refusing else live,
                settings.topics.control_acks,
                subtask=number,
                subtasks=subtasks,
                now_ms=lambda: time.time() * 1000,
            )
            for number, live in enumerate(self.cascades)
        ]
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _serve(self) -> None:
        topics = self._settings.topics
        consumer = open_consumer(self._settings, [topics.control], from_beginning=True)
        producer = KafkaProducer(**client_options(self._settings))
        self._ready.set()
        while not self._stop.is_set():
            for record in poll(consumer, 100):
                for logic in self._logics:
                    key = (record.key or b"").decode()
                    for answer in logic.on_message(key, record.value):
                        producer.send(answer.ack.topic, answer.ack.value, answer.ack.key)
            producer.flush()
        consumer.close()
        producer.close()

    def versions(self, name: str = "fast_text") -> list[str]:
        return [live.applied()[f"model:{name}"] for live in self.cascades]


class Blind:
    """A subtask on a machine that cannot read the folder that the others read."""

    def __init__(self, live: LiveCascade) -> None:
        self._live = live

    def apply(self, message: Any) -> None:
        raise ConfigError("cannot be read: No such file or directory", file=message.text.strip())

    def withdraw(self, key: str) -> None:
        self._live.withdraw(key)

    def applied(self) -> dict[str, str]:
        return self._live.applied()


@pytest.fixture
def started(
    store: Store, stack_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    """Settings of a job that starts with the store's tiny package; the command gets them too."""
    cascade = stack_settings.cascade.model_copy(update={"fast_text": store.tiny})
    redis = stack_settings.redis.model_copy(update={"enabled": False})
    settings = stack_settings.model_copy(update={"cascade": cascade, "redis": redis})
    monkeypatch.setattr(models, "load_settings", lambda _profile: settings)
    yield settings


@pytest.mark.stack
def test_a_version_reaches_every_subtask_before_the_pointer_moves(
    store: Store, started: Settings
) -> None:
    one, two = store.added(store.tiny, store.other)
    with Job(started, 2) as job:
        assert job.versions() == [one, one]
        status, out, _ = store.run("activate", "fast_text", two, "--comment", "try")
        assert status == 0
        assert out == (
            f"subtask 1/2: in force\nsubtask 2/2: in force\nfast_text: {two} is active\n"
        )
        assert (job.versions(), store.active()) == ([two, two], two)
        store.run("activate", "fast_text", one)
        assert (job.versions(), store.active()) == ([one, one], one)
        assert store.run("rollback", "fast_text")[0] == 0
        assert (job.versions(), store.active()) == ([two, two], two)


@pytest.mark.stack
def test_a_fusion_reaches_a_running_job(store: Store, started: Settings) -> None:
    (version,) = store.added(CONF / "models/fusion")
    with Job(started, 1) as job:
        coefficients = job.versions("fusion")
        status, out, _ = store.run("activate", "fusion", version)
        assert (status, out) == (0, f"subtask 1/1: in force\nfusion: {version} is active\n")
        assert job.versions("fusion") == [f"lightgbm-{version}+{coefficients[0]}"]


@pytest.mark.stack
def test_a_refusal_by_one_subtask_is_taken_back_from_all(store: Store, started: Settings) -> None:
    one, two = store.added(store.tiny, store.other)
    with Job(started, 2, refusing=[1]) as job:
        status, out, err = store.run("activate", "fast_text", two, "--timeout", 10)
        assert status == 1
        assert "subtask 2/2: REFUSED: folder: " in out
        assert f"fast_text stays as it was: a subtask refused {two}" in err
        assert (job.versions(), store.active()) == ([one, one], "")
    with ControlTopic(started) as topic:
        assert topic.read().current == {}


@pytest.mark.stack
def test_without_a_job_the_message_waits_for_one(store: Store, started: Settings) -> None:
    _, two = store.added(store.tiny, store.other)
    status, _, err = store.run("activate", "fast_text", two, "--timeout", 0.5)
    assert (status, store.active()) == (1, two)
    assert "no answer from subtasks within 0.5 s" in err
    assert "a job that starts later will read it" in err
    with ControlTopic(started) as topic:
        assert topic.read().current["model/fast_text"].text == (
            f"folder: {store.path}/fast_text/{two}\n"
        )


def test_without_a_broker_nothing_moves(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = store.added(store.tiny)

    def away(_: Settings) -> ControlTopic:
        raise DependencyUnavailableError("kafka", "nobody answers")

    monkeypatch.setattr(model_registry, "ControlTopic", away)
    status, _, _ = store.run("activate", "fast_text", one)
    assert "kafka unavailable" in status
    assert "--offline" in status
    assert store.active() == ""


def test_scores_of_a_loaded_package_must_be_probabilities(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wild(FastTextScorer):
        def score(self, texts: Sequence[str]) -> Any:
            return super().score(texts) * 7

    monkeypatch.setattr(model_registry, "SCORERS", {"fast_text": Wild.load})
    write_model(store.tiny, probability=0.9)
    assert "no probabilities" in store.run("add", store.tiny)[0]
