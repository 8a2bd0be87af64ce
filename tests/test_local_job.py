"""What a local job leaves on the machine's temporary folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from jobs.local import prepare_jvm
from schemas.settings import load_settings


def test_the_jvm_unpacks_into_a_folder_of_its_own_and_the_dead_ones_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("JVM_ARGS", "-Xmx1g")
    for name in ("FLINK_LOG_DIR", "FLINK_IDENT_STRING", "LOG4J_PROPERTIES"):
        monkeypatch.setenv(name, "as given")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    alive = tmp_path / f"sluice-moderation-{os.getppid()}-abc"
    dead = tmp_path / "sluice-moderation-999999999-abc"
    for folder in (alive, dead):
        folder.mkdir()
        (folder / "planner.jar").touch()
    settings = load_settings("dev")
    without = settings.flink.model_copy(update={"metrics_port": ""})
    prepare_jvm("moderation", settings.model_copy(update={"flink": without}))
    options = os.environ["JVM_ARGS"].split()
    assert options[0] == "-Xmx1g"
    folder = Path(options[1].removeprefix("-Djava.io.tmpdir="))
    assert folder.name.startswith(f"sluice-moderation-{os.getpid()}-")
    assert {path.name for path in tmp_path.iterdir()} == {alive.name, folder.name}
    # A folder that the caller has chosen stays.
    monkeypatch.setenv("JVM_ARGS", "-Djava.io.tmpdir=/elsewhere")
    prepare_jvm("moderation", settings.model_copy(update={"flink": without}))
    assert os.environ["JVM_ARGS"] == "-Djava.io.tmpdir=/elsewhere"
