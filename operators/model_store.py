"""A registry of model packages: versioned folders, and a pointer to the active one.

    STORE/NAME/VERSION/manifest.json ...   a package, never changed
    STORE/NAME/active.json                 which version is active, and which were

STORE is a local folder or an address that pyarrow knows (`s3://`, `gs://`, `hdfs://`). A package
is whole when its manifest is there, which is written last; the pointer is replaced in one step.
"""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from pyarrow import ArrowException
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from schemas.errors import ConfigError, DependencyUnavailableError
from udfs.model_package import MANIFEST, PackagedFile, check_files, read_manifest

ACTIVE: Final = "active.json"
_PART: Final = ".part"
_EXTRAS: Final = ("MODEL_CARD.md",)
"""Files beside the manifest that it does not name."""


class PackageManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What the manifests of all kinds of packages share."""

    name: str
    version: str
    files: dict[str, PackagedFile]
    training: dict[str, Any] = {}


class Activation(msgspec.Struct, frozen=True, kw_only=True):
    """One move of the pointer."""

    version: str
    at: dt.datetime
    author: str = ""
    comment: str = ""
    rollback: bool = False
    """It went back to a version that had been active before."""


class Active(msgspec.Struct, frozen=True, kw_only=True):
    """`active.json`: every move of the pointer, the newest last."""

    format: int = 1
    name: str
    history: tuple[Activation, ...]

    @property
    def version(self) -> str:
        """The active version."""
        return self.history[-1].version

    @property
    def previous(self) -> str:
        """The version that a rollback goes to; empty where there is none.

        A rollback takes the newest version back for good, so that the next one goes further.
        """
        stack: list[str] = []
        for move in self.history:
            if move.rollback and move.version in stack:
                del stack[stack.index(move.version) + 1 :]
            elif move.version not in stack[-1:]:
                stack.append(move.version)
        return stack[-2] if len(stack) > 1 else ""


class Added(NamedTuple):
    """What came of adding a package."""

    name: str
    version: str
    new: bool
    """False where it was there already."""


class ModelStore:
    """Packages and pointers under one location.

    Args:
        location: a local folder, or an address.
        filesystem: of the location, which is then a path in it; None finds it by the address.

    Raises:
        ConfigError: pyarrow does not know the address.
    """

    def __init__(self, location: str | Path, filesystem: FileSystem | None = None) -> None:
        self.location = str(location).rstrip("/")
        if filesystem is None:
            filesystem, path = _find(self.location)
        else:
            path = self.location
        self._files: FileSystem = filesystem
        self._root: str = path.rstrip("/")

    @property
    def local(self) -> bool:
        """Whether it is a folder of this machine."""
        return isinstance(self._files, LocalFileSystem)

    def where(self, name: str, version: str) -> str:
        """Folder or address of a package, as a control message names it."""
        base = self._root if self.local else self.location
        return f"{base}/{name}/{version}"

    def names(self) -> list[str]:
        """Names of the models, in order."""
        return [name for name in self._folders(self._root) if self.versions(name)]

    def versions(self, name: str) -> list[str]:
        """Versions of a model that are whole, in order."""
        return [
            version
            for version in self._folders(f"{self._root}/{name}")
            if not version.endswith(_PART) and self._exists(f"{name}/{version}/{MANIFEST}")
        ]

    def manifest(self, name: str, version: str) -> PackageManifest:
        """What the store's manifest of a package says.

        Raises:
            ConfigError: it is not there, or is none.
        """
        raw = self._read(f"{name}/{version}/{MANIFEST}")
        place = self.where(name, version)
        if raw is None:
            there = ", ".join(self.versions(name)) or "none"
            raise ConfigError(f"no such version of {name}; there are: {there}", file=place)
        try:
            manifest = msgspec.json.decode(raw, type=PackageManifest)
        except msgspec.DecodeError as error:
            raise ConfigError(f"is no model manifest: {error}", file=place) from None
        if (manifest.name, manifest.version) != (name, version):
            raise ConfigError(f"holds {manifest.name} {manifest.version}", file=place)
        return manifest

    def active(self, name: str) -> Active | None:
        """The pointer of a model; None where none was ever set.

        Raises:
            ConfigError: the pointer file is damaged.
        """
        raw = self._read(f"{name}/{ACTIVE}")
        if raw is None:
            return None
        place = f"{self.location}/{name}/{ACTIVE}"
        try:
            active = msgspec.json.decode(raw, type=Active)
        except msgspec.DecodeError as error:
            raise ConfigError(f"is no pointer: {error}", file=place) from None
        if active.format != 1 or active.name != name or not active.history:
            raise ConfigError("is no pointer of this model in format 1", file=place)
        return active

    def add(self, folder: Path) -> Added:
        """Copy a package into the store; what is there already is left alone.

        Raises:
            ConfigError: the package is damaged, or another one has its name and version.
        """
        manifest = read_manifest(folder, PackageManifest)
        for part in (manifest.name, manifest.version):
            if not part or part != Path(part).name or part.startswith(".") or part == ACTIVE:
                raise ConfigError(f"{part!r} cannot name a folder", file=str(folder / MANIFEST))
        check_files(folder, manifest.files)
        found = Added(manifest.name, manifest.version, new=True)
        target = f"{manifest.name}/{manifest.version}"
        ours, theirs = (folder / MANIFEST).read_bytes(), self._read(f"{target}/{MANIFEST}")
        if theirs is not None:
            if theirs != ours:
                raise ConfigError(
                    "has this version already, with another manifest; packages never change: "
                    "train again, or remove the other one",
                    file=self.where(manifest.name, manifest.version),
                )
            return found._replace(new=False)
        with _told(self.location):
            self._files.create_dir(f"{self._root}/{target}", recursive=True)
            extras = [name for name in _EXTRAS if (folder / name).is_file()]
            for name in (*manifest.files, *extras):
                self._copy_in(folder / name, f"{target}/{name}")
        self._write(f"{target}/{MANIFEST}", ours)
        return found

    def activate(self, name: str, activation: Activation) -> Active:
        """Move the pointer, in one step.

        Raises:
            ConfigError: the store has no such package.
        """
        self.manifest(name, activation.version)
        before = self.active(name)
        history = (*(before.history if before else ()), activation)
        active = Active(name=name, history=history)
        text = msgspec.json.format(msgspec.json.encode(active)) + b"\n"
        self._write(f"{name}/{ACTIVE}", text)
        return active

    def fetch(self, name: str, version: str, cache: Path) -> Path:
        """A folder of this machine with the package, its files as the manifest says.

        Args:
            name: of the model.
            version: of the package.
            cache: where packages of other machines are kept, as `cache/NAME/VERSION`.

        Raises:
            ConfigError: the package is not there, or damaged.
        """
        manifest = self.manifest(name, version)
        if self.local:
            folder = Path(self._root) / name / version
            check_files(folder, manifest.files)
            return folder
        folder = cache / name / version
        if (folder / MANIFEST).is_file():
            check_files(folder, manifest.files)
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Two workers of one machine may fetch at once: each for itself, and the first one counts.
        with tempfile.TemporaryDirectory(dir=folder.parent, suffix=_PART) as made:
            part = Path(made) / version
            part.mkdir()
            for file in (*manifest.files, MANIFEST):
                self._copy_out(f"{name}/{version}/{file}", part / file)
            check_files(part, manifest.files)
            try:
                part.rename(folder)
            except OSError:
                if not (folder / MANIFEST).is_file():
                    raise
        return folder

    def _folders(self, path: str) -> list[str]:
        with _told(self.location):
            found = self._files.get_file_info(FileSelector(path, allow_not_found=True))
        return sorted(info.base_name for info in found if info.type == FileType.Directory)

    def _exists(self, path: str) -> bool:
        with _told(self.location):
            info = self._files.get_file_info(f"{self._root}/{path}")
        return bool(info.type == FileType.File)

    def _read(self, path: str) -> bytes | None:
        if not self._exists(path):
            return None
        with _told(self.location), self._files.open_input_stream(f"{self._root}/{path}") as file:
            return bytes(file.read())

    def _write(self, path: str, data: bytes) -> None:
        whole = f"{self._root}/{path}"
        with _told(self.location):
            with self._files.open_output_stream(whole + _PART) as file:
                file.write(data)
            self._files.move(whole + _PART, whole)

    def _copy_in(self, source: Path, path: str) -> None:
        with (
            source.open("rb") as file,
            self._files.open_output_stream(f"{self._root}/{path}") as out,
        ):
            shutil.copyfileobj(file, out, 1 << 20)

    def _copy_out(self, path: str, target: Path) -> None:
        with (
            _told(self.location),
            self._files.open_input_stream(f"{self._root}/{path}") as file,
            target.open("wb") as out,
        ):
            shutil.copyfileobj(file, out, 1 << 20)


def package_folder(location: str | Path, cache: Path) -> Path:
    """The local folder of the package that a setting or a control message names.

    Args:
        location: a package's folder; a model's folder in a store, which stands for its active
            version; or the address of either in an object store.
        cache: see `ModelStore.fetch`.

    Raises:
        ConfigError: there is no package, or it is damaged.
    """
    text = str(location).rstrip("/")
    parent, _, last = text.rpartition("/")
    if "://" not in text:
        folder = Path(location)
        if (folder / MANIFEST).is_file() or not (folder / ACTIVE).is_file():
            return folder
        store = ModelStore(folder.resolve().parent)
        last = folder.resolve().name
    else:
        store = ModelStore(parent)
        if not store.versions(last):
            above, _, name = parent.rpartition("/")
            return ModelStore(above).fetch(name, last, cache)
    active = store.active(last)
    if active is None:
        raise ConfigError("no version is active; see scripts/models activate", file=text)
    return store.fetch(last, active.version, cache)


def _find(location: str) -> tuple[FileSystem, str]:
    if "://" not in location:
        return LocalFileSystem(), str(Path(location).resolve())
    try:
        filesystem, path = FileSystem.from_uri(location)
    except (ArrowException, OSError, ValueError) as error:
        raise ConfigError(f"is no address of a store: {error}", file=location) from None
    return filesystem, path


@contextmanager
def _told(location: str) -> Iterator[None]:
    """Make errors of the store's file system ours."""
    try:
        yield
    except (ArrowException, OSError) as error:
        raise DependencyUnavailableError("model store", f"{location}: {error}") from error
