"""The graph that Flink gets: stable uids, readable names, Python entered once."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from schemas.settings import ROOT

_SCRIPT = """
import json
from jobs.environment import make_environment
from jobs.local import prepare_jvm
from jobs.moderation import build
from schemas.settings import load_settings

settings = load_settings("dev")
prepare_jvm("graph", settings)
env, t_env = make_environment(settings)
build(t_env, settings)
graph = env._j_stream_execution_environment.getStreamGraph(False)
nodes = []
for node in graph.getStreamNodes().toArray():
    factory = node.getOperatorFactory()
    nodes.append({
        "name": node.getOperatorName(),
        "uid": node.getTransformationUID(),
        "class": node.getOperatorFactory().getClass().getName() if factory else "",
    })
print("GRAPH" + json.dumps(nodes))
"""


@pytest.fixture(scope="module")
def nodes() -> list[dict[str, str]]:
    # A process of its own: PyFlink keeps one JVM a process, and tests share this one.
    done = subprocess.run(
        [sys.executable, "-P", "-c", _SCRIPT],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin:/usr/local/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (line,) = [text for text in done.stdout.splitlines() if text.startswith("GRAPH")]
    found: list[dict[str, str]] = json.loads(line.removeprefix("GRAPH"))
    return found


@pytest.mark.slow
def test_every_operator_has_a_uid_of_its_own(nodes: list[dict[str, str]]) -> None:
    missing = [node["name"] for node in nodes if not node["uid"]]
    assert not missing
    uids = [node["uid"] for node in nodes]
    assert len(set(uids)) == len(uids)


@pytest.mark.slow
def test_one_operator_runs_python(nodes: list[dict[str, str]]) -> None:
    python = [node["name"] for node in nodes if "python" in node["class"].lower()]
    assert len(python) <= 1
    assert "moderate" in {node["name"] for node in nodes}
    names = {node["name"] for node in nodes}
    assert not any("_keyed_stream" in name or "map" in name.lower() for name in names)
