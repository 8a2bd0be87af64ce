"""What travels with a job: packed completely, the same every time, and loaded afresh."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import pytest

from jobs.shipped_code import PACKAGES as SHIPPED
from jobs.submit_entry import JOBS
from schemas.errors import ConfigError
from schemas.settings import ROOT, CascadeSettings, Settings, load_settings
from scripts.cli.flink_config import flat
from scripts.cli.flink_package import PACKAGES, pack
from scripts.cli.flink_rest import FlinkRest
from scripts.cli.flink_submit import SubmitError, check_cluster, interpreter, latest_checkpoint
from scripts.cli.submit import Job

MAGIC = b"\x49\x60\x67\x2d"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small tree that looks like ours."""
    root = tmp_path / "checkout"
    for package in PACKAGES:
        (root / package).mkdir(parents=True)
        (root / package / "__init__.py").write_text("")
    files = (
        "policy.yaml",
        "rules.yaml",
        "banks.yaml",
        "media_banks.yaml",
        "fusion.yaml",
        "trust.yaml",
    )
    for name in (*files, "profiles/dev.yaml"):
        (root / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "conf" / name).write_text(f"# {name}\n")
    (root / "conf/samples").mkdir()
    (root / "conf/samples/uploads.jsonl").write_text("{}\n")
    return root


def settings_with(**cascade: Path | None) -> Settings:
    files = CascadeSettings().model_copy(update={"fast_text": None, "deep_text": None, **cascade})
    return load_settings("dev").model_copy(update={"cascade": files})


def names(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def test_everything_that_a_job_reads_travels(tmp_path: Path) -> None:
    package = pack(tmp_path, settings_with(), "cluster")
    packed = names(package.path)
    assert {"jobs/submit_entry.py", "operators/moderate.py", "udfs/cascade.py"} <= packed
    assert {"conf/policy.yaml", "conf/rules.yaml", "conf/profiles/cluster.yaml"} <= packed
    assert not any(name.startswith(("scripts/", "tests/", "conf/jars/")) for name in packed)
    assert not any("__pycache__" in name for name in packed)
    assert package.profile == "cluster"
    assert package.environment == {}


def test_the_name_follows_the_content_alone(checkout: Path, tmp_path: Path) -> None:
    settings = settings_with()
    one = pack(tmp_path / "1", settings, "dev", root=checkout)
    (checkout / "udfs/__init__.py").touch()
    two = pack(tmp_path / "2", settings, "dev", root=checkout)
    assert one.name == two.name
    assert one.path.read_bytes() == two.path.read_bytes()
    (checkout / "udfs/__init__.py").write_text("changed = True\n")
    assert pack(tmp_path / "3", settings, "dev", root=checkout).name != one.name


def test_files_from_elsewhere_are_taken_along(checkout: Path, tmp_path: Path) -> None:
    policy = tmp_path / "elsewhere/our-policy.yaml"
    policy.parent.mkdir()
    policy.write_text("version: ours\n")
    model = tmp_path / "elsewhere/model"
    (model / "sub").mkdir(parents=True)
    (model / "manifest.json").write_text("{}")
    (model / "sub/weights.npy").write_bytes(b"w")
    profile = tmp_path / "elsewhere/production.yaml"
    profile.write_text("{}\n")
    settings = settings_with(policy=policy, fast_text=model)
    package = pack(tmp_path / "out", settings, str(profile), root=checkout)
    packed = names(package.path)
    assert {
        "conf/given/policy/our-policy.yaml",
        "conf/given/fast_text/model/manifest.json",
        "conf/given/fast_text/model/sub/weights.npy",
        "conf/profiles/production.yaml",
    } <= packed
    assert package.profile == "production"
    assert package.environment == {
        "SLUICE_CASCADE__POLICY": "conf/given/policy/our-policy.yaml",
        "SLUICE_CASCADE__FAST_TEXT": "conf/given/fast_text/model",
    }


def test_a_missing_file_is_named(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml: cascade\.rules: no such file"):
        pack(tmp_path, settings_with(rules=tmp_path / "gone.yaml"), "dev", root=checkout)


ARRIVAL = """
    import cloudpickle, importlib, json, pickle, shutil, sys
    from pathlib import Path

    sys.path.insert(0, {root!r})  # where the sender's code is
    from jobs import shipped_code
    tmp = Path({tmp!r})

    def unpack(run: str, name: str, answer: int) -> Path:
        folder = tmp / f"python-dist-{{run}}/python-files/blob/{{name}}"
        (folder / "udfs").mkdir(parents=True)
        (folder / "udfs/__init__.py").write_text("")
        (folder / "udfs/made_up.py").write_text(
            f"class Function:\\n    answer = {{answer}}\\n"
            "    def late(self):\\n        from udfs import lazily\\n        return lazily.VALUE\\n"
        )
        (folder / "udfs/lazily.py").write_text(f"VALUE = {{answer * 10}}\\n")
        return folder

    def forget() -> None:
        for name in [n for n in sys.modules if n.partition(".")[0] in shipped_code.PACKAGES]:
            if name != "jobs.shipped_code" and name != "jobs":
                del sys.modules[name]

    def sent(folder: Path) -> bytes:
        # What the client does: another process, therefore with modules of its own.
        forget()
        sys.path.insert(0, str(folder))
        from udfs.made_up import Function
        shipped_code.ship([Function], folder.name)
        function = Function()
        function.field = 7
        data = cloudpickle.dumps(function)
        sys.path.remove(str(folder))
        forget()
        return data

    def arrive(data: bytes, folder: Path):
        sys.path.append(str(folder))  # as Flink does for each task
        return pickle.loads(data)

    old, new = unpack("a", "sluice-1", 1), unpack("b", "sluice-2", 2)
    first, second = sent(old), sent(new)
    sys.path.remove({root!r})

    archived = "python-archives/environment/lib/site-packages"
    for run in "ab":
        (tmp / f"python-dist-{{run}}" / archived).mkdir(parents=True)
    sys.path.append(str(tmp / "python-dist-a" / archived))

    def environments() -> list[str]:
        return [p[len(str(tmp)) + 1 :][:13] for p in sys.path if p.endswith(archived)]

    found = []
    one = arrive(first, old)
    found.append(environments())
    found.append([type(one).answer, one.field])
    shutil.rmtree(tmp / "python-dist-a")  # the tasks have ended
    found.append(one.late())              # what was not imported yet is still there
    again = arrive(first, old)            # a failover: Flink's own folder may be gone
    found.append([type(again) is type(one), again.late()])
    two = arrive(second, new)             # an upgrade in the same process
    found.append([type(two).answer, two.late(), sys.path[0].endswith("/sluice-2")])
    found.append([p for p in sys.path if "sluice-1" in p])
    found.append(environments())          # an archived interpreter moves as well
    print(json.dumps(found))
"""


def run_python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_job_runs_its_own_code_in_a_process_that_outlives_jobs(tmp_path: Path) -> None:
    done = run_python(ARRIVAL.format(root=str(ROOT), tmp=str(tmp_path)))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        ["python-dist-a"],
        [1, 7],
        10,
        [True, 10],
        [2, 20, True],
        [],
        ["python-dist-b"],
    ]


def test_code_is_not_run_from_where_others_may_write(tmp_path: Path) -> None:
    program = ARRIVAL.replace(
        "    found = []\n",
        "    import os\n"
        "    kept = tmp / f'sluice-code-{{os.getuid()}}'\n"
        "    kept.mkdir()\n"
        "    kept.chmod(0o777)\n"
        "    found = []\n",
    )
    done = run_python(program.format(root=str(ROOT), tmp=str(tmp_path)))
    assert done.returncode != 0
    assert "others may write to" in done.stderr


def test_code_that_did_not_come_is_an_error(tmp_path: Path) -> None:
    program = ARRIVAL.replace("one = arrive(first, old)", "one = pickle.loads(first)")
    done = run_python(program.format(root=str(ROOT), tmp=str(tmp_path)))
    assert "sluice-1 are not on Python's path" in done.stderr


def test_what_is_packed_is_what_is_forgotten() -> None:
    assert set(SHIPPED) == set(PACKAGES)


def checkpoint(folder: Path, magic: bytes = MAGIC) -> Path:
    folder.mkdir(parents=True)
    (folder / "_metadata").write_bytes(magic + b"...")
    return folder


def test_the_newest_complete_checkpoint_of_any_run(tmp_path: Path) -> None:
    assert latest_checkpoint(str(tmp_path)) is None
    checkpoint(tmp_path / "moderation/aaa/chk-9")
    newest = checkpoint(tmp_path / "moderation/bbb/chk-2")
    (tmp_path / "moderation/bbb/chk-3").mkdir()  # begun, never finished
    checkpoint(tmp_path / "moderation/bbb/chk-4", magic=b"")  # torn
    (tmp_path / "moderation/bbb/shared").mkdir()
    assert latest_checkpoint(str(tmp_path)) == newest.as_uri()
    assert latest_checkpoint((tmp_path / "moderation").as_uri()) == newest.as_uri()


def test_checkpoints_elsewhere_must_be_named() -> None:
    with pytest.raises(SubmitError, match=r"--from-savepoint"):
        latest_checkpoint("s3://bucket/checkpoints")


def test_interpreters(tmp_path: Path) -> None:
    own = interpreter(sys.executable)
    assert (Path(own.site_packages) / "pyflink").is_dir()
    far = interpreter("/opt/nowhere/bin/python")
    assert far.site_packages == "/opt/nowhere/lib/python3.11/site-packages"
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(SubmitError, match="no Python that runs"):
        interpreter(str(broken))


class Answering(FlinkRest):
    """A JobManager with these jars in lib."""

    def __init__(self, *jars: str) -> None:
        super().__init__("nowhere:0")
        self.jars = list(jars)

    def overview(self) -> dict[str, Any]:
        return {"flink-version": version("apache-flink")}

    def class_path(self) -> list[str]:
        return self.jars


def test_a_cluster_is_asked_for_what_the_job_needs() -> None:
    without = ("flink-python-2.3.0.jar", "flink-sql-connector-kafka-5.0.0-2.2.jar")
    lake = ("paimon-flink-2.1-1.3.0.jar", "hadoop-client-runtime-3.4.1.jar")
    assert check_cluster(Answering(*without)) == []
    with pytest.raises(SubmitError, match=r"has no flink-python-.*copy it there from Flink's opt"):
        check_cluster(Answering(*without[1:]))
    with pytest.raises(SubmitError, match=r"has no hadoop-client-api-\*\.jar in lib; copy what is"):
        check_cluster(Answering(*without, *lake), "tables")
    assert check_cluster(Answering(*without, *lake, "hadoop-client-api-3.4.1.jar"), "tables") == []


def test_the_command_knows_the_jobs_that_can_be_submitted() -> None:
    assert set(get_args(Job)) == set(JOBS)


def test_flat_options() -> None:
    document = {"a": {"b": {"c": 1}, "d": True}, "e.f": "x"}
    assert flat(document) == {"a.b.c": "1", "a.d": "true", "e.f": "x"}
