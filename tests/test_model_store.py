"""The registry's store: where it may lie, what the pointer remembers, and how a job reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from operators.compose import compose_cascade
from operators.model_store import Active, ModelStore, package_folder
from schemas.control import ControlMessage
from schemas.errors import ConfigError, DependencyUnavailableError
from schemas.settings import load_settings
from scripts.cli.model_registry import activation
from tests.model_kit import write_model
from udfs.text_fast import FastTextScorer


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_model(tmp_path / "made/tiny")


@pytest.mark.parametrize(
    ("moves", "previous"),
    [
        ("A", ""), ("A B", "A"), ("A B B", "A"), ("A B C <B", "A"), ("A B <A", ""),
        ("A B <A C", "A"), ("A B A", "B"), ("A B A <B", "A"), ("<A B", "A"),
    ],
)  # fmt: skip
def test_rollbacks_go_on_backwards(moves: str, previous: str) -> None:
    history = tuple(
        activation(move.lstrip("<"), "", rollback=move.startswith("<")) for move in moves.split()
    )
    assert Active(name="m", history=history).previous == previous


def test_a_store_elsewhere_is_fetched_once_and_checked(tiny: Path, tmp_path: Path) -> None:
    """Any file system of pyarrow will do; one that is not this machine's is copied from."""
    (tmp_path / "bucket").mkdir()
    far = ModelStore("models", SubTreeFileSystem(str(tmp_path / "bucket"), LocalFileSystem()))
    added = far.add(tiny)
    far.activate("fast_text", activation(added.version, ""))
    assert far.names() == ["fast_text"]
    cache = tmp_path / "cache"
    folder = far.fetch("fast_text", added.version, cache)
    assert folder == cache / "fast_text" / added.version
    assert FastTextScorer.load(folder).version == added.version
    (tmp_path / "bucket/models/fast_text" / added.version / "weights.npy").unlink()
    assert far.fetch("fast_text", added.version, cache) == folder
    with pytest.raises(DependencyUnavailableError):
        far.fetch("fast_text", added.version, tmp_path / "elsewhere")
    assert not list((tmp_path / "elsewhere/fast_text").iterdir())
    (folder / "weights.npy").write_bytes(b"")
    with pytest.raises(ConfigError, match="sha256"):
        far.fetch("fast_text", added.version, cache)


def test_addresses_name_packages_and_active_versions(tiny: Path, tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "store")
    one = store.add(tiny).version
    two = store.add(write_model(tmp_path / "made/other", probability=0.25)).version
    address = f"file://{tmp_path}/store/fast_text"
    assert package_folder(f"{address}/{two}", tmp_path).name == two
    with pytest.raises(ConfigError, match="no version is active"):
        package_folder(address, tmp_path)
    store.activate("fast_text", activation(one, ""))
    assert package_folder(address, tmp_path).name == one
    assert package_folder(tmp_path / "store/fast_text", tmp_path).name == one
    assert package_folder(tiny, tmp_path) == tiny
    with pytest.raises(ConfigError, match="no address of a store"):
        ModelStore("nowhere://models")


def test_a_job_takes_packages_out_of_a_store(tiny: Path, tmp_path: Path) -> None:
    """By the model's folder the active one, and by an address."""
    other = write_model(tmp_path / "made/other", probability=0.25)
    store = ModelStore(tmp_path / "store")
    one, two = store.add(tiny).version, store.add(other).version
    store.activate("fast_text", activation(one, ""))
    made = load_settings("dev")
    cascade = made.cascade.model_copy(update={"fast_text": tmp_path / "store/fast_text"})
    redis = made.redis.model_copy(update={"enabled": False})
    live = compose_cascade(made.model_copy(update={"cascade": cascade, "redis": redis}))
    assert live.applied()["model:fast_text"] == one
    at = activation(one, "").at
    for folder, version in (
        (f"file://{tmp_path}/store/fast_text/{two}", two),
        (f"{tmp_path}/store/fast_text", one),
        (str(other), two),
    ):
        text = f"folder: {folder}"
        live.apply(ControlMessage(kind="model", name="fast_text", text=text, published_at=at))
        assert live.applied()["model:fast_text"] == version
