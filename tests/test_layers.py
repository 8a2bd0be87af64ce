"""The folders import one way only, and other promises about the tree as a whole."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.settings import ROOT

LAYERS: dict[str, set[str]] = {
    "schemas": {"schemas"},
    "udfs": {"schemas", "udfs"},
    "operators": {"schemas", "udfs", "operators"},
    "jobs": {"schemas", "udfs", "operators", "jobs"},
    "scripts": {"schemas", "udfs", "operators", "jobs", "scripts"},
}
"""Folder to what it may import of ours."""
ENGINES = {"pyflink", "kafka", "redis", "py4j", "apache_beam"}
MAX_LINES = 400
PARTS = {"pydantic_core"}
"""Packages that come with a direct requirement, at a version that only that one chooses."""


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every imported module's full name and line, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module, node.lineno


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_go_one_way(layer: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(layer)
        for name, line in imports(path)
        if name.split(".")[0] in LAYERS and name.split(".")[0] not in LAYERS[layer]
    ]
    assert not wrong, f"{layer} may import {sorted(LAYERS[layer])} only: {wrong}"


def test_no_relative_imports() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources(*LAYERS)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not wrong


def test_schemas_and_udfs_load_no_engine() -> None:
    modules = [module_name(path) for path in sources("schemas", "udfs")]
    assert {"schemas.upload", "udfs.contracts"} <= set(modules)
    script = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print(*sorted({ENGINES!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_files_are_short() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in [*sources(*LAYERS, "tests"), *(ROOT / "scripts").glob("[!_.]*")]
        if path.is_file() and (count := len(path.read_bytes().splitlines())) > MAX_LINES
    }
    assert not long


def test_no_backtracking_engine_for_users_rules() -> None:
    """Users' patterns go through RE2 alone: `re` can be made to run for ever.

    Near rules, `re` may only be handed patterns that stand in the source.
    """
    files = [*(ROOT / "udfs").glob("rules*.py"), *(ROOT / "schemas").glob("rules*.py")]
    assert files
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in files
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in {"re", "regex"}
        and not (node.args and isinstance(node.args[0], ast.Constant))
    ]
    from_imports = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in files
        for name, line in imports(path)
        if name in {"regex", "sre_compile", "fnmatch"}
    ]
    assert not wrong + from_imports


def test_plain_onnxruntime_does_not_hide_the_gpu_build() -> None:
    installed = {
        re.sub(r"[-_.]+", "-", name).lower()
        for distribution in importlib.metadata.distributions()
        if (name := distribution.metadata["Name"])
    }
    assert "onnxruntime-gpu" in installed
    assert "onnxruntime" not in installed


def locked(name: str = "requirements.lock") -> dict[str, str]:
    lines = (ROOT / name).read_text("utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!-]+", pin) for pin in pins), (
        "only name==version: no addresses, no options"
    )
    return {
        re.sub(r"[-_.]+", "-", name).lower(): version
        for name, version in (pin.split("==") for pin in pins)
    }


def direct(*extras: str) -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"]]
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    names = [re.match(r"[A-Za-z0-9_.-]+", requirement) for requirement in wanted]
    return {
        re.sub(r"[-_.]+", "-", found.group()).lower(): requirement
        for found, requirement in zip(names, wanted, strict=True)
        if found
    }


def test_the_lock_covers_the_direct_requirements() -> None:
    lock = locked()
    for name, requirement in direct("dev").items():
        assert name in lock, f"{requirement} is not locked; run scripts/setup --relock"
        _, exact, version = requirement.partition("==")
        if exact:
            assert lock[name] == version, requirement
    assert "onnxruntime" not in lock


def test_the_training_lock_adds_and_changes_nothing() -> None:
    base, extra = locked(), locked("requirements-train.lock")
    assert not set(base) & set(extra)
    assert "onnxruntime" not in extra
    for name, requirement in direct("train").items():
        _, exact, version = requirement.partition("==")
        if name not in direct():
            assert (name in extra, exact and extra[name]) == (True, exact and version)


def test_every_import_is_a_direct_requirement() -> None:
    """What the code imports must not be there by another package's grace."""
    owners = importlib.metadata.packages_distributions()
    known = set(direct("dev", "train"))
    wrong = set()
    for path in sources(*LAYERS, "tests"):
        for name, line in imports(path):
            top = name.split(".")[0]
            if top in LAYERS or top in {"tests", *PARTS} or top in sys.stdlib_module_names:
                continue
            names = {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners.get(top, [top])}
            if not names & known:
                wrong.add(f"{path.relative_to(ROOT)}:{line} imports {name} ({sorted(names)})")
    assert not wrong


ADDRESS = re.compile(r"https?://|--(extra-)?index-url|--find-links|--trusted-host", re.IGNORECASE)
HARMLESS = (
    "http://127.0.0.1",
    "http://localhost",
    "http://maven.apache.org/POM",
    "http://www.w3.org",
)


def test_set_up_names_no_download_address() -> None:
    """Packages come from whatever registries the machine's own clients are set up for."""
    files = [
        "requirements.lock",
        "requirements-train.lock",
        "scripts/setup",
        "scripts/_run",
        "conf/jars/pom.xml",
        ".ci/run",
    ]
    for name in files:
        for number, line in enumerate((ROOT / name).read_text("utf-8").splitlines(), start=1):
            rest = line
            for address in HARMLESS:
                rest = rest.replace(address, "")
            # The POM's schema is named, not fetched.
            rest = rest.replace("http://maven.apache.org/xsd/", "")
            assert not ADDRESS.search(rest), f"{name}:{number}: {line}"
