"""Deployment files: every option is one of Flink's, every field one of the operator's."""

from __future__ import annotations

import ast
import re
import shutil
import struct
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from schemas.settings import ROOT, Settings, load_settings
from scripts.cli.flink_cluster import FlinkCluster
from scripts.cli.flink_config import TEMPLATE, flat
from scripts.cli.flink_wheel import FLINK_HOME
from scripts.cli.processes import wait_until
from scripts.cli.upload_lines import UploadLine
from tests.fakes import payload
from tests.running_cluster import PROFILE
from tests.running_job import Answers, line, publish

K8S: Final = ROOT / "conf/k8s"
YARN: Final = ROOT / "conf/yarn/config.yaml"

# Fields of the FlinkDeployment's schema, as release 1.10.0 of the operator's API defines them;
# of the pod, those that a reader of the manifest meets.
FIELDS: Final[dict[str, set[str]]] = {
    "spec": {
        "flinkConfiguration", "flinkVersion", "image", "imagePullPolicy", "ingress", "job",
        "jobManager", "logConfiguration", "mode", "podTemplate", "restartNonce",
        "serviceAccount", "taskManager",
    },
    "spec.job": {
        "allowNonRestoredState", "args", "checkpointTriggerNonce", "entryClass",
        "initialSavepointPath", "jarURI", "parallelism", "savepointRedeployNonce",
        "savepointTriggerNonce", "state", "upgradeMode",
    },
    "spec.jobManager": {"podTemplate", "replicas", "resource"},
    "spec.taskManager": {"podTemplate", "replicas", "resource"},
    "spec.jobManager.resource": {"cpu", "ephemeralStorage", "memory"},
    "spec.taskManager.resource": {"cpu", "ephemeralStorage", "memory"},
    "spec.podTemplate": {"apiVersion", "kind", "metadata", "spec"},
}  # fmt: skip

# Options of the operator itself, which the installed jars do not know.
OPERATOR: Final = {
    "kubernetes.operator.job.restart.failed",
    "kubernetes.operator.periodic.savepoint.interval",
    "kubernetes.operator.savepoint.history.max.count",
}


@cache
def option_classes() -> bytes:
    """Every class of Flink's that defines options, one after the other."""
    jars: dict[str, str | tuple[str, ...]] = {
        "lib/flink-dist-*.jar": "Options.class",
        "lib/flink-table-api-java-uber-*.jar": "Options.class",
        "opt/flink-python-*.jar": "Options.class",
        "plugins/metrics-prometheus/*.jar": ("Reporter.class", "Factory.class"),
    }
    found: list[bytes] = []
    for pattern, ending in jars.items():
        (jar,) = FLINK_HOME.glob(pattern)
        with zipfile.ZipFile(jar) as archive:
            names = [name for name in archive.namelist() if name.startswith("org/apache/flink/")]
            found += [archive.read(name) for name in names if name.endswith(ending)]
    assert len(found) > 50
    return b"".join(found)


def known(option: str) -> bool:
    """Whether a constant of one of these classes is exactly this text."""
    # A reporter's options are put together from its name.
    text = option.removeprefix("metrics.reporter.prom.").encode()
    return b"\x01" + struct.pack(">H", len(text)) + text in option_classes()


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def deployment() -> dict[str, Any]:
    document: dict[str, Any] = load(K8S / "flinkdeployment.yaml")
    return document


def options_of_the_job() -> Iterator[str]:
    """Names that `jobs.environment` sets: dotted literals that are keys there."""
    tree = ast.parse((ROOT / "jobs/environment.py").read_text("utf-8"))
    for node in ast.walk(tree):
        keys: list[ast.expr | None] = []
        if isinstance(node, ast.Dict):
            keys = list(node.keys)
        elif isinstance(node, ast.Subscript):
            keys = [node.slice]
        for key in keys:
            if isinstance(key, ast.Constant) and isinstance(key.value, str) and "." in key.value:
                yield key.value


def test_the_test_tells_options_from_inventions() -> None:
    assert known("execution.checkpointing.interval")
    assert known("python.pythonpath")
    assert not known("execution.checkpointing.intervall")
    assert not known("state.checkpoints.directory")
    assert known("metrics.reporter.prom.port")
    assert not known("metrics.reporter.prom.ports")


def test_every_option_of_the_standalone_cluster_is_flinks(tmp_path: Path) -> None:
    options = FlinkCluster(tmp_path, high_availability=True).options()
    assert set(flat(load(TEMPLATE))) <= set(options)
    assert [name for name in options if not known(name)] == []


def test_every_option_of_the_job_is_flinks() -> None:
    options = list(options_of_the_job())
    assert len(options) > 20
    assert [name for name in options if not known(name)] == []


def test_every_option_of_a_profile_is_flinks() -> None:
    for profile in (ROOT / "conf/profiles").glob("*.yaml"):
        settings = load_settings(profile.stem)
        assert [name for name in settings.flink.options if not known(name)] == [], profile


def test_every_option_on_yarn_is_flinks() -> None:
    options = flat(load(YARN))
    assert [name for name in options if not known(name)] == []
    wheel = flat(load(FLINK_HOME / "conf/config.yaml"))
    assert options["env.java.opts.all"].split() == wheel["env.java.opts.all"].split()


def test_every_option_on_kubernetes_is_flinks_or_the_operators() -> None:
    options = deployment()["spec"]["flinkConfiguration"]
    assert all(isinstance(value, str) for value in options.values())
    wheel = flat(load(FLINK_HOME / "conf/config.yaml"))
    assert options["env.java.opts.all"].split() == wheel["env.java.opts.all"].split()
    assert [name for name in options if not known(name) and name not in OPERATOR] == []


def test_every_field_of_the_flink_deployment_is_the_operators() -> None:
    document = deployment()
    assert (document["apiVersion"], document["kind"]) == (
        "flink.apache.org/v1beta1",
        "FlinkDeployment",
    )
    for place, fields in FIELDS.items():
        found: Any = document
        for step in place.split("."):
            found = found[step] if found is not None and step in found else None
        if found is not None:
            assert set(found) <= fields, place
    spec = document["spec"]
    assert spec["mode"] in {"native", "standalone"}
    assert spec["job"]["upgradeMode"] in {"savepoint", "last-state", "stateless"}
    assert spec["flinkVersion"] == "v" + "_".join(version("apache-flink").split(".")[:2])
    # What is mounted and named is there.
    pod = spec["podTemplate"]["spec"]
    (container,) = pod["containers"]
    assert container["name"] == "flink-main-container"
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    others = [load(file) for file in sorted(K8S.glob("profile.yaml"))]
    assert pod["volumes"][0]["configMap"]["name"] == others[0]["metadata"]["name"]


def test_names_and_versions_agree() -> None:
    spec = deployment()["spec"]
    flink = version("apache-flink")
    assert spec["job"]["jarURI"].endswith(f"/flink-python-{flink}.jar")
    dockerfile = (K8S / "Dockerfile").read_text("utf-8")
    assert f"FROM flink:{flink}-java17" in dockerfile
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"PYTHON_VERSION={python}." in dockerfile
    for folder in re.findall(r"^COPY (\w+) /opt/sluice", dockerfile, re.MULTILINE):
        assert (ROOT / folder).is_dir()
    accounts = yaml.safe_load_all((K8S / "service-account.yaml").read_text("utf-8"))
    assert spec["serviceAccount"] in {document["metadata"]["name"] for document in accounts}


def test_the_profile_for_kubernetes_is_a_profile(tmp_path: Path) -> None:
    document = load(K8S / "profile.yaml")
    (name,) = document["data"]
    assert f"/etc/sluice/{name}" in deployment()["spec"]["job"]["args"]
    file = tmp_path / name
    file.write_text(document["data"][name])
    settings = load_settings(str(file))
    job = deployment()["spec"]["job"]
    assert settings.flink.parallelism == job["parallelism"]
    configured = deployment()["spec"]["flinkConfiguration"]["execution.checkpointing.dir"]
    assert settings.flink.checkpoint_dir == configured


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_renders() -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", str(K8S)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    documents = list(yaml.safe_load_all(done.stdout))
    assert {d["kind"] for d in documents} >= {"FlinkDeployment", "ConfigMap", "ServiceAccount"}
    (flink,) = [d for d in documents if d["kind"] == "FlinkDeployment"]
    assert flink["metadata"]["namespace"] == "sluice"
    assert flink["spec"]["image"] != deployment()["spec"]["image"]


def uploads(numbers: range) -> list[UploadLine]:
    return [line(payload(f"c{n}", f"user-{n}"), f"user-{n}".encode()) for n in numbers]


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_the_kubernetes_job_runs_as_an_application(
    stack_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entry class, arguments and Python options of the manifest, with paths of this machine."""
    here = tmp_path / "opt"
    for folder in ("schemas", "udfs", "operators", "jobs", "conf"):
        shutil.copytree(ROOT / folder, here / folder)
    profile = tmp_path / "production.yaml"
    profile.write_text(PROFILE)
    places = {
        "/opt/sluice": str(here),
        "/etc/sluice/production.yaml": str(profile),
        "/usr/local/bin/python3.11": sys.executable,
        "/usr/local/lib/python3.11/site-packages": sysconfig.get_paths()["purelib"],
    }

    def local(text: str) -> str:
        return re.sub("|".join(map(re.escape, places)), lambda found: places[found[0]], text)

    spec = deployment()["spec"]
    configured = spec["flinkConfiguration"]
    options = {n: local(v) for n, v in configured.items() if n.startswith("python.")}
    assert len(options) == 3
    assert spec["job"]["args"][1] == "jobs.submit_entry"
    for name, value in {
        "KAFKA__BOOTSTRAP": stack_settings.kafka.bootstrap,
        "KAFKA__TOPIC_PREFIX": stack_settings.kafka.topic_prefix,
        "KAFKA__GROUP_ID": stack_settings.kafka.group_id,
        "REDIS__URL": stack_settings.redis.url,
    }.items():
        monkeypatch.setenv(f"SLUICE_{name}", value)
    cluster = FlinkCluster(
        tmp_path / "cluster",
        options={name: local(value) for name, value in options.items()}
        | {"parallelism.default": "2"},
        high_availability=False,
        application=[
            "--job-classname",
            spec["job"]["entryClass"],
            *map(local, spec["job"]["args"]),
        ],
        quick=True,
        die_with_parent=True,
    )
    with cluster:
        cluster.up(2)
        # The JobManager answers before its program has run to the end.
        assert wait_until(lambda: bool(cluster.rest.jobs()), timeout_s=120)
        (job,) = cluster.rest.jobs()
        assert job.name == "sluice-moderation"
        cluster.rest.wait_running(job.id)
        answers = Answers(stack_settings)
        publish(stack_settings, uploads(range(50)))
        answers.until(lambda a: a.distinct() >= 50)
        cluster.rest.wait_checkpoint(job.id)
        # The other TaskManager's process goes on, with the modules that it has loaded.
        cluster.kill_taskmanager("tm-1")
        publish(stack_settings, uploads(range(50, 100)))
        cluster.start_taskmanager("tm-1")
        answers.until(lambda a: a.distinct() >= 100)
        assert not answers.letters()
        answers.close()
