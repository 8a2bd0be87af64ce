"""Packs what a job needs where it runs: the code and the files that its settings name."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from schemas.errors import ConfigError
from schemas.settings import ROOT, Settings

PACKAGES: Final = ("schemas", "udfs", "operators", "jobs")
"""Python packages that travel."""
_STAYS: Final = frozenset({"jars", "k8s", "yarn", "samples", "training", "__pycache__"})
"""Folders of `conf/` that no job reads."""
_GIVEN: Final = "conf/given"
"""Where files from elsewhere are put in the package."""
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


class Package(NamedTuple):
    """A zip file that Flink unpacks beside each task."""

    path: Path
    profile: str
    """Name of the profile in the package."""
    environment: dict[str, str]
    """Variables that point the settings at files of the package."""

    @property
    def name(self) -> str:
        """Name of the folder that it becomes: it changes with the content."""
        return self.path.stem


def pack(folder: Path, settings: Settings, profile: str, *, root: Path = ROOT) -> Package:
    """Write the package of a job into `folder`.

    The code and `conf/` are taken from `root`. Files that `settings.cascade` (or a profile that
    is a path) names elsewhere are taken along. The same content gives the same bytes.

    Args:
        folder: gets `sluice-HASH.zip`.
        settings: name the files.
        profile: a profile's name, or the path of one.
        root: the checkout.

    Raises:
        ConfigError: where a file that the settings name is not there.
    """
    files = dict(_own(root))
    environment: dict[str, str] = {}
    for field, value in settings.cascade:
        if isinstance(value, Path):
            place = (root / value).resolve()
            if not place.exists():
                raise ConfigError("no such file", file=str(place), field=f"cascade.{field}")
            if _inside(place, root):
                continue
            within = f"{_GIVEN}/{field}/{place.name}"
            files |= _tree(place, within)
            environment[f"SLUICE_CASCADE__{field.upper()}"] = within
    if profile.endswith((".yaml", ".yml")):
        given = Path(profile)
        profile = given.stem
        files[f"conf/profiles/{profile}.yaml"] = given.resolve()
    digest = hashlib.sha256()
    for name in sorted(files):
        content = hashlib.sha256(files[name].read_bytes()).hexdigest()
        digest.update(f"{name}\0{content}\n".encode())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"sluice-{digest.hexdigest()[:12]}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), files[name].read_bytes())
    return Package(path, profile, environment)


def _own(root: Path) -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for file in (root / package).rglob("*.py"):
            yield file.relative_to(root).as_posix(), file
    for file in (root / "conf").rglob("*"):
        within = file.relative_to(root)
        if file.is_file() and not _STAYS.intersection(within.parts):
            yield within.as_posix(), file


def _inside(place: Path, root: Path) -> bool:
    """Whether a path is taken along with `conf/`."""
    conf = (root / "conf").resolve()
    return place.is_relative_to(conf) and not _STAYS.intersection(place.relative_to(conf).parts)


def _tree(place: Path, within: str) -> dict[str, Path]:
    if place.is_file():
        return {within: place}
    return {
        f"{within}/{file.relative_to(place).as_posix()}": file
        for file in place.rglob("*")
        if file.is_file()
    }
