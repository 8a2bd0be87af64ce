"""Where the apache-flink wheel keeps Flink, and the jars that a cluster needs beside it."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path
from typing import Final

from schemas.settings import ROOT
from scripts.cli.processes import ProcessError

FLINK_HOME: Final = Path(sysconfig.get_paths()["purelib"]) / "pyflink"
"""The wheel's Flink distribution: bin, conf, lib, opt, plugins."""
CONNECTORS: Final = ROOT / ".build/jars"
"""Connector jars, as `scripts/setup` fetches them."""
TABLES: Final = ROOT / ".build/tables"
"""Paimon and the Hadoop client, as `scripts/setup --extra tables` fetches them."""


def jars() -> list[Path]:
    """Jars of a cluster's `lib`: Flink's own, its Python runner, the connectors, the tables'.

    The Python runner must be there rather than come with each job: it loads a native library,
    which a JVM loads for one class loader only, so that a restarted job would fail. Paimon must
    be there because its operators are lambdas of its own classes: a TaskManager that does not
    know these cannot read them (`cannot assign instance of java.lang.invoke.SerializedLambda`).
    Where it was not fetched, the cluster runs every job but `tables`.

    Raises:
        ProcessError: where one of them is missing.
    """
    found = sorted((FLINK_HOME / "lib").glob("*.jar"))
    runner = sorted((FLINK_HOME / "opt").glob("flink-python-*.jar"))
    connectors = sorted(CONNECTORS.glob("*.jar"))
    if not found or not runner:
        raise ProcessError(f"no Flink in {FLINK_HOME}; run scripts/setup")
    if not connectors:
        raise ProcessError(f"no connector jars in {CONNECTORS}; run scripts/setup")
    return [*found, *runner, *connectors, *sorted(TABLES.glob("*.jar"))]


def library(folder: Path) -> None:
    """Make `folder` hold links to exactly these jars."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {jar.name: jar.resolve() for jar in jars()}
    for link in folder.iterdir():
        if wanted.get(link.name) != Path(os.path.realpath(link)):
            link.unlink()
    for name, jar in wanted.items():
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(jar)
