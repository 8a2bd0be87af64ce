"""Model packages: a folder with a manifest that names its files and what they must contain."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from schemas.errors import ConfigError

MANIFEST: Final = "manifest.json"
_BLOCK: Final = 1 << 20

M = TypeVar("M", bound=msgspec.Struct)


class PackagedFile(msgspec.Struct, frozen=True):
    """A file of a package and what it must contain."""

    sha256: str
    bytes: int


def read_manifest(folder: Path, kind: type[M]) -> M:
    """The package's manifest.

    Raises:
        ConfigError: it is missing, or not of this kind.
    """
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None
    except msgspec.DecodeError as error:
        raise ConfigError(f"is no model manifest: {error}", file=str(path)) from None


def entry_of(path: Path) -> PackagedFile:
    """What the manifest says about a file as it is now."""
    return PackagedFile(sha256_of(path), path.stat().st_size)


def check_files(folder: Path, files: Mapping[str, PackagedFile]) -> None:
    """Refuse a package whose files are not what its manifest says.

    Raises:
        ConfigError: a file is missing or changed, or does not lie beside the manifest.
    """
    for name, entry in files.items():
        path = folder / name
        if Path(name).name != name:
            raise ConfigError("files of a model lie beside its manifest", file=str(path))
        try:
            digest = sha256_of(path)
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None
        if digest != entry.sha256:
            raise ConfigError(
                f"sha256 is {digest}, not {entry.sha256} as in the manifest; restore the file",
                file=str(path),
            )


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
