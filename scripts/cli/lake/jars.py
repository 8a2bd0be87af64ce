"""Paimon's jars, on the class path of the JVM that this process starts."""

from __future__ import annotations

import os

from schemas.errors import ConfigError
from scripts.cli.flink_wheel import TABLES


def put_on_class_path() -> None:
    """Add them to what PyFlink gives its JVM. Call before anything of PyFlink runs.

    Raises:
        ConfigError: where they are not there.
    """
    jars = sorted(str(jar) for jar in TABLES.glob("*.jar"))
    if not jars:
        raise ConfigError("no jars of Paimon; run scripts/setup --extra tables", file=str(TABLES))
    known = os.environ.get("HADOOP_CLASSPATH")
    os.environ["HADOOP_CLASSPATH"] = ":".join(filter(None, [known, *jars]))
